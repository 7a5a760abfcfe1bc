//! Mixer's own metrics: atomics, one per series, so that counting on the Check path looks nothing up and locks nothing.
//!
//! They are written to the same page as the adapters' ([`mixer_adapter::Exposition`]), which knows both formats that scrapers
//! read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use mixer_adapter::exposition::rendered;
use mixer_adapter::{Exposition, FamilyKind};

use super::process;
use super::rate_limit::Counts;
use super::rate_limit_quota;
use super::trials::Outcomes;
use crate::dispatch::{Because, Verdict};
use crate::latency::Latency;
use crate::snapshot::Snapshot;

/// The questions Mixer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Check,
    Quota,
    Report,
    Watch,
    RefreshKeys,
    RateLimit,
    RateLimitQuota,
}

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Too many at once.
    Overloaded,
    /// It broke the protocol.
    Malformed,
    /// Answering it panicked: our fault.
    Panicked,
}

/// Who could not take what was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The client, which said so.
    Client,
    /// An adapter.
    Adapter,
}

const VERDICTS: [&str; 2] = ["allow", "deny"];
const BECAUSES: [&str; 6] = [
    "matched",
    "undetermined",
    "otherwise",
    "default",
    "quota",
    "unavailable",
];
const METHODS: [&str; 7] = [
    "check",
    "quota",
    "report",
    "watch",
    "refresh_keys",
    "rate_limit",
    "rate_limit_quota",
];
const FAILURES: [&str; 3] = ["overloaded", "malformed", "panicked"];
const DROPPED: [&str; 2] = ["client", "adapter"];

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

/// Everything Mixer counts about itself.
#[derive(Debug, Default)]
pub struct Metrics {
    checks: [[Counter; BECAUSES.len()]; VERDICTS.len()],
    failures: [[Counter; FAILURES.len()]; METHODS.len()],
    /// Asks for quotas that there are not; those for others are counted where they are made.
    pub(crate) unknown_quotas: Counter,
    dropped: [Counter; DROPPED.len()],
    reloads: [Counter; 2],
    /// Time from a decoded Check to its answer.
    pub check_duration: Latency,
    /// Checks that are being answered.
    pub checks_in_flight: Gauge,
    /// Batches of Report that were counted.
    pub batches_counted: Counter,
    /// Batches of Report that had been counted before.
    pub batches_repeated: Counter,
    /// Batches of Report that wait to be worked on.
    pub batches_waiting: Gauge,
    /// Records of requests taken from them.
    pub records: Counter,
    /// Spans that adapters took.
    pub spans: Counter,
    /// Proxies that watch.
    pub subscribers: Gauge,
    /// States sent to them.
    pub states: Counter,
    /// What is in shadow would have done.
    pub(crate) shadow: Outcomes,
    /// What became of rate limit descriptors.
    pub(crate) rate_limits: Counts,
    /// What became of buckets of rate limit quotas.
    pub(crate) quotas: rate_limit_quota::Counts,
    newest_refused: AtomicU64,
    since_seconds: AtomicU64,
    revision: ArcSwap<String>,
    unevaluated: Mutex<BTreeMap<String, u64>>,
}

impl Metrics {
    /// Counts an answered Check.
    #[inline]
    pub fn checked(&self, verdict: Verdict, because: Because) {
        self.checks[verdict as usize][because as usize].add(1);
    }

    /// Counts a call that got no answer.
    pub fn failed(&self, method: Method, failure: Failure) {
        self.failures[method as usize][failure as usize].add(1);
    }

    /// Counts reported things that are shown nowhere.
    pub fn dropped(&self, by: Dropped, count: u64) {
        self.dropped[by as usize].add(count);
    }

    /// Counts expressions of the telemetry document `name` that had no value.
    pub fn unevaluated(&self, name: &str, count: u64) {
        let mut counts = self
            .unevaluated
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(name) {
            Some(held) => *held += count,
            None => drop(counts.insert(name.to_owned(), count)),
        }
    }

    /// Notes that changed documents came into force, or not.
    pub fn reloaded(&self, success: bool) {
        self.reloads[usize::from(success)].add(1);
        self.newest_refused
            .store(u64::from(!success), Ordering::Relaxed);
    }

    /// Notes which documents are in force.
    pub fn in_force(&self, revision: &str, since: SystemTime) {
        self.revision
            .store(std::sync::Arc::new(revision.to_owned()));
        self.since_seconds.store(
            since
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            Ordering::Relaxed,
        );
    }

    /// Writes all of it.
    pub fn expose(&self, page: &mut Exposition) {
        let help = "Decisions that Check answered";
        let checks = VERDICTS
            .iter()
            .zip(&self.checks)
            .flat_map(|(verdict, counts)| {
                BECAUSES.iter().zip(counts).map(move |(because, count)| {
                    ([("verdict", *verdict), ("because", *because)], count)
                })
            });
        family(
            page,
            "mixer_check",
            help,
            checks.filter(|(_, count)| count.read() > 0),
        );
        let help = "Calls that got no answer";
        let failures = METHODS
            .iter()
            .zip(&self.failures)
            .flat_map(|(method, counts)| {
                FAILURES
                    .iter()
                    .zip(counts)
                    .map(move |(reason, count)| ([("method", *method), ("reason", *reason)], count))
            });
        family(page, "mixer_request_failures", help, failures);
        let help = "Time from a decoded Check to its answer";
        let name = "mixer_check_duration_seconds";
        self.check_duration.expose(page, name, help, &[]);
        self.shadow.expose(page);
        self.rate_limits.expose(page);
        self.quotas.expose(page);
        let unknown = [(
            [("quota", ""), ("outcome", "unknown")],
            &self.unknown_quotas,
        )];
        family(page, "mixer_quota", "Asks for quota", unknown.into_iter());
        let batches = [
            ("counted", &self.batches_counted),
            ("repeated", &self.batches_repeated),
        ];
        let batches = batches
            .into_iter()
            .map(|(outcome, count)| ([("outcome", outcome)], count));
        family(page, "mixer_report_batches", "Batches of Report", batches);
        let dropped = DROPPED
            .iter()
            .zip(&self.dropped)
            .map(|(by, count)| ([("by", *by)], count));
        family(
            page,
            "mixer_report_dropped",
            "Reported things that are shown nowhere",
            dropped,
        );
        page.counter(
            "mixer_report_records",
            "Records of requests that were reported",
            &[],
            self.records.read() as f64,
        );
        page.counter(
            "mixer_report_spans",
            "Spans that adapters took",
            &[],
            self.spans.read() as f64,
        );
        for (name, count) in &*self
            .unevaluated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            let help = "Expressions of telemetry documents that had no value";
            page.counter(
                "mixer_report_evaluation_errors",
                help,
                &[("telemetry", name)],
                *count as f64,
            );
        }
        page.gauge(
            "mixer_check_in_flight",
            "Checks that are being answered",
            &[],
            self.checks_in_flight.read(),
        );
        page.gauge(
            "mixer_report_queue",
            "Batches of Report that wait",
            &[],
            self.batches_waiting.read(),
        );
        page.gauge(
            "mixer_watch_subscribers",
            "Proxies that watch",
            &[],
            self.subscribers.read(),
        );
        page.counter(
            "mixer_watch_states",
            "States sent to proxies that watch",
            &[],
            self.states.read() as f64,
        );
        let reloads = ["failure", "success"]
            .iter()
            .zip(&self.reloads)
            .map(|(result, count)| ([("result", *result)], count));
        family(
            page,
            "mixer_config_reload",
            "Changed documents, by whether they came into force",
            reloads,
        );
        let newest = 1 - self.newest_refused.load(Ordering::Relaxed);
        let help = "Whether the newest documents are in force (1) or were refused (0)";
        page.gauge(
            "mixer_config_last_reload_successful",
            help,
            &[],
            newest as f64,
        );
        let help = "When the documents in force were loaded";
        let since = self.since_seconds.load(Ordering::Relaxed) as f64;
        page.gauge(
            "mixer_config_last_success_timestamp_seconds",
            help,
            &[],
            since,
        );
        page.gauge(
            "mixer_config_revision_info",
            "The documents in force",
            &[("revision", &self.revision.load())],
            1.0,
        );
        page.gauge(
            "mixer_build_info",
            "This build of Mixer",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1.0,
        );
        process::expose(page);
    }
}

/// Writes what dispatch and the adapters of the snapshot in force count: calls and their outcomes, then metrics of their own.
pub fn expose_adapters(snapshot: &Snapshot, page: &mut Exposition) {
    for adapter in &snapshot.adapters {
        let counts = adapter.counts();
        let outcomes = [
            ("answered", counts.answered),
            ("unavailable", counts.unavailable),
            ("timed_out", counts.timed_out),
            ("panicked", counts.panicked),
            ("breaker_open", counts.breaker_open),
            ("bulkhead_full", counts.bulkhead_full),
        ];
        for (outcome, count) in outcomes {
            let labels = [("adapter", &**adapter.name()), ("outcome", outcome)];
            page.counter(
                "mixer_adapter_calls",
                "Calls to adapters",
                &labels,
                count as f64,
            );
        }
        let open = f64::from(u8::from(adapter.breaker_is_open()));
        let help = "Whether an adapter is left alone because it failed";
        page.gauge(
            "mixer_adapter_breaker_open",
            help,
            &[("adapter", adapter.name())],
            open,
        );
        if adapter.handler().can_quota() {
            adapter.expose_latency(page);
        }
        if let Some(exposition) = adapter.handler().exposition() {
            exposition.expose(page);
        }
    }
}

fn family<'a, const N: usize>(
    page: &mut Exposition,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = ([(&'a str, &'a str); N], &'a Counter)>,
) {
    if let Some(mut written) = page.family(name, help, FamilyKind::Counter) {
        samples.for_each(|(labels, count)| written.value(&rendered(&labels), count.read() as f64));
    }
}

impl Counter {
    /// Adds `count`.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number now.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// Adds `change`; the number after it.
    #[inline]
    pub fn add(&self, change: i64) -> i64 {
        self.0.fetch_add(change, Ordering::Relaxed) + change
    }

    /// The number now.
    pub fn read(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64
    }
}
