//! YAML as a tree whose every node knows its place.
//!
//! The events of `granit-parser` (the parser below `serde-saphyr`) carry byte offsets; serde would lose them and stop at the
//! first problem. A line that begins with `---` ends a document wherever it stands, so each document is parsed by itself and a
//! broken one does not hide what is wrong with the next.
//!
//! Of YAML, what a policy does not need is refused: tags, anchors, aliases, merge keys and directives. Aliases are what lets a
//! kilobyte expand to gigabytes, and a tag is what `when: !has(x)` is when nobody looks.

mod locate;
mod trap;

pub(crate) use trap::FLOW;

use std::collections::HashSet;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};

use crate::diagnostics::Problems;
use crate::{Code, FileId, Sources, Span};

/// How deep collections may nest.
const DEEPEST: usize = 64;

/// A node of a document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
    /// It stands inside `[ ]` or `{ }`.
    pub(crate) flow: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// A problem of it was said; nothing else is to be said about it.
    Wrong,
}

#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) style: ScalarStyle,
}

/// A key and its value. Keys are unique within their map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) span: Span,
    pub(crate) value: Node,
}

impl Entry {
    /// The key as if it were a value, for what checks values.
    pub(crate) fn key_node(&self) -> Node {
        Node {
            span: self.span,
            value: Value::Scalar(Scalar::plain(&self.key)),
            flow: self.value.flow,
        }
    }
}

impl Scalar {
    pub(crate) fn plain(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            style: ScalarStyle::Plain,
        }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.style == ScalarStyle::Plain
    }
}

impl Node {
    /// What it is, for messages.
    pub(crate) fn what(&self) -> &'static str {
        match self.value {
            Value::Null | Value::Wrong => "nothing",
            Value::Scalar(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// A part of its text as it must be written in it; `None` where it would end or change it.
    pub(crate) fn written(&self, part: &str) -> Option<String> {
        let Value::Scalar(scalar) = &self.value else {
            return None;
        };
        match scalar.style {
            ScalarStyle::SingleQuoted => Some(part.replace('\'', "''")),
            ScalarStyle::DoubleQuoted => (!part.contains(['"', '\\'])).then(|| part.to_owned()),
            ScalarStyle::Plain => {
                let eaten = part.contains(": ") || part.contains(" #");
                let cut = self.flow && part.contains(['[', ']', '{', '}', ',']);
                (!eaten && !cut).then(|| part.to_owned())
            }
            _ => Some(part.to_owned()),
        }
    }

    /// The place of bytes `range` of a scalar's text; the whole node for others.
    pub(crate) fn locate(&self, sources: &Sources, range: std::ops::Range<usize>) -> Span {
        let Value::Scalar(scalar) = &self.value else {
            return self.span;
        };
        let found = locate::locate(sources.slice(self.span), scalar.style, &scalar.text, range);
        let start = self.span.start + found.start as u32;
        Span {
            file: self.span.file,
            start,
            end: self.span.start + found.end as u32,
        }
    }
}

/// The place of bytes `range` of a scalar's text, when only its span and text are left.
pub(crate) fn located(
    sources: &Sources,
    span: Span,
    text: &str,
    range: std::ops::Range<usize>,
) -> Span {
    let raw = sources.slice(span);
    let style = match raw.as_bytes().first() {
        _ if raw == text => ScalarStyle::Plain,
        Some(b'\'') => ScalarStyle::SingleQuoted,
        Some(b'"') => ScalarStyle::DoubleQuoted,
        _ => ScalarStyle::Folded,
    };
    let found = locate::locate(raw, style, text, range);
    Span {
        file: span.file,
        start: span.start + found.start as u32,
        end: span.start + found.end as u32,
    }
}

/// The documents of a file, empty ones left out. What cannot be parsed is said and left out.
pub(crate) fn documents(file: FileId, text: &str, problems: &mut Problems) -> Vec<Node> {
    let mut documents = Vec::new();
    for start in starts(text) {
        let end = starts(&text[start..])
            .nth(1)
            .map_or(text.len(), |next| start + next);
        Builder {
            file,
            base: start,
            text: &text[start..end],
            problems,
        }
        .documents(&mut documents);
    }
    documents
}

/// Where documents start: at the beginning, and at each line that is or begins with `---`.
fn starts(text: &str) -> impl Iterator<Item = usize> + '_ {
    let marks = text.match_indices("\n---").map(|(at, _)| at + 1);
    std::iter::once(0).chain(marks.filter(|at| {
        matches!(
            text.as_bytes().get(at + 3),
            None | Some(b' ' | b'\t' | b'\r' | b'\n')
        )
    }))
}

struct Builder<'a> {
    file: FileId,
    base: usize,
    text: &'a str,
    problems: &'a mut Problems,
}

/// A collection whose end has not come.
enum Open {
    List(Vec<Node>),
    /// Entries, their keys, and the key that waits for its value.
    Map(Vec<Entry>, HashSet<String>, Option<(String, Span)>),
}

struct Level {
    open: Open,
    start: usize,
    flow: bool,
    wrong: bool,
}

impl Builder<'_> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span {
            file: self.file,
            start: (self.base + start) as u32,
            end: (self.base + end.max(start)) as u32,
        }
    }

    fn documents(mut self, documents: &mut Vec<Node>) {
        let options = granit_parser::options! {
            emit_comments: false,
            disallow_directives: true,
            emit_anchor_events: true,
            emit_unresolved_aliases: true,
            flow_nesting_limit: DEEPEST,
            block_nesting_limit: DEEPEST,
        };
        let mut levels: Vec<Level> = Vec::new();
        for event in Parser::new_from_str_with_options(self.text, options) {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => {
                    let at = error
                        .marker()
                        .byte_offset()
                        .unwrap_or(0)
                        .min(self.text.len());
                    let place = self.span(
                        at,
                        self.text[at..]
                            .chars()
                            .next()
                            .map_or(at, |c| at + c.len_utf8()),
                    );
                    let flow = levels.last().is_some_and(|level| level.flow);
                    return trap::explain(self.problems, self.text, at, place, error.kind(), flow);
                }
            };
            let Some(range) = span.byte_range() else {
                continue;
            };
            let flow = levels.last().is_some_and(|level| level.flow);
            let wrong = self.refuse_tag(&event, &span);
            let node = match event {
                Event::Scalar(text, style, ..) => {
                    let null = style == ScalarStyle::Plain && (range.is_empty() || is_null(&text));
                    let value = match () {
                        () if wrong => Value::Wrong,
                        () if null => Value::Null,
                        () => Value::Scalar(Scalar {
                            text: text.into_owned(),
                            style,
                        }),
                    };
                    Node {
                        span: self.span(range.start, range.end),
                        value,
                        flow,
                    }
                }
                Event::SequenceStart(style, ..) => {
                    let flow = style == StructureStyle::Flow;
                    levels.push(Level {
                        open: Open::List(Vec::new()),
                        start: range.start,
                        flow,
                        wrong,
                    });
                    continue;
                }
                Event::MappingStart(style, ..) => {
                    let flow = style == StructureStyle::Flow;
                    levels.push(Level {
                        open: Open::Map(Vec::new(), HashSet::new(), None),
                        start: range.start,
                        flow,
                        wrong,
                    });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(level) = levels.pop() else { continue };
                    self.close(
                        level,
                        range.end,
                        levels.last().is_some_and(|level| level.flow),
                    )
                }
                Event::Alias(_) | Event::UnresolvedAlias(_) => {
                    let span = self.span(range.start, range.end);
                    self.problems
                        .error(Code::YamlFeature, span, "YAML aliases are not supported")
                        .help("write the value out, or quote a text that begins with `*`");
                    Node {
                        span,
                        value: Value::Wrong,
                        flow,
                    }
                }
                Event::Anchor(..) => {
                    let span = self.span(range.start, range.end);
                    self.problems
                        .error(Code::YamlFeature, span, "YAML anchors are not supported")
                        .help("quote a text that begins with `&`");
                    continue;
                }
                _ => continue,
            };
            match levels.last_mut() {
                None if matches!(node.value, Value::Null) => {}
                None => documents.push(node),
                Some(level) => self.put(level, node),
            }
        }
    }

    fn refuse_tag(&mut self, event: &Event<'_>, span: &granit_parser::Span) -> bool {
        if event.tag().is_none() {
            return false;
        }
        let range = span.tag_span().and_then(|tag| tag.byte_range());
        let range = range.or_else(|| span.byte_range()).unwrap_or_default();
        let place = self.span(range.start, range.end);
        trap::tag(self.problems, self.text, range.start, place);
        true
    }

    fn put(&mut self, level: &mut Level, node: Node) {
        match &mut level.open {
            Open::List(items) => items.push(node),
            Open::Map(_, _, waiting @ None) => {
                let key = match node.value {
                    Value::Scalar(scalar) => scalar.text,
                    Value::Null => String::new(),
                    Value::Wrong => {
                        level.wrong = true;
                        String::new()
                    }
                    Value::List(_) | Value::Map(_) => {
                        level.wrong = true;
                        self.problems
                            .error(Code::KeyNotText, node.span, "a key must be a text")
                            .help(trap::FLOW);
                        String::new()
                    }
                };
                *waiting = Some((key, node.span));
            }
            Open::Map(entries, keys, waiting) => {
                let Some((key, span)) = waiting.take() else {
                    return;
                };
                if key == "<<" {
                    self.problems
                        .error(Code::YamlFeature, span, "YAML merge keys are not supported")
                        .help("write the keys out");
                } else if !keys.insert(key.clone()) {
                    self.problems.error(
                        Code::KeyTwice,
                        span,
                        format!("the key `{key}` is given twice"),
                    );
                } else {
                    entries.push(Entry {
                        key,
                        span,
                        value: node,
                    });
                }
            }
        }
    }

    fn close(&self, level: Level, end: usize, flow: bool) -> Node {
        let (value, last) = match level.open {
            Open::List(items) => {
                let last = items.last().map(|item| item.span.end);
                (Value::List(items), last)
            }
            Open::Map(entries, ..) => {
                let last = entries
                    .last()
                    .map(|entry| entry.value.span.end.max(entry.span.end));
                (Value::Map(entries), last)
            }
        };
        let mut span = self.span(level.start, end);
        if !level.flow
            && let Some(last) = last
        {
            span.end = last.max(span.start);
        }
        Node {
            span,
            value: if level.wrong { Value::Wrong } else { value },
            flow,
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

#[cfg(test)]
mod tests;
