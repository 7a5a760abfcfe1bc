//! An expression put to requests: its value, what each of its parts came to, what it read.

use std::fmt::Write;

use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{AttributeBag, Entry, Value, Vocabulary};
use mixer_cel::{
    Compiler, Evaluation, Expect, Expression, Outline, Problem, Reference, References, Shape, Val,
};

/// A compiled expression with its parts.
pub(in crate::cli) struct Asked {
    whole: Part,
    references: References,
    vocabulary: Vocabulary,
}

/// What an expression came to.
pub(in crate::cli) struct Answer {
    /// As CEL writes it, or why there is none.
    pub(in crate::cli) value: Result<String, String>,
    /// What was read, a line each: `source.namespace = "shop"`, or `source.namespace (absent)`.
    pub(in crate::cli) referenced: Vec<String>,
}

/// A part of an expression; `None`: it is not one by itself (a namespace of functions).
struct Part {
    text: String,
    shape: Shape,
    expression: Option<Expression>,
    parts: Vec<Part>,
}

impl Asked {
    /// Compiles `source` over everything that is known of a request when it is over.
    pub(in crate::cli) fn compile(
        source: &str,
        vocabulary: Vocabulary,
    ) -> Result<Self, Vec<Problem>> {
        let mut compiler = Compiler::new(vocabulary.clone());
        let expression = compiler.expression(source, Producer::Report, Expect::Any)?;
        let outline = compiler.outline(source)?;
        let mut whole = part(&mut compiler, source, &outline);
        whole.expression = Some(expression);
        Ok(Self {
            whole,
            references: compiler.finish(),
            vocabulary,
        })
    }

    /// Its static type.
    pub(in crate::cli) fn kind(&self) -> String {
        let expression = self.whole.expression.as_ref();
        expression.map_or_else(String::new, |expression| expression.kind().to_string())
    }

    /// What it comes to for a request.
    pub(in crate::cli) fn answer(&self, bag: &AttributeBag<'_>) -> Answer {
        let mut evaluation = Evaluation::new(bag, &self.references);
        let value = self.whole.value(&mut evaluation);
        let referenced = evaluation.referenced();
        Answer {
            value: value.map(|value| value.to_literal()),
            referenced: referenced
                .iter()
                .map(|(reference, _)| self.read(reference, bag))
                .collect(),
        }
    }

    /// What its parts came to, those that were evaluated, a line each, indented below what they are parts of.
    pub(in crate::cli) fn explanation(&self, bag: &AttributeBag<'_>) -> String {
        let mut text = String::new();
        self.explain(&self.whole, bag, 1, &mut text);
        text
    }

    fn explain(&self, part: &Part, bag: &AttributeBag<'_>, depth: usize, text: &mut String) {
        let value = || part.value(&mut Evaluation::new(bag, &self.references));
        let mut below = depth;
        if part.expression.is_some() && part.shape != Shape::Literal {
            let shown = match value() {
                Ok(value) => value.to_literal(),
                Err(error) => format!("no value: {error}"),
            };
            let _ = writeln!(
                text,
                "{:width$}{} -> {shown}",
                "",
                part.text,
                width = 2 * depth
            );
            below += 1;
        }
        let truth = |part: &Part| {
            let value = part.value(&mut Evaluation::new(bag, &self.references));
            value.ok().and_then(|value| value.as_bool())
        };
        for (index, inner) in part.parts.iter().enumerate() {
            if part.shape == Shape::Conditional && index > 0 {
                let chosen = match truth(&part.parts[0]) {
                    Some(truth) => 2 - usize::from(truth),
                    None => return,
                };
                if index != chosen {
                    continue;
                }
            }
            self.explain(inner, bag, below, text);
            let decides = match part.shape {
                Shape::And => truth(inner) == Some(false),
                Shape::Or => truth(inner) == Some(true),
                Shape::Conditional | Shape::Plain | Shape::Literal => false,
            };
            if decides {
                return;
            }
        }
    }

    fn read(&self, reference: &Reference, bag: &AttributeBag<'_>) -> String {
        let attribute = self.vocabulary.by_id(reference.attribute);
        let name = attribute.map_or("?", |attribute| attribute.name.as_str());
        let name = match &reference.key {
            Some(key) => format!("{name}[{key:?}]"),
            None => name.to_owned(),
        };
        let held = match (bag.value(reference.attribute), &reference.key) {
            (Some(value), None) => Some(Val::from(value)),
            (Some(Value::Map(map)), Some(key)) => match map.lookup(key) {
                Entry::Value(text) => Some(Val::from(text.into_owned())),
                Entry::Ambiguous => return format!("{name} (given twice)"),
                Entry::Absent => None,
            },
            (Some(Value::Dynamic(tree)), Some(key)) => tree.member(key).map(Val::from),
            (_, _) => None,
        };
        match held {
            Some(value) => format!("{name} = {}", value.to_literal()),
            None => format!("{name} (absent)"),
        }
    }
}

impl Part {
    fn value<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Result<Val<'a>, String> {
        match &self.expression {
            Some(expression) => expression
                .evaluate(evaluation)
                .map_err(|error| error.to_string()),
            None => Err("it is no expression".to_owned()),
        }
    }
}

fn part(compiler: &mut Compiler, source: &str, outline: &Outline) -> Part {
    let text = &source[outline.span.clone()];
    let parts = outline.parts.iter();
    Part {
        shape: outline.shape,
        expression: compiler
            .expression(text, Producer::Report, Expect::Any)
            .ok(),
        parts: parts.map(|inner| part(compiler, source, inner)).collect(),
        text: text.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}
