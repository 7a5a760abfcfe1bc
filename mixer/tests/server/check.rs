//! Check and Quota: answers, and what is no answer.

use mixer::serve::Limits;
use mixer_attributes::vocabulary as v;
use mixer_proto::v1;
use tonic::Code;

use crate::mesh::{Mesh, PRODUCTS, SERVICE, request_from, text, watch_products};

const QUOTA: &str = r#"
policy: spending
for: destination.service == "products.shop"
quotas:
  - quota: three per namespace
    id: three
    key: [source.namespace]
    limit: 3 per day
"#;

#[tokio::test]
async fn a_denial_is_an_answer_and_carries_what_proxies_need() {
    let mut mesh = Mesh::new(&[("products.yaml", PRODUCTS), ("service.yaml", SERVICE)]).await;
    let denied = mesh.check(request_from("sandbox")).await;
    assert_eq!(
        (denied.verdict(), denied.because()),
        (v1::Verdict::Deny, v1::Because::Matched)
    );
    assert_eq!(
        (&*denied.policy, &*denied.rule),
        ("products", "nobody from the sandbox")
    );
    assert_eq!((denied.http_status, denied.grpc_status), (403, 7));
    assert!(!denied.id.is_empty());
    let read: Vec<_> = denied
        .referenced
        .iter()
        .map(|read| (read.id, read.present))
        .collect();
    assert!(
        read.contains(&(v::SOURCE_NAMESPACE.number().into(), true)),
        "{read:?}"
    );

    let allowed = mesh.check(request_from("shop")).await;
    assert_eq!(
        (allowed.verdict(), allowed.because()),
        (v1::Verdict::Allow, v1::Because::Default)
    );
    assert_eq!(
        mesh.metric(r#"mixer_check_total{verdict="deny",because="matched"}"#)
            .await,
        Some(1.0)
    );
    assert_eq!(
        mesh.metric(r#"mixer_check_total{verdict="allow",because="default"}"#)
            .await,
        Some(1.0)
    );
    assert_eq!(
        mesh.metric("mixer_check_duration_seconds_count").await,
        Some(2.0)
    );
}

#[tokio::test]
async fn a_service_belongs_to_the_namespace_that_its_document_names() {
    let service = format!("{SERVICE}namespace: vault\n");
    let policy = r#"
policy: vault
for: destination.namespace == "vault"
rules:
  - deny: nobody enters the vault
    when: destination.namespace == "vault"
"#;
    let mut mesh = Mesh::new(&[("vault.yaml", policy), ("service.yaml", &service)]).await;
    let mut states = mesh
        .client
        .watch(watch_products("p"))
        .await
        .unwrap()
        .into_inner();
    let inbound = states.message().await.unwrap().unwrap().inbound.unwrap();
    assert!(inbound.rules);
    // The proxy was told otherwise, or nothing.
    let otherwise = request_from("shop");
    let mut nothing = otherwise.clone();
    nothing.retain(|attribute| attribute.id != u32::from(v::DESTINATION_NAMESPACE.number()));
    assert!(nothing.len() < otherwise.len());
    for request in [otherwise, nothing] {
        let decision = mesh.check(request).await;
        assert_eq!(decision.verdict(), v1::Verdict::Deny);
        assert_eq!(decision.revision, inbound.revision);
    }
}

#[tokio::test]
async fn decisions_carry_the_revision_that_watch_announces() {
    let mut mesh = Mesh::new(&[("products.yaml", PRODUCTS), ("service.yaml", SERVICE)]).await;
    let mut states = mesh
        .client
        .watch(watch_products("p"))
        .await
        .unwrap()
        .into_inner();
    let state = states.message().await.unwrap().unwrap();
    let inbound = state.inbound.unwrap();
    assert_eq!(
        inbound.revision,
        mesh.check(request_from("shop")).await.revision
    );
    assert!(inbound.rules && !inbound.quotas);
    assert_eq!(state.version, 1);
    assert_eq!(
        state.documents.len(),
        2,
        "mesh and one service: {:?}",
        state.documents
    );
    assert!(state.outbound_default.is_some());
}

#[tokio::test]
async fn a_malformed_request_is_refused_with_its_field_and_counted() {
    let mut mesh = Mesh::new(&[("products.yaml", PRODUCTS)]).await;
    let mut attributes = request_from("shop");
    attributes.push(v1::Attribute {
        id: v::REQUEST_PATH.number().into(),
        name: String::new(),
        value: Some(v1::attribute::Value::Int(3)),
    });
    let request = v1::CheckRequest {
        attributes,
        ..v1::CheckRequest::default()
    };
    let status = mesh.client.check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "attributes[5] (request.path): is int, must be string"
    );
    let watch = v1::WatchRequest {
        client: "p".to_owned(),
        inbound: vec![text(v::DESTINATION_PORT, "x")],
    };
    let status = mesh.client.watch(watch).await.unwrap_err();
    assert_eq!(
        status.message(),
        "inbound[0] (destination.port): is string, must be int"
    );
    assert_eq!(
        mesh.metric(r#"mixer_request_failures_total{method="check",reason="malformed"}"#)
            .await,
        Some(1.0)
    );
    assert_eq!(
        mesh.metric(r#"mixer_request_failures_total{method="watch",reason="malformed"}"#)
            .await,
        Some(1.0)
    );
}

#[tokio::test]
async fn overload_is_refused_early_under_its_own_name() {
    let limits = Limits {
        in_flight: 0,
        subscribers: 0,
        report_bytes: 0,
        ..Limits::default()
    };
    let mut mesh = Mesh::with_limits(&[("products.yaml", PRODUCTS)], limits).await;
    let report = v1::ReportRequest {
        client: "p".to_owned(),
        sequence: 1,
        ..v1::ReportRequest::default()
    };
    let statuses = [
        mesh.client
            .check(v1::CheckRequest::default())
            .await
            .unwrap_err(),
        mesh.client
            .quota(v1::QuotaRequest::default())
            .await
            .unwrap_err(),
        mesh.client.report(report).await.unwrap_err(),
        mesh.client
            .watch(v1::WatchRequest::default())
            .await
            .unwrap_err(),
    ];
    for (status, method) in statuses.iter().zip(["check", "quota", "report", "watch"]) {
        assert_eq!(
            (status.code(), status.message()),
            (Code::ResourceExhausted, "overloaded"),
            "{method}"
        );
        let sample =
            format!(r#"mixer_request_failures_total{{method="{method}",reason="overloaded"}}"#);
        assert_eq!(mesh.metric(&sample).await, Some(1.0), "{method}");
    }
    assert_eq!(
        mesh.metric("mixer_check_in_flight").await,
        Some(0.0),
        "places are given back"
    );
}

#[tokio::test]
async fn take_spends_what_the_decision_charges_once_per_dedup_id() {
    let mut mesh = Mesh::new(&[("products.yaml", PRODUCTS), ("quota.yaml", QUOTA)]).await;
    let ask = |dedup_id: &str| v1::CheckRequest {
        attributes: request_from("shop"),
        take: true,
        dedup_id: dedup_id.to_owned(),
        client: "p".to_owned(),
        ..v1::CheckRequest::default()
    };
    let mut outcomes = Vec::new();
    for dedup_id in ["1", "1", "2", "3", "4"] {
        let answer = mesh.client.check(ask(dedup_id)).await.unwrap().into_inner();
        let decision = answer.decision.unwrap();
        assert_eq!(
            decision.verdict(),
            v1::Verdict::Allow,
            "the decision may be kept; the grant is for this request"
        );
        assert_eq!((decision.charges.len(), answer.grants.len()), (1, 1));
        assert_eq!(
            (&*decision.charges[0].quota, &decision.charges[0].key[..]),
            ("three", &["shop".to_owned()][..])
        );
        assert_eq!(
            (decision.charges[0].amount, decision.charges[0].cost),
            (3, 1)
        );
        outcomes.push(answer.grants[0].outcome());
    }
    use v1::grant::Outcome::{Granted, Refused};
    assert_eq!(
        outcomes,
        [Granted, Granted, Granted, Granted, Refused],
        "a repeated try takes once"
    );

    let denied = mesh
        .client
        .check(v1::CheckRequest {
            attributes: request_from("sandbox"),
            ..ask("5")
        })
        .await
        .unwrap()
        .into_inner();
    assert!(denied.grants.is_empty(), "what is denied costs nothing");
    let without = mesh
        .client
        .check(v1::CheckRequest {
            take: false,
            ..ask("6")
        })
        .await
        .unwrap()
        .into_inner();
    assert!(without.grants.is_empty() && without.decision.unwrap().charges.len() == 1);
}

#[tokio::test]
async fn quota_takes_what_is_left_and_knows_what_it_does_not_know() {
    let mut mesh = Mesh::new(&[("quota.yaml", QUOTA)]).await;
    let mut spend = async |quota: &str, cost: i64| {
        let ask = v1::Ask {
            quota: quota.to_owned(),
            key: vec!["shop".to_owned()],
            cost,
            ..v1::Ask::default()
        };
        let request = v1::QuotaRequest {
            client: "p".to_owned(),
            dedup_id: String::new(),
            asks: vec![ask],
            ..v1::QuotaRequest::default()
        };
        mesh.client
            .quota(request)
            .await
            .unwrap()
            .into_inner()
            .grants[0]
    };
    use v1::grant::Outcome::{Granted, Refused, Unknown};
    assert_eq!(spend("three", 3).await.outcome(), Granted);
    let refused = spend("three", 1).await;
    assert_eq!(refused.outcome(), Refused);
    assert!(refused.retry_after.is_some());
    assert_eq!(spend("three", -1).await.outcome(), Granted);
    assert_eq!(
        spend("three", 1).await.outcome(),
        Refused,
        "nobody gives back what it does not hold"
    );
    assert_eq!(spend("four", 1).await.outcome(), Unknown);
    for (sample, value) in [
        (r#"mixer_quota_total{quota="three",outcome="refused"}"#, 2.0),
        (r#"mixer_quota_total{quota="",outcome="unknown"}"#, 1.0),
    ] {
        assert_eq!(mesh.metric(sample).await, Some(value), "{sample}");
    }
    let many = v1::QuotaRequest {
        asks: vec![v1::Ask::default(); 1_025],
        ..v1::QuotaRequest::default()
    };
    let status = mesh.client.quota(many).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::InvalidArgument,
            "asks: 1025 asks, at most 1024 in one call"
        )
    );
}
