//! The keys of a map, checked against those a document may have.
//!
//! An unknown key is an error with the nearest known one, and the key of a feature that is not built is an error of its own:
//! what an operator wrote is in force or refused, never ignored.

use crate::diagnostics::Problems;
use crate::suggest::{is_clear, nearest};
use crate::yaml::{Entry, FLOW, Node, Value};
use crate::{Code, Span};

/// What keys a map may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// What the map is, for messages: `policy`, `rule`.
    pub(crate) what: &'static str,
    /// Keys that this version acts on.
    pub(crate) keys: &'static [&'static str],
    /// Keys of features that are not built yet.
    pub(crate) later: &'static [&'static str],
}

/// A map whose keys were checked.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    entries: Vec<&'n Entry>,
    /// Keys that unknown ones were taken for.
    meant: Vec<&'static str>,
    /// The map.
    pub(crate) span: Span,
}

impl<'n> Fields<'n> {
    /// The fields of a map; `None`, with the reason said, when it is none.
    pub(crate) fn of(node: &'n Node, shape: Shape, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self::from_entries(
                entries.iter(),
                node.span,
                shape,
                problems,
            )),
            Value::Wrong => None,
            _ => {
                let example = shape
                    .keys
                    .first()
                    .map_or(String::new(), |key| format!(" such as `{{ {key}: ... }}`"));
                problems.error(
                    Code::WrongShape,
                    node.span,
                    format!(
                        "{} must be a map{example}, this is {}",
                        shape.what,
                        node.what()
                    ),
                );
                None
            }
        }
    }

    /// Those of some entries of a map.
    pub(crate) fn from_entries(
        entries: impl Iterator<Item = &'n Entry>,
        span: Span,
        shape: Shape,
        problems: &mut Problems,
    ) -> Self {
        let entries: Vec<&Entry> = entries.collect();
        let mut meant = Vec::new();
        for entry in &entries {
            if shape.keys.contains(&entry.key.as_str()) {
                continue;
            }
            if shape.later.contains(&entry.key.as_str()) {
                problems.error(
                    Code::NotSupportedYet,
                    entry.span,
                    format!("`{}` is not supported yet", entry.key),
                );
                continue;
            }
            let error = problems.error(
                Code::UnknownKey,
                entry.span,
                format!("unknown key `{}` in {}", entry.key, shape.what),
            );
            if entry.value.flow && entry.value.span.start == entry.value.span.end {
                error.help(FLOW);
            } else if let Some(near) =
                nearest(&entry.key, shape.keys.iter().chain(shape.later).copied())
            {
                meant.push(near);
                error.help(format!("did you mean `{near}`?"));
                let is_there = entries.iter().any(|entry| entry.key == near);
                let known = shape.keys.contains(&near) && !is_there;
                if known && is_clear(&entry.key, shape.keys.iter().chain(shape.later).copied()) {
                    error.fix(entry.span, near);
                }
            } else {
                error.help(format!("known keys: {}", shape.keys.join(", ")));
            }
        }
        Self {
            entries,
            meant,
            span,
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key and its value.
    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key).copied()
    }

    /// The value of a key that must be there; if it is not, `why` and `help` are said.
    pub(crate) fn need(
        &self,
        key: &str,
        why: &str,
        help: &str,
        problems: &mut Problems,
    ) -> Option<&'n Node> {
        if self.lacks(key) {
            let error = problems.error(Code::MissingKey, self.span, why);
            if !help.is_empty() {
                error.help(help);
            }
        }
        self.get(key)
    }

    /// Whether a key is not there, not even misspelt (which is said already).
    pub(crate) fn lacks(&self, key: &str) -> bool {
        self.entry(key).is_none() && !self.meant.contains(&key)
    }

    /// The one key of `keys` that is there; `None`, with the reason said, when none or several are.
    pub(crate) fn one_of(
        &self,
        keys: &[&'static str],
        what: &str,
        problems: &mut Problems,
    ) -> Option<(&'static str, &'n Entry)> {
        let mut found = keys
            .iter()
            .filter_map(|key| self.entry(key).map(|entry| (*key, entry)));
        let Some(first) = found.next() else {
            if keys.iter().any(|key| !self.lacks(key)) {
                return None;
            }
            let list = keys
                .iter()
                .map(|key| format!("`{key}`"))
                .collect::<Vec<_>>()
                .join(", ");
            problems.error(
                Code::MissingKey,
                self.span,
                format!("{what} needs one of {list}"),
            );
            return None;
        };
        if let Some((second, entry)) = found.next() {
            problems.error(
                Code::TwoKeys,
                entry.span,
                format!("{what} has either `{}` or `{second}`, not both", first.0),
            );
            return None;
        }
        Some(first)
    }

    /// Says that a key has no meaning here, if it is there.
    pub(crate) fn refuse(&self, key: &str, why: &str, problems: &mut Problems) {
        if let Some(entry) = self.entry(key) {
            problems.error(Code::NoMeaning, entry.span, format!("`{key}` {why}"));
        }
    }
}
