//! Telling Mixer what happened, without delaying anything.

use mixer_attributes::AttributeBag;

use crate::{Answer, At};

/// Counts standard metrics, queues records, sends both in batches.
#[derive(Clone, Debug)]
pub struct Reporter {}

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

impl Reporter {
    /// Counts a finished request.
    pub fn standard(&self, sample: &StandardSample<'_>) {
        let _ = sample;
        unimplemented!()
    }

    /// Counts an enforced answer, and what its shadow rules would have done.
    pub fn decision(&self, sample: &DecisionSample<'_>) {
        let _ = sample;
        unimplemented!()
    }

    /// Queues a record of the request that `bag` describes (report-time attributes included) for logs, custom metrics and, with
    /// `trace`, a span. Drops and counts it when the queue is full.
    pub fn record(&self, at: At, bag: &AttributeBag<'_>, trace: Option<TraceContext>) {
        let _ = (at, bag, trace);
        unimplemented!()
    }
}
