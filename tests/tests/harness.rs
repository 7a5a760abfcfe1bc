//! What the other tests stand on holds: services answer with what they received, and real servers run as they are started.

use http::Method;
use mixer_tests::http::{Client, call, get, raw, with};
use mixer_tests::servers::{Duties, Envoy, Prometheus, Zipkin, promtool_faults};
use mixer_tests::service::{Next, Recorder, Service};

#[tokio::test]
async fn a_service_answers_with_what_it_received_over_both_versions() {
    let service = Service::echo("echo").await;
    for (mut client, version) in [
        (Client::http1(service.addr).await.unwrap(), "HTTP/1.1"),
        (Client::http2(service.addr).await.unwrap(), "HTTP/2.0"),
    ] {
        let request = with(
            call(Method::POST, "products", "/a?b=c", "text"),
            "x-tester",
            "yes",
        );
        let seen = client.send(request).await.unwrap().json();
        assert_eq!(
            [&seen["service"], &seen["method"], &seen["path"]],
            ["echo", "POST", "/a?b=c"]
        );
        assert_eq!([&seen["version"], &seen["body"]], [version, "text"]);
        assert!(
            seen["headers"]
                .as_array()
                .unwrap()
                .contains(&serde_json::json!(["x-tester", "yes"]))
        );
    }
    assert_eq!(service.received(), 2);
}

#[tokio::test]
async fn a_grpc_request_is_answered_with_its_message_and_trailers() {
    let service = Service::echo("echo").await;
    let mut client = Client::http2(service.addr).await.unwrap();
    let request = with(
        call(Method::POST, "products", "/shop.Products/Get", "12345"),
        "content-type",
        "application/grpc",
    );
    let answer = client.send(request).await.unwrap();
    assert_eq!(
        (answer.text().as_str(), answer.field("grpc-status")),
        ("12345", Some("0"))
    );
    assert_eq!(answer.trailers["echo"], "echo");
}

#[tokio::test]
async fn a_service_asks_on_with_the_tracing_headers_it_got() {
    let last = Service::echo("last").await;
    let next = Next {
        proxy: last.addr,
        host: "last".to_owned(),
        path: "/next".to_owned(),
    };
    let first = Service::asking("first", next).await;
    let request = with(
        with(get("first", "/"), "b3", "1-2-1"),
        "x-other",
        "kept back",
    );
    let seen = Client::http1(first.addr)
        .await
        .unwrap()
        .send(request)
        .await
        .unwrap()
        .json();
    assert_eq!(
        [
            &seen["service"],
            &seen["next"]["service"],
            &seen["next"]["path"]
        ],
        ["first", "last", "/next"]
    );
    let handed_on = seen["next"]["headers"].to_string();
    assert!(
        handed_on.contains("1-2-1") && !handed_on.contains("kept back"),
        "{handed_on}"
    );
}

#[tokio::test]
async fn a_recorder_keeps_the_bytes_of_each_head() {
    let recorder = Recorder::start().await;
    let head = b"GET /a/../%2e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut stream = tokio::net::TcpStream::connect(recorder.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, head)
        .await
        .unwrap();
    let heads = mixer_tests::wait::until("the head is recorded", async || {
        Some(recorder.take()).filter(|heads| !heads.is_empty())
    })
    .await;
    assert_eq!(heads, [head.to_vec()]);
}

#[tokio::test]
#[ignore = "needs envoy"]
async fn envoy_passes_what_its_rules_allow_and_refuses_the_rest() {
    let service = Service::echo("echo").await;
    let plain = Envoy::start(service.addr, Duties::None, None).await;
    let ruled = Envoy::start(service.addr, Duties::AccessControlAndLog("GET"), None).await;
    for (envoy, path, status) in [
        (&plain, "/other", 200),
        (&ruled, "/products/1", 200),
        (&ruled, "/other", 403),
    ] {
        let answer = Client::http1(envoy.addr)
            .await
            .unwrap()
            .send(get("products", path))
            .await
            .unwrap();
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
#[ignore = "needs prometheus"]
async fn prometheus_scrapes_and_promtool_finds_faults() {
    let prometheus = Prometheus::scraping(&[]).await;
    assert_eq!(prometheus.query("vector(1) + 1").await, Some(2.0));
    assert_eq!(prometheus.query("absent_metric").await, None);
    assert_eq!(prometheus.targets().await, serde_json::json!([]));
    assert_eq!(
        promtool_faults("# HELP a_total A.\n# TYPE a_total counter\na_total 1\n"),
        Vec::<String>::new()
    );
    assert!(!promtool_faults("a_total 1\na_total 1\n").is_empty());
}

#[tokio::test]
#[ignore = "needs zipkin"]
async fn zipkin_gives_back_a_span_that_was_posted() {
    let zipkin = Zipkin::start().await;
    let span = r#"[{"traceId":"000000000000000a","id":"000000000000000b","kind":"SERVER","timestamp":1700000000000000,
        "duration":5,"localEndpoint":{"serviceName":"shop"}}]"#;
    let head = format!(
        "POST /api/v2/spans HTTP/1.1\r\nhost: zipkin\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        span.len()
    );
    let answer = raw(zipkin.addr, format!("{head}{span}").as_bytes())
        .await
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 202"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let spans = zipkin.trace("000000000000000a", 1).await;
    assert_eq!(spans[0]["localEndpoint"]["serviceName"], "shop");
    assert_eq!(
        zipkin.get("/api/v2/services").await,
        serde_json::json!(["shop"])
    );
}
