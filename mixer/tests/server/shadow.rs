//! What is in shadow: counted after answers that know nothing of it.

use mixer_attributes::vocabulary as v;
use mixer_proto::v1;

use crate::mesh::{Mesh, request_from, watch_products};

const DOCUMENTS: &str = r#"
policy: products
for: destination.service == "products.shop"
rules:
  - deny: nobody from the farm
    mode: shadow
    when: source.namespace == "farm" || request.host == "nowhere"
quotas:
  - quota: one a day
    id: one
    mode: shadow
    key: []
    limit: 1 per day
---
policy: trial
mode: shadow
for: destination.service == "products.shop"
rules:
  - allow: the shop
    when: source.namespace == "shop"
otherwise: deny
---
mesh: { default: deny }
"#;

fn series(policy: &str, rule: &str, outcome: &str) -> String {
    format!(
        r#"mixer_shadow_decisions_total{{destination_service="products.shop",policy="{policy}",rule="{rule}",outcome="{outcome}"}}"#
    )
}

#[tokio::test]
async fn rules_in_shadow_are_counted_by_what_they_would_change_and_are_no_part_of_the_answer() {
    let mut mesh = Mesh::new(&[("products.yaml", DOCUMENTS)]).await;
    let denied = mesh.check(request_from("shop")).await;
    assert_eq!(
        (denied.verdict(), denied.because()),
        (v1::Verdict::Deny, v1::Because::Default)
    );
    assert!(denied.shadow.is_empty());
    for read in &denied.referenced {
        let shadow = [v::SOURCE_NAMESPACE, v::REQUEST_HOST].map(|id| u32::from(id.number()));
        assert!(!shadow.contains(&read.id), "{read:?}");
    }
    let said = |line: String| format!("{line} 1");
    let counted = said(series("trial", "the shop", "would_allow"));
    mesh.until_page_says("/metrics", &counted).await;
    let counted = said(series("products", "nobody from the farm", "same"));
    mesh.until_page_says("/metrics", &counted).await;

    // What a proxy answered from its cache comes by itself.
    let answered = v1::CheckRequest {
        attributes: request_from("farm"),
        answered: v1::Verdict::Allow.into(),
        answered_because: v1::Because::Default.into(),
        ..v1::CheckRequest::default()
    };
    let response = mesh.client.check(answered).await.unwrap().into_inner();
    assert_eq!(response, v1::CheckResponse::default());
    let counted = said(series("products", "nobody from the farm", "would_deny"));
    mesh.until_page_says("/metrics", &counted).await;
    let counted = said(series("trial", "otherwise", "would_deny"));
    mesh.until_page_says("/metrics", &counted).await;
    let checks = r#"mixer_check_total{verdict="deny",because="default"}"#;
    assert_eq!(mesh.metric(checks).await, Some(1.0));

    let mut states = mesh
        .client
        .watch(watch_products("p"))
        .await
        .unwrap()
        .into_inner();
    let state = states.message().await.unwrap().unwrap();
    assert!(state.inbound.unwrap().shadow);
    assert!(!state.outbound_default.unwrap().shadow);
}

#[tokio::test]
async fn quotas_in_shadow_are_counted_when_they_are_taken() {
    let documents = DOCUMENTS.replace("default: deny", "default: allow");
    let mut mesh = Mesh::new(&[("products.yaml", &documents)]).await;
    for id in ["1", "2", "3"] {
        let request = v1::CheckRequest {
            attributes: request_from("shop"),
            take: true,
            dedup_id: id.to_owned(),
            client: "p".to_owned(),
            ..v1::CheckRequest::default()
        };
        let answer = mesh.client.check(request).await.unwrap().into_inner();
        assert_eq!(answer.decision.unwrap().verdict(), v1::Verdict::Allow);
    }
    assert_eq!(
        mesh.metric(&series("products", "one", "same")).await,
        Some(1.0)
    );
    assert_eq!(
        mesh.metric(&series("products", "one", "would_deny")).await,
        Some(2.0)
    );
}
