//! The bucket against governor.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{InsufficientCapacity, Quota, RateLimiter};
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn it_decides_as_governor_does(
        per_token in 1..1_000_000u64,
        burst in 1..50u32,
        steps in prop::collection::vec((0..3_000_000u64, 1..60u32), 1..200),
    ) {
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(Duration::from_nanos(per_token)).unwrap();
        let oracle = RateLimiter::direct_with_clock(quota.allow_burst(NonZeroU32::new(burst).unwrap()), clock.clone());
        let rate = Rate::new(1, per_token, u64::from(burst));
        let (mut bucket, mut now) = (Bucket::FULL, 0);
        for (apart, tokens) in steps {
            now += apart;
            clock.advance(Duration::from_nanos(apart));
            let wanted = u64::from(tokens);
            let free = bucket.tokens(rate, 1, now);
            match oracle.check_n(NonZeroU32::new(tokens).unwrap()) {
                Ok(Ok(())) => {
                    prop_assert!(wanted <= free, "governor grants {} of {}", wanted, free);
                    bucket.take(wanted, rate, now);
                }
                Ok(Err(_)) => {
                    prop_assert!(wanted > free, "governor refuses {} of {}", wanted, free);
                    let wait = bucket.holds_in(wanted, rate, now);
                    prop_assert!(bucket.tokens(rate, 1, now + wait) >= wanted);
                    prop_assert!(bucket.tokens(rate, 1, now + wait - 1) < wanted);
                }
                Err(InsufficientCapacity(most)) => prop_assert!(most < tokens),
            }
        }
    }

    /// What the rate promises, whatever was taken, put back or changed: burst plus what refilled.
    #[test]
    fn never_more_than_the_burst_and_what_refills(
        amount in 1..5_000_000u64,
        window in 1..10_000_000_000u64,
        burst in 1..50u64,
        steps in prop::collection::vec((0..1_000_000_000u64, 1..60u64), 1..200),
    ) {
        let rate = Rate::new(amount, window, burst);
        let (mut bucket, mut now, mut granted) = (Bucket::FULL, 0u64, 0u64);
        for (apart, tokens) in steps {
            now += apart;
            if tokens <= bucket.tokens(rate, 1, now) {
                bucket.take(tokens, rate, now);
                granted += tokens;
            }
            let refilled = u128::from(now) * u128::from(amount) / u128::from(window);
            prop_assert!(u128::from(granted) <= u128::from(burst) + refilled);
        }
    }
}

#[test]
fn a_rate_that_does_not_divide_the_window_still_gives_its_burst() {
    let rate = Rate::new(3, 1_000_000_000, 3);
    let mut bucket = Bucket::FULL;
    for left in [2, 1, 0] {
        bucket.take(1, rate, 5);
        assert_eq!(bucket.tokens(rate, 1, 5), left);
    }
}

#[test]
fn what_is_missing_stays_missing_when_the_rate_changes() {
    let (slow, fast) = (Rate::new(10, 10_000, 10), Rate::new(20, 10_000, 20));
    let mut bucket = Bucket::FULL;
    bucket.take(8, slow, 1);
    assert_eq!(
        (bucket.tokens(slow, 1, 1), bucket.tokens(fast, 1, 1)),
        (2, 12)
    );
    bucket.take(2, fast, 1);
    assert_eq!(bucket.tokens(slow, 1, 1), 0);
}

#[test]
fn putting_back_never_overfills() {
    let rate = Rate::new(10, 10_000, 10);
    let mut bucket = Bucket::FULL;
    bucket.take(3, rate, 7);
    bucket.put_back(u64::MAX, rate, 7);
    assert_eq!(bucket.tokens(rate, 1, 7), 10);
    assert!(bucket.is_full(7));
}
