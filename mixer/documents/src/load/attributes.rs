//! `attributes` documents: what this mesh knows about requests beyond the built-in vocabulary.

use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{Type, Vocabulary, vocabulary};
use mixer_cel::{Compiler, Expect, Kind};

use super::constant::constant;
use super::document::Document;
use crate::context::Context;
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::{Unique, list, name, scalar, word};
use crate::yaml::{Node, Value};
use crate::{Code, Sources, Span};

pub(crate) const SHAPE: Shape = Shape {
    what: "an attribute",
    keys: &["name", "type", "from", "value", "meaning"],
    later: &[],
};

/// The most attributes that may be declared.
const MOST: usize = 256;

const TYPES: [(&str, Type); 12] = [
    ("string", Type::String),
    ("int", Type::Int),
    ("double", Type::Double),
    ("bool", Type::Bool),
    ("bytes", Type::Bytes),
    ("timestamp", Type::Timestamp),
    ("duration", Type::Duration),
    ("ip", Type::Ip),
    ("list<string>", Type::List),
    ("list(string)", Type::List),
    ("map<string,string>", Type::Map),
    ("map(string, string)", Type::Map),
];

/// The vocabulary with what documents add to it.
pub(super) struct Declared {
    pub(super) vocabulary: Vocabulary,
    /// A compiler that knows the definitions.
    pub(super) compiler: Compiler,
    /// Name and definition of those that have one, in order.
    pub(super) defined: Vec<(String, String)>,
}

/// What documents add to the vocabulary. A `from` may read attributes declared before it.
pub(super) fn read<'d, 'n: 'd>(
    documents: impl Iterator<Item = &'d Document<'n>>,
    sources: &Sources,
    problems: &mut Problems,
) -> Declared {
    let mut reading = Reading {
        vocabulary: Vocabulary::new(),
        defined: Vec::new(),
        places: Vec::new(),
        names: Unique::default(),
    };
    let nodes = documents.filter_map(|document| document.node());
    for node in nodes {
        for item in list(node, "`attributes`", problems).unwrap_or_default() {
            reading.add(item, sources, problems);
        }
    }
    let (compiler, refused) = reading.compiler();
    for (place, why) in refused {
        problems.error(Code::CelLimit, place, why);
    }
    Declared {
        vocabulary: reading.vocabulary,
        compiler,
        defined: reading.defined,
    }
}

struct Reading {
    vocabulary: Vocabulary,
    defined: Vec<(String, String)>,
    /// Where each definition is.
    places: Vec<Span>,
    names: Unique,
}

impl Reading {
    /// A compiler that knows the definitions so far, and those that it refuses: each compiled when it was added, but together
    /// they may still nest too deep.
    fn compiler(&self) -> (Compiler, Vec<(Span, String)>) {
        let mut compiler = Compiler::new(self.vocabulary.clone());
        let mut refused = Vec::new();
        for ((name, from), place) in self.defined.iter().zip(&self.places) {
            let Some(attribute) = self.vocabulary.by_name(name) else {
                continue;
            };
            if let Err(problems) = compiler.define(attribute.id, from) {
                refused.extend(
                    problems
                        .into_iter()
                        .map(|problem| (*place, problem.message)),
                );
            }
        }
        (compiler, refused)
    }

    fn add(&mut self, node: &Node, sources: &Sources, problems: &mut Problems) {
        let Some(fields) = Fields::of(node, SHAPE, problems) else {
            return;
        };
        let kind = fields.need(
            "type",
            "an attribute needs a `type`",
            "such as `type: string`",
            problems,
        );
        let kind = kind.and_then(|node| word(node, "`type`", &TYPES, &[], problems));
        let meaning = fields
            .get("meaning")
            .and_then(|node| scalar(node, "`meaning`", problems));
        let help = "such as `name: cart.size`";
        let Some(name_node) = fields.need("name", "an attribute needs a `name`", help, problems)
        else {
            return;
        };
        let Some(name) = name(name_node, "`name`", problems) else {
            return;
        };
        if !self.may_be_called(name, name_node.span, sources, problems) {
            return;
        }
        let Some(kind) = kind else { return };
        let (from, value) = (fields.get("from"), fields.get("value"));
        if from.is_some() {
            let why = "and `from` say the same thing: a constant, or an expression";
            fields.refuse("value", why, problems);
        }
        let (producer, definition) = match (from, value) {
            (Some(from), _) => match (self.producer(from, kind, sources, problems), &from.value) {
                (Some(producer), Value::Scalar(scalar)) => {
                    (producer, Some((scalar.text.clone(), from.span)))
                }
                _ => return,
            },
            (None, Some(value)) => match constant(kind, value, problems) {
                Some(literal) => (Producer::Check, Some((literal, value.span))),
                None => return,
            },
            (None, None) => (Producer::Check, None),
        };
        let meaning = meaning.map_or("", |meaning| &meaning.text);
        let declared = self.vocabulary.declare(name, kind, producer, meaning);
        if let Some((source, place)) = definition {
            self.defined.push((name.to_owned(), source));
            declared
                .into_iter()
                .for_each(|id| self.vocabulary.compute(id));
            self.places.push(place);
        }
    }

    /// When the definition's value is known: with the latest of what it reads. `None`, with the reasons said, when it does not
    /// compile to `kind`.
    fn producer(
        &self,
        from: &Node,
        kind: Type,
        sources: &Sources,
        problems: &mut Problems,
    ) -> Option<Producer> {
        let mut context = Context {
            sources,
            problems: std::mem::take(problems),
            compiler: self.compiler().0,
            adapters: Vec::new(),
            adapter_names: Default::default(),
            quota_ids: Unique::default(),
            incomplete: true,
        };
        let expression = context.expression(
            from,
            "`from`",
            Producer::Report,
            Expect::Kind(kind_of(kind)),
        );
        *problems = context.problems;
        let expression = expression?;
        let late = expression.reads().iter().any(|read| {
            self.vocabulary
                .by_id(read.attribute)
                .is_some_and(|attribute| attribute.producer == Producer::Report)
        });
        Some(if late {
            Producer::Report
        } else {
            Producer::Check
        })
    }

    fn may_be_called(
        &mut self,
        name: &str,
        span: Span,
        sources: &Sources,
        problems: &mut Problems,
    ) -> bool {
        let word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !name.split('.').all(word) || !name.contains('.') {
            problems
                .error(Code::AttributeName, span, format!("an attribute's name is words of lower-case letters joined by dots, not `{name}`"))
                .help("such as `cart.size`");
            return false;
        }
        let family = name.split_once('.').map_or(name, |(family, _)| family);
        let built_in =
            |attribute: &vocabulary::Attribute| attribute.name.split('.').next() == Some(family);
        if vocabulary::builtin().iter().any(built_in) {
            problems
                .error(Code::AttributeName, span, format!("`{family}.` is for built-in attributes"))
                .help("who vouches for an attribute is told by its name; give yours a family of its own");
            return false;
        }
        if let Err(first) = self.names.add(name, span) {
            problems
                .error(
                    Code::AttributeTaken,
                    span,
                    format!("there is already an attribute `{name}`"),
                )
                .help(format!("the first is at {}", sources.place(first)));
            return false;
        }
        let clash = |other: &str| {
            let below =
                |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.'));
            below(name, other) || below(other, name)
        };
        if let Some(other) = self
            .vocabulary
            .iter()
            .find(|attribute| clash(&attribute.name))
        {
            problems.error(
                Code::AttributeTaken,
                span,
                format!(
                    "`{name}` and `{}` cannot both be attributes: one is below the other",
                    other.name
                ),
            );
            return false;
        }
        if self.vocabulary.iter().count() - vocabulary::builtin().len() >= MOST {
            problems.error(
                Code::TooManyAttributes,
                span,
                format!("at most {MOST} attributes can be declared"),
            );
            return false;
        }
        true
    }
}

/// The static type of an attribute.
fn kind_of(kind: Type) -> Kind {
    let string = || Box::new(Kind::String);
    match kind {
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
