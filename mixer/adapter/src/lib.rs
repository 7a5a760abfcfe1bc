//! The contract between Mixer and what it connects to.
//!
//! An adapter sees typed inputs, never the request and never CEL. It is configured by a document, built without I/O, started
//! when its set of documents comes into force, and asked under a deadline, breaker and bulkhead that dispatch owns, the same
//! for all. [`Unavailable`] is not a denial: the rule's or quota's `on_error` decides what it means.

pub mod buffer;
pub mod conformance;
mod counters;
mod env;
pub mod exposition;
mod handler;
pub mod http;
mod inputs;
mod registry;
mod settings;
mod types;

pub use counters::{
    Counted, CounterKey, Counters, Family, Forgotten, Listed, MOST_COUNTERS, Which,
};
pub use env::{Env, Keep};
pub use exposition::{Exposition, FamilyKind, Format};
pub use handler::{Check, Expose, Handler, Quota, Report};
pub use http::HttpClient;
pub use inputs::{Inputs, Instance, Slot};
pub use registry::{Built, Registry};
pub use settings::{NoSecret, Period, Secret};
pub use types::{
    Algorithm, Answer, Ask, Batch, CalendarWindow, Grant, HeaderOperation, Invalid, Limit,
    LogEntry, MetricDefinition, MetricKind, Outcome, Over, Problem, Sample, SampleValue, Span,
    SpanKind, Unavailable, ValidFor,
};

/// An adapter: a name, a configuration, and how to build a [`Handler`] from it.
pub trait Adapter: 'static {
    /// What `type:` says.
    const NAME: &'static str;
    /// What `config:` holds; unknown fields are refused (`#[serde(deny_unknown_fields)]`).
    type Config: serde::de::DeserializeOwned + schemars::JsonSchema;
    /// Checks everything and does no I/O but for files of the documents' own directory ([`Env::read`]); every problem is listed
    /// with its field. Work that must go on in the background is given to [`Handler::on_start`].
    fn build(config: Self::Config, inputs: &Inputs, env: &Env) -> Result<Handler, Invalid>;
}
