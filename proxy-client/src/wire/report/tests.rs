//! What Mixer reads of a report is what was counted and queued.

use std::collections::BTreeMap;

use mixer_attributes::{OwnedBag, OwnedValue, vocabulary};
use mixer_proto::v1::record_attribute::Value as Wire;
use prost::Message;

use super::*;

#[test]
fn records_share_one_table_of_strings() {
    let mut bag = OwnedBag::new();
    let headers = BTreeMap::from([
        ("a".to_owned(), "GET".to_owned()),
        ("b".to_owned(), "x".to_owned()),
    ]);
    bag.set(
        vocabulary::CONTEXT_REPORTER,
        OwnedValue::String("source".into()),
    );
    bag.set(vocabulary::REQUEST_METHOD, OwnedValue::String("GET".into()));
    bag.set(vocabulary::REQUEST_HEADERS, OwnedValue::Map(headers));
    bag.set(vocabulary::RESPONSE_CODE, OwnedValue::Int(200));
    let trace = TraceContext {
        trace_id: 1,
        span_id: 2,
        parent_id: Some(3),
        shared: true,
    };
    let mut batch = RecordBatch::default();
    batch.push(At::Outbound, &bag.bag(), Some(trace)).unwrap();
    batch.push(At::Outbound, &bag.bag(), None).unwrap();
    assert_eq!(batch.len(), 2);

    let bytes = report_request(
        "proxy-1",
        7,
        9,
        batch,
        std::iter::empty(),
        std::iter::empty(),
    );
    let read = v1::ReportRequest::decode(bytes).unwrap();
    assert_eq!(
        (&*read.client, read.sequence, read.dropped),
        ("proxy-1", 7, 9)
    );
    assert_eq!(read.strings, ["GET", "a", "b", "x", "source"]);
    assert_eq!(read.records.len(), 2);
    assert_eq!(read.records[0].attributes, read.records[1].attributes);
    let value = |id: mixer_attributes::AttributeId| {
        let attributes = &read.records[0].attributes;
        attributes
            .iter()
            .find(|a| a.id == u32::from(id.number()))
            .unwrap()
            .value
            .clone()
            .unwrap()
    };
    assert_eq!(value(vocabulary::REQUEST_METHOD), Wire::String(0));
    let map = v1::IndexMap {
        keys: vec![1, 2],
        values: vec![0, 3],
        ambiguous: vec![],
    };
    assert_eq!(value(vocabulary::REQUEST_HEADERS), Wire::Map(map));
    assert_eq!(value(vocabulary::RESPONSE_CODE), Wire::Int(200));
    let trace = read.records[0].trace.as_ref().unwrap();
    assert_eq!(trace.trace_id, 1u128.to_be_bytes());
    assert_eq!(
        (&*trace.span_id, &*trace.parent_id),
        (&2u64.to_be_bytes()[..], &3u64.to_be_bytes()[..])
    );
    assert!(trace.shared);
    assert!(read.records[1].trace.is_none());
}

#[test]
fn aggregates_and_decisions_read_back() {
    let labels: [Box<str>; 12] = std::array::from_fn(|at| format!("l{at}").into());
    let row = AggregateRow {
        labels: &labels,
        requests: 3,
        duration_ms: (&[0, 3, 0], 4.5),
        request_bytes: (&[0, 0], 0.0),
        response_bytes: (&[1, 0, 2], 700.0),
    };
    let decision = DecisionRow {
        destination: "shop",
        policy: "p",
        rule: "l3",
        verdict: Verdict::Deny,
        because: Because::Otherwise,
        cached: true,
        shadow: false,
        failure: "",
        count: 2,
    };
    let bytes = report_request(
        "c",
        1,
        0,
        RecordBatch::default(),
        std::iter::once(row),
        std::iter::once(decision),
    );
    let read = v1::ReportRequest::decode(bytes).unwrap();
    let aggregate = &read.aggregates[0];
    assert_eq!(aggregate.labels, (0..12).collect::<Vec<_>>());
    assert_eq!(aggregate.requests, 3);
    assert_eq!(
        aggregate.duration_ms,
        Some(v1::Histogram {
            buckets: vec![0, 3],
            sum: 4.5
        })
    );
    assert_eq!(aggregate.request_bytes, None);
    assert_eq!(
        aggregate.response_bytes,
        Some(v1::Histogram {
            buckets: vec![1, 0, 2],
            sum: 700.0
        })
    );
    let count = &read.decisions[0];
    let text = |at: u32| &*read.strings[at as usize];
    assert_eq!(
        (
            text(count.destination),
            text(count.policy),
            text(count.rule)
        ),
        ("shop", "p", "l3")
    );
    assert_eq!(
        (count.verdict, count.because),
        (v1::Verdict::Deny.into(), v1::Because::Otherwise.into())
    );
    assert_eq!(
        (count.cached, count.shadow, count.count, text(count.failure)),
        (true, false, 2, "")
    );
}
