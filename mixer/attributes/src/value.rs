//! One attribute's value, borrowed from the request it describes.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::{Duration, Timestamp, Type};

/// The value of one attribute. Copying it copies a reference.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// UTF-8 text.
    String(&'a str),
    /// A signed 64-bit integer.
    Int(i64),
    /// An IEEE 754 double.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// A point in time.
    Timestamp(Timestamp),
    /// A span of time.
    Duration(Duration),
    /// An IPv4 or IPv6 address. IPv4-mapped IPv6 addresses are held as IPv4.
    Ip(IpAddr),
    /// A list of strings.
    List(&'a [String]),
    /// A map of strings, looked up where it lies: a request's headers are never copied to be asked about.
    Map(&'a (dyn StringMap + Sync + 'a)),
    /// A JSON-like tree; only `auth.claims` is one.
    Dynamic(&'a Dynamic),
}

/// What looking a key up in a [`StringMap`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// The map has no such key.
    Absent,
    /// The request gave the name more than once where once is meant (query, cookies): reading it is an error.
    Ambiguous,
    /// The value; owned only where it had to be joined from several.
    Value(Cow<'a, str>),
}

/// A map of strings as a request carries it: looked up by key, seldom walked.
///
/// ```
/// use std::collections::BTreeMap;
/// use mixer_attributes::{Entry, StringMap};
/// let headers = BTreeMap::from([("x-tester".to_owned(), "yes".to_owned())]);
/// assert_eq!(headers.lookup("x-tester"), Entry::Value("yes".into()));
/// assert_eq!(headers.lookup("x-other"), Entry::Absent);
/// ```
pub trait StringMap {
    /// The value at `key`. Keys are compared byte by byte; header names are lower case on both sides.
    fn lookup(&self, key: &str) -> Entry<'_>;

    /// Every key once, sorted bytewise, with what [`StringMap::lookup`] gives for it.
    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)>;
}

impl StringMap for std::collections::BTreeMap<String, String> {
    fn lookup(&self, key: &str) -> Entry<'_> {
        self.get(key)
            .map_or(Entry::Absent, |value| Entry::Value(Cow::Borrowed(value)))
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)> {
        self.iter()
            .map(|(key, value)| (Cow::Borrowed(&**key), Entry::Value(Cow::Borrowed(&**value))))
            .collect()
    }
}

/// A JSON-like value, for token claims whose shape nobody declares.
#[derive(Clone, Debug, PartialEq)]
pub enum Dynamic {
    /// JSON null.
    Null,
    /// true or false.
    Bool(bool),
    /// A number without fraction or exponent that fits 64 bits.
    Int(i64),
    /// Any other number.
    Double(f64),
    /// Text.
    String(String),
    /// An array.
    List(Vec<Dynamic>),
    /// An object; sorted by key, each key once.
    Map(Vec<(String, Dynamic)>),
}

impl Dynamic {
    /// The member `key` of an object; `None` for other values and for keys it has not.
    pub fn member(&self, key: &str) -> Option<&Dynamic> {
        let Dynamic::Map(members) = self else {
            return None;
        };
        members
            .binary_search_by(|(name, _)| name.as_str().cmp(key))
            .ok()
            .map(|at| &members[at].1)
    }
}

impl Value<'_> {
    /// The declared type this value has.
    pub fn kind(&self) -> Type {
        match self {
            Value::String(_) => Type::String,
            Value::Int(_) => Type::Int,
            Value::Double(_) => Type::Double,
            Value::Bool(_) => Type::Bool,
            Value::Bytes(_) => Type::Bytes,
            Value::Timestamp(_) => Type::Timestamp,
            Value::Duration(_) => Type::Duration,
            Value::Ip(_) => Type::Ip,
            Value::List(_) => Type::List,
            Value::Map(_) => Type::Map,
            Value::Dynamic(_) => Type::Dynamic,
        }
    }
}

/// Equal as a policy would see it: maps by their entries, doubles by bits (so that a cache key equals itself).
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::Ip(a), Value::Ip(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a.entries() == b.entries(),
            (Value::Dynamic(a), Value::Dynamic(b)) => a == b,
            _ => false,
        }
    }
}

/// As an operator reads it in `explain`: strings quoted, maps and lists spelled out.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(text) => write!(f, "{text:?}"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Double(number) => write!(f, "{number:?}"),
            Value::Bool(bit) => write!(f, "{bit}"),
            Value::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            Value::Timestamp(time) => write!(f, "timestamp({}.{:09})", time.seconds, time.nanos),
            Value::Duration(span) => write!(f, "{span}"),
            Value::Ip(address) => write!(f, "{address}"),
            Value::List(items) => write!(f, "{items:?}"),
            Value::Map(map) => {
                let entries = map.entries();
                let mut shown = f.debug_map();
                for (key, entry) in &entries {
                    match entry {
                        Entry::Value(value) => shown.entry(key, value),
                        Entry::Ambiguous => shown.entry(key, &format_args!("(given twice)")),
                        Entry::Absent => &mut shown,
                    };
                }
                shown.finish()
            }
            Value::Dynamic(tree) => write!(f, "{tree:?}"),
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
