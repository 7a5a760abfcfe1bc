//! Values in evaluation.
//!
//! A value is borrowed from the request or from the compiled expression wherever it was not built; copying one copies a
//! reference. Lists and maps of the request are read where they lie.

mod convert;
mod list;
mod literal;
mod map;
mod text;

use std::net::IpAddr;
use std::sync::Arc;

use mixer_attributes::{Duration, Dynamic, Timestamp, Value};

use crate::EvalError;
use crate::budget::Budget;

pub use list::List;
pub(crate) use map::Looked;
pub use map::Map;
pub use text::{Blob, Text};

/// A value of an evaluation; borrowed from the request or the expression where it was not built.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    /// null
    Null,
    /// true or false
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// An IEEE 754 double.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Raw bytes.
    Bytes(Blob<'a>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A span of time.
    Duration(Duration),
    /// An address.
    Ip(IpAddr),
    /// A network: an address and the number of leading bits that count.
    Cidr(IpAddr, u8),
    /// A type, by its name in CEL.
    Type(&'static str),
    /// A list.
    List(List<'a>),
    /// A map.
    Map(Map<'a>),
    /// A value that may be missing.
    Optional(Option<Arc<Val<'a>>>),
}

impl<'a> Val<'a> {
    /// Borrowed text.
    pub fn text(text: &'a str) -> Self {
        Val::String(Text::Borrowed(text))
    }

    /// The name of its type in CEL.
    pub fn type_name(&self) -> &'static str {
        match self {
            Val::Null => "null_type",
            Val::Bool(_) => "bool",
            Val::Int(_) => "int",
            Val::Uint(_) => "uint",
            Val::Double(_) => "double",
            Val::String(_) => "string",
            Val::Bytes(_) => "bytes",
            Val::Timestamp(_) => "google.protobuf.Timestamp",
            Val::Duration(_) => "google.protobuf.Duration",
            Val::Ip(_) => "net.IP",
            Val::Cidr(..) => "net.CIDR",
            Val::Type(_) => "type",
            Val::List(_) => "list",
            Val::Map(_) => "map",
            Val::Optional(_) => "optional_type",
        }
    }

    /// As text, when it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Val::String(text) => Some(text),
            _ => None,
        }
    }

    /// As a truth, when it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Val::Bool(bit) => Some(*bit),
            _ => None,
        }
    }

    /// The same, with its text borrowed.
    pub(crate) fn borrowed(&'a self) -> Val<'a> {
        match self {
            Val::String(text) => Val::text(text),
            other => other.clone(),
        }
    }

    /// For errors: enough of it to know it by.
    pub(crate) fn shown(&self) -> String {
        match self {
            Val::String(text) => match text.char_indices().nth(64) {
                Some((end, _)) => format!("{}..", &text[..end]),
                None => (**text).to_owned(),
            },
            Val::Bool(_) | Val::Int(_) | Val::Uint(_) | Val::Double(_) => self.to_text(),
            other => format!("a {}", other.type_name()),
        }
    }

    /// Takes what writing out all it holds would.
    pub(crate) fn written_out(&self, budget: &mut Budget) -> Result<(), EvalError> {
        match self {
            Val::String(text) => budget.build(text.len()),
            Val::Bytes(bytes) => budget.build(bytes.len()),
            Val::Optional(Some(value)) => value.written_out(budget),
            Val::List(list) => {
                budget.step(list.len())?;
                list.iter().try_for_each(|item| item.written_out(budget))
            }
            Val::Map(map) => map.looked().into_iter().try_for_each(|(key, looked)| {
                budget.step(1)?;
                key.written_out(budget)?;
                match looked {
                    Looked::Found(value) => value.written_out(budget),
                    Looked::Absent | Looked::Ambiguous => Ok(()),
                }
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn some(value: Val<'a>) -> Self {
        Val::Optional(Some(Arc::new(value)))
    }
}

impl<'a> From<Value<'a>> for Val<'a> {
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::String(text) => Val::text(text),
            Value::Int(number) => Val::Int(number),
            Value::Double(number) => Val::Double(number),
            Value::Bool(bit) => Val::Bool(bit),
            Value::Bytes(bytes) => Val::Bytes(Blob::Borrowed(bytes)),
            Value::Timestamp(time) => Val::Timestamp(time),
            Value::Duration(span) => Val::Duration(span),
            Value::Ip(address) => Val::Ip(address),
            Value::List(items) => Val::List(List::strings(items)),
            Value::Map(map) => Val::Map(Map::strings(map)),
            Value::Dynamic(tree) => Val::from(tree),
        }
    }
}

impl<'a> From<&'a Dynamic> for Val<'a> {
    fn from(tree: &'a Dynamic) -> Self {
        match tree {
            Dynamic::Null => Val::Null,
            Dynamic::Bool(bit) => Val::Bool(*bit),
            Dynamic::Int(number) => Val::Int(*number),
            Dynamic::Double(number) => Val::Double(*number),
            Dynamic::String(text) => Val::text(text),
            Dynamic::List(items) => Val::List(List::dynamic(items)),
            Dynamic::Map(members) => Val::Map(Map::dynamic(members)),
        }
    }
}

impl<'a> From<&'a str> for Val<'a> {
    fn from(text: &'a str) -> Self {
        Val::text(text)
    }
}

impl From<String> for Val<'_> {
    fn from(text: String) -> Self {
        Val::String(Text::from(text))
    }
}
