//! Charges, and taking them.

use std::time::Duration;

use mixer_documents::{Limit, QuotaOnError};

use super::fixture::{Fixture, LEFT, line};
use crate::dispatch::{Charge, Decision, LEASE_FOR, Outcome, QuotaAsk, Rate, Taken, Told, Verdict};

const MINUTE: Duration = Duration::from_secs(60);

impl Fixture {
    /// Decides and takes as a proxy called `client`; a refusal is the decision.
    async fn pass(&self, client: &str, request: &str, dedup_id: &str) -> Decision {
        let given = self.given(request);
        let bag = given.bag();
        let (decision, taken) = self
            .dispatcher
            .check_and_take(&bag, client, &[], dedup_id, LEFT)
            .await;
        self.dispatcher
            .refusal(&decision, &taken)
            .unwrap_or(decision)
    }

    async fn ask(&self, client: &str, ask: QuotaAsk<'_>) -> Taken {
        self.dispatcher.quota(&[ask], client, "", LEFT).await.taken[0]
    }
}

/// What a caller outside the mesh is told.
fn plain() -> Told {
    Told {
        http_status: 429,
        grpc_status: 8,
        message: None,
        location: None,
        headers: Vec::new(),
        body: None,
    }
}

fn ask<'a>(quota: &'a str, key: &'a [String], cost: i64) -> QuotaAsk<'a> {
    QuotaAsk {
        quota,
        key,
        tier: "",
        cost,
        lease: false,
        per_second: 0.0,
        unused: 0,
        reserve: false,
        age: Duration::ZERO,
    }
}

#[tokio::test]
async fn a_decision_that_passes_says_what_it_costs() {
    let fixture = Fixture::new(
        r#"
policy: p
for: always
quotas:
  - quota: per customer
    id: per-customer
    when: request.method == "GET"
    key: [auth.claims.sub, request.path]
    limit: { by: auth.claims.plan, table: { pro: 2000 per minute }, otherwise: 100 per minute }
    cost: int(request.headers[?"x-cost"].orValue("2"))
    on_error: deny
---
policy: q
for: always
quotas: [ { quota: all, key: [], limit: 10 per minute, mode: shadow } ]
"#,
    );
    let charges = fixture
        .check("{ request: { method: GET, path: /a }, auth: { claims: { sub: me, plan: pro } } }")
        .await
        .charges;
    let charge = Charge {
        place: (0, 0),
        quota: "per-customer".into(),
        key: vec!["me".to_owned(), "/a".to_owned()],
        cost: 2,
        limit: Limit {
            amount: 2000,
            window: MINUTE,
        },
        tier: "pro".to_owned(),
        on_error: QuotaOnError::Deny,
        shadow: false,
        told: plain(),
    };
    let shadow = Charge {
        place: (1, 0),
        quota: "q/all".into(),
        key: Vec::new(),
        cost: 1,
        limit: Limit {
            amount: 10,
            window: MINUTE,
        },
        tier: String::new(),
        on_error: QuotaOnError::Allow,
        shadow: true,
        told: plain(),
    };
    assert_eq!(charges, [charge.clone(), shadow.clone()]);
    let put = fixture
        .check("{ request: { method: PUT, path: /a } }")
        .await;
    assert_eq!(put.charges, std::slice::from_ref(&shadow));

    let otherwise = Charge {
        limit: Limit {
            amount: 100,
            window: MINUTE,
        },
        tier: String::new(),
        ..charge
    };
    for plan in ["plan: free", "plan: [pro]", "other: pro"] {
        let request = format!(
            "{{ request: {{ method: GET, path: /a }}, auth: {{ claims: {{ sub: me, {plan} }} }} }}"
        );
        assert_eq!(
            fixture.check(&request).await.charges,
            [otherwise.clone(), shadow.clone()],
            "{plan}"
        );
    }
    let undecidable = fixture.check("{ request: { path: /a } }").await.charges;
    assert_eq!(
        undecidable[0].key,
        ["\0", "/a"],
        "a quota whose `when` cannot be decided applies; who lacks a key shares"
    );
}

#[tokio::test]
async fn no_value_of_a_key_looks_like_an_absent_one() {
    let fixture = Fixture::new(
        "policy: p\nfor: always\nquotas: [ { quota: q, key: [source.workload], limit: 1 per day } ]",
    );
    let key = async |request: &str| fixture.check(request).await.charges[0].key[0].clone();
    let keys = [
        key("{}").await,
        key(r#"{ source: { workload: "\0" } }"#).await,
        key("{ source: { workload: '' } }").await,
    ];
    assert_eq!(keys, ["\0", "\0\0", ""]);
}

#[tokio::test]
async fn absent_skip_leaves_the_request_uncharged() {
    let fixture = Fixture::new(
        "policy: p\nfor: always\nquotas: [ { quota: q, key: [source.workload], absent: skip, limit: 1 per day } ]",
    );
    assert_eq!(fixture.check("{}").await.charges, []);
    assert_eq!(
        fixture
            .check("{ source: { workload: w } }")
            .await
            .charges
            .len(),
        1
    );
}

#[tokio::test]
async fn a_denied_request_is_not_charged() {
    let fixture = Fixture::new(
        "policy: p\nfor: always\nrules: [ { deny: puts, when: 'request.method == \"PUT\"' } ]\nquotas: [ { quota: q, key: [], limit: 1 per day } ]",
    );
    assert_eq!(
        fixture.check("{ request: { method: PUT } }").await.charges,
        []
    );
    for _ in 0..3 {
        assert_eq!(
            line(&fixture.pass("a", "{ request: { method: PUT } }", "").await),
            "deny matched p/puts 403"
        );
    }
    assert_eq!(
        line(&fixture.pass("a", "{ request: { method: GET } }", "").await),
        "allow default"
    );
    assert_eq!(
        line(&fixture.pass("a", "{ request: { method: GET } }", "").await),
        "deny quota p/q 429"
    );
}

#[tokio::test]
async fn a_refusal_says_which_quota_and_when_to_come_back() {
    let fixture = Fixture::new(
        r#"
mesh: { denials: { show: everyone } }
---
policy: p
for: always
quotas: [ { quota: requests per customer, id: per-customer, key: [source.workload], limit: 3 per minute } ]
"#,
    );
    for _ in 0..3 {
        assert_eq!(
            fixture
                .pass("a", "{ source: { workload: w } }", "")
                .await
                .verdict,
            Verdict::Allow
        );
    }
    fixture.time.advance(Duration::from_secs(15));
    let refused = fixture.pass("a", "{ source: { workload: w } }", "").await;
    assert_eq!(line(&refused), "deny quota p/requests per customer 429");
    assert_eq!(
        (refused.grpc_status, &*refused.rule_id),
        (8, "per-customer")
    );
    assert_eq!(refused.message, "requests per customer");
    assert_eq!(
        refused.retry_after.map(|wait| wait.as_secs_f64().ceil()),
        Some(45.0)
    );
    assert_eq!(
        (refused.valid_for, refused.valid_uses),
        (Some(Duration::ZERO), 1)
    );
    assert_eq!(
        fixture
            .pass("a", "{ source: { workload: v } }", "")
            .await
            .verdict,
        Verdict::Allow,
        "another counter"
    );
    fixture.time.advance(Duration::from_secs(46));
    assert_eq!(
        fixture
            .pass("a", "{ source: { workload: w } }", "")
            .await
            .verdict,
        Verdict::Allow
    );
}

#[tokio::test]
async fn tries_of_one_request_are_charged_once() {
    let fixture =
        Fixture::new("policy: p\nfor: always\nquotas: [ { quota: q, key: [], limit: 2 per day } ]");
    for _ in 0..5 {
        assert_eq!(line(&fixture.pass("a", "{}", "one").await), "allow default");
    }
    assert_eq!(
        line(&fixture.pass("b", "{}", "one").await),
        "allow default",
        "another client's id is another id"
    );
    assert_eq!(
        line(&fixture.pass("a", "{}", "two").await),
        "deny quota p/q 429"
    );
    assert_eq!(line(&fixture.pass("a", "{}", "one").await), "allow default");
    assert_eq!(
        line(&fixture.pass("a", "{}", "").await),
        "deny quota p/q 429",
        "no id, no deduplication"
    );
}

const TWO_STORES: &str = r#"
adapter: first
type: memory-quota
---
adapter: second
type: memory-quota
---
policy: p
for: always
quotas:
  - { quota: wide, id: wide, key: [], limit: 10 per day, store: first }
  - { quota: also wide, id: also-wide, key: [], limit: 10 per day, store: first }
  - { quota: narrow, id: narrow, key: [], limit: 2 per day, store: second }
"#;

#[tokio::test]
async fn a_refusal_by_one_store_gives_back_what_another_granted() {
    let fixture = Fixture::new(TWO_STORES);
    for _ in 0..2 {
        assert_eq!(line(&fixture.pass("a", "{}", "").await), "allow default");
    }
    for _ in 0..20 {
        assert_eq!(
            line(&fixture.pass("a", "{}", "").await),
            "deny quota p/narrow 429"
        );
    }
    for quota in ["wide", "also-wide"] {
        assert_eq!(
            fixture.ask("a", ask(quota, &[], 0)).await.remaining,
            8,
            "{quota}"
        );
    }
}

#[tokio::test]
async fn a_refused_request_that_is_tried_again_gives_back_once() {
    let fixture = Fixture::new(TWO_STORES);
    fixture.pass("a", "{}", "").await;
    fixture.pass("a", "{}", "").await;
    for _ in 0..5 {
        assert_eq!(
            line(&fixture.pass("a", "{}", "same").await),
            "deny quota p/narrow 429"
        );
    }
    assert_eq!(fixture.ask("a", ask("wide", &[], 0)).await.remaining, 8);
}

fn down(on_error: &str) -> String {
    format!(
        r#"
adapter: down
type: broken-quota
---
policy: p
for: always
quotas:
  - {{ quota: counted, id: counted, key: [], limit: 10 per day }}
  - {{ quota: uncounted, key: [], limit: 10 per day, store: down, on_error: {on_error} }}
"#
    )
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_what_on_error_says() {
    for (on_error, decided, remaining) in [
        ("allow", "allow default", 9),
        ("deny", "deny unavailable p/uncounted 503", 10),
        ("{ local: 10% }", "allow default", 9),
    ] {
        let fixture = Fixture::new(&down(on_error));
        let decision = fixture.pass("a", "{}", "").await;
        assert_eq!(line(&decision), decided, "{on_error}");
        if decision.verdict == Verdict::Deny {
            assert_eq!((decision.grpc_status, decision.valid_uses), (14, 1));
            assert!(decision.retry_after.is_some());
        }
        let counted = fixture.ask("a", ask("counted", &[], 0)).await;
        assert_eq!(
            (counted.outcome, counted.remaining),
            (Outcome::Granted, remaining),
            "{on_error}"
        );
        assert_eq!(
            fixture.ask("a", ask("p/uncounted", &[], 1)).await.outcome,
            Outcome::Unavailable
        );
    }
}

#[tokio::test]
async fn a_store_that_answers_nonsense_cannot_be_asked() {
    let documents = down("deny").replace(
        "type: broken-quota",
        "type: broken-quota\nconfig: { nonsense: true }",
    );
    assert_eq!(
        line(&Fixture::new(&documents).pass("a", "{}", "").await),
        "deny unavailable p/uncounted 503"
    );
}

#[tokio::test]
async fn shadow_quotas_count_and_refuse_nobody() {
    let fixture = Fixture::new(
        r#"
policy: p
for: always
quotas:
  - { quota: real, id: real, key: [], limit: 5 per day }
  - { quota: trial, id: trial, key: [], limit: 2 per day, mode: shadow }
"#,
    );
    let mut outcomes = Vec::new();
    for _ in 0..7 {
        let given = fixture.given("{}");
        let (decision, taken) = fixture
            .dispatcher
            .check_and_take(&given.bag(), "a", &[], "", LEFT)
            .await;
        let refusal = fixture.dispatcher.refusal(&decision, &taken);
        outcomes.push((refusal.is_none(), taken[1].outcome));
    }
    let (passes, refused) = ((true, Outcome::Granted), (true, Outcome::Refused));
    assert_eq!(outcomes[..5], [passes, passes, refused, refused, refused]);
    assert!(!outcomes[5].0 && !outcomes[6].0);
}

#[tokio::test]
async fn a_quota_nobody_knows_makes_the_whole_request_unknown() {
    let fixture = Fixture::new(
        "policy: p\nfor: always\nquotas: [ { quota: q, id: q, key: [], limit: 5 per day } ]",
    );
    let taken = fixture
        .dispatcher
        .quota(&[ask("q", &[], 1), ask("gone", &[], 1)], "a", "", LEFT)
        .await;
    assert!(
        taken
            .taken
            .iter()
            .all(|taken| taken.outcome == Outcome::Unknown)
    );
    assert_eq!(fixture.ask("a", ask("q", &[], 0)).await.remaining, 5);
}

#[tokio::test]
async fn leases_are_granted_by_rate_shared_and_given_back() {
    let fixture = Fixture::new(
        "policy: p\nfor: always\nquotas: [ { quota: q, id: q, key: [], limit: 10000 per day } ]",
    );
    let refill = |per_second, unused| QuotaAsk {
        lease: true,
        per_second,
        unused,
        ..ask("q", &[], 1)
    };
    let first = fixture.ask("a", refill(1e6, 0)).await;
    assert_eq!(
        (first.lease, first.lease_for, first.remaining),
        (200, LEASE_FOR, 9_799)
    );
    assert_eq!(
        fixture.ask("b", refill(1e6, 0)).await.lease,
        100,
        "two share the two percent"
    );
    assert_eq!(
        fixture.ask("b", refill(50.0, 0)).await.lease,
        5,
        "a tenth of a second of the rate"
    );
    assert_eq!(
        fixture.ask("b", refill(1.0, 0)).await.lease,
        0,
        "1 means ask each time"
    );

    let before = fixture.ask("a", ask("q", &[], 0)).await.remaining;
    let back = QuotaAsk {
        unused: 150,
        ..ask("q", &[], 0)
    };
    assert_eq!(fixture.ask("a", back).await.remaining, before + 150);
    assert_eq!(
        fixture.ask("a", back).await.remaining,
        before + 200,
        "only what it holds"
    );
    assert_eq!(
        fixture.ask("c", back).await.remaining,
        before + 200,
        "nothing of what others hold"
    );
    let negative = QuotaAsk {
        cost: -20,
        ..ask("q", &[], 0)
    };
    assert_eq!(fixture.ask("b", negative).await.outcome, Outcome::Granted);
    assert_eq!(
        fixture.ask("b", ask("q", &[], 0)).await.remaining,
        before + 220
    );
}

#[tokio::test]
async fn a_check_that_takes_may_come_with_a_lease() {
    let fixture = Fixture::new(
        r#"
policy: p
for: always
quotas:
  - { quota: q, id: q, key: [], limit: 10000 per day }
  - { quota: few, id: few, key: [], limit: 10000 per day, lease: 3 }
  - { quota: none, id: none, key: [], limit: 10000 per day, lease: 0 }
"#,
    );
    let given = fixture.given("{}");
    let rates: Vec<Rate<'_>> = ["q", "few", "none"]
        .into_iter()
        .map(|quota| Rate {
            quota,
            key: &[],
            per_second: 400.0,
        })
        .collect();
    let (_, taken) = fixture
        .dispatcher
        .check_and_take(&given.bag(), "a", &rates, "", LEFT)
        .await;
    assert_eq!(
        taken.iter().map(|taken| taken.lease).collect::<Vec<_>>(),
        [40, 3, 0]
    );
    let (_, taken) = fixture
        .dispatcher
        .check_and_take(&given.bag(), "a", &[], "", LEFT)
        .await;
    assert!(
        taken.iter().all(|taken| taken.lease == 0),
        "no rate, no lease"
    );
}

#[tokio::test]
async fn counters_and_leases_outlive_a_reload() {
    let documents =
        "policy: p\nfor: always\nquotas: [ { quota: q, id: q, key: [], limit: 5 per day } ]";
    let mut fixture = Fixture::new(documents);
    fixture.pass("a", "{}", "").await;
    fixture.reload(&documents.replace("5 per day", "3 per day"));
    assert_eq!(fixture.ask("a", ask("q", &[], 0)).await.remaining, 2);
}
