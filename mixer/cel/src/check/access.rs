//! Fields and keys: what is read off a name, and what stands guard before the read.

use mixer_attributes::vocabulary;

use super::{Checker, Typed, constant};
use crate::expression::KeyPath;
use crate::node::{AttributeRead, KeyRead, Node};
use crate::tree::{Ast, AstKind};
use crate::{Kind, ProblemKind, Read};

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
    pub(super) optional: String,
    /// Nothing beyond here is a key.
    pub(super) closed: bool,
}

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
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        let member = self.step(ast);
        self.depth -= 1;
        member
    }

    fn step(&mut self, ast: &Ast) -> Option<Member> {
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
            (Node::Attribute(map), Some(text)) if !self.is_lower_case(&map, key, text) => {
                return None;
            }
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

    /// Whether a literal key can be one of the map's: header names are lower case.
    pub(super) fn is_lower_case(&mut self, map: &AttributeRead, key: &Ast, text: &str) -> bool {
        let headers = [vocabulary::REQUEST_HEADERS, vocabulary::RESPONSE_HEADERS];
        let fine =
            !headers.contains(&map.attribute) || !text.contains(|c: char| c.is_ascii_uppercase());
        if !fine {
            let help = format!("write `{}`", text.to_ascii_lowercase());
            let message = "header names are lower case here";
            self.problem_of::<()>(ProblemKind::Literal, &key.whole, message, Some(help));
            // As it is written, quotes included, unless there are escapes.
            let written = self.text(&key.whole);
            let replacement = (!written.contains('\\')).then(|| written.to_ascii_lowercase());
            self.replace_by::<()>(replacement);
        }
        fine
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
            return self.problem_of(ProblemKind::Call, &ast.at, "`has` takes one argument", None);
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
            return self.problem_of(
                ProblemKind::Call,
                &arg.whole,
                "`has` asks for a field: `has(a.b)`",
                help,
            );
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
