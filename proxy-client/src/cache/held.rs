//! Values of a request as found in it and as held beside an answer.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use mixer_attributes::{Dynamic, Entry, OwnedValue, Value};

/// What a request has at a reference. An unset map and a set one without the key are two things: `"x" in request.headers`
/// is an error on the first and false on the second.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Unset,
    NoKey,
    Ambiguous,
    Text(Cow<'a, str>),
    /// A member of a tree.
    Tree(&'a Dynamic),
    /// A whole attribute that is no string.
    Other(Value<'a>),
}

/// The same, owned.
#[derive(Debug, PartialEq)]
pub(super) enum Held {
    Unset,
    NoKey,
    Ambiguous,
    Text(Box<str>),
    Tree(Dynamic),
    Map(Box<[HeldEntry]>),
    Other(OwnedValue),
}

/// A key of a map and its value; `None` for a key given twice.
type HeldEntry = (Box<str>, Option<Box<str>>);

impl Found<'_> {
    /// Whether the request has it, be it twice.
    pub(super) fn is_present(&self) -> bool {
        !matches!(self, Found::Unset | Found::NoKey)
    }

    /// Whether it is what is held.
    #[inline]
    pub(super) fn is(&self, held: &Held) -> bool {
        match (self, held) {
            (Found::Unset, Held::Unset)
            | (Found::NoKey, Held::NoKey)
            | (Found::Ambiguous, Held::Ambiguous) => true,
            (Found::Text(found), Held::Text(held)) => **found == **held,
            (Found::Tree(found), Held::Tree(held)) => same_tree(found, held),
            (Found::Other(Value::Map(found)), Held::Map(held)) => {
                let found = found.entries();
                found.len() == held.len()
                    && found
                        .iter()
                        .zip(held)
                        .all(|((key, entry), (held_key, held_value))| {
                            **key == **held_key && text(entry) == held_value.as_deref()
                        })
            }
            (Found::Other(Value::Dynamic(found)), Held::Tree(held)) => same_tree(found, held),
            (Found::Other(found), Held::Other(held)) => *found == held.borrow(),
            _ => false,
        }
    }

    /// A copy to hold.
    pub(super) fn hold(&self) -> Held {
        match self {
            Found::Unset => Held::Unset,
            Found::NoKey => Held::NoKey,
            Found::Ambiguous => Held::Ambiguous,
            Found::Text(text) => Held::Text((**text).into()),
            Found::Tree(tree) | Found::Other(Value::Dynamic(tree)) => Held::Tree((*tree).clone()),
            Found::Other(Value::Map(map)) => {
                let entries = map.entries();
                Held::Map(
                    entries
                        .iter()
                        .map(|(key, entry)| ((**key).into(), text(entry).map(Into::into)))
                        .collect(),
                )
            }
            Found::Other(Value::String(text)) => Held::Text((*text).into()),
            Found::Other(Value::Int(number)) => Held::Other(OwnedValue::Int(*number)),
            Found::Other(Value::Double(number)) => Held::Other(OwnedValue::Double(*number)),
            Found::Other(Value::Bool(bit)) => Held::Other(OwnedValue::Bool(*bit)),
            Found::Other(Value::Bytes(bytes)) => Held::Other(OwnedValue::Bytes(bytes.to_vec())),
            Found::Other(Value::Timestamp(time)) => Held::Other(OwnedValue::Timestamp(*time)),
            Found::Other(Value::Duration(span)) => Held::Other(OwnedValue::Duration(*span)),
            Found::Other(Value::Ip(address)) => Held::Other(OwnedValue::Ip(*address)),
            Found::Other(Value::List(items)) => Held::Other(OwnedValue::List(items.to_vec())),
        }
    }
}

impl Hash for Found<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Found::Unset => state.write_u8(0),
            Found::NoKey => state.write_u8(1),
            Found::Ambiguous => state.write_u8(2),
            Found::Text(text) => hash_text(text, state),
            Found::Tree(tree) => hash_tree(tree, state),
            Found::Other(value) => hash_value(value, state),
        }
    }
}

impl Held {
    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Held::Unset | Held::NoKey | Held::Ambiguous => 0,
                Held::Text(text) => text.len(),
                Held::Tree(tree) => tree_bytes(tree),
                Held::Map(entries) => entries
                    .iter()
                    .map(|(key, value)| {
                        32 + key.len() + value.as_ref().map_or(0, |text| text.len())
                    })
                    .sum(),
                Held::Other(OwnedValue::Bytes(bytes)) => bytes.len(),
                Held::Other(OwnedValue::List(items)) => {
                    items.iter().map(|item| 24 + item.len()).sum()
                }
                Held::Other(_) => 0,
            }
    }
}

/// `None` for what was given twice; [`mixer_attributes::StringMap::entries`] lists nothing that is absent.
fn text<'a>(entry: &'a Entry<'_>) -> Option<&'a str> {
    match entry {
        Entry::Value(text) => Some(text),
        Entry::Ambiguous | Entry::Absent => None,
    }
}

fn hash_text<H: Hasher>(text: &str, state: &mut H) {
    state.write_u8(3);
    text.hash(state);
}

fn hash_value<H: Hasher>(value: &Value<'_>, state: &mut H) {
    match value {
        Value::String(text) => hash_text(text, state),
        Value::Int(number) => state.write_i64(*number),
        Value::Double(number) => state.write_u64(number.to_bits()),
        Value::Bool(bit) => state.write_u8(4 + u8::from(*bit)),
        Value::Bytes(bytes) => bytes.hash(state),
        Value::Timestamp(time) => time.hash(state),
        Value::Duration(span) => span.hash(state),
        Value::Ip(address) => address.hash(state),
        Value::List(items) => items.hash(state),
        Value::Map(map) => {
            for (key, entry) in map.entries() {
                hash_text(&key, state);
                text(&entry).hash(state);
            }
        }
        Value::Dynamic(tree) => hash_tree(tree, state),
    }
}

fn hash_tree<H: Hasher>(tree: &Dynamic, state: &mut H) {
    match tree {
        Dynamic::Null => state.write_u8(0),
        Dynamic::Bool(bit) => state.write_u8(4 + u8::from(*bit)),
        Dynamic::Int(number) => state.write_i64(*number),
        Dynamic::Double(number) => state.write_u64(number.to_bits()),
        Dynamic::String(text) => hash_text(text, state),
        Dynamic::List(items) => {
            state.write_usize(items.len());
            items.iter().for_each(|item| hash_tree(item, state));
        }
        Dynamic::Map(members) => {
            state.write_usize(members.len());
            for (key, value) in members {
                hash_text(key, state);
                hash_tree(value, state);
            }
        }
    }
}

/// As `==`, but doubles by bits: 0.0 and -0.0 are two values a policy can tell apart (`1.0 / x`).
fn same_tree(one: &Dynamic, other: &Dynamic) -> bool {
    match (one, other) {
        (Dynamic::Double(one), Dynamic::Double(other)) => one.to_bits() == other.to_bits(),
        (Dynamic::List(one), Dynamic::List(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| same_tree(one, other))
        }
        (Dynamic::Map(one), Dynamic::Map(other)) => {
            let mut members = one.iter().zip(other);
            one.len() == other.len()
                && members.all(|((k1, v1), (k2, v2))| k1 == k2 && same_tree(v1, v2))
        }
        _ => one == other,
    }
}

fn tree_bytes(tree: &Dynamic) -> usize {
    size_of::<Dynamic>()
        + match tree {
            Dynamic::String(text) => text.len(),
            Dynamic::List(items) => items.iter().map(tree_bytes).sum(),
            Dynamic::Map(members) => members
                .iter()
                .map(|(key, value)| 24 + key.len() + tree_bytes(value))
                .sum(),
            Dynamic::Null | Dynamic::Bool(_) | Dynamic::Int(_) | Dynamic::Double(_) => 0,
        }
}
