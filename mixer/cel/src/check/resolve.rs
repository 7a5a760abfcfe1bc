//! Names: what a dotted name stands for, and what a wrong one was meant to be.

use std::ops::Range;
use std::sync::Arc;

use mixer_attributes::vocabulary::{Attribute, Producer};

use super::access::{Keys, Member};
use super::names::closest;
use super::{Checker, Typed};
use crate::node::{AttributeRead, Node};
use crate::tree::{Ast, AstKind};
use crate::{Kind, ProblemKind, Read, Val};

const TYPES: [(&str, &str); 17] = [
    ("bool", "bool"),
    ("bytes", "bytes"),
    ("double", "double"),
    ("int", "int"),
    ("list", "list"),
    ("map", "map"),
    ("null_type", "null_type"),
    ("string", "string"),
    ("type", "type"),
    ("uint", "uint"),
    ("optional_type", "optional_type"),
    ("google.protobuf.Timestamp", "google.protobuf.Timestamp"),
    ("google.protobuf.Duration", "google.protobuf.Duration"),
    ("net.IP", "net.IP"),
    ("net.CIDR", "net.CIDR"),
    ("timestamp", "google.protobuf.Timestamp"),
    ("duration", "google.protobuf.Duration"),
];

impl Checker<'_> {
    /// A name as a whole: of a macro, a variable, an attribute or a type. `None` when `ast` is no name, or a name with fields
    /// behind it.
    pub(super) fn named(&mut self, ast: &Ast) -> Option<Option<Member>> {
        let (name, optional) = dotted(ast)?;
        let bare = name.trim_start_matches('.');
        let absolute = bare.len() < name.len();
        let root = bare.split('.').next().unwrap_or_default();
        let local = |checker: &Self| {
            checker
                .scope
                .iter()
                .rev()
                .position(|(held, _)| held == root)
        };
        if let Some(index) = local(self).filter(|_| !absolute) {
            if root.len() < bare.len() {
                return None;
            }
            let kind = self.scope[self.scope.len() - 1 - index].1.clone();
            return Some(Some(Member {
                typed: Typed {
                    node: Node::Local(index),
                    kind,
                },
                keys: None,
            }));
        }
        for candidate in self.candidates(bare, absolute) {
            if let Some(index) = self
                .names
                .variables
                .iter()
                .position(|(held, _)| **held == *candidate)
            {
                let (name, kind) = self.names.variables[index].clone();
                let typed = Typed {
                    node: Node::Variable(index, name),
                    kind,
                };
                return Some(Some(Member {
                    typed: found(typed, optional),
                    keys: None,
                }));
            }
            if let Some(attribute) = self.vocabulary.by_name(&candidate)
                && !self.is_below_variable(&candidate)
            {
                let attribute = attribute.clone();
                return Some(self.attribute(&ast.whole, &attribute, optional));
            }
            if let Some((_, name)) = TYPES.iter().find(|(name, _)| *name == candidate) {
                let typed = Typed {
                    node: Node::Constant(Val::Type(name)),
                    kind: Kind::Type,
                };
                return Some(Some(Member { typed, keys: None }));
            }
        }
        // A name with fields is looked up again without the last; a name with nothing known before it is wrong as a whole.
        let mut prefix = bare;
        while let Some((shorter, _)) = prefix.rsplit_once('.') {
            prefix = shorter;
            let known = self
                .candidates(prefix, absolute)
                .iter()
                .any(|candidate| self.is_known(candidate));
            if known {
                return None;
            }
        }
        Some(self.unknown(ast, bare))
    }

    /// Whether a variable stands for the first parts of a name: it hides the attributes that begin with it.
    fn is_below_variable(&self, name: &str) -> bool {
        self.names.variables.iter().any(|(held, _)| {
            name.strip_prefix(&**held)
                .is_some_and(|rest| rest.starts_with('.'))
        })
    }

    fn is_known(&self, name: &str) -> bool {
        self.vocabulary.by_name(name).is_some()
            || self.names.variables.iter().any(|(held, _)| **held == *name)
            || TYPES.iter().any(|(held, _)| *held == name)
    }

    /// A name under the container and everything around it, innermost first.
    fn candidates(&self, name: &str, absolute: bool) -> Vec<String> {
        let mut candidates = Vec::new();
        let mut container = if absolute {
            ""
        } else {
            self.names.container.as_str()
        };
        while !container.is_empty() {
            candidates.push(format!("{container}.{name}"));
            container = container.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
        candidates.push(name.to_owned());
        candidates
    }

    fn unknown(&mut self, ast: &Ast, name: &str) -> Option<Member> {
        if self.names.unchecked {
            let typed = self.unbound(name);
            return Some(Member { typed, keys: None });
        }
        let mut parts = name.split('.');
        let first = parts.next().unwrap_or_default();
        // What follows the second dot is more likely a key than a part of the name.
        let (short, whole) = match parts.next() {
            Some(second) => (format!("{first}.{second}"), dotted_start(ast, 2)),
            None => (first.to_owned(), ast.whole.clone()),
        };
        let names: Vec<&str> = self
            .vocabulary
            .iter()
            .map(|attribute| attribute.name.as_str())
            .collect();
        let variables = self.names.variables.iter().map(|(name, _)| &**name);
        let scope = self.scope.iter().map(|(name, _)| name.as_str());
        let all = || {
            names
                .iter()
                .copied()
                .chain(variables.clone())
                .chain(scope.clone())
        };
        let meant = closest(name, all()).or_else(|| closest(&short, all()));
        let members: Vec<&str> = names
            .iter()
            .filter_map(|known| known.strip_prefix(first)?.strip_prefix('.'))
            .take(20)
            .collect();
        let help = match meant {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None if !members.is_empty() => Some(format!("`{first}` has {}", members.join(", "))),
            None if short == first => Some("text stands in quotes".to_owned()),
            None => None,
        };
        let clear = closest(&short, all()).filter(|meant| {
            let others = all().filter(|name| name != meant);
            closest(&short, others).is_none()
        });
        let replacement = clear.map(str::to_owned);
        self.problem_of::<()>(
            ProblemKind::UnknownName,
            &whole,
            format!("unknown attribute `{short}`"),
            help,
        );
        self.replace_by(replacement.filter(|_| short.contains('.')))
    }

    /// Unchecked, what nobody declared is an error only where it is evaluated.
    pub(super) fn unbound(&self, name: &str) -> Typed {
        Typed {
            node: Node::Variable(usize::MAX, name.into()),
            kind: Kind::Dyn,
        }
    }

    fn attribute(
        &mut self,
        span: &Range<usize>,
        attribute: &Attribute,
        optional: bool,
    ) -> Option<Member> {
        if attribute.producer == Producer::Report && self.phase == Producer::Check {
            let message = format!(
                "`{}` is not known before the request is over",
                attribute.name
            );
            return self.problem_of(
                ProblemKind::TooLate,
                span,
                message,
                Some("only telemetry can read it".to_owned()),
            );
        }
        let kind = Kind::from(attribute.kind);
        let keys = Keys {
            steps: vec![attribute.name.clone()],
            optional: attribute.name.clone(),
            closed: false,
        };
        let node = match self.names.definitions.get(&attribute.id) {
            Some(definition) => {
                self.descend(span, definition.depth)?;
                for read in &definition.reads {
                    let read = Read {
                        span: span.clone(),
                        ..read.clone()
                    };
                    if !self
                        .reads
                        .iter()
                        .any(|held| held.attribute == read.attribute && held.key == read.key)
                    {
                        self.reads.push(read);
                    }
                }
                match &definition.node {
                    // So that what is made of literals (sets, patterns, the index) is made of named ones too.
                    Node::Constant(value) => Node::Constant(value.clone()),
                    _ => Node::Defined(Arc::clone(definition)),
                }
            }
            None => {
                self.reads.push(Read {
                    attribute: attribute.id,
                    key: None,
                    span: span.clone(),
                });
                Node::Attribute(Box::new(AttributeRead {
                    attribute: attribute.id,
                    reference: self.references.intern(attribute.id, None),
                    name: attribute.name.as_str().into(),
                }))
            }
        };
        let keys = matches!(kind, Kind::Map(..)).then_some(keys);
        Some(Member {
            typed: found(Typed { node, kind }, optional),
            keys: keys.filter(|_| !optional),
        })
    }
}

fn found(typed: Typed, optional: bool) -> Typed {
    if !optional {
        return typed;
    }
    Typed {
        node: Node::Find(Box::new(typed.node)),
        kind: Kind::Optional(Box::new(typed.kind)),
    }
}

/// A name with dots, and whether one of them is `.?`.
pub(crate) fn dotted(ast: &Ast) -> Option<(String, bool)> {
    match &ast.kind {
        AstKind::Ident(name) => Some((name.clone(), false)),
        AstKind::Select {
            operand,
            field,
            optional,
        } => {
            let (mut name, before) = dotted(operand)?;
            name.push('.');
            name.push_str(field);
            Some((name, before || *optional))
        }
        _ => None,
    }
}

/// The first `parts` parts of a name with dots.
fn dotted_start(ast: &Ast, parts: usize) -> Range<usize> {
    let mut ast = ast;
    while dotted(ast)
        .is_some_and(|(name, _)| name.trim_start_matches('.').split('.').count() > parts)
    {
        let AstKind::Select { operand, .. } = &ast.kind else {
            break;
        };
        ast = operand;
    }
    ast.whole.clone()
}
