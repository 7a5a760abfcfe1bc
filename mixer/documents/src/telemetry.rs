//! Telemetry beyond the standard set.

use std::sync::Arc;

use mixer_cel::{Expression, Selector};

use crate::{At, Condition, Span};

/// A checked and compiled `telemetry`.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Its name.
    pub name: Arc<str>,
    /// Which destinations it is about.
    pub selector: Selector,
    /// `standard: drop`.
    pub drop_standard: bool,
    /// Metrics of its own.
    pub metrics: Vec<MetricSpec>,
    /// Log lines of its own.
    pub logs: Vec<LogSpec>,
    /// Spans.
    pub traces: Option<TraceSpec>,
    /// Its name in the file.
    pub span: Span,
}

/// One metric.
#[derive(Clone, Debug)]
pub struct MetricSpec {
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub kind: MetricKind,
    /// Which side reports it (`at: destination` is inbound, `at: source` outbound; default inbound).
    pub at: At,
    /// Which requests.
    pub when: Condition,
    /// What is added or observed; `None` is 1.
    pub value: Option<Expression>,
    /// Label names and their values, in document order.
    pub labels: Vec<(Arc<str>, Expression)>,
    /// Index into [`crate::PolicySet::adapters`].
    pub to: usize,
    /// Its place.
    pub span: Span,
}

/// What a metric is.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Last value.
    Gauge,
    /// Distribution over buckets with these upper bounds.
    Histogram(Vec<f64>),
}

/// Log lines.
#[derive(Clone, Debug)]
pub struct LogSpec {
    /// Which requests.
    pub when: Condition,
    /// Fields beyond the standard ones.
    pub fields: Vec<(Arc<str>, Expression)>,
    /// Which side (default inbound).
    pub at: At,
    /// Index into [`crate::PolicySet::adapters`].
    pub to: usize,
}

/// Spans.
#[derive(Clone, Copy, Debug)]
pub struct TraceSpec {
    /// Share of new traces, 0 to 1; a caller's own decision is kept.
    pub sample: f64,
    /// Index into [`crate::PolicySet::adapters`].
    pub to: usize,
}
