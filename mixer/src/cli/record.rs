//! Recorded requests: lines of JSON as the `log` adapter writes them, as Envoy and Istio write access logs, or with attributes
//! under their own names.
//!
//! A record seldom says everything that a request had. What it does not speak of is not absent but unknown: [`Request::knows`]
//! tells the two apart, so that nobody takes a decision for certain that another header might have changed.

mod attributes;
mod lines;
mod outcome;

use std::collections::BTreeSet;

use mixer_attributes::OwnedBag;
use mixer_attributes::vocabulary::AttributeId;
use mixer_cel::Reference;
use serde_json::{Map, Value};

pub(super) use attributes::Reader;
pub(super) use lines::Lines;
pub(super) use outcome::Outcome;

/// One line, by field.
#[derive(Debug)]
pub(super) struct Record(Map<String, Value>);

/// The attributes of one record.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) attributes: OwnedBag,
    /// What the record says is there or is not.
    known: BTreeSet<AttributeId>,
    /// Single keys of maps it does not know otherwise.
    keys: BTreeSet<(AttributeId, String)>,
}

impl Record {
    /// Reads one line.
    pub(super) fn read(line: &str) -> Result<Self, String> {
        match serde_json::from_str(line) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err("it is not a JSON object".to_owned()),
            Err(error) => Err(format!("it is not JSON: {error}")),
        }
    }

    /// A field that says something.
    pub(super) fn said(&self, name: &str) -> Option<String> {
        self.text(&[name]).flatten()
    }

    /// The first of `names` that the record has, as text. `Some(None)`: it says that there is none (`-`, null, nothing).
    fn text(&self, names: &[&str]) -> Option<Option<String>> {
        let value = names.iter().find_map(|name| self.field(name))?;
        Some(match value {
            Value::String(text) if text.is_empty() || text == "-" => None,
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        })
    }

    /// A field by its name or by its way through objects.
    fn field(&self, name: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(name) {
            return Some(value);
        }
        let mut parts = name.split('.');
        let mut value = self.0.get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        Some(value)
    }

    /// Lines of Mixer's own say all they know: what they leave out is absent.
    fn is_own(&self) -> bool {
        ["reporter", "destination_service"]
            .iter()
            .all(|name| self.0.contains_key(*name))
    }
}

impl Request {
    /// Whether the record speaks of what was read.
    pub(super) fn knows(&self, read: &Reference) -> bool {
        self.known.contains(&read.attribute)
            || read
                .key
                .as_ref()
                .is_some_and(|key| self.keys.contains(&(read.attribute, key.to_string())))
    }

    /// Sets what somebody says of every record.
    pub(super) fn overlay(&mut self, more: &OwnedBag) {
        for (id, value) in more.iter() {
            self.attributes.set(id, value.clone());
            self.known.insert(id);
        }
    }

    /// Takes what the record does not speak of as absent.
    pub(super) fn assume_absent(&mut self, ids: &[AttributeId]) {
        self.known.extend(ids);
    }
}
