//! Reports as Mixer reads them: records and aggregates whose strings are indices into one table per batch.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use hashbrown::HashTable;
use mixer_attributes::{AttributeBag, Entry, Value, standard};
use mixer_proto::v1;

use super::WireError;
use super::attributes::{attributes, built_in, write_ip, write_json, write_time};
use super::protobuf::Writer;
use crate::{At, Because, TraceContext, Verdict};

/// Records on their way into one ReportRequest, with the strings they name.
#[derive(Debug, Default)]
pub(crate) struct RecordBatch {
    strings: Strings,
    records: Writer,
    count: usize,
}

/// Increments of one series of the standard metrics.
#[derive(Debug)]
pub(crate) struct AggregateRow<'a> {
    pub(crate) labels: &'a [Box<str>; standard::LABELS.len()],
    pub(crate) requests: u64,
    pub(crate) duration_ms: (&'a [u64], f64),
    pub(crate) request_bytes: (&'a [u64], f64),
    pub(crate) response_bytes: (&'a [u64], f64),
}

/// How often one decision was enforced.
#[derive(Debug)]
pub(crate) struct DecisionRow<'a> {
    pub(crate) destination: &'a str,
    pub(crate) policy: &'a str,
    pub(crate) rule: &'a str,
    pub(crate) verdict: Verdict,
    pub(crate) because: Because,
    pub(crate) cached: bool,
    pub(crate) shadow: bool,
    pub(crate) failure: &'a str,
    pub(crate) count: u64,
}

impl RecordBatch {
    /// Records in it.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// About how many bytes its message will have.
    pub(crate) fn bytes(&self) -> usize {
        self.records.len() + self.strings.bytes()
    }

    /// Adds a record of what `bag` holds.
    pub(crate) fn push(
        &mut self,
        at: At,
        bag: &AttributeBag<'_>,
        trace: Option<TraceContext>,
    ) -> Result<(), WireError> {
        let Self {
            strings,
            records,
            count,
        } = self;
        for (id, _) in bag.iter() {
            built_in(id)?;
        }
        records.message(4, |record| {
            for (id, value) in attributes(at, bag) {
                record.message(1, |attribute| {
                    attribute.uint(1, u64::from(id.number()));
                    write(attribute, strings, value);
                });
            }
            if let Some(trace) = trace {
                record.message(2, |written| write_trace(written, trace));
            }
        });
        *count += 1;
        Ok(())
    }
}

/// A ReportRequest of all these.
pub(crate) fn report_request<'a>(
    client: &str,
    sequence: u64,
    dropped: u64,
    records: RecordBatch,
    aggregates: impl Iterator<Item = AggregateRow<'a>>,
    decisions: impl Iterator<Item = DecisionRow<'a>>,
) -> Bytes {
    let RecordBatch {
        mut strings,
        records,
        ..
    } = records;
    let mut rows = Writer::default();
    for row in aggregates {
        rows.message(5, |aggregate| {
            aggregate.message(1, |labels| {
                row.labels
                    .iter()
                    .for_each(|label| labels.varint(strings.index(label)))
            });
            aggregate.uint(2, row.requests);
            write_histogram(aggregate, 3, row.duration_ms);
            write_histogram(aggregate, 4, row.request_bytes);
            write_histogram(aggregate, 5, row.response_bytes);
        });
    }
    for row in decisions {
        rows.message(7, |decision| {
            decision.uint(1, strings.index(row.destination));
            decision.uint(2, strings.index(row.policy));
            decision.uint(3, strings.index(row.rule));
            decision.uint(4, verdict(row.verdict) as u64);
            decision.uint(5, because(row.because) as u64);
            decision.bool(6, row.cached);
            decision.bool(7, row.shadow);
            decision.uint(8, row.count);
            decision.uint(9, strings.index(row.failure));
        });
    }
    let mut writer = Writer::with_capacity(records.len() + rows.len() + strings.bytes() + 64);
    writer.string(1, client);
    writer.uint(2, sequence);
    strings.each(|text| writer.string(3, text));
    writer.raw(records.as_slice());
    writer.raw(rows.as_slice());
    writer.uint(6, dropped);
    writer.finish()
}

fn write(attribute: &mut Writer, strings: &mut Strings, value: Value<'_>) {
    match value {
        Value::String(text) => attribute.uint(3, strings.index(text)),
        Value::Int(number) => attribute.sint(4, number),
        Value::Double(number) => attribute.double(5, number),
        Value::Bool(bit) => attribute.bool(6, bit),
        Value::Bytes(bytes) => attribute.bytes(7, bytes),
        Value::Timestamp(time) => attribute.message(8, |w| write_time(w, time.seconds, time.nanos)),
        Value::Duration(span) => attribute.message(9, |w| write_time(w, span.seconds, span.nanos)),
        Value::Ip(address) => write_ip(attribute, 10, address),
        Value::List(items) => attribute.message(11, |list| {
            list.message(1, |indices| {
                items
                    .iter()
                    .for_each(|item| indices.varint(strings.index(item)))
            });
        }),
        Value::Map(map) => attribute.message(12, |written| {
            let entries = map.entries();
            written.message(1, |keys| {
                entries
                    .iter()
                    .for_each(|(key, _)| keys.varint(strings.index(key)))
            });
            written.message(2, |values| {
                for (_, entry) in &entries {
                    values.varint(match entry {
                        Entry::Value(value) => strings.index(value),
                        Entry::Ambiguous | Entry::Absent => strings.index(""),
                    });
                }
            });
            if entries.iter().any(|(_, entry)| *entry == Entry::Ambiguous) {
                written.message(3, |positions| {
                    let twice = entries
                        .iter()
                        .enumerate()
                        .filter(|(_, (_, entry))| *entry == Entry::Ambiguous);
                    twice.for_each(|(at, _)| positions.varint(at as u64));
                });
            }
        }),
        Value::Dynamic(tree) => {
            let mut json = Writer::default();
            write_json(&mut json, tree);
            let text = std::str::from_utf8(json.as_slice()).expect("JSON of UTF-8 text is UTF-8");
            attribute.uint(13, strings.index(text));
        }
    }
}

fn write_trace(written: &mut Writer, trace: TraceContext) {
    written.bytes(1, &trace.trace_id.to_be_bytes());
    written.bytes(2, &trace.span_id.to_be_bytes());
    if let Some(parent) = trace.parent_id {
        written.bytes(3, &parent.to_be_bytes());
    }
    written.bool(4, trace.shared);
}

fn write_histogram(aggregate: &mut Writer, field: u32, (buckets, sum): (&[u64], f64)) {
    let used = buckets
        .iter()
        .rposition(|count| *count > 0)
        .map_or(0, |last| last + 1);
    if used > 0 {
        aggregate.message(field, |histogram| {
            histogram.message(1, |counts| {
                buckets[..used]
                    .iter()
                    .for_each(|count| counts.varint(*count))
            });
            histogram.double(2, sum);
        });
    }
}

fn verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Allow => v1::Verdict::Allow,
        Verdict::Deny => v1::Verdict::Deny,
    }
}

fn because(because: Because) -> v1::Because {
    match because {
        Because::Matched => v1::Because::Matched,
        Because::Undetermined => v1::Because::Undetermined,
        Because::Otherwise => v1::Because::Otherwise,
        Because::Default => v1::Because::Default,
        Because::Quota => v1::Because::Quota,
        Because::Unavailable => v1::Because::Unavailable,
        Because::Nothing => v1::Because::Unspecified,
    }
}

/// Each string once, in the order they came, in one piece of memory.
#[derive(Debug, Default)]
struct Strings {
    text: String,
    ends: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
}

impl Strings {
    fn index(&mut self, text: &str) -> u64 {
        let Self {
            text: held,
            ends,
            index,
            hasher,
        } = self;
        let hash = hasher.hash_one(text);
        if let Some(at) = index.find(hash, |at| string(held, ends, *at) == text) {
            return u64::from(*at);
        }
        // Batches are closed long before 4 GiB, so positions fit 32 bits.
        let at = ends.len() as u32;
        held.push_str(text);
        ends.push(held.len() as u32);
        index.insert_unique(hash, at, |at| hasher.hash_one(string(held, ends, *at)));
        u64::from(at)
    }

    fn bytes(&self) -> usize {
        self.text.len() + 3 * self.ends.len()
    }

    fn each(&self, mut visit: impl FnMut(&str)) {
        (0..self.ends.len() as u32).for_each(|at| visit(string(&self.text, &self.ends, at)));
    }
}

fn string<'a>(text: &'a str, ends: &[u32], at: u32) -> &'a str {
    let at = at as usize;
    let start = if at == 0 { 0 } else { ends[at - 1] as usize };
    &text[start..ends[at] as usize]
}

#[cfg(test)]
mod tests {
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
}
