//! Traffic control: who edits a route sees the traffic follow, and no caller is disturbed.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mixer_tests::http::{Client, get};
use mixer_tests::mesh::{Documents, Mixer, ProxyConfig, counter};
use mixer_tests::service::Service;
use mixer_tests::wait;
use tokio::task::JoinSet;

fn route(weights: &str) -> String {
    format!(
        "route: canary\nfor: destination.service == \"products.shop\"\nrules:\n  - name: split\n    to: {weights}\n    headers: {{ set: {{ x-route: canary }} }}\n"
    )
}

fn service(subsets: &[(&str, &Service)]) -> String {
    let mut text = format!(
        "service: products.shop\nendpoints: [\"{}\"]\nsubsets:\n",
        subsets[0].1.addr
    );
    for (name, app) in subsets {
        text += &format!("  {name}: {{ endpoints: [\"{}\"] }}\n", app.addr);
    }
    text
}

/// Which version answers now, on a connection that stays.
async fn version(client: &mut Client) -> String {
    let answer = client.send(get("products.shop", "/")).await;
    let answer = answer.expect("no request fails and no connection is dropped");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["service"].as_str().unwrap().to_owned()
}

/// Asks again and again until told to stop: never an old version after a new one.
async fn follow(mut client: Client, stop: Arc<AtomicBool>, versions: [&'static str; 2]) -> usize {
    let (mut asked, mut newest) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let version = version(&mut client).await;
        let at = versions.iter().position(|one| *one == version).unwrap();
        assert!(at >= newest, "{version} after a newer one");
        (asked, newest) = (asked + 1, at);
    }
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_split_is_followed_at_once_and_drops_no_connection() {
    let (v1, v2) = (Service::echo("v1").await, Service::echo("v2").await);
    let app = Service::echo("frontend").await;
    let documents = Documents::new([
        ("products.yaml", service(&[("v1", &v1), ("v2", &v2)])),
        ("route.yaml", route("{ v1: 100 }")),
    ]);
    let mixer = Mixer::serve(&documents).await;
    let proxy = ProxyConfig::new("frontend.shop", app.addr, mixer.grpc)
        .start()
        .await;
    let outbound = proxy.config.outbound;

    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..2 {
        for client in [Client::http1(outbound).await, Client::http2(outbound).await] {
            callers.spawn(follow(client.unwrap(), stop.clone(), ["v1", "v2"]));
        }
    }
    let mut client = Client::http1(outbound).await.unwrap();
    assert_eq!(version(&mut client).await, "v1");
    documents.write("route.yaml", &route("{ v1: 0, v2: 100 }"));
    wait::until("v2 answers", async || {
        (version(&mut client).await == "v2").then_some(())
    })
    .await;
    for _ in 0..50 {
        assert_eq!(version(&mut client).await, "v2");
    }
    stop.store(true, Ordering::Relaxed);
    let mut asked = 0;
    while let Some(caller) = callers.join_next().await {
        asked += caller.unwrap();
    }
    assert!(asked > 0);

    // A mistake changes nothing, and the next good edit is followed again.
    documents.write("route.yaml", &route("{ v1: 50, v2: 49 }"));
    wait::until("the mistake is seen", async || {
        let ready = mixer.admin("/healthz/ready").await;
        Some(ready.text()).filter(|text| text.contains("route.yaml:"))
    })
    .await;
    for _ in 0..20 {
        assert_eq!(version(&mut client).await, "v2");
    }
    documents.write("route.yaml", &route("{ v1: 50, v2: 50 }"));
    wait::until("both answer", async || {
        (version(&mut client).await == "v1").then_some(())
    })
    .await;
    let shown = proxy.admin("/routes").await.json();
    let rule = &shown["products.shop"]["rules"][0];
    assert_eq!(rule["to"], serde_json::json!({ "v1": 50, "v2": 50 }));
    assert_eq!(rule["headers"]["set"]["x-route"], "redacted");

    // What was sent is counted at Mixer, as the caller's proxy saw it.
    let labels = [
        ("reporter", "source"),
        ("destination_service", "products.shop"),
        ("response_code", "200"),
        ("response_flags", "-"),
        ("connection_security_policy", "unknown"),
    ];
    wait::until("all are counted", async || {
        let metrics = mixer.admin("/metrics").await.text();
        let counted = counter(&metrics, "istio_requests_total", &labels);
        let received = v1.received() + v2.received();
        (counted == received as f64).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_report_with_flags_and_how_the_connection_was_secured() {
    let app = Service::echo("products").await;
    let port = mixer_tests::ports::free();
    let documents = Documents::new([(
        "all.yaml",
        format!(
            "service: products.shop\nendpoints: [\"{port}\"]\n---\nservice: gone.shop\nendpoints: [\"127.0.0.1:1\"]\n---\n\
             policy: products\nfor: destination.service == \"products.shop\"\nrules:\n  - deny: nobody\n    when: request.path == \"/admin\"\n"
        ),
    )]);
    let mixer = Mixer::serve(&documents).await;
    let mut config = ProxyConfig::new("products.shop", app.addr, mixer.grpc);
    config.inbound = port;
    let proxy = config.start().await;
    let mut client = Client::http1(proxy.config.outbound).await.unwrap();
    for (host, path, status) in [
        ("products.shop", "/", 200),
        ("products.shop", "/admin", 403),
        ("gone.shop", "/", 503),
    ] {
        let answer = client.send(get(host, path)).await.unwrap();
        assert_eq!(answer.status, status, "{host}{path}");
    }
    wait::until("both sides are counted", async || {
        let metrics = mixer.admin("/metrics").await.text();
        let counted = |reporter, service, code, flags, security| {
            let labels = [
                ("reporter", reporter),
                ("destination_service", service),
                ("response_code", code),
                ("response_flags", flags),
                ("connection_security_policy", security),
            ];
            counter(&metrics, "istio_requests_total", &labels)
        };
        let all = [
            counted("source", "products.shop", "200", "-", "unknown"),
            // The server's own answer, as far as the caller's side knows.
            counted("source", "products.shop", "403", "-", "unknown"),
            counted("source", "gone.shop", "503", "UF", "unknown"),
            counted("destination", "products.shop", "200", "-", "none"),
            counted("destination", "products.shop", "403", "UAEX", "none"),
        ];
        (all == [1.0; 5]).then_some(())
    })
    .await;
}
