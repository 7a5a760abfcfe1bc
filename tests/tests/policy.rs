//! Policy holds for every request, exactly: a thousand requests of both HTTP versions through two proxies, none decided otherwise
//! than the documents say, none counted twice or not at all.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http::Method;
use mixer_tests::http::{Answer, Client, call, get, with};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig, counter};
use mixer_tests::ports;
use mixer_tests::service::Service;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 10;
const EACH: usize = 100;

/// Documents of a service behind `inbound`; each of three customers may read 200 times a day.
fn documents(inbound: SocketAddr) -> Documents {
    let mesh = format!(
        r#"
mesh: {{ denials: {{ show: everyone }} }}
---
service: products.shop
hosts: [products]
endpoints: ["{inbound}"]
"#
    );
    let policy = r#"
policy: products
for: destination.service == "products.shop"
rules:
  - deny: nobody deletes products
    when: request.method == "DELETE"
  - deny: the warehouse is closed
    when: request.path.startsWith("/warehouse/")
    status: 404
    message: "nothing at {request.path}"
  - allow: products may be read
    when: request.method == "GET"
otherwise: { deny: products are only read }
quotas:
  - quota: reads per customer
    key: ['request.headers["x-customer"]']
    limit: 200 per day
"#;
    Documents::new([("mesh.yaml", mesh.as_str()), ("products.yaml", policy)])
}

struct Mesh {
    app: Service,
    mixer: Mixer,
    products: Proxy,
    frontend: Proxy,
    _documents: Documents,
}

async fn mesh() -> Mesh {
    let app = Service::echo("products").await;
    let inbound = ports::free();
    let documents = documents(inbound);
    let mixer = Mixer::serve(&documents).await;
    let mut products = ProxyConfig::new("products.shop", app.addr, mixer.grpc);
    products.inbound = inbound;
    let products = products.start().await;
    let frontend = ProxyConfig::new("frontend.shop", app.addr, mixer.grpc)
        .start()
        .await;
    Mesh {
        app,
        mixer,
        products,
        frontend,
        _documents: documents,
    }
}

/// What one answer counts as; anything the documents do not say is a failure.
fn outcome(method: &Method, path: &str, answer: &Answer) -> &'static str {
    match answer.status.as_u16() {
        200 => {
            assert_eq!(answer.json()["path"], path);
            "allowed"
        }
        403 if *method == Method::DELETE => {
            assert!(
                answer.text().contains("nobody deletes products"),
                "{}",
                answer.text()
            );
            "nobody deletes products"
        }
        403 => {
            assert!(
                answer.text().contains("products are only read"),
                "{}",
                answer.text()
            );
            "products are only read"
        }
        404 => {
            assert!(
                answer.text().contains(&format!("nothing at {path}")),
                "{}",
                answer.text()
            );
            "the warehouse is closed"
        }
        429 => {
            let after = answer
                .field("retry-after")
                .and_then(|after| after.parse::<u64>().ok());
            assert!(
                after.is_some_and(|after| after > 0 && after <= 86_400),
                "{answer:?}"
            );
            "limited"
        }
        _ => panic!("{method} {path}: {answer:?}"),
    }
}

/// Ten connections, half of them HTTP/2, send a hundred requests each.
async fn thousand_requests(outbound: SocketAddr) -> BTreeMap<&'static str, usize> {
    let mut connections = JoinSet::new();
    for connection in 0..CONNECTIONS {
        connections.spawn(async move {
            let client = if connection % 2 == 0 {
                Client::http1(outbound).await
            } else {
                Client::http2(outbound).await
            };
            let mut client = client.unwrap();
            let mut outcomes = Vec::new();
            for number in 0..EACH {
                let (method, path) = match number % 10 {
                    0 => (Method::DELETE, format!("/products/{number}")),
                    1 => (Method::GET, format!("/warehouse/{connection}/{number}")),
                    2 => (Method::POST, "/products".to_owned()),
                    _ => (Method::GET, format!("/products/{}", number % 7)),
                };
                let customer = ["ann", "bob", "eve"][number % 3];
                let request = with(
                    call(method.clone(), "products", &path, ""),
                    "x-customer",
                    customer,
                );
                let answer = client.send(request).await.unwrap();
                outcomes.push(outcome(&method, &path, &answer));
            }
            outcomes
        });
    }
    let mut counts = BTreeMap::new();
    while let Some(outcomes) = connections.join_next().await {
        for outcome in outcomes.unwrap() {
            *counts.entry(outcome).or_default() += 1;
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_are_allowed_denied_and_limited_exactly() {
    let mesh = mesh().await;
    let counts = thousand_requests(mesh.frontend.config.outbound).await;
    // Of the 700 allowed reads some customer each makes more than 200: 70 numbers out of 100 per connection, by number % 3.
    let reads = |customer: usize| {
        (0..EACH)
            .filter(|number| number % 10 > 2 && number % 3 == customer)
            .count()
            * CONNECTIONS
    };
    let limited: usize = (0..3)
        .map(|customer| reads(customer).saturating_sub(200))
        .sum();
    assert_eq!(
        (reads(0) + reads(1) + reads(2), limited),
        (700, 100),
        "the test asks what it means to ask"
    );
    let expected = [
        ("allowed", 600),
        ("limited", limited),
        ("nobody deletes products", 100),
        ("products are only read", 100),
        ("the warehouse is closed", 100),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
    assert_eq!(
        mesh.app.received(),
        600,
        "what was refused must not reach the application, what was allowed must, once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_limit_stays_spent_for_every_connection_and_costs_refusals_nothing() {
    let mesh = mesh().await;
    let outbound = mesh.frontend.config.outbound;
    let read = || with(get("products", "/products/1"), "x-customer", "ann");
    let mut client = Client::http1(outbound).await.unwrap();
    for _ in 0..5 {
        let refused = with(
            call(Method::DELETE, "products", "/products/1", ""),
            "x-customer",
            "ann",
        );
        assert_eq!(client.send(refused).await.unwrap().status.as_u16(), 403);
    }
    for _ in 0..200 {
        assert_eq!(client.send(read()).await.unwrap().status.as_u16(), 200);
    }
    assert_eq!(client.send(read()).await.unwrap().status.as_u16(), 429);
    let mut other = Client::http2(outbound).await.unwrap();
    assert_eq!(other.send(read()).await.unwrap().status.as_u16(), 429);
    let bob = with(get("products", "/products/1"), "x-customer", "bob");
    assert_eq!(
        other.send(bob).await.unwrap().status.as_u16(),
        200,
        "another customer has a counter of its own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_callers_read_denials_in_their_own_words_and_get_trailers() {
    let mesh = mesh().await;
    let mut client = Client::http2(mesh.frontend.config.outbound).await.unwrap();
    let grpc = |path: &str| {
        with(
            call(Method::POST, "products", path, "12345"),
            "content-type",
            "application/grpc",
        )
    };
    let denied = client.send(grpc("/shop.Products/Get")).await.unwrap();
    assert_eq!(
        denied.status.as_u16(),
        200,
        "gRPC says it in grpc-status: {denied:?}"
    );
    assert_eq!(denied.field("grpc-status"), Some("7"), "{denied:?}");
    assert!(
        denied
            .field("grpc-message")
            .is_some_and(|message| message.contains("only read")),
        "{denied:?}"
    );
    assert_eq!(mesh.app.received(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_applies_trailers_and_bodies_pass_and_nobody_is_asked() {
    let app = Service::echo("reviews").await;
    let inbound = ports::free();
    let service = format!("service: reviews.shop\nhosts: [reviews]\nendpoints: [\"{inbound}\"]\n");
    let documents = Documents::new([("mesh.yaml", service)]);
    let mixer = Mixer::serve(&documents).await;
    let mut config = ProxyConfig::new("reviews.shop", app.addr, mixer.grpc);
    config.inbound = inbound;
    let _reviews = config.start().await;
    let frontend = ProxyConfig::new("frontend.shop", app.addr, mixer.grpc)
        .start()
        .await;

    let mut client = Client::http2(frontend.config.outbound).await.unwrap();
    let request = with(
        call(Method::POST, "reviews", "/shop.Reviews/Get", "12345"),
        "content-type",
        "application/grpc",
    );
    let answer = client.send(request).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "12345")
    );
    assert_eq!(
        answer
            .trailers
            .get("grpc-status")
            .map(|status| status.as_bytes()),
        Some(&b"0"[..]),
        "{answer:?}"
    );
    assert_eq!(
        answer.trailers.get("echo").map(|name| name.as_bytes()),
        Some(&b"reviews"[..]),
        "{answer:?}"
    );

    let checks = counter(
        &mixer.admin("/metrics").await.text(),
        "mixer_check_total",
        &[],
    );
    assert_eq!(checks, 0.0, "no rule applies, so nothing is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn most_decisions_come_from_the_proxys_cache() {
    let mesh = mesh().await;
    thousand_requests(mesh.frontend.config.outbound).await;
    let metrics = mesh.mixer.admin("/metrics").await.text();
    let checks = counter(&metrics, "mixer_check_total", &[]);
    println!("1,000 requests, {checks} checks asked");
    // Distinct by what rules read: 10 x 10 deleted, closed and 7 read paths for 3 customers; the rest must come from the cache.
    assert!(
        checks > 0.0 && checks < 500.0,
        "{checks} checks for 1,000 requests\n{metrics}"
    );
    assert!(mesh.products.admin("/metrics").await.status.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_over_a_service_needs_no_permission_and_nobody_else_gets_by() {
    let app = Service::echo("products").await;
    let service = "service: products.shop\nprobes: { paths: [/healthz], from: [127.0.0.0/8] }\n";
    let policy = "policy: closed\nfor: destination.service == \"products.shop\"\nrules: [{ deny: nobody }]\n";
    let documents = Documents::new([("service.yaml", service), ("policy.yaml", policy)]);
    let mixer = Mixer::serve(&documents).await;
    let proxy = ProxyConfig::new("products.shop", app.addr, mixer.grpc)
        .start()
        .await;
    let mut client = Client::http1(proxy.config.inbound).await.unwrap();
    for (method, path, status) in [
        (Method::GET, "/healthz", 200),
        (Method::HEAD, "/healthz", 200),
        (Method::POST, "/healthz", 403),
        (Method::GET, "/healthz/../admin", 403),
        (Method::GET, "/", 403),
    ] {
        let answer = client
            .send(call(method.clone(), "products", path, ""))
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
    assert_eq!(app.received(), 2);
    // A document that no longer says so is followed.
    documents.write("service.yaml", "service: products.shop\n");
    mixer_tests::wait::until("probes are nothing special", async || {
        let answer = client.send(get("products", "/healthz")).await.unwrap();
        (answer.status == 403).then_some(())
    })
    .await;
}
