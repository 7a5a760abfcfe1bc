//! What a message may say, and what is said to who says something else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{
    Duration, Dynamic, Entry, OwnedBag, OwnedValue, Timestamp, Type, Value, Vocabulary,
    vocabulary as v,
};
use mixer_proto::v1;
use mixer_proto::v1::attribute::Value as Wire;
use proptest::prelude::*;

use super::*;

fn attribute(id: u32, name: &str, value: Option<Wire>) -> v1::Attribute {
    v1::Attribute {
        id,
        name: name.to_owned(),
        value,
    }
}

fn text(value: &str) -> Option<Wire> {
    Some(Wire::String(value.to_owned()))
}

fn map(entries: &[(&str, &str)]) -> Option<Wire> {
    let entries = entries.iter().map(|(key, value)| v1::StringMapEntry {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
        ambiguous: false,
    });
    Some(Wire::Map(v1::StringMap {
        entries: entries.collect(),
    }))
}

fn seconds(seconds: i64, nanos: u32) -> v1::Time {
    v1::Time { seconds, nanos }
}

/// The error of a Check with these attributes; empty when there is none.
fn refusal(attributes: &[v1::Attribute]) -> String {
    let mut vocabulary = Vocabulary::new();
    vocabulary
        .declare("cart.size", Type::Int, Producer::Check, "")
        .unwrap();
    let arena = Arena::new("attributes", attributes);
    let bag = arena
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|arena| arena.bag("attributes", &vocabulary));
    bag.map_or_else(|malformed| malformed.to_string(), |_| String::new())
}

#[test]
fn what_breaks_the_protocol_is_refused_with_the_field_that_does() {
    let path = u32::from(v::REQUEST_PATH.number());
    let ip = u32::from(v::SOURCE_IP.number());
    let headers = u32::from(v::REQUEST_HEADERS.number());
    let claims = u32::from(v::AUTH_CLAIMS.number());
    let time = u32::from(v::REQUEST_TIME.number());
    let duration = u32::from(v::RESPONSE_DURATION.number());
    let cases = [
        (
            attribute(path, "", Some(Wire::Int(3))),
            "attributes[0] (request.path): is int, must be string",
        ),
        (
            attribute(path, "", None),
            "attributes[0] (request.path): has no value",
        ),
        (
            attribute(path, "request.path", text("/")),
            "attributes[0] (request.path): has both id and name",
        ),
        (
            attribute(0, "", text("/")),
            "attributes[0] (id 0): has neither id nor name",
        ),
        (
            attribute(1024, "", text("/")),
            "attributes[0] (id 1024): 1024 is not the id of a built-in attribute",
        ),
        (
            attribute(u32::MAX, "", text("/")),
            "attributes[0] (id 4294967295): 4294967295 is not the id of a built-in attribute",
        ),
        (
            attribute(0, "cart.size", text("many")),
            "attributes[0] (cart.size): is string, must be int",
        ),
        (
            attribute(0, "request.path", Some(Wire::Bool(true))),
            "attributes[0] (request.path): is bool, must be string",
        ),
        (
            attribute(ip, "", Some(Wire::Ip(vec![1; 5]))),
            "attributes[0] (source.ip): an address of 5 bytes, must be 4 or 16",
        ),
        (
            attribute(ip, "", Some(Wire::Bytes(vec![1; 4]))),
            "attributes[0] (source.ip): is bytes, must be ip",
        ),
        (
            attribute(headers, "", map(&[("b", "1"), ("a", "2")])),
            "attributes[0] (request.headers): entries[1] is out of order or a key given twice: \"a\"",
        ),
        (
            attribute(headers, "", map(&[("a", "1"), ("b", "1"), ("b", "2")])),
            "attributes[0] (request.headers): entries[2] is out of order or a key given twice: \"b\"",
        ),
        (
            attribute(claims, "", Some(Wire::Json("{\"sub\":".to_owned()))),
            "attributes[0] (auth.claims): is no JSON text: EOF while parsing a value at line 1 column 7",
        ),
        (
            attribute(time, "", Some(Wire::Timestamp(seconds(0, 1_000_000_000)))),
            "attributes[0] (request.time): 0 s and 1000000000 ns is no timestamp of the years 1 to 9999",
        ),
        (
            attribute(time, "", Some(Wire::Timestamp(seconds(i64::MAX, 0)))),
            "attributes[0] (request.time): 9223372036854775807 s and 0 ns is no timestamp of the years 1 to 9999",
        ),
        (
            attribute(duration, "", Some(Wire::Duration(seconds(i64::MIN, 0)))),
            "attributes[0] (response.duration): -9223372036854775808 s and 0 ns is no duration of at most 10,000 years",
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(refusal(std::slice::from_ref(&given)), expected, "{given:?}");
    }
    let twice = [
        attribute(path, "", text("/a")),
        attribute(1, "", text("x")),
        attribute(path, "", text("/a")),
    ];
    assert_eq!(
        refusal(&twice),
        "attributes[2] (request.path): is given twice"
    );
    let by_name = [
        attribute(path, "", text("/a")),
        attribute(0, "request.path", text("/b")),
    ];
    assert_eq!(
        refusal(&by_name),
        "attributes[1] (request.path): is given twice"
    );
}

#[test]
fn what_a_newer_proxy_knows_is_skipped_and_confused_with_nothing() {
    let newer = [
        attribute(1023, "", text("new")),
        attribute(1023, "", Some(Wire::Int(7))),
        attribute(900, "", None),
        attribute(0, "request.novelty", map(&[("a", "b")])),
        attribute(0, "cart.unknown", Some(Wire::Json("{}".to_owned()))),
        attribute(
            u32::from(v::REQUEST_HEADERS.number()),
            "",
            map(&[("x", "y")]),
        ),
        attribute(
            u32::from(v::AUTH_CLAIMS.number()),
            "",
            Some(Wire::Json("{\"sub\":\"me\"}".to_owned())),
        ),
    ];
    let arena = Arena::new("attributes", &newer).unwrap();
    let bag = arena.bag("attributes", &Vocabulary::new()).unwrap();
    let set: Vec<_> = bag.iter().map(|(id, _)| id).collect();
    assert_eq!(set, [v::REQUEST_HEADERS, v::AUTH_CLAIMS]);
    let Some(Value::Map(headers)) = bag.value(v::REQUEST_HEADERS) else {
        panic!("{bag:?}")
    };
    assert_eq!(
        (headers.lookup("x"), headers.lookup("a")),
        (Entry::Value("y".into()), Entry::Absent)
    );
    let Some(Value::Dynamic(claims)) = bag.value(v::AUTH_CLAIMS) else {
        panic!("{bag:?}")
    };
    assert_eq!(
        claims.member("sub"),
        Some(&Dynamic::String("me".to_owned()))
    );
}

#[test]
fn an_address_that_is_mapped_is_the_address_it_maps() {
    let mapped = "::ffff:10.0.0.1"
        .parse::<std::net::Ipv6Addr>()
        .unwrap()
        .octets()
        .to_vec();
    let given = [attribute(
        u32::from(v::SOURCE_IP.number()),
        "",
        Some(Wire::Ip(mapped)),
    )];
    let arena = Arena::new("attributes", &given).unwrap();
    let bag = arena.bag("attributes", &Vocabulary::new()).unwrap();
    assert_eq!(
        bag.value(v::SOURCE_IP),
        Some(Value::Ip("10.0.0.1".parse().unwrap()))
    );
}

#[test]
fn a_name_given_more_than_once_stays_ambiguous() {
    let entry = v1::StringMapEntry {
        key: "a".to_owned(),
        value: "1".to_owned(),
        ambiguous: true,
    };
    let value = Wire::Map(v1::StringMap {
        entries: vec![entry],
    });
    let given = [attribute(
        u32::from(v::REQUEST_QUERY.number()),
        "",
        Some(value),
    )];
    let arena = Arena::new("attributes", &given).unwrap();
    let bag = arena.bag("attributes", &Vocabulary::new()).unwrap();
    let Some(Value::Map(query)) = bag.value(v::REQUEST_QUERY) else {
        panic!("{bag:?}")
    };
    assert_eq!(query.lookup("a"), Entry::Ambiguous);
    assert_eq!(query.entries(), [("a".into(), Entry::Ambiguous)]);
}

/// A batch that is in order; each case spoils one thing.
fn batch() -> v1::ReportRequest {
    let strings = ["", "destination", "/a", "k", "v", "x"]
        .map(str::to_owned)
        .to_vec();
    let record = v1::Record {
        attributes: vec![
            v1::RecordAttribute {
                id: v::CONTEXT_REPORTER.number().into(),
                name: 0,
                value: Some(v1::record_attribute::Value::String(1)),
            },
            v1::RecordAttribute {
                id: v::REQUEST_HEADERS.number().into(),
                name: 0,
                value: Some(v1::record_attribute::Value::Map(v1::IndexMap {
                    keys: vec![3, 5],
                    values: vec![4, 4],
                    ambiguous: vec![1],
                })),
            },
            v1::RecordAttribute {
                id: v::AUTH_AUDIENCES.number().into(),
                name: 0,
                value: Some(v1::record_attribute::Value::List(v1::IndexList {
                    values: vec![5, 4],
                })),
            },
        ],
        trace: Some(v1::Trace {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            parent_id: vec![],
            shared: false,
        }),
    };
    let histogram = v1::Histogram {
        buckets: vec![0, 1],
        sum: 0.7,
    };
    v1::ReportRequest {
        client: "proxy-1".to_owned(),
        sequence: 1,
        strings,
        records: vec![record],
        aggregates: vec![v1::Aggregate {
            labels: vec![5; 12],
            requests: 1,
            duration_ms: Some(histogram.clone()),
            request_bytes: Some(histogram.clone()),
            response_bytes: None,
        }],
        dropped: 0,
        decisions: vec![v1::DecisionCount {
            verdict: v1::Verdict::Allow.into(),
            count: 2,
            ..v1::DecisionCount::default()
        }],
    }
}

#[test]
fn a_batch_is_refused_as_a_whole_for_whatever_is_wrong_in_it() {
    use v1::record_attribute::Value as Field;
    type Spoil = fn(&mut v1::ReportRequest);
    let cases: [(Spoil, &str); 22] = [
        (|b| b.client.clear(), "client: must name the client"),
        (
            |b| b.aggregates[0].labels[3] = 6,
            "aggregates[0].labels: index 6 is beyond the 6 strings of the batch",
        ),
        (
            |b| b.aggregates[0].labels.truncate(11),
            "aggregates[0].labels: 11 values, must be one for each of the 12 labels",
        ),
        (
            |b| b.aggregates[0].duration_ms.as_mut().unwrap().buckets = vec![1; 22],
            "aggregates[0].duration_ms: 22 buckets, there are 21",
        ),
        (
            |b| b.aggregates[0].request_bytes.as_mut().unwrap().buckets = vec![1; 11],
            "aggregates[0].request_bytes: 11 buckets, there are 10",
        ),
        (
            |b| b.aggregates[0].request_bytes.as_mut().unwrap().sum = f64::NAN,
            "aggregates[0].request_bytes: a sum of NaN",
        ),
        (
            |b| b.aggregates[0].duration_ms.as_mut().unwrap().sum = -1.0,
            "aggregates[0].duration_ms: a sum of -1",
        ),
        (
            |b| b.aggregates[0].duration_ms.as_mut().unwrap().buckets = vec![u64::MAX; 2],
            "aggregates[0].duration_ms: more observations",
        ),
        (
            |b| b.decisions[0].policy = 9,
            "decisions[0].policy: index 9 is beyond the 6 strings",
        ),
        (
            |b| b.decisions[0].failure = 6,
            "decisions[0].failure: index 6 is beyond",
        ),
        (
            |b| b.decisions[0].verdict = 0,
            "decisions[0].verdict: must be allow or deny",
        ),
        (
            |b| b.decisions[0].verdict = 17,
            "decisions[0].verdict: must be allow or deny",
        ),
        (
            |b| b.records[0].attributes[0].value = Some(Field::String(6)),
            "records[0].attributes[0] (context.reporter): index 6 is beyond",
        ),
        (
            |b| b.records[0].attributes[0].value = Some(Field::Int(1)),
            "records[0].attributes[0] (context.reporter): is int, must be string",
        ),
        (
            |b| {
                b.records[0].attributes[1].value = Some(Field::Map(v1::IndexMap {
                    keys: vec![3],
                    values: vec![],
                    ambiguous: vec![],
                }))
            },
            "records[0].attributes[1] (request.headers): 1 keys and 0 values",
        ),
        (
            |b| {
                b.records[0].attributes[1].value = Some(Field::Map(v1::IndexMap {
                    keys: vec![5, 3],
                    values: vec![4, 4],
                    ambiguous: vec![],
                }))
            },
            "records[0].attributes[1] (request.headers): keys[1] is out of order or given twice: \"k\"",
        ),
        (
            |b| {
                b.records[0].attributes[1].value = Some(Field::Map(v1::IndexMap {
                    keys: vec![3],
                    values: vec![7],
                    ambiguous: vec![],
                }))
            },
            "records[0].attributes[1] (request.headers): index 7 is beyond",
        ),
        (
            |b| {
                b.records[0].attributes[1].value = Some(Field::Map(v1::IndexMap {
                    keys: vec![3],
                    values: vec![4],
                    ambiguous: vec![1],
                }))
            },
            "records[0].attributes[1] (request.headers): ambiguous must be rising positions of the 1 keys",
        ),
        (
            |b| {
                b.records[0].attributes[2].value =
                    Some(Field::List(v1::IndexList { values: vec![6] }))
            },
            "records[0].attributes[2] (auth.audiences): index 6 is beyond",
        ),
        (
            |b| {
                b.records[0].attributes.push(v1::RecordAttribute {
                    id: 0,
                    name: 99,
                    value: None,
                })
            },
            "records[0].attributes[3] (id 0): index 99 is beyond",
        ),
        (
            |b| b.records[0].trace.as_mut().unwrap().trace_id = vec![0; 16],
            "records[0].trace.trace_id: must be 16 bytes, not all zero",
        ),
        (
            |b| b.records[0].trace.as_mut().unwrap().parent_id = vec![1; 7],
            "records[0].trace.parent_id: must be 8 bytes, not all zero",
        ),
    ];
    assert!(Batch::new(batch(), &Vocabulary::new()).is_ok());
    for (spoil, expected) in cases {
        let mut spoiled = batch();
        spoil(&mut spoiled);
        let said = Batch::new(spoiled, &Vocabulary::new())
            .unwrap_err()
            .to_string();
        assert!(
            said.starts_with(expected),
            "{said} should begin with {expected}"
        );
    }
}

#[test]
fn a_batch_says_what_happened() {
    let vocabulary = Vocabulary::new();
    let batch = Batch::new(batch(), &vocabulary).unwrap();
    let arenas = batch.arenas(batch.records());
    let happened = batch.happened(batch.records(), &arenas, &vocabulary);
    assert_eq!(happened.len(), 1);
    let one = &happened[0];
    assert_eq!(one.at, mixer_documents::At::Inbound);
    assert_eq!(
        one.trace.map(|trace| (trace.span_id, trace.parent_id)),
        Some((0x0202_0202_0202_0202, None))
    );
    assert_eq!(
        one.bag.value(v::AUTH_AUDIENCES),
        Some(Value::List(&["x".to_owned(), "v".to_owned()]))
    );
    let Some(Value::Map(headers)) = one.bag.value(v::REQUEST_HEADERS) else {
        panic!("{one:?}")
    };
    assert_eq!(
        headers.entries(),
        [
            ("k".into(), Entry::Value("v".into())),
            ("x".into(), Entry::Ambiguous)
        ]
    );
    assert_eq!(headers.lookup("x"), Entry::Ambiguous);
    assert_eq!(
        (batch.aggregates().len(), batch.decisions()[0].count),
        (1, 2)
    );
    assert_eq!(batch.decisions()[0].verdict, "allow");
}

#[test]
fn a_record_that_does_not_say_whose_it_is_is_left_out() {
    let mut without = batch();
    without.records[0].attributes.remove(0);
    let vocabulary = Vocabulary::new();
    let batch = Batch::new(without, &vocabulary).unwrap();
    let arenas = batch.arenas(batch.records());
    assert!(
        batch
            .happened(batch.records(), &arenas, &vocabulary)
            .is_empty()
    );
}

fn value(kind: Type) -> BoxedStrategy<OwnedValue> {
    match kind {
        Type::String => any::<String>().prop_map(OwnedValue::String).boxed(),
        Type::Int => any::<i64>().prop_map(OwnedValue::Int).boxed(),
        Type::Double => any::<f64>().prop_map(OwnedValue::Double).boxed(),
        Type::Bool => any::<bool>().prop_map(OwnedValue::Bool).boxed(),
        Type::Bytes => any::<Vec<u8>>().prop_map(OwnedValue::Bytes).boxed(),
        Type::Timestamp => (-62_135_596_800i64..253_402_300_800, 0u32..1_000_000_000)
            .prop_map(|(seconds, nanos)| OwnedValue::Timestamp(Timestamp { seconds, nanos }))
            .boxed(),
        Type::Duration => (-315_576_000_000i64..315_576_000_000, 0u32..1_000_000_000)
            .prop_map(|(seconds, nanos)| OwnedValue::Duration(Duration { seconds, nanos }))
            .boxed(),
        Type::Ip => any::<IpAddr>()
            .prop_map(|ip| OwnedValue::Ip(ip.to_canonical()))
            .boxed(),
        Type::List => any::<Vec<String>>().prop_map(OwnedValue::List).boxed(),
        Type::Map => any::<BTreeMap<String, String>>()
            .prop_map(OwnedValue::Map)
            .boxed(),
        Type::Dynamic => any::<BTreeMap<String, i64>>()
            .prop_map(|map| {
                OwnedValue::Dynamic(Dynamic::Map(
                    map.into_iter().map(|(k, n)| (k, Dynamic::Int(n))).collect(),
                ))
            })
            .boxed(),
    }
}

fn encode(value: &OwnedValue) -> Wire {
    match value.clone() {
        OwnedValue::String(text) => Wire::String(text),
        OwnedValue::Int(number) => Wire::Int(number),
        OwnedValue::Double(number) => Wire::Double(number),
        OwnedValue::Bool(bit) => Wire::Bool(bit),
        OwnedValue::Bytes(bytes) => Wire::Bytes(bytes),
        OwnedValue::Timestamp(time) => Wire::Timestamp(seconds(time.seconds, time.nanos)),
        OwnedValue::Duration(span) => Wire::Duration(seconds(span.seconds, span.nanos)),
        OwnedValue::Ip(IpAddr::V4(ip)) => Wire::Ip(ip.octets().to_vec()),
        OwnedValue::Ip(IpAddr::V6(ip)) => Wire::Ip(ip.octets().to_vec()),
        OwnedValue::List(values) => Wire::List(v1::StringList { values }),
        OwnedValue::Map(map) => {
            let entries = map.into_iter().map(|(key, value)| v1::StringMapEntry {
                key,
                value,
                ambiguous: false,
            });
            Wire::Map(v1::StringMap {
                entries: entries.collect(),
            })
        }
        OwnedValue::Dynamic(Dynamic::Map(members)) => {
            let members = members.into_iter().map(|(key, value)| match value {
                Dynamic::Int(number) => (key, serde_json::Value::from(number)),
                other => unreachable!("not generated: {other:?}"),
            });
            Wire::Json(serde_json::Value::Object(members.collect()).to_string())
        }
        OwnedValue::Dynamic(other) => unreachable!("not generated: {other:?}"),
    }
}

fn bag() -> impl Strategy<Value = OwnedBag> {
    let attribute = prop::sample::select(v::builtin().to_vec());
    let pair = attribute.prop_flat_map(|attribute| (Just(attribute.id), value(attribute.kind)));
    prop::collection::vec(pair, 0..12).prop_map(|pairs| {
        let mut bag = OwnedBag::new();
        for (id, value) in pairs {
            bag.set(id, value);
        }
        bag
    })
}

proptest! {
    #[test]
    fn attributes_come_back_as_they_were_sent(sent in bag()) {
        let attributes: Vec<v1::Attribute> =
            sent.iter().map(|(id, value)| attribute(id.number().into(), "", Some(encode(value)))).collect();
        let arena = Arena::new("attributes", &attributes).unwrap();
        let read = arena.bag("attributes", &Vocabulary::new()).unwrap();
        let given = sent.bag();
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), given.iter().collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_make_the_reading_of_a_message_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let (_, report) = super::read(&bytes);
        prop_assert!(!bytes.is_empty() || report.is_err(), "a batch names its client");
    }
}
