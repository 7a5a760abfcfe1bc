//! Attributes and answers on the wire: the only place of this crate that knows `mixer.v1` messages.
//!
//! Requests are written straight into protobuf bytes instead of into generated messages: those own every string, which
//! would be an allocation per attribute, and a second try would copy them all once more. Bytes are written once and resent
//! as they are. Answers are read with the generated types and turned, once, into what cannot be wrong.

mod attributes;
mod codec;
mod decision;
mod denial;
mod protobuf;
mod quota;
mod report;
mod watch;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use mixer_proto::v1;

pub(crate) use attributes::{answered_request, check_request, refresh_keys_request, watch_request};
pub(crate) use codec::BytesCodec;
pub(crate) use decision::{Checked, Decided, check_response};
#[cfg(test)]
pub(crate) use denial::Denial;
pub(crate) use quota::{
    Ask, Charge, CounterId, Grant, OnError, Outcome, commit_request, commit_response,
    quota_request, quota_response, reservations,
};
pub(crate) use report::{AggregateRow, DecisionRow, RecordBatch, report_request};
pub(crate) use watch::{Told, watch_response};

/// What is wrong with a message, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub(crate) struct WireError {
    /// Path of the field in its message.
    pub(crate) field: Cow<'static, str>,
    /// What is wrong with it.
    pub(crate) problem: &'static str,
}

impl WireError {
    fn new(field: impl Into<Cow<'static, str>>, problem: &'static str) -> Self {
        Self {
            field: field.into(),
            problem,
        }
    }

    /// The same error inside `message`.
    fn inside(self, message: &str) -> Self {
        Self {
            field: format!("{message}.{}", self.field).into(),
            problem: self.problem,
        }
    }

    /// The same error inside element `at` of `list`.
    fn within(self, list: &str, at: usize) -> Self {
        Self {
            field: format!("{list}[{at}].{}", self.field).into(),
            problem: self.problem,
        }
    }
}

/// The elements of `name`, each read by `read`.
fn each<W, T>(
    list: Vec<W>,
    name: &str,
    read: impl Fn(W) -> Result<T, WireError>,
) -> Result<Arc<[T]>, WireError> {
    let list = list.into_iter().enumerate();
    list.map(|(at, element)| read(element).map_err(|error| error.within(name, at)))
        .collect()
}

/// A span of time that is not negative.
fn span(field: &'static str, time: v1::Time) -> Result<Duration, WireError> {
    let seconds = u64::try_from(time.seconds).map_err(|_| WireError::new(field, "is negative"))?;
    if time.nanos > 999_999_999 {
        return Err(WireError::new(
            field,
            "has more than a second of nanoseconds",
        ));
    }
    Ok(Duration::new(seconds, time.nanos))
}
