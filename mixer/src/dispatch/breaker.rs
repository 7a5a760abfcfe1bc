//! Stops asking a backend that does not answer, and tries it again now and then.
//!
//! One atomic holds the whole state: zero while calls pass, else the time until which they are refused. The caller that finds
//! that time past moves it on by one pause and is the probe; all others stay refused until the probe has ended. A probe that is
//! never heard of again costs one pause, not the backend.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mixer_runtime::Instant;

/// Consecutive failures after which it opens.
pub(super) const FAILURES: u32 = 5;
/// How long it refuses before it lets one call through.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Opens after [`FAILURES`] failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    open_until: AtomicU64,
}

impl Breaker {
    /// Whether a call may go out at `now`; if not, when the next one may.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let until = self.open_until.load(Ordering::Acquire);
        if until == 0 {
            return Ok(());
        }
        if now.as_nanos() >= until {
            let next = (now + PAUSE).as_nanos();
            if self
                .open_until
                .compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                return Ok(());
            }
        }
        let until = self.open_until.load(Ordering::Acquire);
        if until == 0 {
            Ok(())
        } else {
            Err(Instant::from_nanos(until).since(now))
        }
    }

    /// The backend answered.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0
            || self.open_until.load(Ordering::Relaxed) != 0
        {
            self.failures.store(0, Ordering::Relaxed);
            self.open_until.store(0, Ordering::Release);
        }
    }

    /// It did not.
    pub(crate) fn failed(&self, now: Instant) {
        let failures = self
            .failures
            .fetch_add(1, Ordering::AcqRel)
            .saturating_add(1);
        if failures >= FAILURES {
            self.failures.store(FAILURES, Ordering::Relaxed);
            self.open_until
                .store((now + PAUSE).as_nanos().max(1), Ordering::Release);
        }
    }

    /// Whether calls are refused at the moment.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.open_until.load(Ordering::Acquire) > now.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_not_before() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            breaker.failed(at(1));
        }
        breaker.succeeded();
        for _ in 1..FAILURES {
            breaker.failed(at(2));
        }
        assert_eq!(breaker.admit(at(2)), Ok(()));
        breaker.failed(at(2));
        assert_eq!(breaker.admit(at(2)), Err(PAUSE));
        assert!(breaker.is_open(at(1001)) && !breaker.is_open(at(1002)));
    }

    #[test]
    fn after_the_pause_one_probe_goes_out_and_decides() {
        let breaker = Breaker::default();
        (0..FAILURES).for_each(|_| breaker.failed(at(0)));
        assert_eq!(breaker.admit(at(1000)), Ok(()), "the probe");
        assert!(breaker.admit(at(1000)).is_err(), "others wait for it");
        breaker.failed(at(1010));
        assert_eq!(breaker.admit(at(1500)), Err(Duration::from_millis(510)));
        assert_eq!(breaker.admit(at(2010)), Ok(()));
        breaker.succeeded();
        assert!((0..10).all(|_| breaker.admit(at(2011)).is_ok()));
    }

    #[test]
    fn a_probe_that_is_lost_is_followed_by_another() {
        let breaker = Breaker::default();
        (0..FAILURES).for_each(|_| breaker.failed(at(0)));
        assert_eq!(breaker.admit(at(1000)), Ok(()));
        assert_eq!(breaker.admit(at(2000)), Ok(()));
    }
}
