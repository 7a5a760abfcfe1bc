//! From syntax tree to compiled tree: every name resolved, every type checked, every problem collected.
//!
//! Checking and compiling are one pass, because both ask the same questions: what a name means decides its type and its slot,
//! and which overload a call takes decides its node. A subtree with a problem yields nothing, and its surroundings are not
//! blamed for it.

mod access;
mod calls;
mod macros;
mod names;
mod operators;
mod resolve;

pub(crate) use resolve::dotted;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{AttributeId, Vocabulary};

use crate::expression::KeyPath;
use crate::node::{Definition, Node};
use crate::parse::DEPTH;
use crate::tree::{Ast, AstKind, Element, Entry, Literal, Operator};
use crate::val::{Blob, Map, Text};
use crate::{Kind, Problem, ProblemKind, Read, References, Val};

/// What names mean, apart from the attributes.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Custom attributes given by an expression.
    pub(crate) definitions: HashMap<AttributeId, Arc<Definition>>,
    /// Variables beside the request.
    pub(crate) variables: Vec<(Arc<str>, Kind)>,
    /// The prefix names are looked up under first.
    pub(crate) container: String,
    /// Calls whose types do not fit are left to fail in evaluation.
    pub(crate) unchecked: bool,
}

/// A checked subtree.
#[derive(Debug)]
pub(crate) struct Typed {
    pub(crate) node: Node,
    pub(crate) kind: Kind,
}

/// Checks one expression.
pub(crate) struct Checker<'c> {
    pub(crate) source: &'c str,
    pub(crate) vocabulary: &'c Vocabulary,
    pub(crate) names: &'c Names,
    pub(crate) references: &'c mut References,
    pub(crate) phase: Producer,
    pub(crate) problems: Vec<Problem>,
    pub(crate) reads: Vec<Read>,
    /// Keys read with nothing before them that tests for them.
    pub(crate) unguarded: Vec<KeyPath>,
    /// Keys known to be there, if what was checked so far is true.
    pub(crate) established: Vec<Vec<String>>,
    scope: Vec<(String, Kind)>,
    /// Parts checked so far.
    checked: usize,
    depth: usize,
    /// The depth that was reached, definitions included.
    pub(crate) deepest: usize,
}

impl<'c> Checker<'c> {
    pub(crate) fn new(
        source: &'c str,
        vocabulary: &'c Vocabulary,
        names: &'c Names,
        references: &'c mut References,
        phase: Producer,
    ) -> Self {
        Self {
            source,
            vocabulary,
            names,
            references,
            phase,
            problems: Vec::new(),
            reads: Vec::new(),
            unguarded: Vec::new(),
            established: Vec::new(),
            scope: Vec::new(),
            checked: 0,
            depth: 0,
            deepest: 0,
        }
    }

    /// Checks `ast`; `None` when a problem was found in it.
    pub(crate) fn check(&mut self, ast: &Ast) -> Option<Typed> {
        // Of a path every step is counted, by `member`.
        let steps = usize::from(!matches!(
            ast.kind,
            AstKind::Ident(_) | AstKind::Select { .. } | AstKind::Index { .. }
        ));
        self.depth += steps;
        self.checked += 1;
        self.deepest = self.deepest.max(self.depth);
        let known = self.established.len();
        let checked = match &ast.kind {
            AstKind::And(terms) => self.and(terms),
            AstKind::Or(terms) => self.forgetting(known, |checker| checker.or(terms)),
            AstKind::Not(operand) => self.forgetting(known, |checker| checker.not(operand)),
            AstKind::Negate(operand) => {
                self.forgetting(known, |checker| checker.negate(ast, operand))
            }
            AstKind::Conditional(parts) => {
                self.forgetting(known, |checker| checker.conditional(ast, parts))
            }
            AstKind::Binary(Operator::In, sides) => self.contained(ast, &sides[0], &sides[1]),
            AstKind::Binary(operator, sides) => {
                self.forgetting(known, |checker| checker.binary(ast, *operator, sides))
            }
            AstKind::Literal(literal) => Some(constant(literal)),
            AstKind::Ident(_) | AstKind::Select { .. } | AstKind::Index { .. } => self.path(ast),
            AstKind::Call { target, name, args } => {
                let is_has = target.is_none() && name == "has";
                let kept = if is_has { usize::MAX } else { known };
                self.forgetting(kept, |checker| {
                    checker.call(ast, target.as_deref(), name, args)
                })
            }
            AstKind::List(elements) => self.forgetting(known, |checker| checker.list(elements)),
            AstKind::Map(entries) => self.forgetting(known, |checker| checker.map(entries)),
            AstKind::Struct(name) => self.problem_of(
                ProblemKind::Unsupported,
                &ast.whole,
                format!("unsupported: message construction ({name}{{..}})"),
                None,
            ),
        };
        self.depth -= steps;
        checked
    }

    /// Reports a problem with types.
    fn problem<T>(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Option<T> {
        self.problem_of(ProblemKind::Type, span, message, help)
    }

    /// Reports a problem of another kind.
    fn problem_of<T>(
        &mut self,
        kind: ProblemKind,
        span: &Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Option<T> {
        self.problems.push(Problem {
            kind,
            span: span.clone(),
            message: message.into(),
            help,
            replacement: None,
        });
        None
    }

    /// Says that the place of the last problem is to hold this text.
    fn replace_by<T>(&mut self, replacement: Option<String>) -> Option<T> {
        if let Some(last) = self.problems.last_mut() {
            last.replacement = replacement;
        }
        None
    }

    /// Runs `check`, then forgets the keys it established beyond the first `known`.
    fn forgetting<T>(&mut self, known: usize, check: impl FnOnce(&mut Self) -> T) -> T {
        let checked = check(self);
        self.established.truncate(known);
        checked
    }

    fn text(&self, span: &Range<usize>) -> &'c str {
        self.source.get(span.clone()).unwrap_or_default()
    }

    /// Notes that a definition of this depth stands here.
    fn descend(&mut self, span: &Range<usize>, depth: usize) -> Option<()> {
        self.deepest = self.deepest.max(self.depth + depth);
        if self.depth + depth > DEPTH {
            return self.problem_of(
                ProblemKind::Limit,
                span,
                format!("with its definitions the expression is nested deeper than {DEPTH}"),
                None,
            );
        }
        Some(())
    }

    fn list(&mut self, elements: &[Element]) -> Option<Typed> {
        let mut nodes = Vec::with_capacity(elements.len());
        let mut kind: Option<Kind> = None;
        let mut sound = true;
        for element in elements {
            let Some(value) = self.check(&element.value) else {
                sound = false;
                continue;
            };
            let Some(item) = self.unwrapped(element.optional, &element.value, value.kind) else {
                sound = false;
                continue;
            };
            kind = Some(kind.map_or(item.clone(), |kind| kind.join(item)));
            nodes.push((element.optional, value.node));
        }
        let kind = Kind::List(Box::new(kind.unwrap_or(Kind::Dyn)));
        if !sound {
            return None;
        }
        let constants = nodes.iter().map(|(optional, node)| match node {
            Node::Constant(value) if !optional => Some(value.clone()),
            _ => None,
        });
        let constant = constants.collect::<Option<Vec<_>>>();
        Some(Typed {
            node: match constant {
                Some(constants) => Node::Constant(Val::List(constants.into_iter().collect())),
                None => Node::List(nodes.into()),
            },
            kind,
        })
    }

    fn map(&mut self, entries: &[Entry]) -> Option<Typed> {
        let mut nodes = Vec::with_capacity(entries.len());
        let mut kinds: Option<(Kind, Kind)> = None;
        let mut sound = true;
        for entry in entries {
            let (key, value) = (self.check(&entry.key), self.check(&entry.value));
            let (Some(key), Some(value)) = (key, value) else {
                sound = false;
                continue;
            };
            let is_key = matches!(
                key.kind,
                Kind::Dyn | Kind::Bool | Kind::Int | Kind::Uint | Kind::String
            );
            if !is_key && !self.names.unchecked {
                let message = format!(
                    "a map's key may be a string, int, uint or bool; this is {}",
                    key.kind.a()
                );
                sound = self
                    .problem(&entry.key.whole, message, None)
                    .unwrap_or(false);
                continue;
            }
            let Some(item) = self.unwrapped(entry.optional, &entry.value, value.kind) else {
                sound = false;
                continue;
            };
            let key_kind = if is_key { key.kind } else { Kind::Dyn };
            kinds = Some(match kinds {
                Some((keys, items)) => (keys.join(key_kind), items.join(item)),
                None => (key_kind, item),
            });
            nodes.push((entry.optional, key.node, value.node));
        }
        if !sound {
            return None;
        }
        let (key, value) = kinds.unwrap_or((Kind::Dyn, Kind::Dyn));
        let constants = nodes
            .iter()
            .map(|(optional, key, value)| match (key, value) {
                (Node::Constant(key), Node::Constant(value)) if !optional => {
                    Some((key.clone(), value.clone()))
                }
                _ => None,
            });
        let constant = constants
            .collect::<Option<Vec<_>>>()
            .and_then(|constants| Map::build(constants).ok());
        Some(Typed {
            node: constant.map_or_else(
                || Node::Map(nodes.into()),
                |map| Node::Constant(Val::Map(map)),
            ),
            kind: Kind::Map(Box::new(key), Box::new(value)),
        })
    }

    /// The kind of an element, which behind `?` must be an optional.
    fn unwrapped(&mut self, optional: bool, ast: &Ast, kind: Kind) -> Option<Kind> {
        match kind {
            kind if !optional => Some(kind),
            Kind::Optional(kind) => Some(*kind),
            Kind::Dyn => Some(Kind::Dyn),
            kind => self.problem(
                &ast.whole,
                format!("behind `?` stands an optional; this is {}", kind.a()),
                None,
            ),
        }
    }
}

/// A literal as a constant.
fn constant(literal: &Literal) -> Typed {
    let (value, kind) = match literal {
        Literal::Null => (Val::Null, Kind::Null),
        Literal::Bool(bit) => (Val::Bool(*bit), Kind::Bool),
        Literal::Int(number) => (Val::Int(*number), Kind::Int),
        Literal::Uint(number) => (Val::Uint(*number), Kind::Uint),
        Literal::Double(number) => (Val::Double(*number), Kind::Double),
        Literal::String(text) => (Val::String(Text::from(text.clone())), Kind::String),
        Literal::Bytes(bytes) => (Val::Bytes(Blob::from(bytes.clone())), Kind::Bytes),
    };
    Typed {
        node: Node::Constant(value),
        kind,
    }
}
