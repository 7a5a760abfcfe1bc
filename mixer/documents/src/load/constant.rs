//! The `value` of an attribute: a constant, written as YAML, typed by `type`.
//!
//! It becomes the CEL literal that `from` could have been, so that everything behind it (types, digests, sets and patterns made
//! at load) knows one way only. A constant reads nothing: it is in no referenced set.

use std::net::IpAddr;

use mixer_attributes::Type;

use crate::Code;
use crate::diagnostics::Problems;
use crate::reply::json_text;
use crate::scalar::{boolean, list, scalar, span, timestamp};
use crate::yaml::{Node, Value};

/// The longest literal, in bytes: what CEL parses.
const LONGEST: usize = 16 * 1024;

/// The literal; `None`, with the reasons said, when the node is no value of that type.
pub(super) fn constant(kind: Type, node: &Node, problems: &mut Problems) -> Option<String> {
    let before = problems.list.len();
    let literal = match kind {
        Type::List => {
            let items = list(node, "`value`", problems)?.iter();
            let texts: Vec<String> = items.filter_map(|item| text(item, problems)).collect();
            format!("[{}]", texts.join(", "))
        }
        Type::Map => {
            let Value::Map(entries) = &node.value else {
                let message = format!("`value` must be a map, this is {}", node.what());
                problems.error(Code::WrongShape, node.span, message);
                return None;
            };
            let entries = entries.iter().filter_map(|entry| {
                let value = text(&entry.value, problems)?;
                Some(format!("{}: {value}", json_text(&entry.key)))
            });
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        _ => one(kind, node, problems)?,
    };
    if literal.len() > LONGEST {
        problems
            .error(Code::Constant, node.span, "a constant is at most 16 KiB")
            .help("a longer list is an adapter of `type: list`, which rules `ask`");
    }
    (problems.list.len() == before).then_some(literal)
}

/// A text, as it stands.
fn text(node: &Node, problems: &mut Problems) -> Option<String> {
    scalar(node, "`value`", problems).map(|scalar| json_text(&scalar.text))
}

fn one(kind: Type, node: &Node, problems: &mut Problems) -> Option<String> {
    let written = scalar(node, "`value`", problems)?.text.as_str();
    let (literal, wanted) = match kind {
        Type::String => (Some(json_text(written)), ""),
        Type::Bool => return boolean(node, "`value`", problems).map(|bit| bit.to_string()),
        Type::Duration => {
            let span = span(node, "`value`", problems)?;
            return Some(format!("duration(\"{}s\")", span.as_secs_f64()));
        }
        Type::Int => {
            let number = written.parse::<i64>().ok();
            (number.map(|number| number.to_string()), "a whole number")
        }
        Type::Double => {
            let number = written
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite());
            (number.map(|number| format!("{number:?}")), "a number")
        }
        Type::Ip => {
            let address = written.parse::<IpAddr>().ok();
            (
                address.map(|address| format!("ip(\"{address}\")")),
                "an address",
            )
        }
        Type::Timestamp => {
            let time = timestamp(written);
            (
                time.map(|_| format!("timestamp(\"{written}\")")),
                "a time such as 2026-01-31T12:00:00Z",
            )
        }
        Type::Bytes | Type::List | Type::Map | Type::Dynamic => {
            problems
                .error(
                    Code::Constant,
                    node.span,
                    format!("a constant cannot be of type {kind}"),
                )
                .help("write a CEL literal: `from: b\"..\"`");
            return None;
        }
    };
    if literal.is_none() {
        problems.error(
            Code::Constant,
            node.span,
            format!("`value` is {wanted}, not `{written}`"),
        );
    }
    literal
}
