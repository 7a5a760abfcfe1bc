//! Telling Mixer what happened, without delaying anything.
//!
//! Standard metrics and decisions are counted here and sent as increments; only what needs a record of a single request is
//! queued. A batch gets the next sequence number once and is sent with it until Mixer acknowledges it; what happens
//! meanwhile goes into the next batch, so that nothing is counted twice and an outage costs memory up to fixed bounds and
//! no more. What is over the bounds is dropped and counted.
//!
//! Records are written in wire form into the open batch at once, since a request's attributes do not outlive it: one short
//! lock, no copy of a string the batch already has.

mod pump;
mod series;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use mixer_attributes::AttributeBag;
use tokio::sync::Notify;

use crate::stats::Counters;
use crate::wire::RecordBatch;
use crate::{Answer, At, Because, Config, Failure};
pub(crate) use pump::{Pump, Step};
use series::{Decisions, Standard};

/// Counts standard metrics, queues records, sends both in batches.
#[derive(Clone, Debug)]
pub struct Reporter {
    collected: Arc<Collected>,
}

/// One finished request, for the standard metrics. Label values in the order of [`mixer_attributes::standard::LABELS`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct StandardSample<'a> {
    pub labels: [&'a str; 12],
    pub duration: std::time::Duration,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

/// One enforced answer, for the counts of decisions.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct DecisionSample<'a> {
    pub destination: &'a str,
    pub answer: &'a Answer,
}

/// The span of a request that is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TraceContext {
    pub trace_id: u128,
    pub span_id: u64,
    pub parent_id: Option<u64>,
    pub shared: bool,
}

/// What was counted and queued and is in no batch yet.
pub(crate) struct Collected {
    standard: Standard,
    decisions: Decisions,
    records: Mutex<Records>,
    /// Told when the queue is half full.
    filling: Notify,
    queue: usize,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Records {
    /// Large enough to be sent.
    closed: VecDeque<RecordBatch>,
    open: RecordBatch,
    /// Records in all of these.
    count: usize,
}

/// A batch of records is closed at this size: servers take messages up to 4 MiB.
const BATCH_BYTES: usize = 1 << 20;

impl Reporter {
    pub(crate) fn new(config: &Config, counters: Arc<Counters>) -> Self {
        let collected = Collected {
            standard: Standard::new(config.report_series),
            decisions: Decisions::new(config.report_series),
            records: Mutex::default(),
            filling: Notify::new(),
            queue: config.report_queue,
            counters,
        };
        Self {
            collected: Arc::new(collected),
        }
    }

    /// Counts a finished request.
    pub fn standard(&self, sample: &StandardSample<'_>) {
        if !self.collected.standard.count(sample) {
            self.collected.dropped();
        }
    }

    /// Counts an enforced answer, and what its shadow rules would have done. Where nothing applies there is none.
    pub fn decision(&self, sample: &DecisionSample<'_>) {
        let DecisionSample {
            destination,
            answer,
        } = *sample;
        let decisions = &self.collected.decisions;
        if answer.because != Because::Nothing {
            let failure = answer.failure.map_or("", Failure::name);
            let (policy, rule) = (&*answer.policy, &*answer.rule_id);
            let (verdict, because, cached) = (answer.verdict, answer.because, answer.cached);
            let kind = series::Kind {
                verdict,
                because,
                cached,
                shadow: false,
            };
            if !decisions.count(destination, policy, rule, failure, kind) {
                self.collected.dropped();
            }
        }
        for shadow in &*answer.shadow {
            let (verdict, because, cached) = (shadow.would, shadow.because, answer.cached);
            let kind = series::Kind {
                verdict,
                because,
                cached,
                shadow: true,
            };
            if !decisions.count(destination, &shadow.policy, &shadow.rule, "", kind) {
                self.collected.dropped();
            }
        }
    }

    /// Queues a record of the request that `bag` describes (report-time attributes included) for logs, custom metrics and, with
    /// `trace`, a span. Drops and counts it when the queue is full.
    pub fn record(&self, at: At, bag: &AttributeBag<'_>, trace: Option<TraceContext>) {
        let collected = &*self.collected;
        let mut records = collected
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if records.count >= collected.queue || records.open.push(at, bag, trace).is_err() {
            drop(records);
            return collected.dropped();
        }
        records.count += 1;
        if records.open.bytes() >= BATCH_BYTES {
            let closed = std::mem::take(&mut records.open);
            records.closed.push_back(closed);
        }
        let half_full = records.count == collected.queue.div_ceil(2);
        drop(records);
        if half_full {
            collected.filling.notify_one();
        }
    }

    pub(crate) fn collected(&self) -> &Arc<Collected> {
        &self.collected
    }
}

impl Collected {
    /// Waits until the queue of records is half full.
    pub(crate) async fn filling(&self) {
        self.filling.notified().await;
    }

    fn dropped(&self) {
        Counters::count(&self.counters.report_dropped);
    }

    fn dropped_so_far(&self) -> u64 {
        self.counters.report_dropped.load(Ordering::Relaxed)
    }

    /// The oldest batch of records, empty when there are none, and whether there are more.
    fn take_records(&self) -> (RecordBatch, bool) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = match records.closed.pop_front() {
            Some(closed) => closed,
            None => std::mem::take(&mut records.open),
        };
        records.count -= batch.len();
        (batch, records.count > 0)
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collected")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl Failure {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Failure::Unreachable => "unreachable",
            Failure::Overloaded => "overloaded",
            Failure::Cold => "cold",
            Failure::Malformed => "malformed",
        }
    }
}
