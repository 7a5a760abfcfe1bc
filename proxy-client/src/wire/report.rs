//! Reports as Mixer reads them: records and aggregates whose strings are indices into one table per batch.

#[cfg(test)]
mod tests;

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
