//! A real Envoy asks Mixer's rate limit service: what its callers see.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;
use mixer_tests::http::{Answer, Client, call, get, with};
use mixer_tests::mesh::{Documents, Mixer, counter};
use mixer_tests::ports;
use mixer_tests::servers::Envoy;
use mixer_tests::service::Service;

const EDGE: &str = r#"
policy: edge
for: rate_limit.domain == "edge"
quotas:
  - quota: two a day for each user
    when: rate_limit.keys == ["user"]
    key: ['rate_limit.descriptor["user"]']
    limit: 2 per day
  - quota: one search a day
    when: rate_limit.descriptor[?"path"].orValue("") == "/search"
    key: []
    limit: 1 per day
    message: search is for tomorrow
  - quota: one a day on trial
    mode: shadow
    when: rate_limit.descriptor[?"path"].orValue("") == "/trial"
    key: []
    limit: 1 per day
---
mesh: { denials: { show: everyone } }
"#;

struct Edge {
    mixer: Mixer,
    envoy: Envoy,
    _app: Service,
    _documents: Documents,
}

impl Edge {
    async fn new(options: &str) -> Self {
        let documents = Documents::new([("edge.yaml", EDGE)]);
        let mixer = Mixer::serve(&documents).await;
        let app = Service::echo("app").await;
        let envoy = Envoy::rate_limited(app.addr, mixer.grpc, options).await;
        Self {
            mixer,
            envoy,
            _app: app,
            _documents: documents,
        }
    }

    async fn get(&self, user: Option<&str>, path: &str) -> Answer {
        ask(self.envoy.addr, user, path).await
    }
}

async fn ask(envoy: SocketAddr, user: Option<&str>, path: &str) -> Answer {
    let mut request = get("app", path);
    if let Some(user) = user {
        request = with(request, "x-user", user);
    }
    let mut client = Client::http1(envoy).await.unwrap();
    client.send(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy"]
async fn envoy_tells_its_callers_what_is_left_and_refuses_with_429() {
    let edge =
        Edge::new("enable_x_ratelimit_headers: DRAFT_VERSION_03, enable_retry_after_header: true,")
            .await;
    for left in ["1", "0"] {
        let answer = edge.get(Some("ann"), "/").await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.field("x-ratelimit-limit"),
            Some(r#"2, 2;w=86400;name="two a day for each user""#)
        );
        assert_eq!(answer.field("x-ratelimit-remaining"), Some(left));
        assert_eq!(answer.field("retry-after"), None);
    }
    let refused = edge.get(Some("ann"), "/").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.field("x-envoy-ratelimited"), Some("true"));
    assert_eq!(refused.field("x-ratelimit-remaining"), Some("0"));
    assert_eq!(refused.text(), "two a day for each user");
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{wait}");
    assert_eq!(edge.get(Some("bob"), "/").await.status, 200);

    let metrics = edge.mixer.admin("/metrics").await.text();
    let name = "mixer_rate_limit_refusals_total";
    assert_eq!(counter(&metrics, name, &[("policy", "edge")]), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy"]
async fn envoy_refuses_when_one_of_its_descriptors_is_over_and_not_for_what_is_in_shadow() {
    let edge = Edge::new("").await;
    assert_eq!(edge.get(Some("ann"), "/search").await.status, 200);
    let refused = edge.get(Some("ann"), "/search").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.text(), "search is for tomorrow");
    // Without the header there is one descriptor.
    assert_eq!(edge.get(None, "/search").await.status, 429);
    for _ in 0..3 {
        assert_eq!(edge.get(None, "/trial").await.status, 200);
    }
    let metrics = edge.mixer.admin("/metrics").await.text();
    let would = [("outcome", "would_deny"), ("policy", "edge")];
    assert_eq!(
        counter(&metrics, "mixer_shadow_decisions_total", &would),
        2.0
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy"]
async fn envoy_refuses_a_grpc_caller_with_resource_exhausted() {
    let edge = Edge::new("rate_limited_as_resource_exhausted: true,").await;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let request = call(
            Method::POST,
            "app",
            "/search",
            Bytes::from_static(b"\0\0\0\0\0"),
        );
        let request = with(request, "content-type", "application/grpc");
        let mut client = Client::http2(edge.envoy.addr).await.unwrap();
        let answer = client.send(request).await.unwrap();
        statuses.push((
            answer.status.as_u16(),
            answer.field("grpc-status").map(str::to_owned),
        ));
    }
    // The application speaks HTTP/1.1 here, which has no trailers to say 0 in.
    assert_ne!(statuses[0].1.as_deref(), Some("8"));
    assert_eq!(statuses[1], (200, Some("8".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs envoy"]
async fn envoy_passes_or_refuses_as_it_was_told_where_nobody_answers() {
    let app = Service::echo("app").await;
    let nobody = ports::free();
    let open = Envoy::rate_limited(app.addr, nobody, "").await;
    assert_eq!(ask(open.addr, Some("ann"), "/").await.status, 200);
    let closed = Envoy::rate_limited(app.addr, nobody, "failure_mode_deny: true,").await;
    assert_eq!(ask(closed.addr, Some("ann"), "/").await.status, 500);
}
