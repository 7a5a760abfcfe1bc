//! Each way of counting, through documents: the calendar, what is in flight, refusals that count, and costs known afterwards.

use std::time::{Duration, UNIX_EPOCH};

use super::fixture::{Fixture, LEFT};
use crate::dispatch::{Outcome, QuotaAsk, RESERVED_FOR, Spent, Taken};

const HOUR: Duration = Duration::from_secs(3_600);

/// A quota called `q` without a key.
fn quota(keys: &str) -> String {
    format!("policy: p\nfor: always\nquotas: [ {{ quota: q, id: q, key: [], {keys} }} ]\n")
}

fn ask(quota: &str, cost: i64) -> QuotaAsk<'_> {
    QuotaAsk {
        quota,
        key: &[],
        tier: "",
        cost,
        lease: false,
        per_second: 0.0,
        unused: 0,
        reserve: false,
        age: Duration::ZERO,
    }
}

impl Fixture {
    async fn spend(&self, asks: &[QuotaAsk<'_>], dedup_id: &str) -> Spent {
        self.dispatcher.quota(asks, "a", dedup_id, LEFT).await
    }

    async fn one(&self, ask: QuotaAsk<'_>) -> Taken {
        self.spend(&[ask], "").await.taken[0]
    }

    async fn left_of(&self, quota: &str) -> u64 {
        self.one(ask(quota, 0)).await.remaining
    }

    /// Reserves `estimate` of `q`; the reservation's id.
    async fn reserve(&self, estimate: i64, dedup_id: &str) -> String {
        let reserving = QuotaAsk {
            reserve: true,
            ..ask("q", estimate)
        };
        self.spend(&[reserving], dedup_id)
            .await
            .reservations
            .remove(0)
    }

    async fn commit(&self, reservation: &str, actual: u64) -> Outcome {
        self.dispatcher
            .commit(reservation, actual, LEFT)
            .await
            .outcome
    }
}

#[tokio::test]
async fn a_day_of_the_calendar_ends_at_midnight_in_its_time_zone() {
    let fixture = Fixture::new(&quota(
        "limit: 5 per day, algorithm: fixed-window, window: calendar Europe/Berlin",
    ));
    // It is midnight of 1 January 2026 in Greenwich, one o'clock in Berlin.
    let wall = fixture.surroundings.clock.wall().duration_since(UNIX_EPOCH);
    assert_eq!(wall.unwrap().as_secs(), 1_767_225_600);
    assert_eq!(fixture.one(ask("q", 5)).await.outcome, Outcome::Granted);
    let refused = fixture.one(ask("q", 1)).await;
    assert_eq!(refused.outcome, Outcome::Refused);
    assert_eq!(refused.retry_after, Some(23 * HOUR));
    fixture.time.advance(23 * HOUR - Duration::from_nanos(1));
    assert_eq!(fixture.left_of("q").await, 0);
    fixture.time.advance(Duration::from_nanos(1));
    assert_eq!(fixture.left_of("q").await, 5);
}

#[tokio::test]
async fn a_lease_on_a_window_of_the_calendar_ends_with_it_and_goes_back_to_no_other() {
    let fixture = Fixture::new(&quota(
        "limit: 10000 per hour, algorithm: fixed-window, window: calendar",
    ));
    let half = Duration::from_millis(500);
    fixture.time.advance(HOUR - half);
    let leasing = QuotaAsk {
        lease: true,
        per_second: 1e6,
        ..ask("q", 1)
    };
    let taken = fixture.one(leasing).await;
    assert_eq!((taken.lease, taken.lease_for), (200, half));
    fixture.time.advance(half);
    fixture.one(ask("q", 300)).await;
    let back = QuotaAsk {
        unused: 200,
        ..ask("q", 0)
    };
    assert_eq!(fixture.one(back).await.remaining, 9_700);
}

#[tokio::test]
async fn what_is_in_flight_is_freed_by_any_mixer_once_and_ends_by_itself() {
    let fixture = Fixture::new(&quota("limit: 2, algorithm: concurrency, hold: 30s"));
    for expected in [Outcome::Granted, Outcome::Granted, Outcome::Refused] {
        assert_eq!(fixture.one(ask("q", 1)).await.outcome, expected);
    }
    fixture.time.advance(Duration::from_secs(20));
    let freed = QuotaAsk {
        age: Duration::from_secs(20),
        ..ask("q", -1)
    };
    for _ in 0..2 {
        // A repeated try frees once.
        fixture.dispatcher.quota(&[freed], "b", "id", LEFT).await;
        assert_eq!(fixture.left_of("q").await, 1);
    }
    fixture.one(ask("q", 1)).await;
    fixture.time.advance(Duration::from_secs(10));
    assert_eq!(
        fixture.left_of("q").await,
        1,
        "the other one has ended by itself"
    );
    let late = QuotaAsk {
        age: Duration::from_secs(30),
        ..ask("q", -1)
    };
    fixture.one(late).await;
    assert_eq!(fixture.left_of("q").await, 1, "and is not freed once more");
}

#[tokio::test]
async fn a_refused_request_counts_where_the_quota_says_so_whichever_store_refused() {
    let documents = r#"
adapter: one
type: memory-quota
---
adapter: two
type: memory-quota
---
policy: p
for: always
quotas:
  - { quota: free, id: free, key: [], limit: 100 per day, store: one }
  - { quota: counts, id: counts, key: [], limit: 100 per day, store: one, denied: counts }
  - { quota: full, id: full, key: [], limit: 1 per day, store: two }
  - { quota: counts too, id: counts too, key: [], limit: 100 per day, denied: counts }
"#;
    let fixture = Fixture::new(documents);
    let all = ["free", "counts", "full", "counts too"];
    for refused in 0..3u64 {
        let spent = fixture.spend(&all.map(|quota| ask(quota, 1)), "").await;
        let passes = spent
            .taken
            .iter()
            .all(|taken| taken.outcome == Outcome::Granted);
        assert_eq!(passes, refused == 0);
        let mut left = Vec::new();
        for quota in all {
            left.push(fixture.left_of(quota).await);
        }
        assert_eq!(left, [99, 99 - refused, 0, 99 - refused]);
    }
    // A quota that refuses counts up to twice its limit.
    let fixture = Fixture::new(&quota("limit: 10 per hour, denied: counts"));
    fixture.one(ask("q", 10)).await;
    fixture.time.advance(HOUR / 2);
    for _ in 0..50 {
        assert_eq!(fixture.one(ask("q", 1)).await.outcome, Outcome::Refused);
    }
    fixture.time.advance(HOUR / 2);
    assert_eq!(fixture.left_of("q").await, 0, "the refused ones count on");
    fixture.time.advance(HOUR / 2);
    assert_eq!(fixture.left_of("q").await, 10);
}

#[tokio::test]
async fn a_refused_request_takes_nothing_of_any_store() {
    let documents = r#"
adapter: other
type: memory-quota
---
policy: p
for: always
quotas:
  - { quota: a, id: a, key: [], limit: 10 per day }
  - { quota: b, id: b, key: [], limit: 10 per day, store: other, algorithm: gcra }
  - { quota: c, id: c, key: [], limit: 10 per day, algorithm: fixed-window }
  - { quota: d, id: d, key: [], limit: 3, store: other, algorithm: concurrency, hold: 1d }
"#;
    let fixture = Fixture::new(documents);
    let all = ["a", "b", "c", "d"].map(|quota| ask(quota, 1));
    for request in 0..6 {
        let spent = fixture.spend(&all, "").await;
        let passes = spent
            .taken
            .iter()
            .all(|taken| taken.outcome == Outcome::Granted);
        assert_eq!(passes, request < 3);
    }
    // More than there can ever be, beside what there is.
    for at in 0..4 {
        let mut asks = all;
        asks[at].cost = 11;
        let taken = fixture.spend(&asks, "").await.taken[at];
        assert_eq!((taken.outcome, taken.retry_after), (Outcome::Refused, None));
    }
    for (quota, left) in [("a", 7), ("b", 7), ("c", 7), ("d", 0)] {
        assert_eq!(fixture.left_of(quota).await, left, "{quota}");
    }
}

#[tokio::test]
async fn a_reservation_is_settled_once_at_what_it_did_cost() {
    let fixture = Fixture::new(&quota("limit: 1000 per hour"));
    let reservation = fixture.reserve(300, "").await;
    assert_eq!(fixture.left_of("q").await, 700);
    for actual in [120, 120, 0, 900] {
        assert_eq!(fixture.commit(&reservation, actual).await, Outcome::Granted);
        assert_eq!(fixture.left_of("q").await, 880, "only the first one counts");
    }
    let released = fixture.reserve(300, "").await;
    assert_eq!(fixture.commit(&released, 0).await, Outcome::Granted);
    assert_eq!(fixture.left_of("q").await, 880);
    let abandoned = fixture.reserve(80, "").await;
    fixture.time.advance(RESERVED_FOR + RESERVED_FOR / 32);
    assert_eq!(fixture.commit(&abandoned, 0).await, Outcome::Unknown);
    assert_eq!(fixture.left_of("q").await, 800, "it stays spent");
}

#[tokio::test]
async fn what_costs_more_than_its_reservation_is_owed_and_refuses_others_until_paid() {
    for algorithm in ["sliding-window", "gcra", "fixed-window"] {
        let fixture = Fixture::new(&quota(&format!(
            "limit: 1000 per hour, algorithm: {algorithm}"
        )));
        let reservation = fixture.reserve(300, "").await;
        assert_eq!(fixture.commit(&reservation, 1500).await, Outcome::Granted);
        let refused = fixture.one(ask("q", 1)).await;
        assert_eq!(refused.outcome, Outcome::Refused, "{algorithm}");
        let wait = refused.retry_after.unwrap();
        fixture.time.advance(wait - Duration::from_nanos(1));
        assert_eq!(
            fixture.one(ask("q", 1)).await.outcome,
            Outcome::Refused,
            "{algorithm}"
        );
        fixture.time.advance(Duration::from_nanos(1));
        assert_eq!(
            fixture.one(ask("q", 1)).await.outcome,
            Outcome::Granted,
            "{algorithm}"
        );
    }
}

#[tokio::test]
async fn a_repeated_try_reserves_once_and_what_was_made_up_is_no_reservation() {
    let mut fixture = Fixture::new(&quota("limit: 1000 per hour"));
    let first = fixture.reserve(300, "id").await;
    let again = fixture.reserve(300, "id").await;
    assert_eq!(fixture.left_of("q").await, 700);
    assert_eq!(fixture.commit(&first, 100).await, Outcome::Granted);
    assert_eq!(fixture.commit(&again, 100).await, Outcome::Granted);
    assert_eq!(fixture.left_of("q").await, 900);
    fixture.reload(&quota("limit: 1000 per hour"));
    let real = fixture.reserve(500, "").await;
    for made_up in [
        real.replace("500", "900"),
        real.replace("\"q\"", "\"r\""),
        "{}".to_owned(),
        String::new(),
        "x".repeat(100_000),
    ] {
        for _ in 0..3 {
            assert_eq!(fixture.commit(&made_up, 0).await, Outcome::Unknown);
        }
    }
    assert_eq!(fixture.left_of("q").await, 400);
    assert_eq!(fixture.commit(&real, 0).await, Outcome::Granted);
    assert_eq!(fixture.left_of("q").await, 900);
    // Nothing is reserved of what is refused.
    assert_eq!(fixture.reserve(901, "").await, "");
}

#[tokio::test]
async fn a_reservation_of_a_window_that_is_over_gives_nothing_back_to_the_next() {
    for keys in [
        "limit: 1000 per 60s",
        "limit: 1000 per 60s, algorithm: fixed-window",
        "limit: 1000 per minute, algorithm: fixed-window, window: calendar",
    ] {
        let fixture = Fixture::new(&quota(keys));
        let reservation = fixture.reserve(300, "").await;
        fixture.time.advance(Duration::from_secs(60));
        fixture.one(ask("q", 500)).await;
        assert_eq!(fixture.commit(&reservation, 0).await, Outcome::Granted);
        assert_eq!(fixture.left_of("q").await, 500, "{keys}");
    }
}
