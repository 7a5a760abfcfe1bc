//! The attributes of a Check: read where prost put them.

use std::borrow::Cow;

use mixer_attributes::{AttributeBag, Dynamic, Entry, StringMap, Value, Vocabulary};
use mixer_proto::v1;
use mixer_proto::v1::attribute::Value as Wire;

use super::{Malformed, Problem, duration, ip, known, set, shown, timestamp, tree};

/// What the values of a bag refer to and the message does not hold itself: a view of each map, and each JSON text as a tree.
#[derive(Debug)]
pub(crate) struct Arena<'m> {
    attributes: &'m [v1::Attribute],
    maps: Vec<WireMap<'m>>,
    trees: Vec<Dynamic>,
}

/// Entries sorted by key, each key once.
#[derive(Clone, Copy, Debug)]
struct WireMap<'m>(&'m [v1::StringMapEntry]);

impl<'m> Arena<'m> {
    /// Checks the maps and JSON texts of `attributes`. `field` names the list in errors.
    pub(crate) fn new(field: &str, attributes: &'m [v1::Attribute]) -> Result<Self, Malformed> {
        let mut arena = Self {
            attributes,
            maps: Vec::with_capacity(4),
            trees: Vec::new(),
        };
        for (at, attribute) in attributes.iter().enumerate() {
            let held = match &attribute.value {
                Some(Wire::Map(map)) => WireMap::new(&map.entries).map(|map| arena.maps.push(map)),
                Some(Wire::Json(text)) => tree(text).map(|tree| arena.trees.push(tree)),
                _ => Ok(()),
            };
            held.map_err(|problem| blame(field, at, attribute, problem))?;
        }
        Ok(arena)
    }

    /// The bag that these attributes fill, each of its declared type and given once.
    pub(crate) fn bag<'a>(
        &'a self,
        field: &str,
        vocabulary: &Vocabulary,
    ) -> Result<AttributeBag<'a>, Malformed> {
        let (mut maps, mut trees) = (self.maps.iter(), self.trees.iter());
        let mut bag = AttributeBag::new();
        for (at, attribute) in self.attributes.iter().enumerate() {
            let mut fill = || -> Result<(), Problem> {
                let declared = known(attribute.id, &attribute.name, vocabulary)?;
                let Some(value) = &attribute.value else {
                    return if declared.is_some() {
                        Err("has no value".into())
                    } else {
                        Ok(())
                    };
                };
                let value = match value {
                    Wire::String(text) => Value::String(text),
                    Wire::Int(number) => Value::Int(*number),
                    Wire::Double(number) => Value::Double(*number),
                    Wire::Bool(bit) => Value::Bool(*bit),
                    Wire::Bytes(bytes) => Value::Bytes(bytes),
                    Wire::Timestamp(time) => Value::Timestamp(timestamp(*time)?),
                    Wire::Duration(time) => Value::Duration(duration(*time)?),
                    Wire::Ip(bytes) => Value::Ip(ip(bytes)?),
                    Wire::List(list) => Value::List(&list.values),
                    Wire::Map(_) => {
                        Value::Map(maps.next().expect("one for each map of the message"))
                    }
                    Wire::Json(_) => {
                        Value::Dynamic(trees.next().expect("one for each JSON text of the message"))
                    }
                };
                declared.map_or(Ok(()), |declared| set(&mut bag, declared, value))
            };
            fill().map_err(|problem| blame(field, at, attribute, problem))?;
        }
        Ok(bag)
    }
}

fn blame(field: &str, at: usize, attribute: &v1::Attribute, problem: Problem) -> Malformed {
    Malformed::new(
        format!("{field}[{at}] ({})", shown(attribute.id, &attribute.name)),
        problem,
    )
}

impl<'m> WireMap<'m> {
    fn new(entries: &'m [v1::StringMapEntry]) -> Result<Self, Problem> {
        match entries
            .windows(2)
            .position(|pair| pair[0].key >= pair[1].key)
        {
            None => Ok(Self(entries)),
            Some(at) => Err(format!(
                "entries[{}] is out of order or a key given twice: {:?}",
                at + 1,
                entries[at + 1].key
            )
            .into()),
        }
    }
}

fn entry(held: &v1::StringMapEntry) -> Entry<'_> {
    match held.ambiguous {
        true => Entry::Ambiguous,
        false => Entry::Value(Cow::Borrowed(&held.value)),
    }
}

impl StringMap for WireMap<'_> {
    fn lookup(&self, key: &str) -> Entry<'_> {
        self.0
            .binary_search_by(|held| held.key.as_str().cmp(key))
            .map_or(Entry::Absent, |at| entry(&self.0[at]))
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)> {
        self.0
            .iter()
            .map(|held| (Cow::Borrowed(held.key.as_str()), entry(held)))
            .collect()
    }
}
