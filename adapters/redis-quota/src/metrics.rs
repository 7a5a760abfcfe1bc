//! What is told of the store's calls; it survives a reload, so that counters only rise.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mixer_adapter::exposition::rendered;
use mixer_adapter::{Exposition, FamilyKind};

/// Upper bounds of the buckets, in seconds; calls end at 50 ms at the latest.
const BOUNDS: [f64; 9] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.03, 0.05,
];

/// Counts and times.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
    connects: AtomicU64,
    connect_failures: AtomicU64,
}

/// Why a call was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There was no connection.
    Disconnected,
    /// The answer did not come in time.
    Timeout,
    /// The connection broke.
    Broken,
    /// The server answered that it cannot.
    Refused,
}

impl Failure {
    const ALL: [Failure; 4] = [
        Failure::Disconnected,
        Failure::Timeout,
        Failure::Broken,
        Failure::Refused,
    ];

    fn name(self) -> &'static str {
        match self {
            Failure::Disconnected => "disconnected",
            Failure::Timeout => "timeout",
            Failure::Broken => "broken",
            Failure::Refused => "refused",
        }
    }
}

impl Metrics {
    pub(crate) fn answered(&self, after: Duration) {
        let seconds = after.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, why: Failure) {
        self.failures[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connected(&self, made: bool) {
        let count = if made {
            &self.connects
        } else {
            &self.connect_failures
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes all families; `connections` are those that are there now.
    pub(crate) fn expose(&self, page: &mut Exposition, adapter: &str, connections: usize) {
        let labels = [("adapter", adapter)];
        page.gauge(
            "mixer_redis_quota_connections",
            "Connections to the store that are there; 0: its quotas are unavailable.",
            &labels,
            connections as f64,
        );
        page.counter(
            "mixer_redis_quota_connects",
            "Connections that were made.",
            &labels,
            self.connects.load(Ordering::Relaxed) as f64,
        );
        page.counter(
            "mixer_redis_quota_connect_failures",
            "Connections that could not be made.",
            &labels,
            self.connect_failures.load(Ordering::Relaxed) as f64,
        );
        for why in Failure::ALL {
            page.counter(
                "mixer_redis_quota_failures",
                "Calls that were not answered.",
                &[("adapter", adapter), ("reason", why.name())],
                self.failures[why as usize].load(Ordering::Relaxed) as f64,
            );
        }
        let help = "Time of the calls that were answered.";
        if let Some(mut samples) = page.family(
            "mixer_redis_quota_call_seconds",
            help,
            FamilyKind::Histogram,
        ) {
            let counts = self.buckets.each_ref();
            let counts = counts.map(|count| count.load(Ordering::Relaxed));
            let seconds = self.nanos.load(Ordering::Relaxed) as f64 / 1e9;
            samples.histogram(&rendered(&labels), &BOUNDS, &counts, seconds);
        }
    }
}
