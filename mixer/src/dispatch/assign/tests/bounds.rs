//! What passes in all is bounded by the limit, however many Envoys and Mixers there are.

use std::time::Duration;

use mixer_runtime::Random;

use super::model::{Envoy, Mixer, most_in_any};
use crate::dispatch::Why;
use crate::dispatch::assign::{LIFE, Strategy, TURN};
use crate::dispatch::tests::fixture::Fixture;

const MINUTE: Duration = Duration::from_secs(60);

/// A quota of the domain `edge`.
pub(super) fn quota(keys: &str) -> String {
    format!(
        "policy: p\nfor: rate_limit.domain == \"edge\"\nquotas: [ {{ quota: q, id: q, key: [], {keys} }} ]\n"
    )
}

#[tokio::test]
async fn one_envoy_is_assigned_the_whole_limit_within_a_few_reports_and_no_more() {
    let fixture = Fixture::new(&quota("limit: 20 per minute"));
    let now = || fixture.surroundings.clock.now();
    let mut envoy = Envoy::new(&Mixer::default());
    assert!(envoy.request(now()), "nothing is assigned yet");
    envoy.report(&fixture).await;
    assert_eq!(envoy.burst(50, now()), 10, "half of what is left");
    fixture.time.advance(TURN);
    envoy.report(&fixture).await;
    assert_eq!(
        envoy.burst(50, now()),
        9,
        "it showed that it needs the rest"
    );
    fixture.time.advance(TURN);
    let denied = envoy.report(&fixture).await;
    assert_eq!(denied.strategy, Some(Strategy::DenyAll));
    assert!(matches!(denied.why, Some(Why::Reached)));
    assert_eq!(envoy.passed, 20);
    // The minute of what was spent first begins with the report of it.
    fixture.time.advance(MINUTE - TURN);
    envoy.report(&fixture).await;
    assert!(envoy.request(now()));
}

#[tokio::test]
async fn what_is_not_spent_goes_back_and_to_whom_needs_it() {
    let fixture = Fixture::new(&quota("limit: 100 per minute"));
    let now = || fixture.surroundings.clock.now();
    let mixer = Mixer::default();
    let (mut quiet, mut busy) = (Envoy::new(&mixer), Envoy::new(&mixer));
    quiet.request(now());
    quiet.report(&fixture).await;
    assert_eq!(quiet.may(), 50);
    busy.burst(1, now());
    busy.report(&fixture).await;
    busy.burst(99, now());
    fixture.time.advance(TURN);
    busy.report(&fixture).await;
    quiet.request(now());
    quiet.report(&fixture).await;
    busy.burst(99, now());
    fixture.time.advance(TURN);
    busy.report(&fixture).await;
    busy.burst(99, now());
    assert!(busy.passed >= 90, "{} passed", busy.passed);
    assert!(busy.passed + quiet.passed <= 100);
}

#[tokio::test]
async fn parts_follow_demand() {
    let fixture = Fixture::new(&quota("limit: 100 per second"));
    let now = || fixture.surroundings.clock.now();
    let mixer = Mixer::default();
    let mut envoys = [Envoy::new(&mixer), Envoy::new(&mixer), Envoy::new(&mixer)];
    for _ in 0..6 {
        for (envoy, requests) in envoys.iter_mut().zip([600, 300, 100]) {
            envoy.burst(requests, now());
            envoy.report(&fixture).await;
        }
        fixture.time.advance(TURN);
    }
    let parts = envoys.each_ref().map(|envoy| match envoy.strategy {
        Some(Strategy::Rate { fill, every, .. }) => u64::from(fill) / every.as_secs(),
        other => panic!("{other:?}"),
    });
    assert_eq!(parts, [60, 30, 10]);
}

/// Envoys that ask at random, on two Mixers over one store, for a while; all that passed.
async fn crowd(fixture: &Fixture, seed: u64) -> Vec<Envoy> {
    let random = Random::from_seed(seed);
    let mixers = [Mixer::default(), Mixer::default()];
    let mut envoys: Vec<Envoy> = (0..4).map(|at| Envoy::new(&mixers[at % 2])).collect();
    let step = Duration::from_millis(500);
    let steps = 4 * MINUTE.as_millis() / step.as_millis();
    for at in 0..steps {
        for (number, envoy) in envoys.iter_mut().enumerate() {
            let now = fixture.surroundings.clock.now();
            let first = envoy.bucket.is_none();
            let requests = match random.next() % 8 {
                0 => random.next() % 20,
                _ => random.next() % 2,
            };
            if requests > 0 && first {
                // The first is reported at once.
                envoy.request(now);
                envoy.report(fixture).await;
            }
            envoy.burst(requests as usize, now);
            // Each at its own times, some reports lost.
            let due = (at as u64 + number as u64 * 3).is_multiple_of(10);
            if due && envoy.bucket.is_some() && !random.next().is_multiple_of(10) {
                let meanwhile = (random.next() % 2) as usize;
                envoy.report_while(meanwhile, fixture).await;
            }
        }
        fixture.time.advance(step);
    }
    envoys
}

#[tokio::test]
async fn no_window_sees_more_than_the_limit_and_what_passed_unassigned_or_late() {
    for (keys, limit) in [
        ("limit: 60 per minute", 60),
        ("limit: 7 per minute", 7),
        ("limit: 30 per 20s", 30),
        (
            "limit: { by: \"'x'\", table: { x: 40 per minute }, otherwise: 1 per minute }",
            40,
        ),
    ] {
        let window = if keys.contains("20s") {
            Duration::from_secs(20)
        } else {
            MINUTE
        };
        for seed in 0..8 {
            let fixture = Fixture::new(&quota(keys));
            let envoys = crowd(&fixture, seed).await;
            let beside = envoys.iter().map(|envoy| envoy.unassigned + envoy.late);
            let beside: u64 = beside.sum();
            let times = envoys.iter().flat_map(|envoy| envoy.times.iter().copied());
            let most = most_in_any(window, times) as u64;
            assert!(
                most <= limit + beside,
                "{keys}, seed {seed}: {most} in a window, {beside} of them beside"
            );
            // Nor is it held back: over four minutes most of what may pass does.
            let passed: u64 = envoys.iter().map(|envoy| envoy.passed).sum();
            let may = limit * 4 * MINUTE.as_secs() / window.as_secs();
            assert!(passed * 2 >= may, "{keys}, seed {seed}: {passed} of {may}");
        }
    }
}

#[tokio::test]
async fn rates_of_all_add_up_to_no_more_than_the_limit() {
    for (keys, limit, burst) in [
        ("limit: 10 per second", 10, 10),
        ("limit: 50 per 10s", 5, 50),
        (
            "limit: 600 per minute, algorithm: gcra, burst: 100",
            10,
            100,
        ),
    ] {
        for seed in 0..8 {
            let fixture = Fixture::new(&quota(keys));
            let envoys = crowd(&fixture, seed).await;
            let now = fixture.surroundings.clock.now();
            let (mut rate, mut bursts) = (0.0, 0);
            for envoy in &envoys {
                if let Some(Strategy::Rate {
                    fill, every, burst, ..
                }) = envoy.strategy
                {
                    rate += f64::from(fill) / every.as_secs_f64();
                    bursts += burst;
                }
            }
            assert!(rate <= f64::from(limit), "{keys}, seed {seed}: {rate}");
            assert!(bursts <= burst, "{keys}, seed {seed}: {bursts}");
            let passed: u64 = envoys.iter().map(|envoy| envoy.passed).sum();
            let all = now.since(mixer_runtime::Instant::from_nanos(0)).as_secs() * limit as u64;
            assert!(passed * 3 >= all.min(400), "{keys}, seed {seed}: {passed}");
        }
    }
}

#[tokio::test]
async fn what_an_envoy_held_when_it_was_lost_counts_as_spent() {
    let fixture = Fixture::new(&quota("limit: 20 per minute"));
    let now = || fixture.surroundings.clock.now();
    let mixer = Mixer::default();
    let mut lost = Envoy::new(&mixer);
    lost.request(now());
    lost.report(&fixture).await;
    assert_eq!(lost.may(), 10);
    lost.bucket = None;
    // It goes on until its assignment is over.
    assert_eq!(lost.burst(20, now()), 10);
    let mut next = Envoy::new(&mixer);
    next.request(now());
    for _ in 0..6 {
        next.report(&fixture).await;
        next.burst(20, now());
        fixture.time.advance(TURN);
    }
    assert_eq!((lost.passed, next.passed), (11, 9));
    fixture.time.advance(MINUTE - TURN);
    next.report(&fixture).await;
    assert_eq!(next.may(), 20, "a minute later all of it is there again");
}

#[tokio::test]
async fn parts_of_a_rate_come_back_when_the_assignment_of_who_was_lost_is_over() {
    let fixture = Fixture::new(&quota("limit: 10 per second"));
    let now = || fixture.surroundings.clock.now();
    let mixer = Mixer::default();
    let mut lost = Envoy::new(&mixer);
    lost.burst(100, now());
    lost.report(&fixture).await;
    lost.bucket = None;
    let mut next = Envoy::new(&mixer);
    next.burst(100, now());
    let denied = next.report(&fixture).await;
    assert_eq!(denied.strategy, Some(Strategy::DenyAll));
    fixture.time.advance(LIFE);
    next.report(&fixture).await;
    assert!(matches!(
        next.strategy,
        Some(Strategy::Rate { fill: 10, .. })
    ));
}
