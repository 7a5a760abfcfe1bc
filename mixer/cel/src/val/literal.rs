//! Values as an expression would write them, for people who look at one.

use std::fmt::Write;

use super::{Looked, Val};
use crate::functions::text_of;

impl Val<'_> {
    /// The value as CEL writes it: text in quotes, `1u`, `duration("90s")`, `{"a": [1]}`, `optional.of(1)`. What a request
    /// gives twice is `?`.
    pub fn to_literal(&self) -> String {
        let mut out = String::new();
        write(self, &mut out);
        out
    }
}

fn write(value: &Val<'_>, out: &mut String) {
    match value {
        Val::Null => out.push_str("null"),
        Val::Uint(number) => {
            let _ = write!(out, "{number}u");
        }
        Val::Double(number) if number.is_finite() => {
            let _ = write!(out, "{number:?}");
        }
        Val::Double(_) => call("double", value, out),
        Val::String(text) => quoted(text, out),
        Val::Bytes(bytes) => {
            let _ = write!(out, "b\"{}\"", bytes.escape_ascii());
        }
        Val::Timestamp(_) => call("timestamp", value, out),
        Val::Duration(_) => call("duration", value, out),
        Val::Ip(_) => call("ip", value, out),
        Val::Cidr(..) => call("cidr", value, out),
        Val::Type(name) => out.push_str(name),
        Val::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(&item, out);
            }
            out.push(']');
        }
        Val::Map(map) => {
            out.push('{');
            for (index, (key, looked)) in map.looked().into_iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(&key, out);
                out.push_str(": ");
                match looked {
                    Looked::Found(value) => write(&value, out),
                    Looked::Absent | Looked::Ambiguous => out.push('?'),
                }
            }
            out.push('}');
        }
        Val::Optional(None) => out.push_str("optional.none()"),
        Val::Optional(Some(value)) => {
            out.push_str("optional.of(");
            write(value, out);
            out.push(')');
        }
        Val::Bool(_) | Val::Int(_) => out.push_str(&text_of(value).unwrap_or_default()),
    }
}

/// What a function makes of text.
fn call(function: &str, value: &Val<'_>, out: &mut String) {
    out.push_str(function);
    out.push('(');
    quoted(&text_of(value).unwrap_or_default(), out);
    out.push(')');
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Of what is not seen, the direction marks above all.
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
