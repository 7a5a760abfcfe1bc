//! How loaded an endpoint looks from here: requests in flight, and a moving average of the time to a response's head.
//!
//! The average is *peak-sensitive*: a slower answer raises it at once, faster ones lower it by and by. It also falls while nothing
//! is answered, so that an endpoint that was slow once is tried again. Written by all threads without a lock: of two answers at the
//! same moment one may be left out, which an average does not mind.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mixer_runtime::Instant;

/// In so much time what was measured counts for a third.
const DECAY: Duration = Duration::from_secs(10);
/// An endpoint that gave no answer counts as one that took so long.
pub(super) const NO_ANSWER: Duration = Duration::from_secs(1);
/// What an endpoint with requests in flight costs that never answered one: it gets one request, and no second before.
const UNKNOWN: f64 = 1e15;

/// One endpoint's load.
#[derive(Debug, Default)]
pub(super) struct Load {
    in_flight: AtomicU32,
    /// An `f64`: nanoseconds. 0: not known.
    average: AtomicU64,
    /// When it was last measured.
    measured: AtomicU64,
}

impl Load {
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// An answer took so long.
    pub(super) fn answered(&self, took: Duration, now: Instant) {
        let took = took.as_nanos() as f64;
        let before = f64::from_bits(self.average.load(Ordering::Relaxed));
        let average = if took >= before {
            took
        } else {
            let kept = self.kept(now);
            before * kept + took * (1.0 - kept)
        };
        self.average.store(average.to_bits(), Ordering::Relaxed);
        self.measured.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// It answered that it cannot: that may have been quick, which is nothing to prefer it for.
    pub(super) fn failed(&self, took: Duration, now: Instant) {
        let before =
            Duration::from_nanos(f64::from_bits(self.average.load(Ordering::Relaxed)) as u64);
        self.answered(took.max(before), now);
    }

    /// The average by now, in nanoseconds; 0: not known.
    pub(super) fn latency(&self, now: Instant) -> f64 {
        f64::from_bits(self.average.load(Ordering::Relaxed)) * self.kept(now)
    }

    /// What one more request would cost: the lower, the sooner it is answered.
    pub(super) fn cost(&self, now: Instant) -> f64 {
        let in_flight = f64::from(self.in_flight());
        let latency = self.latency(now);
        if latency == 0.0 && in_flight > 0.0 {
            UNKNOWN + in_flight
        } else {
            latency * (in_flight + 1.0)
        }
    }

    fn kept(&self, now: Instant) -> f64 {
        let since = now.since(Instant::from_nanos(self.measured.load(Ordering::Relaxed)));
        (-since.as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_by_and_by() {
        let load = Load::default();
        load.answered(MS, at(0));
        load.answered(50 * MS, at(1));
        assert_eq!(load.latency(at(1)), 50e6);
        load.answered(MS, at(2));
        assert!((49e6..50e6).contains(&load.latency(at(2))));
        load.answered(MS, at(10_002));
        let third = 1e6 + 49e6 / std::f64::consts::E;
        assert!((load.latency(at(10_002)) - third).abs() < 1e5);
        assert!(load.latency(at(60_000)) < 1e6, "nothing was answered since");
    }

    #[test]
    fn requests_in_flight_multiply() {
        let load = Load::default();
        load.answered(2 * MS, at(0));
        assert_eq!(load.cost(at(0)), 2e6);
        load.begin();
        load.begin();
        assert_eq!(load.cost(at(0)), 6e6);
        load.end();
        assert_eq!((load.cost(at(0)), load.in_flight()), (4e6, 1));
    }

    #[test]
    fn what_is_not_known_is_tried_with_one_request() {
        let load = Load::default();
        assert_eq!(load.cost(at(5)), 0.0);
        load.begin();
        assert!(load.cost(at(5)) >= UNKNOWN);
    }

    #[test]
    fn a_quick_failure_is_no_reason_to_be_preferred() {
        let load = Load::default();
        load.answered(20 * MS, at(0));
        load.failed(MS, at(0));
        assert_eq!(load.latency(at(0)), 20e6);
        load.failed(NO_ANSWER, at(0));
        assert_eq!(load.latency(at(0)), 1e9);
    }
}
