//! Counts of a client, for its host to export.

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
    /// Charges taken from leases, without a call.
    pub lease_hits: u64,
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
