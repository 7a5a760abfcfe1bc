//! All traffic is told of, exactly once: Prometheus gets the right counts, Zipkin the whole trace.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use http::Method;
use mixer_tests::http::{Client, call, get, with};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig, counter};
use mixer_tests::servers::{Prometheus, Zipkin, promtool_faults};
use mixer_tests::service::{Next, Service};
use mixer_tests::{ports, wait};
use serde_json::Value;

/// frontend.shop, whose application asks products.shop through its own proxy.
struct Mesh {
    mixer: Mixer,
    frontend: Proxy,
    products: Proxy,
    _apps: [Service; 2],
    _documents: Documents,
}

async fn mesh(more: &str) -> Mesh {
    let (at_frontend, at_products, outbound) = (ports::free(), ports::free(), ports::free());
    let services = format!(
        r#"
service: frontend.shop
hosts: [frontend]
endpoints: ["{at_frontend}"]
---
service: products.shop
hosts: [products]
endpoints: ["{at_products}"]
---
policy: products
for: destination.service == "products.shop"
rules:
  - deny: no secrets
    when: request.path == "/secret"
"#
    );
    let documents = Documents::new([("services.yaml", format!("{services}{more}"))]);
    let mixer = Mixer::serve(&documents).await;
    let products_app = Service::echo("products").await;
    let next = Next {
        proxy: outbound,
        host: "products".to_owned(),
        path: "/products/1".to_owned(),
    };
    let frontend_app = Service::asking("frontend", next).await;
    let mut products = ProxyConfig::new("products.shop", products_app.addr, mixer.grpc);
    products.inbound = at_products;
    let mut frontend = ProxyConfig::new("frontend.shop", frontend_app.addr, mixer.grpc);
    (frontend.inbound, frontend.outbound) = (at_frontend, outbound);
    let (products, frontend) = (products.start().await, frontend.start().await);
    Mesh {
        mixer,
        frontend,
        products,
        _apps: [frontend_app, products_app],
        _documents: documents,
    }
}

/// 40 requests that pass, 15 that are denied, 5 that fail in the application: all to products.
async fn sixty_requests(mesh: &Mesh) {
    let mut client = Client::http1(mesh.frontend.config.outbound).await.unwrap();
    for number in 0..60 {
        let (path, expected) = match number % 12 {
            0..=7 => ("/products/1", 200),
            8..=10 => ("/secret", 403),
            _ => ("/status/500", 500),
        };
        let answer = client.send(get("products", path)).await.unwrap();
        assert_eq!(answer.status.as_u16(), expected, "{path}");
    }
}

const CODES: [(&str, f64); 3] = [("200", 40.0), ("403", 15.0), ("500", 5.0)];

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_every_request_are_counted_once() {
    let mesh = mesh("").await;
    sixty_requests(&mesh).await;
    let count = |metrics: &str, reporter: &str, code: &str| {
        let labels = [
            ("reporter", reporter),
            ("destination_service", "products.shop"),
            ("response_code", code),
        ];
        counter(metrics, "istio_requests_total", &labels)
    };
    let metrics = wait::until("both sides reported", async || {
        let metrics = mesh.mixer.admin("/metrics").await.text();
        let all = |reporter: &str| {
            CODES
                .iter()
                .map(|(code, _)| count(&metrics, reporter, code))
                .sum::<f64>()
        };
        (all("source") >= 60.0 && all("destination") >= 60.0).then_some(metrics)
    })
    .await;
    for reporter in ["source", "destination"] {
        for (code, expected) in CODES {
            assert_eq!(
                count(&metrics, reporter, code),
                expected,
                "{reporter} {code}\n{metrics}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus"]
async fn prometheus_scrapes_mixer_and_answers_with_the_right_count() {
    let mesh = mesh("").await;
    let prometheus = Prometheus::scraping(&[
        ("mixer", mesh.mixer.admin),
        ("proxy", mesh.products.config.admin),
    ])
    .await;
    sixty_requests(&mesh).await;
    for reporter in ["source", "destination"] {
        for (code, expected) in CODES {
            let query = format!(
                r#"sum(istio_requests_total{{job="mixer",reporter="{reporter}",destination_service="products.shop",response_code="{code}"}})"#
            );
            let found = wait::until(&query, async || {
                prometheus
                    .query(&query)
                    .await
                    .filter(|count| *count >= expected)
            })
            .await;
            assert_eq!(found, expected, "{query}");
        }
    }
    let count = r#"sum(istio_request_duration_milliseconds_count{reporter="destination",destination_service="products.shop"})"#;
    assert_eq!(prometheus.query(count).await, Some(60.0));
    // Prometheus spreads first scrapes over the interval: a target is "unknown" until its own.
    wait::until("every target is up", async || {
        let targets = prometheus.targets().await;
        let targets = targets.as_array()?;
        (targets.len() == 2 && targets.iter().all(|target| target["health"] == "up")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus"]
async fn prometheus_tools_find_no_fault_with_what_is_exposed() {
    let mesh = mesh("").await;
    sixty_requests(&mesh).await;
    wait::until("something is reported", async || {
        let metrics = mesh.mixer.admin("/metrics").await.text();
        (counter(&metrics, "istio_requests_total", &[]) > 0.0).then_some(())
    })
    .await;
    for (name, answer) in [
        ("mixer", mesh.mixer.admin("/metrics").await),
        (
            "mixer, as sidecars expose it",
            mesh.mixer.admin("/stats/prometheus").await,
        ),
    ] {
        assert!(answer.status.is_success(), "{name}: {answer:?}");
        // The name is Istio's, which dashboards know.
        let known = "istio_request_duration_milliseconds use base unit \"seconds\" instead of \"milliseconds\"";
        let faults: Vec<String> = promtool_faults(&answer.text())
            .into_iter()
            .filter(|fault| fault != known)
            .collect();
        assert_eq!(faults, Vec::<String>::new(), "{name}:\n{}", answer.text());
    }
}

fn text<'a>(span: &'a Value, field: &str) -> &'a str {
    span[field].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs zipkin"]
async fn zipkin_returns_the_whole_trace_with_names_kinds_and_parents() {
    let zipkin = Zipkin::start().await;
    let telemetry = format!(
        "---\nadapter: spans\ntype: zipkin\nconfig: {{ url: \"{}\" }}\n---\ntelemetry: everything\nfor: always\ntraces: {{ to: spans, sample: 100% }}\n",
        zipkin.url()
    );
    let mesh = mesh(&telemetry).await;
    let trace = "80f198ee56343ba864fe8b2a57d3eff7";
    let mut client = Client::http1(mesh.frontend.config.inbound).await.unwrap();
    let b3 = format!("{trace}-e457b5a2e4d86bd1-1");
    let answer = client
        .send(with(get("frontend", "/shop"), "b3", &b3))
        .await
        .unwrap();
    assert_eq!(
        answer.json()["next"]["service"],
        "products",
        "{}",
        answer.text()
    );

    // frontend's server span, its client span for products, and products' server span (its own, or shared with the client's).
    let spans = zipkin.trace(trace, 3).await;
    let of = |service: &str, kind: &str| -> Value {
        let found: Vec<&Value> = spans
            .iter()
            .filter(|span| span["kind"] == kind && span["localEndpoint"]["serviceName"] == service)
            .collect();
        assert_eq!(found.len(), 1, "one {kind} span of {service}: {spans:#?}");
        found[0].clone()
    };
    let (entry, exit, served) = (
        of("frontend.shop", "SERVER"),
        of("frontend.shop", "CLIENT"),
        of("products.shop", "SERVER"),
    );
    assert_eq!(
        text(&exit, "parentId"),
        text(&entry, "id"),
        "frontend's call is a child of the request it serves: {spans:#?}"
    );
    let shared = text(&served, "id") == text(&exit, "id");
    assert!(
        shared || text(&served, "parentId") == text(&exit, "id"),
        "products' span belongs to frontend's call: {spans:#?}"
    );
    assert!(
        text(&entry, "parentId") == "e457b5a2e4d86bd1" || text(&entry, "id") == "e457b5a2e4d86bd1",
        "the trace goes on from the caller's span: {spans:#?}"
    );
    for span in &spans {
        assert!(
            span["duration"].as_u64().is_some_and(|micros| micros > 0),
            "{span}"
        );
        assert!(span["timestamp"].as_u64().is_some(), "{span}");
    }
    assert_eq!(served["tags"]["http.status_code"], "200", "{served}");
    let mut services = zipkin
        .get("/api/v2/services")
        .await
        .as_array()
        .unwrap()
        .clone();
    services.sort_by_key(Value::to_string);
    assert_eq!(services, ["frontend.shop", "products.shop"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs zipkin"]
async fn zipkin_gets_a_span_for_a_denied_request_and_none_for_one_that_is_not_sampled() {
    let zipkin = Zipkin::start().await;
    let telemetry = format!(
        "---\nadapter: spans\ntype: zipkin\nconfig: {{ url: \"{}\" }}\n---\ntelemetry: everything\nfor: always\ntraces: {{ to: spans, sample: 100% }}\n",
        zipkin.url()
    );
    let mesh = mesh(&telemetry).await;
    let mut client = Client::http1(mesh.products.config.inbound).await.unwrap();
    let unsampled = with(
        get("products", "/products/1"),
        "b3",
        "00000000000000000000000000000abc-e457b5a2e4d86bd1-0",
    );
    assert_eq!(client.send(unsampled).await.unwrap().status.as_u16(), 200);
    let trace = "00000000000000000000000000000def";
    let denied = with(
        call(Method::GET, "products", "/secret", ""),
        "b3",
        &format!("{trace}-e457b5a2e4d86bd2-1"),
    );
    assert_eq!(client.send(denied).await.unwrap().status.as_u16(), 403);
    let spans = zipkin.trace(trace, 1).await;
    let tags: BTreeMap<String, Value> = serde_json::from_value(spans[0]["tags"].clone()).unwrap();
    assert_eq!(
        tags.get("http.status_code"),
        Some(&Value::from("403")),
        "{tags:?}"
    );
    let none = mixer_tests::http::fetch(
        zipkin.addr,
        "/api/v2/trace/00000000000000000000000000000abc",
    )
    .await
    .unwrap();
    assert_eq!(
        none.status.as_u16(),
        404,
        "not sampled, so not told of: {}",
        none.text()
    );
}
