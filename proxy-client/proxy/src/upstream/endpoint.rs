//! One endpoint of a service: its load, and whether it is well.
//!
//! It is unwell while its health checks fail, and while it is *ejected* for having failed requests. Both are kept when documents
//! change, as long as the address stays. All of it is read and written by every thread without a lock.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mixer_documents::Outlier;
use mixer_runtime::Instant;

use super::load::{Load, NO_ANSWER};

/// Ejections in a row lengthen up to so many times.
const MOST_EJECTIONS: u32 = 10;
/// Of its share an endpoint gets at least so much while it is new.
const LEAST_SHARE: f64 = 0.1;

/// One address of a service.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(super) load: Load,
    /// Since when it has been used: known, or well again.
    since: AtomicU64,
    /// Its health checks fail.
    unwell: AtomicBool,
    /// Failures one after the other.
    errors: AtomicU32,
    /// 0: it never was.
    ejected_until: AtomicU64,
    ejections: AtomicU32,
    requests: AtomicU64,
    failures: AtomicU64,
}

/// What became of a request, as far as it says something about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered.
    Answered,
    /// It answered that it cannot.
    Failed,
    /// There was no answer.
    NoAnswer,
}

/// What is shown of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) address: SocketAddr,
    pub(crate) unwell: bool,
    /// How long it stays ejected; zero: it is not.
    pub(crate) ejected_for: Duration,
    pub(crate) in_flight: u32,
    /// The moving average; `None`: nothing is known.
    pub(crate) latency: Option<Duration>,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, now: Instant) -> Self {
        Self {
            address,
            load: Load::default(),
            since: now.as_nanos().into(),
            unwell: AtomicBool::new(false),
            errors: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Whether it gets requests.
    pub(super) fn is_well(&self, now: Instant) -> bool {
        !self.unwell.load(Ordering::Relaxed) && !self.is_ejected(now)
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now.as_nanos()
    }

    /// What its health checks say by now.
    pub(super) fn checked(&self, well: bool, now: Instant) {
        if self.unwell.swap(!well, Ordering::Relaxed) && well {
            self.since.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// What of its share it is to get: less than 1 for `slow_start` after it came, or was well again.
    pub(super) fn share(&self, slow_start: Duration, now: Instant) -> f64 {
        if slow_start.is_zero() {
            return 1.0;
        }
        let since = self
            .since
            .load(Ordering::Relaxed)
            .max(self.ejected_until.load(Ordering::Relaxed));
        let used = now.since(Instant::from_nanos(since));
        (used.as_secs_f64() / slow_start.as_secs_f64()).clamp(LEAST_SHARE, 1.0)
    }

    /// A request ended. Whether the endpoint has failed often enough to be ejected.
    pub(super) fn ended(
        &self,
        outcome: Outcome,
        took: Duration,
        now: Instant,
        outlier: Option<&Outlier>,
    ) -> bool {
        self.requests.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Outcome::Answered => {
                self.load.answered(took, now);
                self.errors.store(0, Ordering::Relaxed);
                return false;
            }
            Outcome::Failed => self.load.failed(took, now),
            Outcome::NoAnswer => self.load.failed(took.max(NO_ANSWER), now),
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        let errors = self.errors.fetch_add(1, Ordering::Relaxed) + 1;
        outlier.is_some_and(|outlier| errors >= outlier.consecutive_errors) && !self.is_ejected(now)
    }

    /// Ejects it, for longer the more often it happened lately.
    pub(super) fn eject(&self, outlier: &Outlier, now: Instant) {
        let last = self.ejected_until.load(Ordering::Relaxed);
        let calm = now.since(Instant::from_nanos(last));
        // Each time of an ejection's length without one takes one off.
        let forgiven = calm.as_nanos() / outlier.eject.as_nanos().max(1);
        let before = self.ejections.load(Ordering::Relaxed);
        let before = before.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
        let times = (before + 1).min(MOST_EJECTIONS);
        self.ejections.store(times, Ordering::Relaxed);
        self.errors.store(0, Ordering::Relaxed);
        let until = now + outlier.eject * times;
        self.ejected_until
            .store(until.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn show(&self, now: Instant) -> Shown {
        let until = Instant::from_nanos(self.ejected_until.load(Ordering::Relaxed));
        let latency = self.load.latency(now);
        Shown {
            address: self.address,
            unwell: self.unwell.load(Ordering::Relaxed),
            ejected_for: until.since(now),
            in_flight: self.load.in_flight(),
            latency: (latency > 0.0).then(|| Duration::from_nanos(latency as u64)),
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTLIER: Outlier = Outlier {
        consecutive_errors: 3,
        eject: Duration::from_secs(10),
        max_ejected: 50,
    };

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn endpoint() -> Endpoint {
        Endpoint::new(([10, 0, 0, 1], 80).into(), at(0))
    }

    #[test]
    fn only_failures_one_after_the_other_count() {
        let endpoint = endpoint();
        let ended = |outcome| endpoint.ended(outcome, Duration::ZERO, at(1), Some(&OUTLIER));
        for outcome in [
            Outcome::Failed,
            Outcome::NoAnswer,
            Outcome::Answered,
            Outcome::Failed,
            Outcome::Failed,
        ] {
            assert!(!ended(outcome));
        }
        assert!(ended(Outcome::NoAnswer));
        assert!(!endpoint.ended(Outcome::Failed, Duration::ZERO, at(1), None));
        let shown = endpoint.show(at(1));
        assert_eq!((shown.requests, shown.failures), (7, 6));
    }

    #[test]
    fn ejections_in_a_row_lengthen_and_calm_shortens_them_again() {
        let endpoint = endpoint();
        let ejected_for = |now| {
            endpoint.eject(&OUTLIER, at(now));
            endpoint.show(at(now)).ejected_for.as_secs()
        };
        assert_eq!(ejected_for(100), 10);
        assert!(endpoint.is_ejected(at(109)) && endpoint.is_well(at(110)));
        assert_eq!(ejected_for(111), 20);
        assert_eq!(ejected_for(132), 30);
        // It was let back at 162 and was calm for 25 s.
        assert_eq!(ejected_for(187), 20);
        assert_eq!(ejected_for(1_000), 10);
    }

    #[test]
    fn what_is_new_or_well_again_gets_its_share_by_and_by() {
        let endpoint = endpoint();
        let share = |now| endpoint.share(Duration::from_secs(10), at(now));
        assert_eq!((share(0), share(5), share(20)), (0.1, 0.5, 1.0));
        assert_eq!(endpoint.share(Duration::ZERO, at(0)), 1.0);
        endpoint.checked(false, at(20));
        assert!(!endpoint.is_well(at(20)));
        endpoint.checked(true, at(30));
        endpoint.checked(true, at(34));
        assert_eq!(share(35), 0.5);
        endpoint.eject(&OUTLIER, at(100));
        assert_eq!(share(115), 0.5);
    }
}
