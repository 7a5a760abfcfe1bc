//! What the demo's clients saw: outcomes, and latencies in a histogram of fixed size, so that a demo may run for days.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Outcomes of the requests that clients sent.
#[derive(Debug, Default)]
pub(super) struct Counts {
    allowed: AtomicU64,
    denied: AtomicU64,
    limited: AtomicU64,
    failed: AtomicU64,
    latency: Mutex<Latencies>,
}

/// Outcomes so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    pub(super) limited: u64,
    pub(super) failed: u64,
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Allowed,
    Denied,
    Limited,
    Failed,
}

impl Ended {
    /// What a status means to the client that gets it.
    pub(super) fn from_status(status: u16) -> Self {
        match status {
            200..=299 => Ended::Allowed,
            429 => Ended::Limited,
            400..=499 => Ended::Denied,
            _ => Ended::Failed,
        }
    }
}

impl Counts {
    /// One more request; `took` counts only for those that were allowed.
    pub(super) fn add(&self, ended: Ended, took: Duration) {
        let counter = match ended {
            Ended::Allowed => &self.allowed,
            Ended::Denied => &self.denied,
            Ended::Limited => &self.limited,
            Ended::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if ended == Ended::Allowed {
            self.latency
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(took);
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            allowed: read(&self.allowed),
            denied: read(&self.denied),
            limited: read(&self.limited),
            failed: read(&self.failed),
        }
    }

    /// Latencies since the start.
    pub(super) fn latencies(&self) -> Latencies {
        self.latency
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Totals {
    pub(super) fn sent(&self) -> u64 {
        self.allowed + self.denied + self.limited + self.failed
    }

    pub(super) fn since(&self, before: &Totals) -> Totals {
        Totals {
            allowed: self.allowed - before.allowed,
            denied: self.denied - before.denied,
            limited: self.limited - before.limited,
            failed: self.failed - before.failed,
        }
    }
}

/// Bits of a latency that are kept below its highest one: buckets are at most 1/16 wide.
const PRECISION: u32 = 4;
const BUCKETS: usize = (64 - PRECISION as usize) << PRECISION;

/// A histogram of microseconds, each bucket at most a sixteenth of its value wide.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Vec<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(vec![0; BUCKETS])
    }
}

impl Latencies {
    fn add(&mut self, took: Duration) {
        self.0[bucket(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))] += 1;
    }

    /// What came after `before`.
    pub(super) fn since(&self, before: &Latencies) -> Latencies {
        Latencies(
            self.0
                .iter()
                .zip(&before.0)
                .map(|(now, then)| now - then)
                .collect(),
        )
    }

    /// Microseconds below which `share` of the requests were; 0 for none.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        let total: u64 = self.0.iter().sum();
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(at);
            }
        }
        0
    }
}

fn bucket(value: u64) -> usize {
    let exponent = (64 - value.leading_zeros()).saturating_sub(PRECISION + 1);
    ((u64::from(exponent) << PRECISION) + (value >> exponent)) as usize
}

fn upper(bucket: usize) -> u64 {
    let exponent = (bucket >> PRECISION).saturating_sub(1) as u32;
    let base = bucket as u64 - (u64::from(exponent) << PRECISION);
    ((base + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_and_is_narrow() {
        for value in (0..2_000).chain([10_000, 123_456, 9_999_999, 1 << 40]) {
            let upper = upper(bucket(value));
            assert!(
                upper >= value && upper - value <= value / 16,
                "{value} in a bucket up to {upper}"
            );
        }
    }

    #[test]
    fn quantiles_are_those_of_the_requests_in_between() {
        let mut before = Latencies::default();
        before.add(Duration::from_secs(5));
        let mut now = before.clone();
        (1..=100).for_each(|ms| now.add(Duration::from_millis(ms)));
        let between = now.since(&before);
        assert!(
            (50_000..=53_200).contains(&between.quantile(0.5)),
            "{}",
            between.quantile(0.5)
        );
        assert!(
            (99_000..=105_300).contains(&between.quantile(0.99)),
            "{}",
            between.quantile(0.99)
        );
        assert_eq!(Latencies::default().quantile(0.5), 0);
    }

    #[test]
    fn a_status_is_counted_as_its_reader_would_take_it() {
        let table = [
            (200, Ended::Allowed),
            (403, Ended::Denied),
            (429, Ended::Limited),
            (503, Ended::Failed),
        ];
        for (status, ended) in table {
            assert_eq!(Ended::from_status(status), ended);
        }
    }
}
