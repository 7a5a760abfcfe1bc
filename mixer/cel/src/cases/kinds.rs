//! Types by their names, as `type_env` gives them: `int`, `list(string)`, `map(string, dyn)`, `optional_type(int)`.

use crate::Kind;

/// How deep types may be nested.
const DEPTH: usize = 32;

/// `None` for what is no type here.
pub(super) fn read(name: &str) -> Option<Kind> {
    let (kind, rest) = one(name, DEPTH)?;
    rest.trim().is_empty().then_some(kind)
}

fn one(text: &str, depth: usize) -> Option<(Kind, &str)> {
    let text = text.trim_start();
    let depth = depth.checked_sub(1)?;
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.'))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let boxed = |rest| one(rest, depth).map(|(kind, rest)| (Box::new(kind), rest));
    let close = |rest: &'_ str| rest.trim_start().strip_prefix(')').map(str::len);
    let plain = match name {
        "list" | "optional" | "optional_type" if rest.starts_with('(') => {
            let (inner, rest) = boxed(&rest[1..])?;
            let rest = &rest[rest.len() - close(rest)?..];
            let kind = match name {
                "list" => Kind::List(inner),
                _ => Kind::Optional(inner),
            };
            return Some((kind, rest));
        }
        "map" if rest.starts_with('(') => {
            let (key, rest) = boxed(&rest[1..])?;
            let (value, rest) = boxed(rest.trim_start().strip_prefix(',')?)?;
            let rest = &rest[rest.len() - close(rest)?..];
            return Some((Kind::Map(key, value), rest));
        }
        "null" | "null_type" => Kind::Null,
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "uint" => Kind::Uint,
        "double" => Kind::Double,
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "type" => Kind::Type,
        "timestamp" | "google.protobuf.Timestamp" => Kind::Timestamp,
        "duration" | "google.protobuf.Duration" => Kind::Duration,
        "ip" | "net.IP" => Kind::Ip,
        "cidr" | "net.CIDR" => Kind::Cidr,
        "list" | "google.protobuf.ListValue" => Kind::List(Box::new(Kind::Dyn)),
        "map" => Kind::Map(Box::new(Kind::Dyn), Box::new(Kind::Dyn)),
        "google.protobuf.Struct" => Kind::Map(Box::new(Kind::String), Box::new(Kind::Dyn)),
        // A wrapper is its value or null.
        "dyn"
        | "any"
        | "google.protobuf.Value"
        | "google.protobuf.BoolValue"
        | "google.protobuf.BytesValue"
        | "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int32Value"
        | "google.protobuf.Int64Value"
        | "google.protobuf.StringValue"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.UInt64Value" => Kind::Dyn,
        _ => return None,
    };
    Some((plain, rest))
}
