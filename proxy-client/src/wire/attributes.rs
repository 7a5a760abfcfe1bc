//! Attributes as Check and Watch carry them.

use std::net::IpAddr;

use bytes::Bytes;
use mixer_attributes::{AttributeBag, AttributeId, Dynamic, Entry, Value, vocabulary};
use mixer_proto::v1;

use super::WireError;
use super::protobuf::Writer;
use super::quota::CounterId;
use crate::{Answer, At, Because, Verdict};

/// A CheckRequest that takes what the decision charges. `claims` says whether anybody reads `auth.claims` there.
pub(crate) fn check_request(
    at: At,
    bag: &AttributeBag<'_>,
    client: &str,
    dedup_id: &str,
    rates: &[(CounterId, f64)],
    claims: bool,
) -> Result<Bytes, WireError> {
    let mut writer = Writer::with_capacity(1_024);
    for (id, value) in attributes(at, bag).filter(wanted(claims)) {
        let id = built_in(id)?;
        writer.message(1, |attribute| write(attribute, id, value));
    }
    writer.bool(2, true);
    writer.string(3, dedup_id);
    writer.string(4, client);
    for (counter, per_second) in rates {
        writer.message(5, |rate| {
            rate.string(1, &counter.quota);
            counter.key.iter().for_each(|value| rate.string(2, value));
            rate.double(3, *per_second);
        });
    }
    Ok(writer.finish())
}

/// A CheckRequest about a request that was answered from the cache, for what is in shadow.
pub(crate) fn answered_request(
    at: At,
    bag: &AttributeBag<'_>,
    client: &str,
    answer: &Answer,
    claims: bool,
) -> Result<Bytes, WireError> {
    let mut writer = Writer::with_capacity(1_024);
    for (id, value) in attributes(at, bag).filter(wanted(claims)) {
        let id = built_in(id)?;
        writer.message(1, |attribute| write(attribute, id, value));
    }
    writer.string(4, client);
    let verdict = match answer.verdict {
        Verdict::Allow => v1::Verdict::Allow,
        Verdict::Deny => v1::Verdict::Deny,
    };
    let because = match answer.because {
        Because::Matched | Because::Nothing => v1::Because::Matched,
        Because::Undetermined => v1::Because::Undetermined,
        Because::Otherwise => v1::Because::Otherwise,
        Because::Default => v1::Because::Default,
        Because::Quota => v1::Because::Quota,
        Because::Unavailable => v1::Because::Unavailable,
    };
    writer.uint(6, verdict as u64);
    writer.uint(7, because as u64);
    Ok(writer.finish())
}

/// A WatchRequest for a proxy that stands before the service `inbound` describes.
pub(crate) fn watch_request(client: &str, inbound: &AttributeBag<'_>) -> Result<Bytes, WireError> {
    let mut writer = Writer::with_capacity(256);
    writer.string(1, client);
    for (id, value) in inbound.iter() {
        let id = built_in(id)?;
        writer.message(2, |attribute| write(attribute, id, value));
    }
    Ok(writer.finish())
}

/// A RefreshKeysRequest.
pub(crate) fn refresh_keys_request(client: &str, issuer: &str) -> Bytes {
    let mut writer = Writer::with_capacity(64);
    writer.string(1, client);
    writer.string(2, issuer);
    writer.finish()
}

/// What is set, and which proxy speaks if the bag does not say it.
pub(super) fn attributes<'a>(
    at: At,
    bag: &'a AttributeBag<'_>,
) -> impl Iterator<Item = (AttributeId, Value<'a>)> + use<'a> {
    let silent = bag.value(vocabulary::CONTEXT_REPORTER).is_none();
    let reporter = match at {
        At::Inbound => "destination",
        At::Outbound => "source",
    };
    bag.iter()
        .chain(silent.then_some((vocabulary::CONTEXT_REPORTER, Value::String(reporter))))
}

/// Leaves claims out where nobody reads them: they are what callers would least like to see in another's log.
fn wanted(claims: bool) -> impl Fn(&(AttributeId, Value<'_>)) -> bool {
    move |(id, _)| claims || *id != vocabulary::AUTH_CLAIMS
}

/// Numbers of attributes that documents declare hold within one loaded set; their names are not known here.
pub(super) fn built_in(id: AttributeId) -> Result<u64, WireError> {
    if id.is_custom() {
        return Err(WireError::new(
            format!("attributes[{}]", id.number()),
            "is not in the built-in vocabulary",
        ));
    }
    Ok(u64::from(id.number()))
}

fn write(attribute: &mut Writer, id: u64, value: Value<'_>) {
    attribute.uint(1, id);
    match value {
        Value::String(text) => attribute.string(3, text),
        Value::Int(number) => attribute.sint(4, number),
        Value::Double(number) => attribute.double(5, number),
        Value::Bool(bit) => attribute.bool(6, bit),
        Value::Bytes(bytes) => attribute.bytes(7, bytes),
        Value::Timestamp(time) => attribute.message(8, |w| write_time(w, time.seconds, time.nanos)),
        Value::Duration(span) => attribute.message(9, |w| write_time(w, span.seconds, span.nanos)),
        Value::Ip(address) => write_ip(attribute, 10, address),
        Value::List(items) => attribute.message(11, |list| {
            items.iter().for_each(|item| list.string(1, item))
        }),
        Value::Map(map) => attribute.message(12, |written| {
            for (key, entry) in map.entries() {
                written.message(1, |pair| {
                    pair.string(1, &key);
                    match entry {
                        Entry::Value(value) => pair.string(2, &value),
                        Entry::Ambiguous => pair.bool(3, true),
                        Entry::Absent => {}
                    }
                });
            }
        }),
        Value::Dynamic(tree) => attribute.message(13, |json| write_json(json, tree)),
    }
}

pub(super) fn write_time(writer: &mut Writer, seconds: i64, nanos: u32) {
    writer.sint(1, seconds);
    writer.uint(2, u64::from(nanos));
}

pub(super) fn write_ip(writer: &mut Writer, field: u32, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => writer.bytes(field, &v4.octets()),
        IpAddr::V6(v6) => writer.bytes(field, &v6.octets()),
    }
}

/// JSON that reads back to the same tree: a double keeps its point. (JSON has no NaN or infinity; neither has a token.)
pub(super) fn write_json(writer: &mut Writer, tree: &Dynamic) {
    let written = match tree {
        Dynamic::Null => return writer.raw(b"null"),
        Dynamic::Bool(bit) => serde_json::to_writer(writer, bit),
        Dynamic::Int(number) => serde_json::to_writer(writer, number),
        Dynamic::Double(number) => serde_json::to_writer(writer, number),
        Dynamic::String(text) => serde_json::to_writer(writer, text),
        Dynamic::List(items) => {
            for (at, item) in items.iter().enumerate() {
                writer.raw(if at == 0 { b"[" } else { b"," });
                write_json(writer, item);
            }
            return writer.raw(if items.is_empty() { b"[]" } else { b"]" });
        }
        Dynamic::Map(members) => {
            for (at, (key, value)) in members.iter().enumerate() {
                writer.raw(if at == 0 { b"{" } else { b"," });
                serde_json::to_writer(&mut *writer, key)
                    .expect("text always has a JSON form, and a Writer takes it");
                writer.raw(b":");
                write_json(writer, value);
            }
            return writer.raw(if members.is_empty() { b"{}" } else { b"}" });
        }
    };
    written.expect("numbers and text always have a JSON form, and a Writer takes them");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mixer_attributes::{Duration, OwnedBag, OwnedValue, Timestamp, Vocabulary};
    use mixer_proto::v1::{self, attribute::Value as Wire};
    use prost::Message;

    use super::*;

    fn sent(bag: &OwnedBag) -> v1::CheckRequest {
        let counter = CounterId::new("q", &["a".to_owned(), String::new()]);
        let bytes = check_request(
            At::Inbound,
            &bag.bag(),
            "proxy-1",
            "d-1",
            &[(counter, 2.5)],
            true,
        )
        .unwrap();
        v1::CheckRequest::decode(bytes).unwrap()
    }

    fn only(value: OwnedValue) -> Wire {
        let mut bag = OwnedBag::new();
        bag.set(vocabulary::CONTEXT_REPORTER, value);
        sent(&bag).attributes.remove(0).value.unwrap()
    }

    #[test]
    fn every_type_of_value_reads_back() {
        let map = BTreeMap::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), String::new()),
        ]);
        let entry = |key: &str, value: &str| v1::StringMapEntry {
            key: key.into(),
            value: value.into(),
            ambiguous: false,
        };
        let claims = Dynamic::Map(vec![
            (
                "a".into(),
                Dynamic::List(vec![Dynamic::Int(-1), Dynamic::Double(1.0), Dynamic::Null]),
            ),
            ("b\"".into(), Dynamic::Map(vec![])),
            ("c".into(), Dynamic::List(vec![])),
            ("d".into(), Dynamic::Bool(true)),
        ]);
        let cases = [
            (
                OwnedValue::String(String::new()),
                Wire::String(String::new()),
            ),
            (OwnedValue::Int(i64::MIN), Wire::Int(i64::MIN)),
            (OwnedValue::Double(-0.5), Wire::Double(-0.5)),
            (OwnedValue::Bool(false), Wire::Bool(false)),
            (OwnedValue::Bytes(vec![0, 255]), Wire::Bytes(vec![0, 255])),
            (
                OwnedValue::Timestamp(Timestamp {
                    seconds: -1,
                    nanos: 5,
                }),
                Wire::Timestamp(v1::Time {
                    seconds: -1,
                    nanos: 5,
                }),
            ),
            (
                OwnedValue::Duration(Duration {
                    seconds: 3,
                    nanos: 0,
                }),
                Wire::Duration(v1::Time {
                    seconds: 3,
                    nanos: 0,
                }),
            ),
            (
                OwnedValue::Ip("10.0.0.1".parse().unwrap()),
                Wire::Ip(vec![10, 0, 0, 1]),
            ),
            (
                OwnedValue::Ip("::1".parse().unwrap()),
                Wire::Ip([vec![0; 15], vec![1]].concat()),
            ),
            (
                OwnedValue::List(vec!["x".into()]),
                Wire::List(v1::StringList {
                    values: vec!["x".into()],
                }),
            ),
            (
                OwnedValue::Map(map),
                Wire::Map(v1::StringMap {
                    entries: vec![entry("a", "1"), entry("b", "")],
                }),
            ),
            (
                OwnedValue::Dynamic(claims),
                Wire::Json(r#"{"a":[-1,1.0,null],"b\"":{},"c":[],"d":true}"#.into()),
            ),
        ];
        for (value, wire) in cases {
            assert_eq!(only(value), wire);
        }
    }

    #[test]
    fn a_check_takes_and_names_client_try_and_rates() {
        let request = sent(&OwnedBag::new());
        assert!(request.take);
        assert_eq!((&*request.client, &*request.dedup_id), ("proxy-1", "d-1"));
        let rate = v1::Rate {
            quota: "q".into(),
            key: vec!["a".into(), String::new()],
            per_second: 2.5,
        };
        assert_eq!(request.rates, [rate]);
    }

    #[test]
    fn the_side_that_asks_is_told_unless_the_bag_says_it() {
        let attributes = sent(&OwnedBag::new()).attributes;
        assert_eq!(
            attributes[0].id,
            u32::from(vocabulary::CONTEXT_REPORTER.number())
        );
        assert_eq!(
            attributes[0].value,
            Some(Wire::String("destination".into()))
        );
        assert_eq!(
            only(OwnedValue::String("source".into())),
            Wire::String("source".into())
        );
    }

    #[test]
    fn claims_are_not_sent_where_nobody_reads_them() {
        let claims = Dynamic::Map(vec![("sub".into(), Dynamic::String("x".into()))]);
        let mut bag = AttributeBag::new();
        bag.set(vocabulary::AUTH_CLAIMS, Value::Dynamic(&claims));
        bag.set(vocabulary::AUTH_ISSUER, Value::String("accounts"));
        for (read, ids) in [
            (true, vec![vocabulary::AUTH_ISSUER, vocabulary::AUTH_CLAIMS]),
            (false, vec![vocabulary::AUTH_ISSUER]),
        ] {
            let sent = check_request(At::Inbound, &bag, "", "", &[], read).unwrap();
            let sent = v1::CheckRequest::decode(sent).unwrap();
            let auth = |one: &v1::Attribute| {
                [vocabulary::AUTH_ISSUER, vocabulary::AUTH_CLAIMS]
                    .into_iter()
                    .find(|id| u32::from(id.number()) == one.id)
            };
            let mut found: Vec<_> = sent.attributes.iter().filter_map(auth).collect();
            found.sort_by_key(|id| id.number());
            assert_eq!(found, ids);
        }
    }

    #[test]
    fn an_attribute_without_a_number_is_an_error_that_names_it() {
        let mut vocabulary = Vocabulary::new();
        let id = vocabulary
            .declare(
                "cart.size",
                mixer_attributes::Type::Int,
                vocabulary::Producer::Check,
                "",
            )
            .unwrap();
        let mut bag = AttributeBag::new();
        bag.set(id, Value::Int(1));
        let error = check_request(At::Inbound, &bag, "", "", &[], true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "attributes[1024]: is not in the built-in vocabulary"
        );
    }
}
