//! What adapters are asked and what they answer.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use mixer_attributes::OwnedValue;

/// A configuration that cannot work: the operator must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} problem(s) in the configuration", problems.len())]
pub struct Invalid {
    /// Each problem.
    pub problems: Vec<Problem>,
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path below `config` (`headers.authorization`, `entries.3`), or `with` / `with.value` for inputs.
    pub field: String,
    /// What is wrong, in a sentence.
    pub message: String,
}

impl Invalid {
    /// A single problem.
    pub fn one(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            problems: vec![Problem {
                field: field.into(),
                message: message.into(),
            }],
        }
    }
}

/// The backend could not be asked: the remote must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// Why, for logs and metrics.
    pub reason: Cow<'static, str>,
    /// Whether asking again soon may help. `false`: these inputs cannot be answered, now or later. That is the request's fault:
    /// a rule that asked is undetermined, and the adapter is not held to be down.
    pub retry: bool,
}

// ------------------------------------------------------------------------------------------------------------- check

/// Match or no match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it matches.
    pub matched: bool,
    /// Status to deny with instead of the rule's.
    pub status: Option<u16>,
    /// Message to deny with instead of the rule's.
    pub message: Option<String>,
    /// Headers to set or remove when the request passes.
    pub headers: Vec<HeaderOperation>,
    /// How long the answer holds for equal inputs.
    pub valid_for: ValidFor,
}

/// How long an answer holds for equal inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidFor {
    /// Only now.
    Once,
    /// For this long.
    Span(Duration),
    /// Until [`crate::Handler::version`] changes; it is part of every revision.
    Version,
}

/// A header to set (`Some`) or remove (`None`) on the request that passes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HeaderOperation {
    pub name: String,
    pub value: Option<String>,
}

// ------------------------------------------------------------------------------------------------------------- quota

/// At most `amount` in `window`; of [`Algorithm::Concurrency`], at most `amount` at once (`window` is then the hold).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Limit {
    pub amount: u64,
    pub window: Duration,
}

/// How spending is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// At most the amount in any window.
    SlidingWindow,
    /// A bucket of `burst` tokens that refills evenly, `amount` per window.
    Gcra {
        /// Tokens that may be spent at once.
        burst: u64,
    },
    /// At most the amount in each of a row of windows that do not overlap; hence up to twice the amount around a boundary.
    FixedWindow {
        /// The window of the calendar that is now. `None`: a window opens with the first token taken after the one before.
        calendar: Option<CalendarWindow>,
    },
    /// At most the amount held at once. What is taken is held until it is given back, or until the hold is over.
    Concurrency {
        /// How long what is not given back is held.
        hold: Duration,
    },
}

/// A window of the calendar, worked out by the caller from the wall clock and a time zone, so that stores need neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CalendarWindow {
    /// When it began, in seconds since 1970; it also numbers the windows of a counter. A number above that of the counter's
    /// window begins anew. One below it is from a caller whose clock is behind: it counts in the window that is.
    pub number: i64,
    /// Until it ends; zero when it has ended (of what is given back to a window that is over).
    pub ends_in: Duration,
}

/// One counter's part of a request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Names the counter's family.
    pub quota: &'a str,
    /// Names the counter within it.
    pub key: &'a [String],
    /// Tokens: positive takes, 0 peeks, negative gives back (of a concurrency limit: frees; the oldest first in any case).
    pub cost: i64,
    /// The limit that applies now; the counter survives a change of it.
    pub limit: Limit,
    /// How it is counted.
    pub algorithm: Algorithm,
    /// Tokens beyond `cost` that are welcome: as many as are free are taken, none if `cost` is refused.
    pub extra: u64,
    /// What becomes of a cost over the limit.
    pub over: Over,
    /// Of tokens given back: how long ago they were taken. What has been forgotten since is not given back once more: tokens as
    /// old as a sliding window or a hold, tokens older than an open fixed window. For a calendar it is
    /// [`CalendarWindow::number`] that says from which window they are; they go back to no other. A bucket does not ask.
    pub age: Duration,
}

/// What becomes of a cost over the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Over {
    /// It is refused, and a refused request takes nothing.
    #[default]
    Refuse,
    /// It is refused and counted all the same, whichever ask of the request was refused: who goes on asking stays refused. Counted
    /// at most until twice the amount (GCRA: the burst) is spent.
    Count,
    /// It is taken, if the request is not refused for another of its asks, however much that is beyond the limit: what is owed is
    /// paid off like anything spent, and all else is refused until then.
    Owe,
}

/// What became of an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Granted or refused; if one ask of a request is refused, all are, and nothing is taken.
    pub outcome: Outcome,
    /// Tokens taken beyond the cost.
    pub extra: u64,
    /// Tokens left now.
    pub remaining: u64,
    /// When a refused cost can be granted at the earliest; zero when granted, `None` when never (cost above the limit).
    pub retry_after: Option<Duration>,
}

/// Whether an ask was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken (or it could have been, but another ask of the request was refused: then `retry_after` is zero and nothing was taken).
    Granted,
    /// Over the limit.
    Refused,
}

// ------------------------------------------------------------------------------------------------------------ report

/// What an adapter is told happened.
#[derive(Clone, Copy, Debug)]
pub enum Batch<'a> {
    /// Increments of metrics.
    Metrics(&'a [Sample<'a>]),
    /// Log lines.
    Logs(&'a [LogEntry<'a>]),
    /// Spans of traces.
    Spans(&'a [Span<'a>]),
}

/// What a metric is: declared once, before any sample of it.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricDefinition {
    /// Its name without suffixes such as `_total`.
    pub name: String,
    /// One line.
    pub help: String,
    /// What it is.
    pub kind: MetricKind,
    /// Label names, in the order samples give their values.
    pub labels: Vec<String>,
}

/// What a metric is.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Last value.
    Gauge,
    /// Distribution over these upper bounds; +Inf follows.
    Histogram(Vec<f64>),
}

/// An increment of one time series.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    /// The metric.
    pub metric: &'a MetricDefinition,
    /// Label values in the definition's order.
    pub labels: Vec<Cow<'a, str>>,
    /// The increment.
    pub value: SampleValue<'a>,
}

/// An increment.
#[derive(Clone, Copy, Debug)]
pub enum SampleValue<'a> {
    /// Added to a counter.
    Add(f64),
    /// A gauge's new value.
    Set(f64),
    /// One observation of a histogram.
    Observe(f64),
    /// Many observations: counts per bucket (not cumulative, trailing zeros left out) and their sum.
    Buckets(&'a [u64], f64),
}

/// One log line.
#[derive(Clone, Debug)]
pub struct LogEntry<'a> {
    /// When the request's head was read.
    pub time: SystemTime,
    /// Field names and values, in the order they are to appear.
    pub fields: Vec<(Cow<'a, str>, OwnedValue)>,
}

/// One span of a trace.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    /// 128 bits.
    pub trace_id: u128,
    /// 64 bits, not zero.
    pub id: u64,
    /// The span that caused it; `None` for a root.
    pub parent: Option<u64>,
    /// The id is shared with the span of the other side.
    pub shared: bool,
    /// Which side saw it.
    pub kind: SpanKind,
    /// The service that saw it.
    pub service: Cow<'a, str>,
    /// The service on the other side, if known.
    pub peer: Option<Cow<'a, str>>,
    /// Such as `GET /products/*` or a gRPC operation; low cardinality is the caller's business.
    pub name: Cow<'a, str>,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// It failed.
    pub error: bool,
    /// Tags.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Which side saw a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SpanKind {
    Client,
    Server,
}
