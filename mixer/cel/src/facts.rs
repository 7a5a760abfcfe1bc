//! What makes a condition false whatever else is so: for an index.
//!
//! `a == "x" && rest` is false for every request that has another `a`, since `&&` is false if one term is, errors in the
//! others notwithstanding. A [`Fact`] is such a term: a [`Question`] about one attribute or one literal key, and the answers
//! with which the term can be anything but false. Only terms that ask one such question are taken; a term that is no fact
//! says nothing. Where the answer is not of the kind the term compares with, or too long to look up, it is
//! [`Said::Anything`], and the term must be evaluated.
//!
//! One thing is not as an evaluation has it: a term that would run over a limit stands before a false one. An evaluation
//! ends in that error; who looks at facts alone says false, which is what the operands say.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;

use mixer_attributes::{AttributeBag, AttributeId, Dynamic, Entry, Value};

use crate::node::{AttributeRead, KeyRead, Node, TextTest};
use crate::{Evaluation, ReferenceId, Val};

/// Texts longer than this are not looked up.
const LONGEST: usize = 64 * 1024;

/// A term without which its condition is false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it asks.
    pub question: Question,
    /// The term is false if the answer is known and passes none of these.
    pub tests: Vec<FactTest>,
}

/// What a term asks of one attribute, or of one literal key of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    attribute: AttributeId,
    key: Option<Box<str>>,
    asks: Asks,
    /// `None` in a `for`, whose reads are in every decision anyway.
    reference: Option<ReferenceId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Asks {
    Text,
    /// `[?"key"].orValue("text")`.
    TextOr(Box<str>),
    /// A list of texts, as one text that no other list has.
    Texts,
    Bool,
    Int,
    Ip,
    /// `has(..)`: false where the map is absent.
    Has,
    /// `"key" in ..`: an error where the map is absent.
    In,
}

/// A test of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactTest {
    /// It is this text.
    Is(Box<str>),
    /// It begins so.
    StartsWith(Box<str>),
    /// It ends so.
    EndsWith(Box<str>),
    /// It is this value.
    Equals(Scalar),
}

/// A value that is compared as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Ip(IpAddr),
}

/// What a request says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// This text.
    Text(Cow<'a, str>),
    /// This value.
    Scalar(Scalar),
    /// The term is an error: what it reads is absent, or given more than once.
    Error,
    /// The term must be evaluated.
    Anything,
}

impl Question {
    pub(crate) fn of_selector(attribute: AttributeId, key: Option<&str>) -> Self {
        Self {
            attribute,
            key: key.map(Box::from),
            asks: Asks::Text,
            reference: None,
        }
    }

    /// Asks, and notes what was read.
    #[inline]
    pub fn ask<'a>(&self, evaluation: &mut Evaluation<'a>) -> Said<'a> {
        if let Some(reference) = self.reference {
            evaluation.touch_reference(reference);
        }
        self.said(evaluation.bag())
    }

    /// Asks without noting it.
    pub fn said<'a>(&self, bag: &'a AttributeBag<'a>) -> Said<'a> {
        let value = bag.value(self.attribute);
        let Some(key) = &self.key else {
            return match (value, &self.asks) {
                (value, Asks::Has) => Said::Scalar(Scalar::Bool(value.is_some())),
                (None, _) => Said::Error,
                (Some(Value::String(text)), Asks::Text) => Said::text(text.into()),
                (Some(Value::Bool(bit)), Asks::Bool) => Said::Scalar(Scalar::Bool(bit)),
                (Some(Value::Int(number)), Asks::Int) => Said::Scalar(Scalar::Int(number)),
                (Some(Value::Ip(address)), Asks::Ip) => Said::Scalar(Scalar::Ip(address)),
                (Some(Value::List(texts)), Asks::Texts) => {
                    Said::text(joined(texts.iter().map(String::as_str)).into())
                }
                _ => Said::Anything,
            };
        };
        match value {
            None => self.absent(false),
            Some(Value::Map(map)) => match (map.lookup(key), &self.asks) {
                (Entry::Ambiguous, Asks::Text | Asks::TextOr(_)) => Said::Error,
                (Entry::Absent, _) => self.absent(true),
                (Entry::Value(_), Asks::Has | Asks::In) => Said::Scalar(Scalar::Bool(true)),
                (Entry::Value(text), Asks::Text | Asks::TextOr(_)) => Said::text(text),
                _ => Said::Anything,
            },
            Some(Value::Dynamic(tree)) => match (tree.member(key), &self.asks) {
                (None, _) => self.absent(true),
                (Some(_), Asks::Has | Asks::In) => Said::Scalar(Scalar::Bool(true)),
                (Some(Dynamic::String(text)), Asks::Text | Asks::TextOr(_)) => {
                    Said::text(text.as_str().into())
                }
                (Some(Dynamic::Bool(bit)), Asks::Bool) => Said::Scalar(Scalar::Bool(*bit)),
                (Some(Dynamic::Int(number)), Asks::Int) => Said::Scalar(Scalar::Int(*number)),
                _ => Said::Anything,
            },
            Some(_) => Said::Anything,
        }
    }

    /// Without the key; `has_map`: the map itself is there.
    fn absent<'a>(&self, has_map: bool) -> Said<'a> {
        match &self.asks {
            Asks::TextOr(text) => Said::Text(text.to_string().into()),
            Asks::Has => Said::Scalar(Scalar::Bool(false)),
            Asks::In if has_map => Said::Scalar(Scalar::Bool(false)),
            _ => Said::Error,
        }
    }
}

impl<'a> Said<'a> {
    fn text(text: Cow<'a, str>) -> Self {
        match text.len() {
            0..=LONGEST => Said::Text(text),
            _ => Said::Anything,
        }
    }
}

/// Texts as one, each behind its length.
fn joined<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut joined = String::new();
    for text in texts {
        // Writing to a String cannot fail.
        let _ = write!(joined, "{}:{text}", text.len());
    }
    joined
}

/// The facts of a condition, in the order they are written in.
pub(crate) fn facts(node: &Node) -> Vec<Fact> {
    match node {
        Node::And(terms) => terms.iter().flat_map(facts).collect(),
        node => fact(node).into_iter().collect(),
    }
}

fn fact(node: &Node) -> Option<Fact> {
    match node {
        Node::Text(operand, test) => Some(Fact {
            question: text_question(operand)?,
            tests: match test {
                TextTest::Is(text) => vec![FactTest::Is(text.clone())],
                TextTest::OneOf(texts) => texts.iter().cloned().map(FactTest::Is).collect(),
                TextTest::StartsWith(start) => vec![FactTest::StartsWith(start.clone())],
                TextTest::EndsWith(end) => vec![FactTest::EndsWith(end.clone())],
                TextTest::Contains(_) | TextTest::Matches(_) => return None,
            },
        }),
        Node::Attribute(_) | Node::Key(_) => Some(Fact {
            question: question(node, Asks::Bool)?,
            tests: vec![FactTest::Equals(Scalar::Bool(true))],
        }),
        Node::Has(path) => presence(question(path, Asks::Has)?),
        Node::KeyIn(read) => presence(of_key(read, Asks::In)),
        Node::Not(operand) => match &**operand {
            Node::Attribute(_) | Node::Key(_) | Node::Has(_) | Node::KeyIn(_) | Node::Equal(_) => {
                negated(fact(operand)?)
            }
            _ => None,
        },
        Node::Equal(sides) => match (&sides.0, &sides.1) {
            (Node::Constant(Val::List(list)), read) | (read, Node::Constant(Val::List(list))) => {
                let texts = list.iter().map(|value| value.as_str().map(str::to_owned));
                let texts: Vec<String> = texts.collect::<Option<_>>()?;
                Some(Fact {
                    question: question(read, Asks::Texts)?,
                    tests: vec![FactTest::Is(
                        joined(texts.iter().map(String::as_str)).into(),
                    )],
                })
            }
            (Node::Constant(value), read) | (read, Node::Constant(value)) => {
                equality(read, [value])
            }
            _ => None,
        },
        Node::In(sides) => match &sides.1 {
            Node::Constant(Val::List(list)) => {
                let values: Vec<Val<'_>> = list.iter().collect();
                equality(&sides.0, &values)
            }
            _ => None,
        },
        Node::Or(terms) => either(terms.iter().map(facts)),
        _ => None,
    }
}

/// Of terms of which one must hold: false where all are, so they must ask the same.
pub(crate) fn either(mut terms: impl Iterator<Item = Vec<Fact>>) -> Option<Fact> {
    let first = terms.next()?;
    let others: Vec<Vec<Fact>> = terms.collect();
    first.into_iter().find_map(|mut fact| {
        for term in &others {
            let same = term.iter().find(|other| other.question == fact.question)?;
            fact.tests.extend(same.tests.iter().cloned());
        }
        Some(fact)
    })
}

/// Only of what is true or false itself.
fn negated(fact: Fact) -> Option<Fact> {
    match fact.tests[..] {
        [FactTest::Equals(Scalar::Bool(bit))] => Some(Fact {
            tests: vec![FactTest::Equals(Scalar::Bool(!bit))],
            ..fact
        }),
        _ => None,
    }
}

fn presence(question: Question) -> Option<Fact> {
    Some(Fact {
        question,
        tests: vec![FactTest::Equals(Scalar::Bool(true))],
    })
}

/// `read` is one of `values`, which are of one kind.
fn equality<'v>(read: &Node, values: impl IntoIterator<Item = &'v Val<'v>>) -> Option<Fact> {
    let scalar = |value: &Val<'_>| match value {
        Val::Bool(bit) => Some(Scalar::Bool(*bit)),
        Val::Int(number) => Some(Scalar::Int(*number)),
        Val::Ip(address) => Some(Scalar::Ip(*address)),
        _ => None,
    };
    let values: Option<Vec<Scalar>> = values.into_iter().map(scalar).collect();
    let values = values?;
    let kind = std::mem::discriminant(values.first()?);
    if values
        .iter()
        .any(|value| std::mem::discriminant(value) != kind)
    {
        return None;
    }
    let asks = match values[0] {
        Scalar::Bool(_) => Asks::Bool,
        Scalar::Int(_) => Asks::Int,
        Scalar::Ip(_) => Asks::Ip,
    };
    Some(Fact {
        question: question(read, asks)?,
        tests: values.into_iter().map(FactTest::Equals).collect(),
    })
}

fn text_question(operand: &Node) -> Option<Question> {
    match operand {
        Node::OrElse {
            optional,
            other,
            unwrap: true,
        } => match (&**optional, &**other) {
            (Node::Find(path), Node::Constant(Val::String(text))) => match &**path {
                Node::Key(read) => Some(of_key(read, Asks::TextOr((**text).into()))),
                _ => None,
            },
            _ => None,
        },
        _ => question(operand, Asks::Text),
    }
}

fn question(read: &Node, asks: Asks) -> Option<Question> {
    match read {
        Node::Attribute(read) => {
            let AttributeRead {
                attribute,
                reference,
                ..
            } = **read;
            Some(Question {
                attribute,
                key: None,
                asks,
                reference: Some(reference),
            })
        }
        Node::Key(read) => Some(of_key(read, asks)),
        _ => None,
    }
}

fn of_key(read: &KeyRead, asks: Asks) -> Question {
    Question {
        attribute: read.attribute,
        key: Some(read.key.clone()),
        asks,
        reference: Some(read.reference),
    }
}
