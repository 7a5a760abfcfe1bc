//! Fields into a hash, so that no two sequences of fields are one.

use std::sync::Arc;
use std::time::Duration;

use mixer_cel::{Expression, Template};
use sha2::{Digest as _, Sha256};

use super::{Digest, Known};
use crate::{Condition, Limit};

/// A hash of fields, each with its length or a tag, so that no two sequences of fields are one.
pub(super) struct Canon<'k> {
    hasher: Sha256,
    known: &'k Known,
}

impl<'k> Canon<'k> {
    pub(super) fn new(known: &'k Known) -> Self {
        Self {
            hasher: Sha256::new(),
            known,
        }
    }

    pub(super) fn finish(self) -> Digest {
        self.hasher.finalize().into()
    }

    pub(super) fn tag(&mut self, tag: u8) {
        self.hasher.update([tag]);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.hasher.update(number.to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.hasher.update(text);
    }

    pub(super) fn each<T>(&mut self, items: &[T], mut one: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| one(self, item));
    }

    pub(super) fn maybe<T>(&mut self, item: Option<&T>, one: impl FnOnce(&mut Self, &T)) {
        self.tag(item.is_some().into());
        if let Some(item) = item {
            one(self, item);
        }
    }

    /// The text of an expression without what is only formatting, and the definitions it may read.
    pub(super) fn source(&mut self, source: &str) {
        self.text(&without_formatting(source));
        self.definitions(source);
    }

    fn definitions(&mut self, source: &str) {
        let read = self
            .known
            .defined
            .iter()
            .filter(|(family, _)| source.contains(family.as_str()));
        for (_, digest) in read {
            self.hasher.update(digest);
        }
    }

    pub(super) fn expression(&mut self, expression: &Expression) {
        self.source(expression.source());
    }

    /// As it stands: white space is part of what is said.
    pub(super) fn template(&mut self, template: &Template) {
        self.text(template.source());
        self.definitions(template.source());
    }

    pub(super) fn named(&mut self, (name, expression): &(Arc<str>, Expression)) {
        self.text(name);
        self.expression(expression);
    }

    pub(super) fn condition(&mut self, condition: &Condition) {
        self.each(&condition.lines, |canon, (line, _)| canon.expression(line));
    }

    pub(super) fn adapter(&mut self, index: usize) {
        let digest = self.known.adapters.get(index).copied().unwrap_or_default();
        self.hasher.update(digest);
    }

    pub(super) fn span(&mut self, span: Duration) {
        self.number(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn limit(&mut self, limit: &Limit) {
        self.number(limit.amount);
        self.span(limit.window);
    }
}

/// A text whose white space outside of quotes is one space, none at the ends. A text with a comment, or with a kind of quote
/// that spans lines, is left as it is: a revision that changes needlessly costs a few questions, one that does not change when
/// it must costs a wrong answer.
fn without_formatting(source: &str) -> String {
    if ["//", "\"\"\"", "'''", "\\"]
        .iter()
        .any(|odd| source.contains(odd))
    {
        return source.to_owned();
    }
    let mut text = String::with_capacity(source.len());
    let mut quote = None;
    for c in source.trim().chars() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => {
                if !text.ends_with(' ') {
                    text.push(' ');
                }
                continue;
            }
            _ => {}
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_formatting_only_outside_of_quotes() {
        assert_eq!(
            without_formatting(" a ==\n   'b  c' &&  d\n"),
            "a == 'b  c' && d"
        );
        assert_eq!(without_formatting("a == \"it's  b\""), "a == \"it's  b\"");
        assert_ne!(
            without_formatting("a == 'b c'"),
            without_formatting("a == 'b  c'")
        );
        assert_ne!(
            without_formatting("a // x\n == b"),
            without_formatting("a // x == b")
        );
    }
}
