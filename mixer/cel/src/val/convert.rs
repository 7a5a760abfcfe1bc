//! Values as others need them: text for keys, labels and messages; numbers for metrics; typed inputs for adapters.

use std::fmt::Write;

use mixer_attributes::{Dynamic, OwnedValue};

use super::{List, Looked, Map, Val};
use crate::functions::text_of;

impl Val<'_> {
    /// As text, for quota keys, labels and messages: strings bare, numbers in decimal, bools as words, addresses and times in
    /// their usual form, lists and maps as JSON.
    pub fn to_text(&self) -> String {
        match self {
            Val::String(text) => (**text).to_owned(),
            Val::Optional(Some(value)) => value.to_text(),
            Val::List(_) | Val::Map(_) => {
                let mut json = String::new();
                write_json(self, &mut json);
                json
            }
            _ => scalar_text(self),
        }
    }

    /// As an integer (int, or uint that fits).
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Val::Int(number) => Some(*number),
            Val::Uint(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// As a number (int, uint, double; durations in seconds).
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Val::Int(number) => Some(*number as f64),
            Val::Uint(number) => Some(*number as f64),
            Val::Double(number) => Some(*number),
            Val::Duration(span) => Some(span.seconds as f64 + f64::from(span.nanos) / 1e9),
            _ => None,
        }
    }

    /// As a typed adapter input; `None` for kinds attributes do not have (uint, null, optional, type, cidr).
    pub fn to_owned_value(&self) -> Option<OwnedValue> {
        Some(match self {
            Val::Bool(bit) => OwnedValue::Bool(*bit),
            Val::Int(number) => OwnedValue::Int(*number),
            Val::Double(number) => OwnedValue::Double(*number),
            Val::String(text) => OwnedValue::String((**text).to_owned()),
            Val::Bytes(bytes) => OwnedValue::Bytes(bytes.to_vec()),
            Val::Timestamp(time) => OwnedValue::Timestamp(*time),
            Val::Duration(span) => OwnedValue::Duration(*span),
            Val::Ip(address) => OwnedValue::Ip(*address),
            Val::List(list) => match list
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
            {
                Some(strings) => OwnedValue::List(strings),
                None => OwnedValue::Dynamic(list_tree(list)?),
            },
            Val::Map(map) => {
                let strings = map.entries()?.into_iter();
                let strings = strings.map(|(key, value)| {
                    Some((key.as_str()?.to_owned(), value.as_str()?.to_owned()))
                });
                match strings.collect() {
                    Some(strings) => OwnedValue::Map(strings),
                    None => OwnedValue::Dynamic(map_tree(map)?),
                }
            }
            Val::Null | Val::Uint(_) | Val::Cidr(..) | Val::Type(_) | Val::Optional(_) => {
                return None;
            }
        })
    }

    fn to_tree(&self) -> Option<Dynamic> {
        Some(match self {
            Val::Null => Dynamic::Null,
            Val::Bool(bit) => Dynamic::Bool(*bit),
            Val::Int(number) => Dynamic::Int(*number),
            Val::Uint(number) => Dynamic::Int(i64::try_from(*number).ok()?),
            Val::Double(number) => Dynamic::Double(*number),
            Val::String(text) => Dynamic::String((**text).to_owned()),
            Val::List(list) => list_tree(list)?,
            Val::Map(map) => map_tree(map)?,
            Val::Optional(_) | Val::Type(_) => return None,
            other => Dynamic::String(other.to_text()),
        })
    }
}

fn list_tree(list: &List<'_>) -> Option<Dynamic> {
    Some(Dynamic::List(
        list.iter()
            .map(|item| item.to_tree())
            .collect::<Option<_>>()?,
    ))
}

fn map_tree(map: &Map<'_>) -> Option<Dynamic> {
    let members = map
        .entries()?
        .into_iter()
        .map(|(key, value)| Some((key.to_text(), value.to_tree()?)));
    let mut members = members.collect::<Option<Vec<_>>>()?;
    members.sort_by(|a, b| a.0.cmp(&b.0));
    members.dedup_by(|a, b| a.0 == b.0);
    Some(Dynamic::Map(members))
}

fn scalar_text(value: &Val<'_>) -> String {
    match value {
        Val::Null => "null".to_owned(),
        Val::Optional(_) => "-".to_owned(),
        Val::Type(name) => (*name).to_owned(),
        Val::Bytes(bytes) => bytes.escape_ascii().to_string(),
        _ => text_of(value).unwrap_or_default(),
    }
}

fn write_json(value: &Val<'_>, out: &mut String) {
    match value {
        Val::Null | Val::Optional(None) => out.push_str("null"),
        Val::Bool(_) | Val::Int(_) | Val::Uint(_) => out.push_str(&scalar_text(value)),
        Val::Double(number) if number.is_finite() => {
            let _ = write!(out, "{number}");
        }
        Val::Optional(Some(value)) => write_json(value, out),
        Val::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(&item, out);
            }
            out.push(']');
        }
        Val::Map(map) => {
            out.push('{');
            for (index, (key, looked)) in map.looked().into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json_text(&key.to_text(), out);
                out.push(':');
                match looked {
                    Looked::Found(value) => write_json(&value, out),
                    Looked::Absent | Looked::Ambiguous => out.push_str("null"),
                }
            }
            out.push('}');
        }
        other => write_json_text(&other.to_text(), out),
    }
}

fn write_json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
