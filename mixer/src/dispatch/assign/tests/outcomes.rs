//! What a bucket is assigned in each case.

use std::time::Duration;

use super::bounds::quota;
use super::model::{Envoy, Mixer};
use crate::dispatch::assign::{Strategy, TURN, Usage};
use crate::dispatch::tests::fixture::Fixture;
use crate::dispatch::{QuotaAsk, Why};

/// What is left in a counter.
async fn left(fixture: &Fixture, quota: &str, key: &[String]) -> u64 {
    let ask = QuotaAsk {
        quota,
        key,
        tier: "",
        cost: 0,
        lease: false,
        per_second: 0.0,
        unused: 0,
        reserve: false,
        age: Duration::ZERO,
    };
    let asked = fixture.dispatcher.quota(&[ask], "", "", TURN).await;
    asked.taken[0].remaining
}

async fn first(documents: &str) -> (Fixture, Envoy) {
    let fixture = Fixture::new(documents);
    let mut envoy = Envoy::new(&Mixer::default());
    envoy.request(fixture.surroundings.clock.now());
    envoy.report(&fixture).await;
    (fixture, envoy)
}

fn tokens(envoy: &Envoy) -> u32 {
    match envoy.strategy {
        Some(Strategy::Tokens { requests, .. }) => requests,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_no_quota_is_about_passes() {
    for documents in [
        "mesh: {}".to_owned(),
        quota("limit: 1 per day, when: 'rate_limit.descriptor.user == \"bob\"'"),
        quota("limit: 1 per day, cost: 0"),
    ] {
        let (_, envoy) = first(&documents).await;
        assert_eq!(envoy.strategy, Some(Strategy::AllowAll), "{documents}");
    }
}

#[tokio::test]
async fn what_cannot_be_charged_does_not_pass() {
    let documents = quota("limit: 1 per day, cost: 'int(rate_limit.descriptor.user)'");
    let (fixture, mut envoy) = first(&documents).await;
    assert_eq!(envoy.strategy, Some(Strategy::DenyAll));
    assert!(matches!(
        envoy.report(&fixture).await.why,
        Some(Why::Undetermined)
    ));
}

#[tokio::test]
async fn a_cost_makes_requests_of_tokens() {
    let (_, envoy) = first(&quota("limit: 100 per minute, cost: 7")).await;
    // 93 are left, half of them are 47, and those are 6 requests.
    assert_eq!(tokens(&envoy), 6);
    let (_, envoy) = first(&quota("limit: 100 per second, cost: 7")).await;
    let rate = Strategy::Rate {
        burst: 7,
        fill: 7,
        every: Duration::from_secs(1),
        serial: 0,
    };
    assert_eq!(envoy.strategy, Some(rate), "of 50 in a second");
    for limit in [
        "5 per minute",
        "5 per second",
        "60 per second, algorithm: gcra, burst: 6",
    ] {
        let (_, envoy) = first(&quota(&format!("limit: {limit}, cost: 7"))).await;
        assert_eq!(envoy.strategy, Some(Strategy::DenyAll), "never: {limit}");
    }
}

#[tokio::test]
async fn the_nearest_quota_decides_and_the_others_get_the_rest_back() {
    let documents = "policy: p\nfor: rate_limit.domain == \"edge\"\nquotas:\n\
        - { quota: all, id: all, key: [], limit: 1000 per minute }\n\
        - { quota: one, id: one, key: ['rate_limit.descriptor.user'], limit: 10 per minute }\n";
    let (fixture, mut envoy) = first(documents).await;
    assert_eq!(tokens(&envoy), 5);
    let user = ["ann".to_owned()];
    assert_eq!(left(&fixture, "all", &[]).await, 1_000 - 1 - 5);
    assert_eq!(left(&fixture, "one", &user).await, 10 - 1 - 5);
    // Where one has nothing, the others keep nothing.
    let now = fixture.surroundings.clock.now();
    for _ in 0..3 {
        envoy.burst(50, now);
        fixture.time.advance(TURN);
        envoy.report(&fixture).await;
    }
    assert_eq!(envoy.strategy, Some(Strategy::DenyAll));
    assert_eq!(left(&fixture, "one", &user).await, 0);
    assert_eq!(left(&fixture, "all", &[]).await, 990);
}

#[tokio::test]
async fn an_assignment_that_is_enough_is_extended_and_not_given_twice() {
    let (fixture, mut envoy) = first(&quota("limit: 100 per minute")).await;
    let before = envoy.strategy;
    for _ in 0..4 {
        fixture.time.advance(TURN);
        envoy.request(fixture.surroundings.clock.now());
        envoy.report(&fixture).await;
        assert_eq!(envoy.strategy, before);
    }
    assert_eq!(envoy.may(), 50 - 4);
    // Without a report it is extended too.
    fixture.time.advance(TURN);
    envoy.turn(&fixture, None).await;
    assert_eq!(envoy.strategy, before);
    // What was spent and what is held is counted: what is held as of now, and what was spent lately for a minute.
    assert_eq!(left(&fixture, "q", &[]).await, 100 - 1 - 50);
    fixture.time.advance(Duration::from_secs(54));
    assert_eq!(left(&fixture, "q", &[]).await, 100 - 1 - 46);
}

#[tokio::test]
async fn a_limit_that_changes_is_assigned_anew() {
    let (mut fixture, mut envoy) = first(&quota("limit: 20 per minute")).await;
    assert_eq!(tokens(&envoy), 10);
    for (limit, expected) in [("200 per minute", 100), ("4 per minute", 2)] {
        fixture.reload(&quota(&format!("limit: {limit}")));
        envoy.turn(&fixture, None).await;
        assert_eq!(tokens(&envoy), expected, "{limit}");
    }
    fixture.reload("mesh: {}");
    envoy.turn(&fixture, None).await;
    assert_eq!(envoy.strategy, Some(Strategy::AllowAll));
    fixture.reload(&quota("limit: 10 per second"));
    envoy.turn(&fixture, None).await;
    assert!(matches!(
        envoy.strategy,
        Some(Strategy::Rate { fill: 5, .. })
    ));
}

#[tokio::test]
async fn of_a_long_limit_slices_are_assigned() {
    let (fixture, mut envoy) = first(&quota("limit: 1000 per day")).await;
    assert_eq!(tokens(&envoy), 100);
    envoy.burst(300, fixture.surroundings.clock.now());
    fixture.time.advance(TURN);
    envoy.report(&fixture).await;
    assert_eq!(tokens(&envoy), 600, "two turns of what it showed to need");
}

#[tokio::test]
async fn a_bucket_that_is_idle_is_abandoned_and_holds_nothing() {
    let (fixture, mut envoy) = first(&quota("limit: 20 per day")).await;
    let mut abandoned = false;
    for _ in 0..12 {
        fixture.time.advance(TURN);
        abandoned |= envoy.report(&fixture).await.strategy.is_none();
    }
    assert!(abandoned);
    let mut other = Envoy::new(&Mixer::default());
    other.burst(19, fixture.surroundings.clock.now());
    other.report(&fixture).await;
    assert_eq!(other.strategy, Some(Strategy::DenyAll));
    assert_eq!(other.passed + envoy.passed, 20);
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_what_on_error_says() {
    let broken = "adapter: broken\ntype: broken-quota\nconfig: {}\n---\n";
    for (on_error, expected) in [("allow", Strategy::AllowAll), ("deny", Strategy::DenyAll)] {
        let quota = quota(&format!(
            "limit: 20 per minute, store: broken, on_error: {on_error}"
        ));
        let (fixture, mut envoy) = first(&format!("{broken}{quota}")).await;
        assert_eq!(envoy.strategy, Some(expected));
        let why = envoy.report(&fixture).await.why;
        assert_eq!(why == Some(Why::Unavailable), on_error == "deny");
    }
}

#[tokio::test]
async fn where_a_refused_request_counts_who_goes_on_asking_stays_refused() {
    let (fixture, mut envoy) = first(&quota("limit: 20 per minute, denied: counts")).await;
    let now = || fixture.surroundings.clock.now();
    for _ in 0..20 {
        envoy.burst(30, now());
        fixture.time.advance(TURN);
        envoy.report(&fixture).await;
    }
    // Refused requests have taken what was left, and go on to.
    assert_eq!(
        (envoy.passed, envoy.strategy),
        (11, Some(Strategy::DenyAll))
    );
    for _ in 0..13 {
        fixture.time.advance(TURN);
        let quiet = Usage::default();
        envoy.turn(&fixture, Some(quiet)).await;
    }
    envoy.request(now());
    envoy.report(&fixture).await;
    assert!(tokens(&envoy) > 0);
}

#[tokio::test]
async fn in_shadow_all_passes_and_is_counted() {
    for (limit, would) in [("10 per minute", 10), ("1 per 2s", 10)] {
        let (fixture, mut envoy) = first(&quota(&format!("limit: {limit}, mode: shadow"))).await;
        assert_eq!(envoy.strategy, Some(Strategy::AllowAll));
        envoy.burst(19, fixture.surroundings.clock.now());
        fixture.time.advance(TURN);
        let shadow = envoy.report(&fixture).await.shadow;
        assert_eq!(shadow, [((0, 0), 9, would)], "{limit}");
    }
}

#[tokio::test]
async fn who_lies_owes_no_more_than_the_limit_and_what_it_held() {
    let (fixture, mut envoy) = first(&quota("limit: 20 per minute")).await;
    let lie = Usage {
        allowed: u64::MAX,
        denied: u64::MAX,
    };
    for _ in 0..3 {
        let told = envoy.turn(&fixture, Some(lie)).await;
        assert_eq!(told.strategy, Some(Strategy::DenyAll));
        fixture.time.advance(TURN);
    }
    fixture.time.advance(Duration::from_secs(60));
    let denied = Usage {
        allowed: 0,
        denied: 1,
    };
    envoy.turn(&fixture, Some(denied)).await;
    assert!(tokens(&envoy) > 0, "a minute later nothing is owed");
}
