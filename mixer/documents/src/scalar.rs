//! Words, numbers, spans of time and shares, as operators write them.

mod time;
mod units;

pub(crate) use time::{end_of_day, timestamp};
pub(crate) use units::{at_once, limit, percent, span, span_text};

use crate::diagnostics::Problems;
use crate::suggest::nearest;
use crate::yaml::{Node, Scalar, Value};
use crate::{Code, Span};

/// A scalar; `None`, with the reason said, when it is something else.
pub(crate) fn scalar<'n>(
    node: &'n Node,
    what: &str,
    problems: &mut Problems,
) -> Option<&'n Scalar> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar),
        Value::Wrong => None,
        Value::Null => {
            problems.error(Code::Empty, node.span, format!("{what} is empty"));
            None
        }
        Value::List(_) | Value::Map(_) => {
            problems.error(
                Code::WrongShape,
                node.span,
                format!("{what} must be a text, this is {}", node.what()),
            );
            None
        }
    }
}

/// A name: a line of at most 200 characters, without white space around it.
pub(crate) fn name<'n>(node: &'n Node, what: &str, problems: &mut Problems) -> Option<&'n str> {
    let text = &scalar(node, what, problems)?.text;
    let wrong = match () {
        () if text.trim().is_empty() => "is empty",
        () if text.trim() != text => "begins or ends with white space",
        () if text.chars().any(char::is_control) => "has a line break or control character",
        () if text.chars().count() > 200 => "is longer than 200 characters",
        () => return Some(text),
    };
    problems.error(Code::Name, node.span, format!("{what} {wrong}"));
    None
}

/// One of some words; those of features that are not built are refused as such.
pub(crate) fn word<T: Copy>(
    node: &Node,
    what: &str,
    words: &[(&str, T)],
    later: &[&str],
    problems: &mut Problems,
) -> Option<T> {
    let text = scalar(node, what, problems)?.text.as_str();
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*meaning);
    }
    if later.iter().any(|known| {
        *known == text
            || known
                .strip_suffix('*')
                .is_some_and(|start| text.starts_with(start))
    }) {
        problems.error(
            Code::NotSupportedYet,
            node.span,
            format!("{what} `{text}` is not supported yet"),
        );
        return None;
    }
    let list = words
        .iter()
        .map(|(word, _)| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(" or ");
    let error = problems.error(
        Code::UnknownWord,
        node.span,
        format!("{what} is {list}, not `{text}`"),
    );
    if let Some(near) = nearest(text, words.iter().map(|(word, _)| *word)) {
        error.help(format!("did you mean `{near}`?"));
    }
    None
}

/// `true` or `false`, not quoted.
pub(crate) fn boolean(node: &Node, what: &str, problems: &mut Problems) -> Option<bool> {
    let scalar = scalar(node, what, problems)?;
    match scalar.text.as_str() {
        "true" if scalar.is_plain() => Some(true),
        "false" if scalar.is_plain() => Some(false),
        _ => {
            problems.error(
                Code::Boolean,
                node.span,
                format!("{what} is `true` or `false`, not `{}`", scalar.text),
            );
            None
        }
    }
}

/// A whole number within `range`.
pub(crate) fn integer(
    node: &Node,
    what: &str,
    range: std::ops::RangeInclusive<u64>,
    problems: &mut Problems,
) -> Option<u64> {
    let text = scalar(node, what, problems)?.text.as_str();
    match digits(text) {
        Some(number) if range.contains(&number) => Some(number),
        _ => {
            let bounds = match (*range.start(), *range.end()) {
                (0, u64::MAX) => String::new(),
                (low, u64::MAX) => format!(" of at least {low}"),
                (low, high) => format!(" from {low} to {high}"),
            };
            problems.error(
                Code::Number,
                node.span,
                format!("{what} is a whole number{bounds}, not `{text}`"),
            );
            None
        }
    }
}

/// The items of a list.
pub(crate) fn list<'n>(node: &'n Node, what: &str, problems: &mut Problems) -> Option<&'n [Node]> {
    match &node.value {
        Value::List(items) => Some(items),
        Value::Wrong => None,
        _ => {
            problems.error(
                Code::WrongShape,
                node.span,
                format!("{what} must be a list, this is {}", node.what()),
            );
            None
        }
    }
}

/// Digits and nothing else.
fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Checks that names are given once each.
#[derive(Debug, Default)]
pub(crate) struct Unique {
    seen: std::collections::HashMap<String, Span>,
}

impl Unique {
    /// Whether `name` is new; if not, where it was first given.
    pub(crate) fn add(&mut self, name: &str, span: Span) -> Result<(), Span> {
        match self.seen.get(name) {
            Some(first) => Err(*first),
            None => {
                self.seen.insert(name.to_owned(), span);
                Ok(())
            }
        }
    }
}
