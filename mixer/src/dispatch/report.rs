//! Report: what happened, told to the adapters that documents name.
//!
//! Proxies count the standard metrics and the decisions they enforced themselves and send increments; these go to the adapter
//! named `prometheus`. Records of single requests are evaluated against the `telemetry` documents that apply: metrics, log
//! lines and spans. An expression that has no value costs its label ("unknown"), its sample or its line, never the batch.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use mixer_adapter::{Batch, Invalid, LogEntry, Sample, Span};
use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_cel::Evaluation;
use mixer_documents::At;

use super::Installed;
use crate::snapshot::Snapshot;

mod logs;
mod metrics;
mod spans;
mod standard;

/// How long an adapter may take to take a batch. They buffer: this bounds what a stuck one costs the others.
const PATIENCE: Duration = Duration::from_secs(1);

/// Name of the adapter that the standard metrics go to.
pub(crate) const STANDARD: &str = "prometheus";

/// Increments of one series of the standard metrics.
#[derive(Clone, Debug)]
pub struct Aggregate<'a> {
    /// In the order of [`mixer_attributes::standard::LABELS`].
    pub labels: [&'a str; mixer_attributes::standard::LABELS.len()],
    /// Requests, or connections opened.
    pub requests: u64,
    /// Over [`mixer_attributes::standard::DURATION_MS_BUCKETS`].
    pub duration_ms: Observed<'a>,
    /// Over [`mixer_attributes::standard::BYTES_BUCKETS`].
    pub request_bytes: Observed<'a>,
    /// Over [`mixer_attributes::standard::BYTES_BUCKETS`].
    pub response_bytes: Observed<'a>,
}

/// Observations of a histogram.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed<'a> {
    /// Counts per bucket, not cumulative, trailing zeros left out.
    pub buckets: &'a [u64],
    /// Their sum.
    pub sum: f64,
}

/// How often a proxy enforced a decision, or did without one.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Enforced<'a> {
    pub destination: &'a str,
    pub policy: &'a str,
    pub rule: &'a str,
    pub verdict: &'static str,
    pub because: &'static str,
    pub cached: bool,
    pub shadow: bool,
    pub count: u64,
    /// Why there was no decision; empty: there was one.
    pub failure: &'a str,
}

/// One request, as a proxy saw it.
#[derive(Debug)]
pub struct Happened<'a> {
    /// Which side's proxy.
    pub at: At,
    /// What was known at its end.
    pub bag: AttributeBag<'a>,
    /// Its span, if it is traced.
    pub trace: Option<Trace>,
}

/// Where a request stands in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Trace {
    pub trace_id: u128,
    pub span_id: u64,
    pub parent_id: Option<u64>,
    pub shared: bool,
}

/// What became of what was to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Spans that adapters took.
    pub spans: u64,
    /// Samples, lines and spans that an adapter did not take.
    pub lost: u64,
    /// Expressions without a value, by index into [`mixer_documents::PolicySet::telemetry`].
    pub unevaluated: BTreeMap<usize, u64>,
}

/// The side whose proxy reports, by `context.reporter`; `None` when it does not say.
pub fn reporter(bag: &AttributeBag<'_>) -> Option<At> {
    match bag.value(vocabulary::CONTEXT_REPORTER) {
        Some(Value::String("destination")) => Some(At::Inbound),
        Some(Value::String("source")) => Some(At::Outbound),
        _ => None,
    }
}

/// Declares the standard metrics to the adapter they go to. Once per snapshot, before any report.
pub(crate) fn declare_standard(adapter: &Installed) -> Result<(), Invalid> {
    adapter.handler().declare(standard::definitions())
}

/// Tells the standard metrics and the counts of decisions.
pub async fn counted(
    snapshot: &Snapshot,
    aggregates: &[Aggregate<'_>],
    decisions: &[Enforced<'_>],
) -> Account {
    let mut account = Account::default();
    let Some(adapter) = snapshot.adapter(STANDARD) else {
        return account;
    };
    let mut samples = Vec::with_capacity(aggregates.len() * 4 + decisions.len());
    aggregates
        .iter()
        .for_each(|aggregate| standard::requests(aggregate, &mut samples));
    decisions
        .iter()
        .for_each(|enforced| standard::decisions(enforced, &mut samples));
    tell(
        adapter,
        Batch::Metrics(&samples),
        samples.len(),
        &mut account,
    )
    .await;
    account
}

/// Tells single requests to whom the telemetry that applies to them names. `service` is the one whose proxy reports, as far as
/// Mixer knows; `now` stands for a time the record lacks.
pub async fn recorded(
    snapshot: &Snapshot,
    happened: &[Happened<'_>],
    service: Option<&str>,
    now: SystemTime,
) -> Account {
    let mut account = Account::default();
    let mut told = Told::default();
    for one in happened {
        told.add(snapshot, one, service, now, &mut account);
    }
    for (to, samples) in &told.samples {
        tell(
            &snapshot.adapters[*to],
            Batch::Metrics(samples),
            samples.len(),
            &mut account,
        )
        .await;
    }
    for (to, lines) in &told.lines {
        tell(
            &snapshot.adapters[*to],
            Batch::Logs(lines),
            lines.len(),
            &mut account,
        )
        .await;
    }
    for (to, spans) in &told.spans {
        tell(
            &snapshot.adapters[*to],
            Batch::Spans(spans),
            spans.len(),
            &mut account,
        )
        .await;
    }
    account
}

/// What is to be told, by index of the adapter.
#[derive(Default)]
struct Told<'a> {
    samples: BTreeMap<usize, Vec<Sample<'a>>>,
    lines: BTreeMap<usize, Vec<LogEntry<'a>>>,
    spans: BTreeMap<usize, Vec<Span<'a>>>,
}

impl<'a> Told<'a> {
    fn add(
        &mut self,
        snapshot: &'a Snapshot,
        one: &'a Happened<'a>,
        service: Option<&'a str>,
        now: SystemTime,
        account: &mut Account,
    ) {
        let set = &snapshot.set;
        let applicable = set.applicable(one.at, &one.bag);
        let mut evaluation = Evaluation::new(&one.bag, &set.references);
        let mut traced = Vec::new();
        for index in &applicable.telemetry {
            let document = &set.telemetry[*index];
            let mut failures = 0;
            for (spec, definition) in document.metrics.iter().zip(&snapshot.metrics[*index]) {
                if spec.at == one.at
                    && let Some(sample) =
                        metrics::sample(spec, definition, &mut evaluation, &mut failures)
                {
                    self.samples.entry(spec.to).or_default().push(sample);
                }
            }
            for spec in document.logs.iter().filter(|spec| spec.at == one.at) {
                if let Some(line) = logs::line(spec, one, &mut evaluation, now, &mut failures) {
                    self.lines.entry(spec.to).or_default().push(line);
                }
            }
            if let (Some(trace), Some(spec)) = (&one.trace, &document.traces)
                && !traced.contains(&spec.to)
            {
                traced.push(spec.to);
                self.spans
                    .entry(spec.to)
                    .or_default()
                    .push(spans::span(one.at, &one.bag, trace, service, now));
            }
            if failures > 0 {
                *account.unevaluated.entry(*index).or_default() += failures;
            }
        }
    }
}

impl Account {
    /// Adds what became of more.
    pub fn add(&mut self, other: Account) {
        self.spans += other.spans;
        self.lost += other.lost;
        for (document, count) in other.unevaluated {
            *self.unevaluated.entry(document).or_default() += count;
        }
    }
}

async fn tell(adapter: &Installed, batch: Batch<'_>, size: usize, account: &mut Account) {
    if size == 0 {
        return;
    }
    match adapter.report(batch, PATIENCE).await {
        Ok(()) if matches!(batch, Batch::Spans(_)) => account.spans += size as u64,
        Ok(()) => {}
        Err(unavailable) => {
            tracing::debug!(adapter = %adapter.name(), "did not take {size} items of a report: {unavailable}");
            account.lost += size as u64;
        }
    }
}
