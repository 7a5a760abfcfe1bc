//! When adapters are asked, and what becomes of their answers.

use std::time::Duration;

use super::fixture::{Fixture, LEFT, line};
use crate::dispatch::{Counts, HeaderOperation};

const ADAPTERS: &str = r#"
adapter: no
type: scripted
config: { answer: no match, valid_for: version, version: 7, header: x-no }
---
adapter: yes-for-9s
type: scripted
config: { answer: match, valid_for: "9", header: x-yes }
---
adapter: down
type: scripted
config: { answer: unavailable }
---
adapter: hang
type: scripted
config: { answer: hang }
---
"#;

fn with(policies: &str) -> Fixture {
    Fixture::new(&format!("{ADAPTERS}{policies}"))
}

#[tokio::test]
async fn nobody_is_asked_when_rules_without_ask_decide() {
    let fixture = with(
        r#"
policy: p
for: always
rules:
  - { deny: asked, ask: no }
  - { deny: not asked, when: 'request.method == "DELETE"' }
  - { allow: gets, when: 'request.method == "GET"' }
  - { allow: asked too, ask: yes-for-9s }
otherwise: deny
---
policy: guard
guard: true
for: always
rules: [ { deny: patches, when: 'request.method == "PATCH"' } ]
"#,
    );
    let asked = || (fixture.answered("no"), fixture.answered("yes-for-9s"));
    for (method, decided, times) in [
        ("DELETE", "deny matched p/not asked 403", (0, 0)),
        ("PATCH", "deny matched guard/patches 403", (0, 0)),
        ("GET", "allow matched p/gets", (1, 0)),
        ("PUT", "allow matched p/asked too", (2, 1)),
    ] {
        assert_eq!(
            line(
                &fixture
                    .check(&format!("{{ request: {{ method: {method} }} }}"))
                    .await
            ),
            decided
        );
        assert_eq!(asked(), times, "{method}");
    }
}

#[tokio::test]
async fn allows_are_not_asked_where_the_request_passes_anyway() {
    let fixture =
        with("policy: p\nfor: always\nrules: [ { allow: asked, ask: down } ]\notherwise: allow");
    assert_eq!(
        line(&fixture.check("{}").await),
        "allow otherwise p/otherwise"
    );
    assert_eq!(counts(&fixture, "down"), Counts::default());
}

#[tokio::test]
async fn a_denial_by_otherwise_asks_no_restricting_rule() {
    let fixture = with(
        "policy: p\nfor: always\nrules: [ { deny: asked, ask: down }, { allow: never, when: \"false\" } ]\notherwise: deny",
    );
    assert_eq!(
        line(&fixture.check("{}").await),
        "deny otherwise p/otherwise 403"
    );
    assert_eq!(counts(&fixture, "down"), Counts::default());
}

#[tokio::test]
async fn answers_bound_how_long_a_decision_holds() {
    for (ask, valid_for, valid_uses) in [
        ("no", None, 0),
        ("yes-for-9s", Some(Duration::from_secs(9)), 0),
        ("down", Some(Duration::ZERO), 1),
    ] {
        let fixture = with(&format!(
            "policy: p\nfor: always\nrules: [ {{ deny: asked, ask: {ask} }}, {{ deny: too, ask: no }} ]"
        ));
        let decision = fixture.check("{}").await;
        assert_eq!(
            (decision.valid_for, decision.valid_uses),
            (valid_for, valid_uses),
            "{ask}"
        );
    }
}

#[tokio::test]
async fn headers_of_answers_are_for_requests_that_pass() {
    let fixture = with(
        r#"
policy: p
for: always
rules: [ { deny: no, ask: no }, { require: yes, ask: yes-for-9s } ]
---
policy: q
for: destination.service == "q.shop"
rules: [ { deny: q } ]
"#,
    );
    let removed = |name: &str| HeaderOperation {
        name: name.to_owned(),
        value: None,
    };
    assert_eq!(
        fixture.check("{}").await.headers,
        [removed("x-no"), removed("x-yes")]
    );
    assert_eq!(
        fixture
            .check("{ destination: { service: q.shop } }")
            .await
            .headers,
        []
    );
}

#[tokio::test]
async fn the_data_of_adapters_that_can_be_asked_is_part_of_the_revision() {
    let rules =
        "policy: p\nfor: destination.service == \"a.shop\"\nrules: [ { deny: asked, ask: no } ]";
    let (one, other) = (
        with(rules),
        Fixture::new(&format!("{ADAPTERS}{rules}").replace("version: 7", "version: 8")),
    );
    let (asking, not) = (
        "{ destination: { service: a.shop } }",
        "{ destination: { service: b.shop } }",
    );
    assert_eq!(
        one.check(asking).await.revision,
        one.check(asking).await.revision
    );
    assert_ne!(
        one.check(asking).await.revision,
        other.check(asking).await.revision
    );
    assert_eq!(
        one.check(not).await.revision,
        other.check(not).await.revision
    );
    let given = one.given(asking);
    let scope = one
        .dispatcher
        .snapshot()
        .scope(crate::dispatch::side(&given.bag()), &given.bag());
    assert_eq!(scope.revision, one.check(asking).await.revision);
}

#[tokio::test]
async fn an_adapter_that_hangs_has_the_time_there_is_and_no_more() {
    let fixture = with("policy: p\nfor: always\nrules: [ { deny: asked, ask: hang } ]");
    let bag = fixture.given("{}");
    let bag = bag.bag();
    for (left, patience) in [
        (Duration::from_secs(1), Duration::from_millis(50)),
        (Duration::from_millis(20), Duration::from_millis(16)),
    ] {
        let check = fixture.dispatcher.check(&bag, left);
        tokio::pin!(check);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(check.as_mut().poll(&mut context).is_pending());
        fixture.time.advance(patience - Duration::from_nanos(1));
        assert!(check.as_mut().poll(&mut context).is_pending());
        fixture.time.advance(Duration::from_nanos(1));
        let decision = check.await;
        assert_eq!(line(&decision), "deny unavailable p/asked 503");
        assert_eq!(decision.grpc_status, 14);
        assert!(decision.retry_after.is_some());
    }
}

#[tokio::test]
async fn an_adapter_that_fails_in_a_row_is_left_alone_and_then_tried_again() {
    let fixture = with("policy: p\nfor: always\nrules: [ { deny: asked, ask: down } ]");
    for _ in 0..8 {
        assert_eq!(
            line(&fixture.check("{}").await),
            "deny unavailable p/asked 503"
        );
    }
    let failed = Counts {
        unavailable: 5,
        breaker_open: 3,
        ..Counts::default()
    };
    assert_eq!(counts(&fixture, "down"), failed);
    fixture.time.advance(Duration::from_secs(1));
    fixture.check("{}").await;
    fixture.check("{}").await;
    assert_eq!(
        counts(&fixture, "down"),
        Counts {
            unavailable: 6,
            breaker_open: 4,
            ..failed
        }
    );
}

#[tokio::test]
async fn callers_that_are_late_do_not_open_the_breaker_for_others() {
    let fixture = with("policy: p\nfor: always\nrules: [ { deny: asked, ask: hang } ]");
    let bag = fixture.given("{}");
    for _ in 0..20 {
        fixture.dispatcher.check(&bag.bag(), Duration::ZERO).await;
    }
    assert_eq!(
        counts(&fixture, "hang"),
        Counts {
            timed_out: 20,
            ..Counts::default()
        }
    );
}

#[tokio::test]
async fn inputs_an_adapter_cannot_answer_for_are_the_requests_fault() {
    let fixture = Fixture::new(
        "adapter: picky\ntype: scripted\nconfig: { answer: refused }\n---\npolicy: p\nfor: always\nrules: [ { deny: asked, ask: picky, on_error: allow } ]",
    );
    for _ in 0..10 {
        assert_eq!(
            line(&fixture.check("{}").await),
            "deny undetermined p/asked 403"
        );
    }
    assert_eq!(
        counts(&fixture, "picky"),
        Counts {
            unavailable: 10,
            ..Counts::default()
        },
        "the breaker stays closed for others"
    );
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_a_plain_denial() {
    let fixture = Fixture::new(
        "policy: p\nfor: always\nrules: [ { deny: moved, status: 302, location: '{request.query[?\"to\"].orValue(\"/new\")}' } ]",
    );
    let moved = fixture.check("{ request: { path: / } }").await;
    assert_eq!(
        (moved.http_status, moved.location.as_deref()),
        (302, Some("/new"))
    );
    let nowhere = fixture
        .check("{ request: { path: /, query: { to: '' } } }")
        .await;
    assert_eq!((nowhere.http_status, nowhere.location), (403, None));
}

#[tokio::test]
async fn inputs_that_make_an_adapter_panic_do_not_open_the_breaker_for_others() {
    let fixture = Fixture::new(
        "adapter: broken\ntype: scripted\nconfig: { answer: panic }\n---\npolicy: p\nfor: always\nrules: [ { deny: asked, ask: broken } ]",
    );
    for _ in 0..10 {
        assert_eq!(
            line(&fixture.check("{}").await),
            "deny unavailable p/asked 503"
        );
    }
    assert_eq!(
        counts(&fixture, "broken"),
        Counts {
            panicked: 10,
            ..Counts::default()
        }
    );
}

#[tokio::test]
async fn no_more_calls_are_in_flight_than_the_bulkhead_has_places() {
    let fixture = with("policy: p\nfor: always\nrules: [ { deny: asked, ask: hang } ]");
    let bag = fixture.given("{}");
    let bag = bag.bag();
    let mut waiting: Vec<_> = (0..257)
        .map(|_| Box::pin(fixture.dispatcher.check(&bag, LEFT)))
        .collect();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let done = waiting
        .iter_mut()
        .map(|check| check.as_mut().poll(&mut context).is_ready())
        .filter(|ready| *ready)
        .count();
    assert_eq!(done, 1);
    assert_eq!(counts(&fixture, "hang").bulkhead_full, 1);
    drop(waiting);
    assert!(
        Box::pin(fixture.dispatcher.check(&bag, LEFT))
            .as_mut()
            .poll(&mut context)
            .is_pending(),
        "places are given back"
    );
}

fn counts(fixture: &Fixture, adapter: &str) -> Counts {
    fixture
        .dispatcher
        .snapshot()
        .adapter(adapter)
        .unwrap()
        .counts()
}
