//! Counts of a client, for its host to export.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stats {
    /// Check calls made, tries not counted twice.
    pub check_calls: u64,
    /// Quota calls made on the request path and in the background.
    pub quota_calls: u64,
    /// Tries after the first.
    pub retries: u64,
    /// Answers from the cache.
    pub cache_hits: u64,
    pub cache_misses: u64,
    pub cache_entries: u64,
    /// Kinds of answers (lists of what was read) forgotten because a destination had too many.
    pub cache_shapes_forgotten: u64,
    /// Charges taken from leases, without a call.
    pub lease_hits: u64,
    /// Charges refused because a refusal was remembered, without a call.
    pub refusals_remembered: u64,
    /// Charges that could not be counted, so that `on_error` of their quota decided.
    pub quota_failed: u64,
    /// Requests for which nothing applied, so that nobody was asked.
    pub nothing_applies: u64,
    pub failed_unreachable: u64,
    pub failed_overloaded: u64,
    pub failed_cold: u64,
    pub failed_malformed: u64,
    /// Of these, requests let pass because every policy said `fail: open`.
    pub failed_open: u64,
    /// Decisions used though their revision could not be confirmed (`mesh.fail.stale`).
    pub stale_answers: u64,
    pub report_batches: u64,
    pub report_retries: u64,
    pub report_dropped: u64,
    pub watch_states: u64,
    /// Whether the Watch stream stands.
    pub watching: bool,
}

/// The same, counted by many threads. What others count (cache entries, dropped reports) is added when it is read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) check_calls: AtomicU64,
    pub(crate) quota_calls: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) cache_hits: AtomicU64,
    pub(crate) cache_misses: AtomicU64,
    pub(crate) lease_hits: AtomicU64,
    pub(crate) refusals_remembered: AtomicU64,
    pub(crate) quota_failed: AtomicU64,
    pub(crate) nothing_applies: AtomicU64,
    pub(crate) failed_unreachable: AtomicU64,
    pub(crate) failed_overloaded: AtomicU64,
    pub(crate) failed_cold: AtomicU64,
    pub(crate) failed_malformed: AtomicU64,
    pub(crate) failed_open: AtomicU64,
    pub(crate) stale_answers: AtomicU64,
    pub(crate) report_batches: AtomicU64,
    pub(crate) report_retries: AtomicU64,
    pub(crate) report_dropped: AtomicU64,
    pub(crate) watch_states: AtomicU64,
    pub(crate) watching: AtomicBool,
}

impl Counters {
    /// One more.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub(crate) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            check_calls: read(&self.check_calls),
            quota_calls: read(&self.quota_calls),
            retries: read(&self.retries),
            cache_hits: read(&self.cache_hits),
            cache_misses: read(&self.cache_misses),
            cache_entries: 0,
            cache_shapes_forgotten: 0,
            lease_hits: read(&self.lease_hits),
            refusals_remembered: read(&self.refusals_remembered),
            quota_failed: read(&self.quota_failed),
            nothing_applies: read(&self.nothing_applies),
            failed_unreachable: read(&self.failed_unreachable),
            failed_overloaded: read(&self.failed_overloaded),
            failed_cold: read(&self.failed_cold),
            failed_malformed: read(&self.failed_malformed),
            failed_open: read(&self.failed_open),
            stale_answers: read(&self.stale_answers),
            report_batches: read(&self.report_batches),
            report_retries: read(&self.report_retries),
            report_dropped: read(&self.report_dropped),
            watch_states: read(&self.watch_states),
            watching: self.watching.load(Ordering::Relaxed),
        }
    }
}
