//! The rate limit service as Envoy's messages ask it.

use std::collections::HashMap;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{
    Entry, RateLimitOverride,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, rate_limit::Unit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::UInt64Value;
use envoy_types::pb::google::protobuf::value::Kind;
use mixer::serve::Limits;
use mixer_proto::v1;
use tonic::Code as Grpc;
use tonic::transport::Channel;

use crate::mesh::{Mesh, PRODUCTS, SERVICE, request_from};

const EDGE: &str = r#"
policy: edge
for: rate_limit.domain == "edge"
quotas:
  - quota: two a day for each user
    id: per-user
    when: 'rate_limit.keys == ["user"]'
    key: ['rate_limit.descriptor["user"]']
    limit: 2 per day
  - quota: four an hour for a pair of generic keys
    when: 'rate_limit.values == ["a", "b"]'
    key: []
    limit: 4 per hour
  - quota: one in ten seconds
    when: 'rate_limit.descriptor[?"slow"].orValue("") == "yes"'
    key: []
    limit: 1 per 10s
  - quota: three a day on trial
    mode: shadow
    when: '"trial" in rate_limit.descriptor'
    key: []
    limit: 3 per day
  - quota: ten tokens a day
    when: '"tokens" in rate_limit.descriptor'
    key: []
    limit: 10 per day
    cost: rate_limit.hits * 2
"#;

struct Limiter {
    mesh: Mesh,
    client: RateLimitServiceClient<Channel>,
}

impl Limiter {
    async fn new(documents: &str) -> Self {
        let mesh = Mesh::new(&[("edge.yaml", documents)]).await;
        let client = client(&mesh).await;
        Self { mesh, client }
    }

    async fn ask(&mut self, descriptors: Vec<RateLimitDescriptor>) -> RateLimitResponse {
        let request = RateLimitRequest {
            domain: "edge".to_owned(),
            descriptors,
            hits_addend: 0,
        };
        let answer = self.client.should_rate_limit(request).await;
        answer.unwrap().into_inner()
    }

    /// The status of one descriptor alone.
    async fn one(&mut self, descriptor: RateLimitDescriptor) -> DescriptorStatus {
        let mut answer = self.ask(vec![descriptor]).await;
        assert_eq!(answer.overall_code, answer.statuses[0].code);
        answer.statuses.remove(0)
    }
}

async fn client(mesh: &Mesh) -> RateLimitServiceClient<Channel> {
    RateLimitServiceClient::connect(format!("http://{}", mesh.mixer.grpc()))
        .await
        .unwrap()
}

fn of(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    RateLimitDescriptor {
        entries: entries.iter().map(entry).collect(),
        ..RateLimitDescriptor::default()
    }
}

fn hits(entries: &[(&str, &str)], value: u64) -> RateLimitDescriptor {
    RateLimitDescriptor {
        hits_addend: Some(UInt64Value { value }),
        ..of(entries)
    }
}

fn code(status: &DescriptorStatus) -> Code {
    Code::try_from(status.code).unwrap()
}

#[tokio::test]
async fn every_descriptor_is_judged_alone_and_has_its_status_in_order() {
    let mut limiter = Limiter::new(EDGE).await;
    let asked = || {
        vec![
            of(&[("user", "ann")]),
            of(&[("nobody", "knows")]),
            of(&[("generic_key", "a"), ("generic_key", "b")]),
        ]
    };
    for _ in 0..2 {
        let answer = limiter.ask(asked()).await;
        assert_eq!(answer.overall_code(), Code::Ok);
        assert!(answer.dynamic_metadata.is_none() && answer.raw_body.is_empty());
    }
    let answer = limiter.ask(asked()).await;
    assert_eq!(answer.overall_code(), Code::OverLimit);
    let codes: Vec<_> = answer.statuses.iter().map(code).collect();
    assert_eq!(codes, [Code::OverLimit, Code::Ok, Code::Ok]);

    let user = answer.statuses[0].current_limit.as_ref().unwrap();
    assert_eq!(
        (&*user.name, user.requests_per_unit, user.unit()),
        ("two a day for each user", 2, Unit::Day)
    );
    assert_eq!(answer.statuses[0].limit_remaining, 0);
    let wait = answer.statuses[0].duration_until_reset.as_ref().unwrap();
    assert!((1..=86_400).contains(&wait.seconds), "{wait:?}");
    assert_eq!(answer.statuses[1].current_limit, None);
    let pair = answer.statuses[2].current_limit.as_ref().unwrap();
    assert_eq!((pair.requests_per_unit, pair.unit()), (4, Unit::Hour));
    // The pair was charged each time: what another descriptor met is not its business.
    assert_eq!(answer.statuses[2].limit_remaining, 1);

    let metadata: HashMap<_, _> = answer.dynamic_metadata.unwrap().fields;
    let said = |name: &str| match &metadata[name].kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(
        (&*said("policy"), &*said("quota")),
        ("edge", "two a day for each user")
    );
    assert_eq!(said("because"), "quota");
    let body = String::from_utf8(answer.raw_body).unwrap();
    assert_eq!(body, format!("access denied ({})", said("decision")));

    // Another user has a counter of its own.
    assert_eq!(code(&limiter.one(of(&[("user", "bob")])).await), Code::Ok);
    let counted = |name| format!(r#"mixer_rate_limit_descriptors_total{{outcome="{name}"}}"#);
    let mesh = &limiter.mesh;
    assert_eq!(mesh.metric(&counted("over_limit")).await, Some(1.0));
    assert_eq!(mesh.metric(&counted("unmatched")).await, Some(3.0));
    assert_eq!(mesh.metric(&counted("ok")).await, Some(6.0));
    let refused = r#"mixer_rate_limit_refusals_total{policy="edge",quota="per-user"}"#;
    assert_eq!(mesh.metric(refused).await, Some(1.0));
}

#[tokio::test]
async fn exact_depth_and_order_are_kept_apart() {
    let mut limiter = Limiter::new(EDGE).await;
    for other in [
        of(&[("user", "ann"), ("path", "/")]),
        of(&[("generic_key", "b"), ("generic_key", "a")]),
        of(&[("generic_key", "a")]),
    ] {
        assert_eq!(limiter.one(other).await.current_limit, None);
    }
}

#[tokio::test]
async fn hits_are_spent_peeked_at_and_given_back() {
    let mut limiter = Limiter::new(EDGE).await;
    let tokens = [("tokens", "1")];
    assert_eq!(limiter.one(hits(&tokens, 3)).await.limit_remaining, 4);
    // Refused, and nothing is consumed.
    let refused = limiter.one(hits(&tokens, 3)).await;
    assert_eq!(
        (code(&refused), refused.limit_remaining),
        (Code::OverLimit, 4)
    );
    let peeked = limiter.one(hits(&tokens, 0)).await;
    assert_eq!((code(&peeked), peeked.limit_remaining), (Code::Ok, 4));
    assert_eq!(limiter.one(hits(&tokens, 2)).await.limit_remaining, 0);
    assert_eq!(code(&limiter.one(hits(&tokens, 0)).await), Code::OverLimit);
    let back = RateLimitDescriptor {
        is_negative_hits: true,
        ..hits(&tokens, 1)
    };
    let back = limiter.one(back).await;
    assert_eq!((code(&back), back.limit_remaining), (Code::Ok, 2));

    // The request's own hits count for descriptors that say nothing.
    let request = RateLimitRequest {
        domain: "edge".to_owned(),
        descriptors: vec![of(&[("user", "cat")]), hits(&[("user", "dog")], 1)],
        hits_addend: 2,
    };
    let answer = limiter.client.should_rate_limit(request).await.unwrap();
    let left: Vec<_> = answer
        .into_inner()
        .statuses
        .iter()
        .map(|status| status.limit_remaining)
        .collect();
    assert_eq!(left, [0, 1]);
}

#[tokio::test]
async fn a_limit_in_the_descriptor_stands_in_for_the_configured_one() {
    let mut limiter = Limiter::new(EDGE).await;
    let with = |requests_per_unit| RateLimitDescriptor {
        limit: Some(RateLimitOverride {
            requests_per_unit,
            unit: Unit::Hour.into(),
        }),
        ..of(&[("user", "ann")])
    };
    let status = limiter.one(with(100)).await;
    let limit = status.current_limit.unwrap();
    assert_eq!((limit.requests_per_unit, limit.unit()), (100, Unit::Hour));
    assert_eq!(status.limit_remaining, 99);
    assert_eq!(code(&limiter.one(with(1)).await), Code::OverLimit);
}

#[tokio::test]
async fn a_window_without_a_unit_is_given_as_unknown() {
    let mut limiter = Limiter::new(EDGE).await;
    let limit = limiter
        .one(of(&[("slow", "yes")]))
        .await
        .current_limit
        .unwrap();
    assert_eq!((limit.requests_per_unit, limit.unit()), (1, Unit::Unknown));
}

#[tokio::test]
async fn shadow_quotas_are_counted_and_limit_nobody() {
    let mut limiter = Limiter::new(EDGE).await;
    for _ in 0..5 {
        let status = limiter.one(of(&[("trial", "1")])).await;
        assert_eq!((code(&status), status.current_limit), (Code::Ok, None));
    }
    let would = |outcome| {
        format!(
            r#"mixer_shadow_decisions_total{{destination_service="edge",policy="edge",rule="edge/three a day on trial",outcome="{outcome}"}}"#
        )
    };
    assert_eq!(limiter.mesh.metric(&would("same")).await, Some(3.0));
    assert_eq!(limiter.mesh.metric(&would("would_deny")).await, Some(2.0));
}

#[tokio::test]
async fn a_message_without_domain_or_descriptors_is_an_error_and_never_a_pass() {
    let mut limiter = Limiter::new(EDGE).await;
    let no_domain = RateLimitRequest {
        descriptors: vec![of(&[("user", "ann")])],
        ..RateLimitRequest::default()
    };
    let no_descriptors = RateLimitRequest {
        domain: "edge".to_owned(),
        ..RateLimitRequest::default()
    };
    for request in [no_domain, no_descriptors] {
        let refused = limiter.client.should_rate_limit(request).await.unwrap_err();
        assert_eq!(refused.code(), Grpc::InvalidArgument);
    }
    let counted = r#"mixer_request_failures_total{method="rate_limit",reason="malformed"}"#;
    assert_eq!(limiter.mesh.metric(counted).await, Some(2.0));
}

#[tokio::test]
async fn beyond_the_places_there_are_it_is_an_error_that_is_counted() {
    let none = Limits {
        in_flight: 0,
        ..Limits::default()
    };
    let mesh = Mesh::with_limits(&[("edge.yaml", EDGE)], none).await;
    let request = RateLimitRequest {
        domain: "edge".to_owned(),
        descriptors: vec![of(&[("user", "ann")])],
        hits_addend: 0,
    };
    let refused = client(&mesh).await.should_rate_limit(request).await;
    assert_eq!(refused.unwrap_err().code(), Grpc::ResourceExhausted);
    let counted = r#"mixer_request_failures_total{method="rate_limit",reason="overloaded"}"#;
    assert_eq!(mesh.metric(counted).await, Some(1.0));
}

#[tokio::test]
async fn what_cannot_be_charged_is_over_the_limit() {
    let documents = r#"
policy: edge
for: rate_limit.domain == "edge"
quotas:
  - quota: by plan
    key: ['rate_limit.descriptor["user"]']
    absent: deny
    limit: 2 per day
"#;
    let mut limiter = Limiter::new(documents).await;
    let answer = limiter.ask(vec![of(&[("path", "/")])]).await;
    assert_eq!(answer.overall_code(), Code::OverLimit);
    assert_eq!(answer.statuses[0].current_limit, None);
    // Nobody picks a counter, or none, by giving a key twice.
    let twice = limiter.ask(vec![of(&[("user", "a"), ("user", "b")])]).await;
    assert_eq!(twice.overall_code(), Code::OverLimit);
}

#[tokio::test]
async fn words_are_told_where_the_mesh_shows_them_to_all() {
    let documents = r#"
policy: edge
for: rate_limit.domain == "edge"
quotas:
  - quota: nothing more
    key: []
    limit: 1 per day
    message: "{rate_limit.descriptor.user} had enough"
    headers: { x-limited-by: mixer }
---
mesh: { denials: { show: everyone } }
"#;
    let mut limiter = Limiter::new(documents).await;
    limiter.one(of(&[("user", "ann")])).await;
    let answer = limiter.ask(vec![of(&[("user", "ann")])]).await;
    assert_eq!(answer.raw_body, b"ann had enough");
    let headers: Vec<_> = answer
        .response_headers_to_add
        .iter()
        .map(|header| (&*header.key, &*header.value))
        .collect();
    assert_eq!(
        headers,
        [("x-limited-by", "mixer"), ("content-type", "text/plain")]
    );
}

#[tokio::test]
async fn it_works_beside_check_and_neither_meets_the_other() {
    let quota = r#"
policy: all requests
for: always
quotas:
  - quota: one request
    key: []
    limit: 1 per day
"#;
    let files = [
        ("edge.yaml", EDGE),
        ("all.yaml", quota),
        ("products.yaml", PRODUCTS),
        ("service.yaml", SERVICE),
    ];
    let mut mesh = Mesh::new(&files).await;
    let mut client = client(&mesh).await;
    for _ in 0..2 {
        let request = RateLimitRequest {
            domain: "edge".to_owned(),
            descriptors: vec![of(&[("unknown", "x")])],
            hits_addend: 0,
        };
        let answer = client
            .should_rate_limit(request)
            .await
            .unwrap()
            .into_inner();
        // `for: always` is about services, not about descriptors.
        assert_eq!(answer.statuses[0].current_limit, None);
    }
    let decision = mesh.check(request_from("shop")).await;
    assert_eq!(decision.verdict(), v1::Verdict::Allow);
    let quotas: Vec<_> = decision
        .charges
        .iter()
        .map(|charge| &*charge.quota)
        .collect();
    assert_eq!(quotas, ["all requests/one request"]);
}
