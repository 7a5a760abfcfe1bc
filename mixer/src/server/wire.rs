//! `mixer.v1` messages to what Mixer works with, and back: the only place of this crate that knows both.
//!
//! Attributes are borrowed from the message: a request's headers are looked up where prost put them. What a message may not
//! say is refused with the field that says it; what a newer peer says and this Mixer does not know is skipped.

use std::borrow::Cow;
use std::net::IpAddr;

use mixer_attributes::{
    Attribute, AttributeBag, AttributeId, Duration, Dynamic, Timestamp, Value, Vocabulary,
};
use mixer_proto::v1;

mod attributes;
mod batch;
mod decision;
mod read;
mod records;
#[cfg(test)]
mod tests;

pub(crate) use attributes::Arena;
pub(crate) use batch::Batch;
pub(crate) use decision::{answered, check_response, grant, scope};
#[doc(hidden)]
pub use read::read;

/// A message that breaks the protocol: which field, and how. The sender must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Malformed {
    /// Path of the field in the message, with the attribute's name where one is concerned.
    pub field: String,
    /// What is wrong with it.
    pub problem: Cow<'static, str>,
}

impl Malformed {
    /// `problem` with `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl From<Malformed> for tonic::Status {
    fn from(malformed: Malformed) -> Self {
        tonic::Status::invalid_argument(malformed.to_string())
    }
}

/// What is wrong with one field, before its path is known.
type Problem = Cow<'static, str>;

/// The attribute that an id or a name means. `None`: one of a newer peer.
fn known<'v>(
    id: u32,
    name: &str,
    vocabulary: &'v Vocabulary,
) -> Result<Option<&'v Attribute>, Problem> {
    match (id, name) {
        (0, "") => Err("has neither id nor name".into()),
        (0, name) => Ok(vocabulary.by_name(name)),
        (id, "") if id < u32::from(AttributeId::FIRST_CUSTOM) => Ok(Vocabulary::by_number(id)),
        (id, "") => Err(format!("{id} is not the id of a built-in attribute").into()),
        (_, _) => Err("has both id and name".into()),
    }
}

/// How an attribute is called in an error: by its name where it is known.
fn shown(id: u32, name: &str) -> String {
    match Vocabulary::by_number(id) {
        Some(attribute) => attribute.name.clone(),
        None if name.is_empty() => format!("id {id}"),
        None => name.escape_debug().take(64).collect(),
    }
}

/// Sets an attribute whose value has the declared type and was not given before.
fn set<'a>(
    bag: &mut AttributeBag<'a>,
    attribute: &Attribute,
    value: Value<'a>,
) -> Result<(), Problem> {
    if value.kind() != attribute.kind {
        return Err(format!("is {}, must be {}", value.kind(), attribute.kind).into());
    }
    if bag.value(attribute.id).is_some() {
        return Err("is given twice".into());
    }
    bag.set(attribute.id, value);
    Ok(())
}

/// A point in time, within CEL's range (years 1 to 9999).
fn timestamp(time: v1::Time) -> Result<Timestamp, Problem> {
    const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let v1::Time { seconds, nanos } = time;
    match RANGE.contains(&seconds) && nanos < 1_000_000_000 {
        true => Ok(Timestamp { seconds, nanos }),
        false => {
            Err(format!("{seconds} s and {nanos} ns is no timestamp of the years 1 to 9999").into())
        }
    }
}

/// A span of time, within CEL's range (10,000 years either way).
fn duration(time: v1::Time) -> Result<Duration, Problem> {
    const MOST: i64 = 315_576_000_000;
    let v1::Time { seconds, nanos } = time;
    match (-MOST..=MOST).contains(&seconds) && nanos < 1_000_000_000 {
        true => Ok(Duration { seconds, nanos }),
        false => {
            Err(format!("{seconds} s and {nanos} ns is no duration of at most 10,000 years").into())
        }
    }
}

/// An address of 4 or 16 bytes; an IPv4-mapped one is the IPv4 address it maps.
fn ip(bytes: &[u8]) -> Result<IpAddr, Problem> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(four));
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(sixteen) => Ok(IpAddr::from(sixteen).to_canonical()),
        Err(_) => Err(format!("an address of {} bytes, must be 4 or 16", bytes.len()).into()),
    }
}

/// A JSON text; nested at most 128 deep (serde_json's bound).
fn tree(text: &str) -> Result<Dynamic, Problem> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("is no JSON text: {error}"))?;
    Ok(grow(value))
}

fn grow(value: serde_json::Value) -> Dynamic {
    match value {
        serde_json::Value::Null => Dynamic::Null,
        serde_json::Value::Bool(bit) => Dynamic::Bool(bit),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(int) => Dynamic::Int(int),
            None => Dynamic::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Dynamic::String(text),
        serde_json::Value::Array(items) => Dynamic::List(items.into_iter().map(grow).collect()),
        serde_json::Value::Object(members) => {
            let mut members: Vec<_> = members
                .into_iter()
                .map(|(key, value)| (key, grow(value)))
                .collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Dynamic::Map(members)
        }
    }
}

/// A span of time from the wire; zero for one that is absent or negative.
pub(crate) fn age(time: Option<v1::Time>) -> std::time::Duration {
    let span = time.and_then(|time| duration(time).ok()?.to_std());
    span.unwrap_or_default()
}

/// A span of time on the wire.
pub(crate) fn time(span: std::time::Duration) -> v1::Time {
    v1::Time {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: span.subsec_nanos(),
    }
}
