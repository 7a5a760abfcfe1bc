//! The forms that bind a name.

use super::{Checker, Typed};
use crate::node::{Loop, LoopKind, Node};
use crate::tree::{Ast, AstKind};
use crate::{Kind, ProblemKind};

/// Parts of a macro's body that make a step beside the turn itself.
const PARTS: usize = 8;

impl Checker<'_> {
    /// A macro over a list or map; `None` when the name is not one with so many arguments.
    pub(super) fn macro_call(
        &mut self,
        ast: &Ast,
        target: &Ast,
        name: &str,
        args: &[Ast],
    ) -> Option<Option<Typed>> {
        let (kind, names, filter, body) = match (name, args) {
            ("all", [x, p]) => (LoopKind::All, vec![x], None, Some(p)),
            ("exists", [x, p]) => (LoopKind::Exists, vec![x], None, Some(p)),
            ("exists_one" | "existsOne", [x, p]) => (LoopKind::ExistsOne, vec![x], None, Some(p)),
            ("map", [x, t]) => (LoopKind::List, vec![x], None, Some(t)),
            ("map", [x, p, t]) => (LoopKind::List, vec![x], Some(p), Some(t)),
            ("filter", [x, p]) => (LoopKind::List, vec![x], Some(p), None),
            ("sortBy", [x, t]) => (LoopKind::Sort, vec![x], None, Some(t)),
            ("all", [i, v, p]) => (LoopKind::All, vec![i, v], None, Some(p)),
            ("exists", [i, v, p]) => (LoopKind::Exists, vec![i, v], None, Some(p)),
            ("exists_one" | "existsOne", [i, v, p]) => {
                (LoopKind::ExistsOne, vec![i, v], None, Some(p))
            }
            ("transformList", [i, v, t]) => (LoopKind::List, vec![i, v], None, Some(t)),
            ("transformList", [i, v, p, t]) => (LoopKind::List, vec![i, v], Some(p), Some(t)),
            ("transformMap", [k, v, t]) => (LoopKind::Map, vec![k, v], None, Some(t)),
            ("transformMap", [k, v, p, t]) => (LoopKind::Map, vec![k, v], Some(p), Some(t)),
            ("transformMapEntry", [k, v, t]) => (LoopKind::Entries, vec![k, v], None, Some(t)),
            ("transformMapEntry", [k, v, p, t]) => {
                (LoopKind::Entries, vec![k, v], Some(p), Some(t))
            }
            _ => return None,
        };
        Some(self.each(ast, target, kind, &names, filter, body))
    }

    fn each(
        &mut self,
        ast: &Ast,
        target: &Ast,
        kind: LoopKind,
        names: &[&Ast],
        filter: Option<&Ast>,
        body: Option<&Ast>,
    ) -> Option<Typed> {
        let pairs = names.len() == 2;
        let range = self.check(target);
        let mut bound = Vec::with_capacity(2);
        for name in names {
            bound.push(self.name_of(name)?);
        }
        if let [first, second] = &*bound
            && first == second
        {
            return self.problem_of(
                ProblemKind::Call,
                &names[1].whole,
                format!("`{second}` is bound twice"),
                None,
            );
        }
        let range = range?;
        let kinds = match (&range.kind, pairs) {
            (Kind::List(item), false) => vec![(**item).clone()],
            (Kind::List(item), true) => vec![Kind::Int, (**item).clone()],
            (Kind::Map(key, _), false) => vec![(**key).clone()],
            (Kind::Map(key, value), true) => vec![(**key).clone(), (**value).clone()],
            (Kind::Dyn, _) => vec![Kind::Dyn; names.len()],
            _ if self.names.unchecked => vec![Kind::Dyn; names.len()],
            (other, _) => {
                let help =
                    matches!(other, Kind::Optional(_)).then(|| "add `.orValue([])`".to_owned());
                let message = format!(
                    "`{}` goes over a list or a map; this is {}",
                    self.text(&ast.at),
                    other.a()
                );
                return self.problem(&target.whole, message, help);
            }
        };
        let depth = self.scope.len();
        self.scope
            .extend(bound.into_iter().zip(kinds.iter().cloned()));
        let decides = matches!(kind, LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne);
        let (known, checked) = (self.established.len(), self.checked);
        // Within one turn, what the filter tests is known to what is made.
        let filter = filter.map(|filter| self.truth(filter));
        let body = body.map(|body| match decides {
            true => self.truth(body).map(|node| Typed {
                node,
                kind: Kind::Bool,
            }),
            false => self.check(body),
        });
        self.established.truncate(known);
        self.scope.truncate(depth);
        let (filter, body) = (transpose(filter)?, transpose(body)?);
        let of = |kind: &Typed| Box::new(kind.kind.clone());
        let result = match (kind, &body) {
            (LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne, _) => Kind::Bool,
            (LoopKind::List, Some(body)) => Kind::List(of(body)),
            (LoopKind::List | LoopKind::Sort, _) => Kind::List(Box::new(kinds[0].clone())),
            (LoopKind::Map, Some(body)) => Kind::Map(Box::new(kinds[0].clone()), of(body)),
            (LoopKind::Entries, Some(body)) if matches!(body.kind, Kind::Map(..)) => {
                body.kind.clone()
            }
            _ => Kind::Map(Box::new(Kind::Dyn), Box::new(Kind::Dyn)),
        };
        let each = Loop {
            range: range.node,
            kind,
            pairs,
            steps: 1 + (self.checked - checked) / PARTS,
            filter,
            body: body.map(|body| body.node),
        };
        Some(Typed {
            node: Node::Loop(Box::new(each)),
            kind: result,
        })
    }

    /// A name that a macro binds.
    fn name_of(&mut self, ast: &Ast) -> Option<String> {
        match ast.as_name() {
            Some(name) if !name.starts_with('.') => Some(name.to_owned()),
            _ if matches!(&ast.kind, AstKind::Call { name, .. } if name == "iterVar" || name == "accuVar") => {
                self.problem_of(
                    ProblemKind::Unsupported,
                    &ast.whole,
                    "unsupported: names given by `cel.iterVar`, which is for optimizers",
                    None,
                )
            }
            _ => self.problem_of(
                ProblemKind::Call,
                &ast.whole,
                "here stands the name that the elements get",
                None,
            ),
        }
    }

    /// `cel.bind(name, value, body)`.
    pub(super) fn bind(&mut self, ast: &Ast, args: &[Ast]) -> Option<Typed> {
        let [name, value, body] = args else {
            return self.problem_of(
                ProblemKind::Call,
                &ast.at,
                "`cel.bind` takes a name, a value and an expression",
                None,
            );
        };
        let value = self.check(value);
        let (name, value) = (self.name_of(name)?, value?);
        self.scope.push((name, value.kind));
        let body = self.check(body);
        self.scope.pop();
        let body = body?;
        Some(Typed {
            node: Node::Bind(Box::new((value.node, body.node))),
            kind: body.kind,
        })
    }

    /// `x.optMap(v, expr)` and `x.optFlatMap(v, optional)`.
    pub(super) fn optional_map(
        &mut self,
        ast: &Ast,
        target: &Ast,
        name: &Ast,
        body: &Ast,
        flat: bool,
    ) -> Option<Typed> {
        let optional = self.check(target);
        let (name, optional) = (self.name_of(name)?, optional?);
        let inner = self.optional(ast, target, optional.kind)?;
        self.scope.push((name, inner));
        let mapped = self.check(body);
        self.scope.pop();
        let mapped = mapped?;
        let kind = match (flat, mapped.kind) {
            (false, kind) => Kind::Optional(Box::new(kind)),
            (true, kind @ (Kind::Optional(_) | Kind::Dyn)) => kind,
            (true, kind) => {
                let message = format!("`optFlatMap` makes an optional; this is {}", kind.a());
                return self.problem(
                    &body.whole,
                    message,
                    Some("`optMap` wraps what it is given".to_owned()),
                );
            }
        };
        let (optional, body) = (Box::new(optional.node), Box::new(mapped.node));
        Some(Typed {
            node: Node::OptionalMap {
                optional,
                body,
                flat,
            },
            kind,
        })
    }

    /// `x.or(other)` and `x.orValue(other)`.
    pub(super) fn or_else(
        &mut self,
        ast: &Ast,
        target: &Ast,
        other: &Ast,
        unwrap: bool,
    ) -> Option<Typed> {
        let (optional, alternative) = (self.check(target), self.check(other));
        let (optional, alternative) = (optional?, alternative?);
        let inner = self.optional(ast, target, optional.kind)?;
        let wanted = if unwrap {
            inner
        } else {
            Kind::Optional(Box::new(inner))
        };
        if !wanted.comparable(&alternative.kind) && !self.names.unchecked {
            let message = format!(
                "in its place must stand {}; this is {}",
                wanted.a(),
                alternative.kind.a()
            );
            return self.problem(&other.whole, message, None);
        }
        let kind = wanted.join(alternative.kind);
        let (optional, other) = (Box::new(optional.node), Box::new(alternative.node));
        Some(Typed {
            node: Node::OrElse {
                optional,
                other,
                unwrap,
            },
            kind,
        })
    }

    /// What is in an optional.
    fn optional(&mut self, ast: &Ast, target: &Ast, kind: Kind) -> Option<Kind> {
        match kind {
            Kind::Optional(inner) => Some(*inner),
            Kind::Dyn => Some(Kind::Dyn),
            _ if self.names.unchecked => Some(Kind::Dyn),
            kind => {
                let help = "an optional is made by `a.?b` or `m[?\"k\"]`".to_owned();
                let message = format!(
                    "`{}` is called on an optional; this is {}",
                    self.text(&ast.at),
                    kind.a()
                );
                self.problem(&target.whole, message, Some(help))
            }
        }
    }
}

fn transpose<T>(checked: Option<Option<T>>) -> Option<Option<T>> {
    match checked {
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
        None => Some(None),
    }
}
