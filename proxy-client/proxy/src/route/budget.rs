//! How many tries beyond the first a service gets: a share of its requests, so that a service that fails is not drowned in them.
//!
//! In any ten seconds (whole ones, the current one among them) there are at most *share x requests + floor x 10* such tries, over
//! all threads of the proxy. A try is counted before it is admitted: where two threads come for the last place, both may go
//! without, never both with it.

use std::sync::atomic::{AtomicU64, Ordering};

use mixer_runtime::Instant;

/// Seconds that are looked at.
const WINDOW: u64 = 10;
const SECOND_BITS: u32 = 20;
const COUNT_BITS: u32 = 22;
const SECONDS: u64 = (1 << SECOND_BITS) - 1;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// Requests and tries beyond the first of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// By the second, modulo [`WINDOW`]: the second, requests, tries.
    slots: [AtomicU64; WINDOW as usize],
}

impl Budget {
    /// A request came that may be tried again.
    pub(crate) fn request(&self, now: Instant) {
        self.add(now, 1, 0);
    }

    /// Takes a place for one try beyond the first, if there is one. `share` is in percent, `floor` per second.
    pub(crate) fn admit(&self, now: Instant, share: f64, floor: u32) -> bool {
        self.add(now, 0, 1);
        let second = second(now);
        let (mut requests, mut tries) = (0, 0);
        for slot in &self.slots {
            let (of, some, more) = unpack(slot.load(Ordering::Relaxed));
            if second.wrapping_sub(of) & SECONDS < WINDOW {
                requests += some;
                tries += more;
            }
        }
        let most = requests as f64 * share / 100.0 + f64::from(floor) * WINDOW as f64;
        let admitted = tries as f64 <= most;
        if !admitted {
            self.add(now, 0, -1);
        }
        admitted
    }

    fn add(&self, now: Instant, requests: u64, tries: i64) {
        let second = second(now);
        let slot = &self.slots[(now.as_nanos() / 1_000_000_000 % WINDOW) as usize];
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
            let (of, some, more) = match unpack(packed) {
                known if known.0 == second => known,
                _ => (second, 0, 0),
            };
            let some = (some + requests).min(COUNT);
            let more = more.saturating_add_signed(tries).min(COUNT);
            Some(of << (2 * COUNT_BITS) | some << COUNT_BITS | more)
        });
    }
}

fn second(now: Instant) -> u64 {
    // From 1, so that an empty slot is of no second near the beginning.
    (now.as_nanos() / 1_000_000_000 + WINDOW) & SECONDS
}

fn unpack(packed: u64) -> (u64, u64, u64) {
    (
        packed >> (2 * COUNT_BITS),
        packed >> COUNT_BITS & COUNT,
        packed & COUNT,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn admitted(budget: &Budget, now: Instant, share: f64, floor: u32) -> usize {
        (0..10_000)
            .filter(|_| budget.admit(now, share, floor))
            .count()
    }

    #[test]
    fn tries_are_a_share_of_the_requests_and_the_floor() {
        let budget = Budget::default();
        assert_eq!(admitted(&budget, at(0), 20.0, 0), 0);
        (0..100).for_each(|_| budget.request(at(0)));
        assert_eq!(admitted(&budget, at(100), 20.0, 0), 20);
        assert_eq!(admitted(&budget, at(9_999), 20.0, 3), 30);
        assert_eq!(admitted(&budget, at(9_999), 20.0, 3), 0);
    }

    #[test]
    fn what_was_ten_seconds_ago_counts_no_more() {
        let budget = Budget::default();
        (0..100).for_each(|_| budget.request(at(500)));
        assert_eq!(admitted(&budget, at(9_000), 50.0, 0), 50);
        assert_eq!(admitted(&budget, at(10_000), 50.0, 0), 0);
        (0..10).for_each(|_| budget.request(at(19_000)));
        assert_eq!(admitted(&budget, at(19_000), 50.0, 0), 5);
    }

    #[test]
    fn threads_share_it_and_never_take_too_many() {
        let budget = Budget::default();
        (0..1_000).for_each(|_| budget.request(at(0)));
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| admitted(&budget, at(0), 20.0, 0)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert!((1..=200).contains(&taken), "{taken}");
    }
}
