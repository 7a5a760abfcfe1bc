//! Static types of expressions.

use std::fmt;

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
