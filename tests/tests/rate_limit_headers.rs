//! What callers are told of their limits, through the real proxy: from Mixer's answer, from what the proxy holds in advance, and
//! when the limit is spent.

#![allow(clippy::unwrap_used)]

use mixer_tests::http::{Answer, Client, get, with};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::ports;
use mixer_tests::service::Service;

const POLICY: &str = r#"
policy: products
for: destination.service == "products.shop"
quotas:
  - quota: reads per customer
    key: ['request.headers["x-customer"]']
    limit: 3 per day
    tell: both
  - quota: reads of all
    key: []
    limit: 1000000 per day
    tell: RateLimit
  - quota: nobody is told
    key: []
    limit: 1000000 per day
"#;

struct Mesh {
    client: Client,
    _products: Proxy,
    _app: Service,
    _mixer: Mixer,
    _documents: Documents,
}

async fn mesh(policy: &str) -> Mesh {
    let app = Service::echo("products").await;
    let documents = Documents::new([("products.yaml", policy)]);
    let mixer = Mixer::serve(&documents).await;
    let mut config = ProxyConfig::new("products.shop", app.addr, mixer.grpc);
    config.inbound = ports::free();
    let products = config.start().await;
    Mesh {
        client: Client::http1(products.config.inbound).await.unwrap(),
        _products: products,
        _app: app,
        _mixer: mixer,
        _documents: documents,
    }
}

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .field(name)
        .unwrap_or_else(|| panic!("no {name}: {answer:?}"))
}

/// The value of a parameter of a limit in `RateLimit` or `RateLimit-Policy`.
fn parameter(answer: &Answer, header: &str, sentence: &str, name: &str) -> u64 {
    let quoted = format!("\"{sentence}\"");
    let member = field(answer, header)
        .split(", ")
        .find_map(|member| member.strip_prefix(&quoted))
        .unwrap_or_else(|| panic!("no {sentence}: {answer:?}"));
    let value = member
        .split(';')
        .find_map(|parameter| parameter.strip_prefix(&format!("{name}=")));
    value.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_is_left() {
    let mut mesh = mesh(POLICY).await;
    let mine = "reads per customer";
    for left in [2, 1, 0] {
        let answer = mesh
            .client
            .send(with(get("products", "/"), "x-customer", "ann"))
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(parameter(&answer, "ratelimit", mine, "r"), left);
        assert_eq!(parameter(&answer, "ratelimit-policy", mine, "q"), 3);
        assert_eq!(parameter(&answer, "ratelimit-policy", mine, "w"), 86_400);
        assert!(parameter(&answer, "ratelimit", mine, "t") <= 86_400);
        let all = parameter(&answer, "ratelimit", "reads of all", "r");
        assert!((900_000..1_000_000).contains(&all), "{all}");
        assert!(!field(&answer, "ratelimit").contains("nobody"));
        assert_eq!(
            (
                field(&answer, "x-ratelimit-limit"),
                field(&answer, "x-ratelimit-remaining")
            ),
            (
                "3, 3;w=86400;name=\"reads per customer\"",
                left.to_string().as_str()
            )
        );
    }
    // The first is refused by Mixer, the second by what the proxy remembers of that.
    for _ in 0..2 {
        let answer = mesh
            .client
            .send(with(get("products", "/"), "x-customer", "ann"))
            .await
            .unwrap();
        assert_eq!(answer.status, 429);
        assert_eq!(parameter(&answer, "ratelimit", mine, "r"), 0);
        let again = field(&answer, "retry-after").parse::<u64>().unwrap();
        assert_eq!(parameter(&answer, "ratelimit", mine, "t"), again);
        assert_eq!(
            field(&answer, "x-ratelimit-reset"),
            again.to_string().as_str()
        );
    }
    let other = mesh
        .client
        .send(with(get("products", "/"), "x-customer", "ben"))
        .await
        .unwrap();
    assert_eq!(parameter(&other, "ratelimit", mine, "r"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_in_advance_counts_as_left() {
    let policy = r#"
policy: products
for: destination.service == "products.shop"
quotas:
  - quota: reads
    key: []
    limit: 100000 per day
    lease: 50
    tell: X-RateLimit
"#;
    let mut mesh = mesh(policy).await;
    // Alone on the counter, so each request leaves one less, whoever counted it.
    for passed in 1..=300u64 {
        let answer = mesh.client.send(get("products", "/")).await.unwrap();
        let left: u64 = field(&answer, "x-ratelimit-remaining").parse().unwrap();
        // What goes back or is on its way is in nobody's count for a moment.
        let most = 100_000 - passed;
        assert!(
            left <= most && left + 100 >= most,
            "{left} after {passed} requests"
        );
        assert!(answer.field("ratelimit").is_none());
    }
}
