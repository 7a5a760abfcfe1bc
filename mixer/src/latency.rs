//! How long things take, as a histogram of atomics: nothing is looked up and nothing locked where it is observed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mixer_adapter::exposition::rendered;
use mixer_adapter::{Exposition, FamilyKind};

/// A histogram from ten microseconds to a second.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

const BOUNDS: [f64; 16] = [
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0,
];

impl Latency {
    /// Adds one observation.
    #[inline]
    pub fn observe(&self, span: Duration) {
        let seconds = span.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Writes it as the family `name`.
    pub(crate) fn expose(
        &self,
        page: &mut Exposition,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) {
        if let Some(mut written) = page.family(name, help, FamilyKind::Histogram) {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            let counts: Vec<u64> = self.buckets.iter().map(read).collect();
            let seconds = read(&self.nanos) as f64 / 1e9;
            written.histogram(&rendered(labels), &BOUNDS, &counts, seconds);
        }
    }
}
