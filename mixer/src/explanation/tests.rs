//! What is told agrees with what is decided.

use mixer_documents::{At, Sources};
use mixer_runtime::{Clock, Random};

use super::{Effect, Explanation};
use crate::dispatch::Dispatcher;
use crate::snapshot::{Snapshot, Surroundings};

const DOCUMENTS: &str = r#"
adapter: blocklist
type: list
config: { entries: [10.66.0.0/16] }
---
policy: quarantine
guard: true
for: always
rules: [ { deny: quarantined, when: 'source.service_account == "leaky"' } ]
---
policy: products
for: destination.service == "products.shop"
rules:
  - deny: no deletes
    when: request.method == "DELETE"
  - deny: blocked addresses
    ask: blocklist
    with: { value: request.client_ip }
  - require: callers use mutual TLS
    that: connection.mtls
  - allow: the shop reads
    when: [ 'source.namespace == "shop"', 'request.method in ["GET", "HEAD"]' ]
  - deny: on trial
    mode: shadow
    when: request.path == "/old"
otherwise: { deny: only the shop reads }
quotas: [ { quota: few, key: [source.namespace], limit: 2 per day } ]
"#;

async fn told(request: &str) -> Explanation {
    let surroundings = Surroundings::new(
        Clock::manual().0,
        Random::from_seed(1),
        tokio::runtime::Handle::current(),
    );
    let sources = Sources::from_texts([("p.yaml", DOCUMENTS)]);
    let snapshot = Snapshot::build(sources, &mixer_adapters::builtin(), &surroundings)
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let given = mixer_documents::request("request", request, &snapshot.set.vocabulary).unwrap();
    let request = crate::testing::request(&given, At::Inbound);
    let dispatcher = Dispatcher::new(snapshot.into(), &surroundings);
    Explanation::of(&dispatcher, At::Inbound, &request.bag()).await
}

const GOOD: &str = "
destination: { service: products.shop }
source: { namespace: shop, service_account: frontend }
connection: { mtls: true }
request: { method: GET, path: /products/1, client_ip: 10.1.1.1 }
";

fn denials(story: &Explanation) -> Vec<&str> {
    story.denials.iter().map(|denial| &*denial.rule).collect()
}

#[tokio::test]
async fn what_passes_has_no_reason_to_deny_and_shows_its_charge() {
    let story = told(GOOD).await;
    assert_eq!((story.decision.verdict, denials(&story)), ("allow", vec![]));
    let charge = story.policies[1].quotas[0].charge.as_ref().unwrap();
    assert_eq!(
        (charge.cost, charge.limit, &*charge.key),
        (1, 2, &["shop".to_owned()][..])
    );
    let deciding: Vec<_> = story.steps.iter().filter(|step| step.decides).collect();
    assert_eq!(deciding.len(), 1, "{deciding:?}");
    assert_eq!(
        (deciding[0].step, deciding[0].effect),
        ("allow", Effect::Allows)
    );
    let text = story.to_string();
    for says in [
        "guard quarantine (p.yaml:6:9)",
        "blocklist answers: no match",
        "pool, allow: lets pass by \"the shop reads\" <- decides",
        "decision: allowed by \"the shop reads\" of policy products (p.yaml:21:12)",
        "charges 1 of 2 in 86400s to products/few [\"shop\"]",
        "holds for requests equal in: ",
    ] {
        assert!(text.contains(says), "no {says} in\n{text}");
    }
}

#[tokio::test]
async fn every_reason_to_deny_is_told_in_the_order_of_the_steps_and_the_decision_is_one() {
    let bad = GOOD
        .replace("frontend", "leaky")
        .replace("true", "false")
        .replace("GET", "DELETE")
        .replace("10.1.1.1", "10.66.1.1");
    let story = told(&bad).await;
    assert_eq!(
        denials(&story),
        [
            "quarantined",
            "no deletes",
            "blocked addresses",
            "callers use mutual TLS",
            "only the shop reads"
        ]
    );
    assert_eq!(&*story.decision.rule, "quarantined");
}

#[tokio::test]
async fn what_cannot_be_decided_says_so_and_shadow_is_told_apart() {
    let story = told("destination: { service: products.shop }\nrequest: { path: /old }").await;
    assert!(
        denials(&story).contains(&&*story.decision.rule),
        "{story:?}"
    );
    let deny = &story.policies[1].rules[0];
    assert_eq!(deny.effect, Effect::Denies);
    assert!(
        deny.because.starts_with("cannot decide: request.method"),
        "{deny:?}"
    );
    let trial = &story.policies[1].rules[4];
    assert!(trial.shadow && trial.effect == Effect::Denies);
    assert!(!denials(&story).contains(&"on trial"));
    assert!(
        story
            .to_string()
            .contains("shadow: \"on trial\" of policy products would deny")
    );
}

#[tokio::test]
async fn the_json_of_a_story_has_what_the_text_has() {
    let story = told(GOOD).await;
    let json = serde_json::to_value(&story).unwrap();
    assert_eq!(json["decision"]["verdict"], "allow");
    assert_eq!(json["policies"][1]["rules"][3]["lines"][1]["value"], "true");
    assert_eq!(
        json["policies"][1]["rules"][3]["lines"][0]["reads"][0],
        serde_json::json!({ "name": "source.namespace", "value": "\"shop\"" })
    );
}
