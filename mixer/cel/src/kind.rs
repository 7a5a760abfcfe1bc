//! Static types of expressions.

use std::fmt;

use mixer_attributes::vocabulary::Type;

/// The type the checker gives an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    Ip,
    Cidr,
    Type,
    Dyn,
    List(Box<Kind>),
    Map(Box<Kind>, Box<Kind>),
    Optional(Box<Kind>),
}

impl Kind {
    /// Whether a value of type `actual` may stand where this type is wanted; what `dyn` is shows in evaluation.
    pub fn admits(&self, actual: &Kind) -> bool {
        match (self, actual) {
            (Kind::Dyn, _) | (_, Kind::Dyn) => true,
            (Kind::List(wanted), Kind::List(actual))
            | (Kind::Optional(wanted), Kind::Optional(actual)) => wanted.admits(actual),
            (Kind::Map(key, value), Kind::Map(actual_key, actual_value)) => {
                key.admits(actual_key) && value.admits(actual_value)
            }
            _ => self == actual,
        }
    }

    /// int, uint or double.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Kind::Int | Kind::Uint | Kind::Double)
    }

    /// Whether values of these types can be equal at all.
    pub(crate) fn comparable(&self, other: &Kind) -> bool {
        match (self, other) {
            (Kind::List(a), Kind::List(b)) | (Kind::Optional(a), Kind::Optional(b)) => {
                a.comparable(b)
            }
            (Kind::Map(a, x), Kind::Map(b, y)) => a.comparable(b) && x.comparable(y),
            (a, b) => a.admits(b) || (a.is_number() && b.is_number()),
        }
    }

    /// The type of something that is of one of two types.
    pub(crate) fn join(self, other: Kind) -> Kind {
        match (self, other) {
            (a, b) if a == b => a,
            (Kind::List(a), Kind::List(b)) => Kind::List(Box::new(a.join(*b))),
            (Kind::Optional(a), Kind::Optional(b)) => Kind::Optional(Box::new(a.join(*b))),
            (Kind::Map(a, x), Kind::Map(b, y)) => {
                Kind::Map(Box::new(a.join(*b)), Box::new(x.join(*y)))
            }
            _ => Kind::Dyn,
        }
    }

    /// The types a value has in evaluation, as [`crate::Val::type_name`] says it; `None` for any.
    pub(crate) fn type_name(&self) -> Option<&'static str> {
        Some(match self {
            Kind::Null => "null_type",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Double => "double",
            Kind::String => "string",
            Kind::Bytes => "bytes",
            Kind::Timestamp => "google.protobuf.Timestamp",
            Kind::Duration => "google.protobuf.Duration",
            Kind::Ip => "net.IP",
            Kind::Cidr => "net.CIDR",
            Kind::Type => "type",
            Kind::List(_) => "list",
            Kind::Map(..) => "map",
            Kind::Optional(_) => "optional_type",
            Kind::Dyn => return None,
        })
    }

    /// With an article, for messages.
    pub(crate) fn a(&self) -> String {
        let name = self.to_string();
        let article = if name.starts_with(['a', 'e', 'i', 'o']) {
            "an"
        } else {
            "a"
        };
        format!("{article} {name}")
    }
}

impl From<Type> for Kind {
    fn from(declared: Type) -> Self {
        let string = || Box::new(Kind::String);
        match declared {
            Type::String => Kind::String,
            Type::Int => Kind::Int,
            Type::Double => Kind::Double,
            Type::Bool => Kind::Bool,
            Type::Bytes => Kind::Bytes,
            Type::Timestamp => Kind::Timestamp,
            Type::Duration => Kind::Duration,
            Type::Ip => Kind::Ip,
            Type::List => Kind::List(string()),
            Type::Map => Kind::Map(string(), string()),
            Type::Dynamic => Kind::Map(string(), Box::new(Kind::Dyn)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Null => f.write_str("null"),
            Kind::Bool => f.write_str("bool"),
            Kind::Int => f.write_str("int"),
            Kind::Uint => f.write_str("uint"),
            Kind::Double => f.write_str("double"),
            Kind::String => f.write_str("string"),
            Kind::Bytes => f.write_str("bytes"),
            Kind::Timestamp => f.write_str("timestamp"),
            Kind::Duration => f.write_str("duration"),
            Kind::Ip => f.write_str("ip"),
            Kind::Cidr => f.write_str("cidr"),
            Kind::Type => f.write_str("type"),
            Kind::Dyn => f.write_str("dyn"),
            Kind::List(item) => write!(f, "list({item})"),
            Kind::Map(key, value) => write!(f, "map({key}, {value})"),
            Kind::Optional(value) => write!(f, "optional({value})"),
        }
    }
}
