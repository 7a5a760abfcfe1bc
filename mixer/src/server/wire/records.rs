//! Records of a Report: attributes whose strings are indices into the batch's table.

use std::borrow::Cow;

use mixer_attributes::{AttributeBag, Dynamic, Entry, StringMap, Value, Vocabulary};
use mixer_proto::v1;
use mixer_proto::v1::record_attribute::Value as Wire;

use super::{Malformed, Problem, duration, ip, known, set, shown, timestamp, tree};

/// The string table of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strings<'m>(pub(crate) &'m [String]);

/// What the values of a record's bag refer to and the message does not hold itself.
#[derive(Debug)]
pub(crate) struct RecordArena<'m> {
    strings: Strings<'m>,
    attributes: &'m [v1::RecordAttribute],
    maps: Vec<IndexedMap<'m>>,
    lists: Vec<Vec<String>>,
    trees: Vec<Dynamic>,
}

/// Keys sorted, each once; every index was checked.
#[derive(Clone, Copy, Debug)]
struct IndexedMap<'m> {
    strings: Strings<'m>,
    map: &'m v1::IndexMap,
}

impl<'m> Strings<'m> {
    /// The string at `index`; `problem` of the field otherwise.
    pub(crate) fn text(self, index: u32) -> Result<&'m str, Problem> {
        match self.0.get(index as usize) {
            Some(text) => Ok(text),
            None => Err(format!(
                "index {index} is beyond the {} strings of the batch",
                self.0.len()
            )
            .into()),
        }
    }

    /// The string at an index that was checked.
    pub(super) fn held(self, index: u32) -> &'m str {
        &self.0[index as usize]
    }
}

impl<'m> RecordArena<'m> {
    /// Checks the maps, lists and JSON texts of `record`. `field` names it in errors.
    pub(crate) fn new(
        field: &str,
        strings: Strings<'m>,
        record: &'m v1::Record,
    ) -> Result<Self, Malformed> {
        let attributes = record.attributes.as_slice();
        let mut arena = Self {
            strings,
            attributes,
            maps: Vec::new(),
            lists: Vec::new(),
            trees: Vec::new(),
        };
        for (at, attribute) in attributes.iter().enumerate() {
            arena
                .hold(attribute)
                .map_err(|problem| blame(field, strings, at, attribute, problem))?;
        }
        Ok(arena)
    }

    fn hold(&mut self, attribute: &'m v1::RecordAttribute) -> Result<(), Problem> {
        match &attribute.value {
            Some(Wire::Map(map)) => self.maps.push(IndexedMap::new(self.strings, map)?),
            Some(Wire::List(list)) => {
                let items: Result<Vec<String>, Problem> = list
                    .values
                    .iter()
                    .map(|index| self.strings.text(*index).map(str::to_owned))
                    .collect();
                self.lists.push(items?);
            }
            Some(Wire::Json(index)) => self.trees.push(tree(self.strings.text(*index)?)?),
            _ => {}
        }
        Ok(())
    }

    /// The bag that these attributes fill, each of its declared type and given once.
    pub(crate) fn bag<'a>(
        &'a self,
        field: &str,
        vocabulary: &Vocabulary,
    ) -> Result<AttributeBag<'a>, Malformed> {
        let (mut maps, mut lists, mut trees) =
            (self.maps.iter(), self.lists.iter(), self.trees.iter());
        let mut bag = AttributeBag::new();
        for (at, attribute) in self.attributes.iter().enumerate() {
            let mut fill = || -> Result<(), Problem> {
                let name = if attribute.id == 0 {
                    self.strings.text(attribute.name)?
                } else {
                    ""
                };
                let declared = known(attribute.id, name, vocabulary)?;
                let Some(value) = &attribute.value else {
                    return if declared.is_some() {
                        Err("has no value".into())
                    } else {
                        Ok(())
                    };
                };
                let value = match value {
                    Wire::String(index) => Value::String(self.strings.text(*index)?),
                    Wire::Int(number) => Value::Int(*number),
                    Wire::Double(number) => Value::Double(*number),
                    Wire::Bool(bit) => Value::Bool(*bit),
                    Wire::Bytes(bytes) => Value::Bytes(bytes),
                    Wire::Timestamp(time) => Value::Timestamp(timestamp(*time)?),
                    Wire::Duration(time) => Value::Duration(duration(*time)?),
                    Wire::Ip(bytes) => Value::Ip(ip(bytes)?),
                    Wire::List(_) => {
                        Value::List(lists.next().expect("one for each list of the record"))
                    }
                    Wire::Map(_) => {
                        Value::Map(maps.next().expect("one for each map of the record"))
                    }
                    Wire::Json(_) => {
                        Value::Dynamic(trees.next().expect("one for each JSON text of the record"))
                    }
                };
                declared.map_or(Ok(()), |declared| set(&mut bag, declared, value))
            };
            fill().map_err(|problem| blame(field, self.strings, at, attribute, problem))?;
        }
        Ok(bag)
    }
}

/// Trace, span and parent id of a record that wants a span.
pub(crate) fn trace(field: &str, trace: &v1::Trace) -> Result<(u128, u64, Option<u64>), Malformed> {
    let eight = |name: &str, bytes: &[u8]| {
        <[u8; 8]>::try_from(bytes)
            .map(u64::from_be_bytes)
            .ok()
            .filter(|id| *id != 0)
            .ok_or_else(|| {
                Malformed::new(format!("{field}.{name}"), "must be 8 bytes, not all zero")
            })
    };
    let trace_id = <[u8; 16]>::try_from(trace.trace_id.as_slice())
        .map(u128::from_be_bytes)
        .ok()
        .filter(|id| *id != 0)
        .ok_or_else(|| {
            Malformed::new(
                format!("{field}.trace_id"),
                "must be 16 bytes, not all zero",
            )
        })?;
    let span_id = eight("span_id", &trace.span_id)?;
    let parent_id = match trace.parent_id.as_slice() {
        [] => None,
        bytes => Some(eight("parent_id", bytes)?),
    };
    Ok((trace_id, span_id, parent_id))
}

fn blame(
    field: &str,
    strings: Strings<'_>,
    at: usize,
    attribute: &v1::RecordAttribute,
    problem: Problem,
) -> Malformed {
    let name = if attribute.id == 0 {
        strings.text(attribute.name).unwrap_or_default()
    } else {
        ""
    };
    Malformed::new(
        format!("{field}.attributes[{at}] ({})", shown(attribute.id, name)),
        problem,
    )
}

impl<'m> IndexedMap<'m> {
    fn new(strings: Strings<'m>, map: &'m v1::IndexMap) -> Result<Self, Problem> {
        if map.keys.len() != map.values.len() {
            return Err(format!("{} keys and {} values", map.keys.len(), map.values.len()).into());
        }
        for index in map.keys.iter().chain(&map.values) {
            strings.text(*index)?;
        }
        if map
            .ambiguous
            .last()
            .is_some_and(|position| *position as usize >= map.keys.len())
            || map.ambiguous.windows(2).any(|pair| pair[0] >= pair[1])
        {
            return Err(format!(
                "ambiguous must be rising positions of the {} keys",
                map.keys.len()
            )
            .into());
        }
        match map
            .keys
            .windows(2)
            .position(|pair| strings.held(pair[0]) >= strings.held(pair[1]))
        {
            None => Ok(Self { strings, map }),
            Some(at) => {
                let key = strings.held(map.keys[at + 1]);
                Err(format!("keys[{}] is out of order or given twice: {key:?}", at + 1).into())
            }
        }
    }

    fn entry(&self, at: usize) -> Entry<'m> {
        match self
            .map
            .ambiguous
            .binary_search_by(|position| (*position as usize).cmp(&at))
        {
            Ok(_) => Entry::Ambiguous,
            Err(_) => Entry::Value(Cow::Borrowed(self.strings.held(self.map.values[at]))),
        }
    }
}

impl StringMap for IndexedMap<'_> {
    fn lookup(&self, key: &str) -> Entry<'_> {
        let found = self
            .map
            .keys
            .binary_search_by(|index| self.strings.held(*index).cmp(key));
        found.map_or(Entry::Absent, |at| self.entry(at))
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)> {
        let keys = self.map.keys.iter().enumerate();
        keys.map(|(at, index)| (Cow::Borrowed(self.strings.held(*index)), self.entry(at)))
            .collect()
    }
}
