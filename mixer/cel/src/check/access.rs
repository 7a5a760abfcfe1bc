//! Names, fields and keys: what they mean and what they read.

use std::ops::Range;
use std::sync::Arc;

use mixer_attributes::vocabulary::{Attribute, Producer};

use super::names::closest;
use super::{Checker, Typed, constant};
use crate::expression::KeyPath;
use crate::node::{AttributeRead, KeyRead, Node};
use crate::tree::{Ast, AstKind};
use crate::{Kind, Read, Val};

/// A subtree that reads, and the keys on its way.
pub(super) struct Member {
    pub(super) typed: Typed,
    /// The attribute and the keys read off it, when it reads an attribute all the way.
    pub(super) keys: Option<Keys>,
}

/// The way of a read: the attribute's name, then its keys.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) steps: Vec<String>,
    /// The same read with every key optional.
    optional: String,
    /// Nothing beyond here is a key.
    closed: bool,
}

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
    /// A name with what is read off it; keys read with no test before them are noted.
    pub(super) fn path(&mut self, ast: &Ast) -> Option<Typed> {
        let known = self.established.len();
        let member = self.forgetting(known, |checker| checker.member(ast))?;
        if let Some(keys) = &member.keys {
            let substitute = if matches!(member.typed.kind, Kind::List(_)) {
                "[]"
            } else {
                "\"\""
            };
            let path = self.key_path(ast, keys, substitute);
            if keys.steps.len() > 1 && !path.is_in(&self.established) {
                self.unguarded.push(path);
            }
        }
        Some(member.typed)
    }

    /// A read by its keys, and how to write it so that an absent key is `substitute`.
    pub(super) fn key_path(&self, ast: &Ast, keys: &Keys, substitute: &str) -> KeyPath {
        KeyPath {
            steps: keys.steps.clone(),
            span: ast.whole.clone(),
            text: self.text(&ast.whole).to_owned(),
            optional: format!("{}.orValue({substitute})", keys.optional),
        }
    }

    /// The same without noting: for tests of presence, and for what stands before the next dot.
    pub(super) fn member(&mut self, ast: &Ast) -> Option<Member> {
        if let Some(named) = self.named(ast) {
            return named;
        }
        match &ast.kind {
            AstKind::Select {
                operand,
                field,
                optional,
            } => {
                let key = Ast {
                    at: ast.at.clone(),
                    whole: ast.at.clone(),
                    kind: AstKind::Literal(crate::tree::Literal::String(field.clone())),
                };
                self.key(ast, operand, &key, *optional, true)
            }
            AstKind::Index {
                operand,
                index,
                optional,
            } => self.key(ast, operand, index, *optional, false),
            _ => self.check(ast).map(|typed| Member { typed, keys: None }),
        }
    }

    /// A name as a whole: of a macro, a variable, an attribute or a type. `None` when `ast` is no name, or a name with fields
    /// behind it.
    fn named(&mut self, ast: &Ast) -> Option<Option<Member>> {
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
            if let Some(attribute) = self.vocabulary.by_name(&candidate) {
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

    fn unknown<T>(&mut self, ast: &Ast, name: &str) -> Option<T> {
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
        self.problem(&whole, format!("unknown attribute `{short}`"), help)
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
            return self.problem(span, message, Some("only telemetry can read it".to_owned()));
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
                Node::Defined(Arc::clone(definition))
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

    /// `operand[key]`, `operand.key` and their optional forms.
    fn key(
        &mut self,
        ast: &Ast,
        operand: &Ast,
        key: &Ast,
        optional: bool,
        field: bool,
    ) -> Option<Member> {
        let member = self.member(operand);
        let index = if field {
            key.as_text()
                .map(|text| constant(&crate::tree::Literal::String(text.to_owned())))
        } else {
            self.check(key)
        };
        let (member, index) = (member?, index?);
        let kind = self.key_kind(ast, operand, &member.typed.kind, key, &index.kind, field)?;
        // Behind an optional everything is optional.
        let (base, soft) = match member.typed.node {
            Node::Find(path) if is_path(&path) => (*path, true),
            node => (node, optional),
        };
        let node = match (base, key.as_text()) {
            (Node::Attribute(map), Some(text)) if matches!(self.kind_of(&map), Kind::Map(..)) => {
                self.key_is_read(&map, Some(text), operand, ast);
                Node::Key(Box::new(self.key_read(&map, text)))
            }
            (Node::Attribute(map), None) if matches!(self.kind_of(&map), Kind::Map(..)) => {
                Node::DynamicKey(Box::new((*map, index.node)))
            }
            (base, _) => Node::Index(Box::new((base, index.node))),
        };
        let node = if soft {
            Node::Find(Box::new(node))
        } else {
            node
        };
        let kind = match kind {
            Kind::Optional(kind) => Kind::Optional(kind),
            kind if soft => Kind::Optional(Box::new(kind)),
            kind => kind,
        };
        let keys = member
            .keys
            .filter(|_| !soft)
            .map(|keys| self.further(keys, ast, key, &index.kind, field));
        Some(Member {
            typed: Typed { node, kind },
            keys,
        })
    }

    /// The way on by one key.
    fn further(&self, mut keys: Keys, ast: &Ast, key: &Ast, kind: &Kind, field: bool) -> Keys {
        if keys.closed || !matches!(kind, Kind::String | Kind::Dyn) {
            keys.closed = true;
            keys.optional
                .push_str(self.text(&(ast.whole.end.min(key.whole.start)..ast.whole.end)));
            return keys;
        }
        let text = self.text(&key.whole);
        let step = match key.as_text() {
            Some(text) => format!("={text}"),
            None => format!("~{text}"),
        };
        keys.steps.push(step);
        keys.optional.push_str(&if field {
            format!(".?{text}")
        } else {
            format!("[?{text}]")
        });
        keys
    }

    /// What was noted as a read of the map was one of a key.
    pub(super) fn key_is_read(
        &mut self,
        map: &AttributeRead,
        key: Option<&str>,
        operand: &Ast,
        ast: &Ast,
    ) {
        let (attribute, whole) = (map.attribute, &operand.whole);
        self.reads.retain(|read| {
            read.attribute != attribute || read.key.is_some() || read.span != *whole
        });
        self.reads.push(Read {
            attribute,
            key: key.map(str::to_owned),
            span: ast.whole.clone(),
        });
    }

    pub(super) fn key_read(&mut self, map: &AttributeRead, key: &str) -> KeyRead {
        KeyRead {
            attribute: map.attribute,
            reference: self.references.intern(map.attribute, Some(key)),
            name: map.name.clone(),
            key: key.into(),
            text: format!("{}[{key:?}]", map.name).into(),
        }
    }

    pub(super) fn kind_of(&self, read: &AttributeRead) -> Kind {
        self.vocabulary
            .by_id(read.attribute)
            .map_or(Kind::Dyn, |attribute| Kind::from(attribute.kind))
    }

    /// The type of what is at a key.
    fn key_kind(
        &mut self,
        ast: &Ast,
        operand: &Ast,
        kind: &Kind,
        key: &Ast,
        index: &Kind,
        field: bool,
    ) -> Option<Kind> {
        match kind {
            Kind::Dyn => Some(Kind::Dyn),
            Kind::Optional(inner) => {
                let inner = self.key_kind(ast, operand, inner, key, index, field)?;
                Some(Kind::Optional(Box::new(inner)))
            }
            Kind::Map(keys, value) if keys.comparable(index) || self.names.unchecked => {
                Some((**value).clone())
            }
            Kind::Map(keys, _) => {
                let message = format!(
                    "the keys of `{}` are {keys}, this is {}",
                    self.text(&operand.whole),
                    index.a()
                );
                self.problem(&key.whole, message, None)
            }
            Kind::List(item)
                if !field
                    && (*index == Kind::Int || *index == Kind::Dyn || self.names.unchecked) =>
            {
                Some((**item).clone())
            }
            Kind::List(_) if !field => self.problem(
                &key.whole,
                format!("a list is indexed by an int, this is {}", index.a()),
                None,
            ),
            _ if self.names.unchecked => Some(Kind::Dyn),
            kind => {
                let text = self.text(&operand.whole);
                let what = if field {
                    "has no fields"
                } else {
                    "cannot be indexed"
                };
                let method = field
                    .then(|| crate::functions::Function::named(self.text(&ast.at), true))
                    .flatten();
                let help =
                    method.map(|function| format!("to call it, write `.{}(..)`", function.name()));
                self.problem(
                    &ast.at,
                    format!("`{text}` is {} and {what}", kind.a()),
                    help,
                )
            }
        }
    }

    /// `has(path)`.
    pub(super) fn has(&mut self, ast: &Ast, args: &[Ast]) -> Option<Typed> {
        let [arg] = args else {
            return self.problem(&ast.at, "`has` takes one argument", None);
        };
        let AstKind::Select { .. } = &arg.kind else {
            let help = match &arg.kind {
                AstKind::Index { operand, index, .. } => Some(format!(
                    "write `{} in {}`",
                    self.text(&index.whole),
                    self.text(&operand.whole)
                )),
                _ => None,
            };
            return self.problem(&arg.whole, "`has` asks for a field: `has(a.b)`", help);
        };
        let member = self.member(arg)?;
        if let Some(keys) = member.keys {
            self.established.push(keys.steps);
        }
        let path = match member.typed.node {
            Node::Find(path) => path,
            node => Box::new(node),
        };
        Some(Typed {
            node: Node::Has(path),
            kind: Kind::Bool,
        })
    }

    /// The way of a test `key in container`, which then holds.
    pub(super) fn established_by(&self, keys: Keys, key: &Ast) -> Vec<String> {
        let mut steps = keys.steps;
        steps.push(match key.as_text() {
            Some(text) => format!("={text}"),
            None => format!("~{}", self.text(&key.whole)),
        });
        steps
    }
}

/// Whether absence on the way of a node is absence and no mistake.
pub(super) fn is_path(node: &Node) -> bool {
    match node {
        Node::Attribute(_) | Node::Key(_) | Node::DynamicKey(_) | Node::Defined(_) => true,
        Node::Index(parts) => is_path(&parts.0),
        _ => false,
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
