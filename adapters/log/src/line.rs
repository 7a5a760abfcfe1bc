//! A log entry as a line of JSON.
//!
//! JSON escapes line breaks, so an entry is one line whatever its values hold. Texts come from requests and are cut at
//! [`LONGEST`] bytes each.

use mixer_adapter::LogEntry;
use mixer_attributes::{Dynamic, OwnedValue, Timestamp};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::time::rfc3339;

/// Bytes of a text; the rest is cut off.
const LONGEST: usize = 4096;

/// The entry as a line, with its line break: `time`, then its fields in their order.
pub(crate) fn of(entry: &LogEntry<'_>) -> Vec<u8> {
    let mut line =
        serde_json::to_vec(&Line(entry)).expect("a map with texts as keys can be written as JSON");
    line.push(b'\n');
    line
}

struct Line<'a>(&'a LogEntry<'a>);

struct Field<'a>(&'a OwnedValue);

struct Tree<'a>(&'a Dynamic);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = &self.0.fields;
        let mut map = serializer.serialize_map(None)?;
        if !fields.iter().any(|(name, _)| name == "time") {
            map.serialize_entry("time", &rfc3339(Timestamp::from(self.0.time)))?;
        }
        for (at, (name, value)) in fields.iter().enumerate() {
            // A name twice would be an object that readers disagree about: the last one counts.
            if !fields[at + 1..].iter().any(|(later, _)| later == name) {
                map.serialize_entry(cut(name), &Field(value))?;
            }
        }
        map.end()
    }
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            OwnedValue::String(text) => serializer.serialize_str(cut(text)),
            OwnedValue::Int(number) => serializer.serialize_i64(*number),
            OwnedValue::Double(number) => double(*number, serializer),
            OwnedValue::Bool(bit) => serializer.serialize_bool(*bit),
            OwnedValue::Bytes(bytes) => {
                let shown = &bytes[..bytes.len().min(LONGEST)];
                let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
                serializer.serialize_str(&hex)
            }
            OwnedValue::Timestamp(time) => serializer.serialize_str(&rfc3339(*time)),
            OwnedValue::Duration(span) => serializer.collect_str(span),
            OwnedValue::Ip(address) => serializer.collect_str(address),
            OwnedValue::List(items) => serializer.collect_seq(items.iter().map(|item| cut(item))),
            OwnedValue::Map(map) => {
                serializer.collect_map(map.iter().map(|(key, value)| (cut(key), cut(value))))
            }
            OwnedValue::Dynamic(tree) => Tree(tree).serialize(serializer),
        }
    }
}

impl Serialize for Tree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Dynamic::Null => serializer.serialize_unit(),
            Dynamic::Bool(bit) => serializer.serialize_bool(*bit),
            Dynamic::Int(number) => serializer.serialize_i64(*number),
            Dynamic::Double(number) => double(*number, serializer),
            Dynamic::String(text) => serializer.serialize_str(cut(text)),
            Dynamic::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items
                    .iter()
                    .try_for_each(|item| list.serialize_element(&Tree(item)))?;
                list.end()
            }
            Dynamic::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members
                    .iter()
                    .try_for_each(|(name, value)| map.serialize_entry(cut(name), &Tree(value)))?;
                map.end()
            }
        }
    }
}

/// JSON has no NaN and no infinity; as texts they are seen.
fn double<S: Serializer>(number: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.is_finite() {
        serializer.serialize_f64(number)
    } else {
        serializer.serialize_str(&number.to_string())
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn line(fields: Vec<(&'static str, OwnedValue)>) -> String {
        let fields = fields
            .into_iter()
            .map(|(name, value)| (Cow::Borrowed(name), value))
            .collect();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        String::from_utf8(of(&LogEntry { time, fields })).unwrap()
    }

    #[test]
    fn fields_keep_their_order_and_their_types() {
        let claims = Dynamic::Map(vec![
            (
                "groups".to_owned(),
                Dynamic::List(vec![Dynamic::String("a".to_owned()), Dynamic::Null]),
            ),
            ("ratio".to_owned(), Dynamic::Double(0.5)),
        ]);
        let line = line(vec![
            ("path", OwnedValue::String("/a\"\n\u{2028}".to_owned())),
            ("code", OwnedValue::Int(200)),
            ("ratio", OwnedValue::Double(f64::NAN)),
            ("mtls", OwnedValue::Bool(true)),
            ("body", OwnedValue::Bytes(vec![0, 255])),
            (
                "took",
                OwnedValue::Duration(mixer_attributes::Duration::from_nanos(1_500_000_000)),
            ),
            (
                "at",
                OwnedValue::Timestamp(Timestamp {
                    seconds: 0,
                    nanos: 0,
                }),
            ),
            ("ip", OwnedValue::Ip("::1".parse().unwrap())),
            ("list", OwnedValue::List(vec!["x".to_owned()])),
            (
                "map",
                OwnedValue::Map([("k".to_owned(), "v".to_owned())].into()),
            ),
            ("claims", OwnedValue::Dynamic(claims)),
        ]);
        assert_eq!(
            line,
            concat!(
                r#"{"time":"2026-01-01T00:00:00.000000Z","path":"/a\"\n"#,
                "\u{2028}",
                r#"","code":200,"ratio":"NaN","mtls":true,"body":"00ff","took":"1.5s","at":"1970-01-01T00:00:00.000000Z","#,
                r#""ip":"::1","list":["x"],"map":{"k":"v"},"claims":{"groups":["a",null],"ratio":0.5}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_name_is_written_once() {
        let line = line(vec![
            ("a", OwnedValue::Int(1)),
            ("time", OwnedValue::Int(2)),
            ("a", OwnedValue::Int(3)),
        ]);
        assert_eq!(line, "{\"time\":2,\"a\":3}\n");
    }

    #[test]
    fn long_texts_are_cut() {
        let line = line(vec![("path", OwnedValue::String("x".repeat(1 << 20)))]);
        assert!(line.len() < LONGEST + 100, "{}", line.len());
    }
}
