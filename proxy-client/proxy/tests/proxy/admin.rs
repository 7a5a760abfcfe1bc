//! The admin listener.

use crate::mixer::{TestMixer, nothing};
use crate::process::Sidecar;
use crate::raw::{RawApp, body, get, header, send, status};
use crate::{config, shop, soon, start, start_cold};

#[tokio::test]
async fn health_follows_what_the_proxy_knows() {
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut cold = config(&mixer, "127.0.0.1:1".parse().unwrap());
    cold.control = mixer_proxy::Control::Mixer("127.0.0.1:1".to_owned());
    let proxy = start_cold(cold);
    let admin = proxy.admin().unwrap();
    assert_eq!(status(&send(admin, get("/healthz/live", "")).await), 200);
    assert_eq!(status(&send(admin, get("/healthz/ready", "")).await), 503);
    let (_mixer, _app, proxy) = shop(mixer).await;
    assert_eq!(
        status(&send(proxy.admin().unwrap(), get("/healthz/ready", "")).await),
        200
    );
}

#[tokio::test]
async fn metrics_count_requests_and_calls() {
    let (_mixer, _app, proxy) = shop(TestMixer::allowing(crate::mixer::scope(), &[]).await).await;
    for _ in 0..3 {
        send(proxy.inbound().unwrap(), get("/", "")).await;
    }
    let metrics = send(proxy.admin().unwrap(), get("/metrics", "")).await;
    assert_eq!(
        header(&metrics, "content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    for line in [
        "mixer_proxy_requests_total{side=\"inbound\",code=\"2xx\"} 3",
        "mixer_client_check_calls_total 3",
        "mixer_proxy_ready 1",
        "# EOF",
    ] {
        assert!(
            body(&metrics).lines().any(|found| found == line),
            "{line} in\n{metrics}"
        );
    }
}

#[tokio::test]
async fn the_configuration_is_shown() {
    let service = r#"{"service":"reviews.shop","endpoints":["127.0.0.1:9"]}"#.to_owned();
    let (_mixer, _app, proxy) = shop(TestMixer::allowing(nothing(), &[service]).await).await;
    let dump = send(proxy.admin().unwrap(), get("/config_dump", "")).await;
    let dump: serde_json::Value = serde_json::from_str(body(&dump)).unwrap();
    assert_eq!(dump["proxy"]["service"], "products.shop");
    assert_eq!(dump["services"]["reviews.shop"]["service"], "reviews.shop");
    assert_eq!(dump["mesh"]["mesh"]["outbound"], "allow");
    assert_eq!(dump["addresses"]["reviews.shop"][0], "127.0.0.1:9");
    assert_eq!(dump["scopes"]["inbound"]["rules"], false);
}

#[tokio::test]
async fn a_proxy_that_ends_is_not_ready() {
    let (_mixer, _app, proxy) = shop(TestMixer::allowing(nothing(), &[]).await).await;
    let admin = proxy.admin().unwrap();
    assert_eq!(soon(proxy.shutdown()).await, 0);
    assert!(tokio::net::TcpStream::connect(admin).await.is_err());
}

const ROUTED: &str = r#"
service: reviews.shop
endpoints: ["127.0.0.1:9"]
subsets:
  v1: { endpoints: ["127.0.0.1:7"] }
  v2: { endpoints: ["127.0.0.1:8"] }
---
route: canary
for: destination.service == "reviews.shop"
rules:
  - name: testers
    when: request.path.startsWith("/beta")
    to: { v2: 100 }
    headers: { set: { authorization: "Bearer s3cret" }, response: { add: { x-key: s3cret } } }
  - name: five percent
    to: { v1: 95, v2: 5 }
    timeout: 2s
---
mesh: { outbound: deny }
"#;

async fn page(admin: std::net::SocketAddr, path: &str) -> serde_json::Value {
    let page = send(admin, get(path, "")).await;
    assert_eq!(status(&page), 200, "{page}");
    assert!(!page.contains("s3cret"), "{page}");
    serde_json::from_str(body(&page)).unwrap()
}

#[tokio::test]
async fn routes_are_shown_in_the_order_in_which_they_are_asked_and_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("shop.yaml"), ROUTED).unwrap();
    let control = mixer_proxy::Control::Documents(vec![directory.path().to_owned()]);
    let mut config = mixer_proxy::Config::new(control);
    let any = Some("127.0.0.1:0".parse().unwrap());
    (config.outbound, config.admin) = (any, any);
    let proxy = start(config).await;
    let admin = proxy.admin().unwrap();
    let routes = page(admin, "/routes").await;
    let service = &routes["reviews.shop"];
    assert_eq!(service["subsets"]["v2"], serde_json::json!(["127.0.0.1:8"]));
    assert_eq!(service["reads_path"], true);
    let rules = service["rules"].as_array().unwrap();
    let named: Vec<_> = rules
        .iter()
        .map(|rule| (&rule["route"], &rule["name"]))
        .collect();
    assert_eq!(
        named,
        [
            (&"canary".into(), &"testers".into()),
            (&"canary".into(), &"five percent".into())
        ]
    );
    assert_eq!(rules[0]["headers"]["set"]["authorization"], "redacted");
    assert_eq!(rules[0]["headers"]["response"]["add"]["x-key"], "redacted");
    assert_eq!(rules[1]["to"], serde_json::json!({ "v1": 95, "v2": 5 }));
    assert_eq!(rules[1]["timeout"], "2s");

    let dump = page(admin, "/config_dump").await;
    assert_eq!(dump["mesh"]["mesh"]["outbound"], "deny");
    assert_eq!(dump["routes"]["canary"]["rules"][1]["name"], "five percent");
    assert_eq!(
        dump["services"]["reviews.shop"]["endpoints"][0],
        "127.0.0.1:9"
    );
    assert_eq!(dump["addresses"]["reviews.shop/v1"][0], "127.0.0.1:7");
    assert_eq!(dump["refused"], serde_json::Value::Null);
}

#[tokio::test]
async fn the_first_page_names_the_others() {
    let (_mixer, _app, proxy) = shop(TestMixer::allowing(nothing(), &[]).await).await;
    let admin = proxy.admin().unwrap();
    let index = send(admin, get("/", "")).await;
    let paths: Vec<&str> = index
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(
        paths.contains(&"/routes") && index.contains("POST<td>/drain"),
        "{index}"
    );
    for path in paths {
        // Nothing has begun the log of a process of tests.
        let expected = if path == "/logging" { 409 } else { 200 };
        assert_eq!(
            status(&send(admin, get(path, "")).await),
            expected,
            "{path}"
        );
    }
}

fn post(path: &str, more: &str) -> String {
    let asked = get(path, more).replace("GET ", "POST ");
    asked.replace("host: products", "host: 127.0.0.1")
}

#[tokio::test]
async fn a_drain_is_begun_by_who_may_and_lets_requests_finish() {
    // It answers when it has got a body.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sidecar = Sidecar::start(listener.local_addr().unwrap(), "service: products.shop\n");
    for (asked, expected) in [
        (get("/drain", ""), 405),
        (post("/drain", "origin: http://evil.example\r\n"), 403),
        (
            post("/drain", "").replace("host: 127.0.0.1", "host: evil.example"),
            403,
        ),
    ] {
        assert_eq!(status(&send(sidecar.admin, asked).await), expected);
    }
    let caller = crate::raw::spawn_send(sidecar.inbound, get("/", ""));
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    crate::raw::head(&mut server).await;
    assert_eq!(status(&send(sidecar.admin, post("/drain", "")).await), 202);
    soon(async {
        while tokio::net::TcpStream::connect(sidecar.inbound)
            .await
            .is_ok()
        {}
    })
    .await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
    tokio::io::AsyncWriteExt::write_all(&mut server, answer)
        .await
        .unwrap();
    assert_eq!(status(&soon(caller).await.unwrap()), 200);
    assert!(sidecar.wait());
}

#[tokio::test]
async fn changes_take_the_token_where_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "0123456789abcdef").unwrap();
    let app = RawApp::answering("").await;
    let flags = ["--admin-token-file", file.to_str().unwrap()];
    let mut sidecar = Sidecar::start_with(app.address, "service: products.shop\n", &flags);
    assert_eq!(status(&send(sidecar.admin, post("/drain", "")).await), 401);
    let token = "authorization: Bearer 0123456789abcdef\r\n";
    assert_eq!(
        status(&send(sidecar.admin, post("/drain", token)).await),
        202
    );
    assert!(sidecar.wait());
}

#[tokio::test]
async fn how_much_is_logged_can_be_changed_while_it_runs() {
    let app = RawApp::answering("").await;
    let sidecar = Sidecar::start(app.address, "service: products.shop\n");
    let level = send(sidecar.admin, get("/logging", "")).await;
    assert_eq!(body(&level), "rustls=off,info\n");
    for wrong in [
        "/logging?level=debgu",
        "/logging",
        "/logging?level=debug&more=1",
    ] {
        assert_eq!(
            status(&send(sidecar.admin, post(wrong, "")).await),
            400,
            "{wrong}"
        );
    }
    // Nobody hears of a connection that makes no sense, until somebody wants to.
    let nonsense = || send(sidecar.inbound, "GET nonsense\r\n\r\n");
    let debug = || sidecar.log().iter().any(|line| line.contains("DEBUG"));
    nonsense().await;
    assert!(!debug());
    let changed = send(
        sidecar.admin,
        post("/logging?level=warn,mixer_proxy=debug", ""),
    )
    .await;
    assert_eq!(status(&changed), 200);
    let level = body(&send(sidecar.admin, get("/logging", "")).await).to_owned();
    assert!(
        level.contains("mixer_proxy=debug") && level.contains("warn"),
        "{level}"
    );
    soon(async {
        while !debug() {
            nonsense().await;
        }
    })
    .await;
}
