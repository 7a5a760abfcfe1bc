//! Operators: which types they take, and the nodes made for their common forms.

use super::access::Keys;
use super::{Checker, Typed};
use crate::functions::parse_ip;
use crate::node::{Arithmetic, Comparison, Node, TextTest};
use crate::tree::{Ast, AstKind, Operator};
use crate::val::List;
use crate::{Kind, ProblemKind, Val};

impl Checker<'_> {
    /// A term of a condition.
    pub(super) fn truth(&mut self, ast: &Ast) -> Option<Node> {
        let typed = self.check(ast)?;
        if Kind::Bool.admits(&typed.kind) || self.names.unchecked {
            return Some(typed.node);
        }
        let text = self.text(&ast.whole);
        let help = match typed.kind {
            Kind::String => Some(format!("compare it: `{text} == \"..\"`")),
            Kind::Int | Kind::Uint => Some(format!("compare it: `{text} != 0`")),
            Kind::Optional(_) => Some(format!("`{text}.orValue(false)`")),
            Kind::List(_) | Kind::Map(..) => Some(format!("`size({text}) > 0`")),
            _ => None,
        };
        self.problem(
            &ast.whole,
            format!("`{text}` is {}, not a bool", typed.kind.a()),
            help,
        )
    }

    /// What a term establishes is known in the terms behind it.
    pub(super) fn and(&mut self, terms: &[Ast]) -> Option<Typed> {
        let nodes: Vec<Option<Node>> = terms.iter().map(|term| self.truth(term)).collect();
        let nodes: Option<Vec<Node>> = nodes.into_iter().collect();
        Some(Typed {
            node: Node::And(nodes?.into()),
            kind: Kind::Bool,
        })
    }

    /// Behind `!has(x) ||` and `!(k in m) ||` the key is there: else the first term has decided.
    pub(super) fn or(&mut self, terms: &[Ast]) -> Option<Typed> {
        let mut nodes = Vec::with_capacity(terms.len());
        for term in terms {
            nodes.push(match &term.kind {
                AstKind::Not(operand) => self.truth(operand).map(|node| Node::Not(Box::new(node))),
                _ => {
                    let known = self.established.len();
                    self.forgetting(known, |checker| checker.truth(term))
                }
            });
        }
        let mut alternatives: Vec<Node> = Vec::with_capacity(nodes.len());
        for node in nodes.into_iter().collect::<Option<Vec<Node>>>()? {
            match alternatives.pop() {
                Some(before) => alternatives.extend(either(before, node)),
                None => alternatives.push(node),
            }
        }
        let node = match alternatives.pop() {
            Some(only) if alternatives.is_empty() => only,
            last => {
                alternatives.extend(last);
                Node::Or(alternatives.into())
            }
        };
        Some(Typed {
            node,
            kind: Kind::Bool,
        })
    }

    pub(super) fn not(&mut self, operand: &Ast) -> Option<Typed> {
        let node = self.truth(operand)?;
        Some(Typed {
            node: Node::Not(Box::new(node)),
            kind: Kind::Bool,
        })
    }

    pub(super) fn negate(&mut self, ast: &Ast, operand: &Ast) -> Option<Typed> {
        let typed = self.check(operand)?;
        if !matches!(typed.kind, Kind::Int | Kind::Double | Kind::Dyn) && !self.names.unchecked {
            return self.problem(
                &ast.at,
                format!("`-` takes an int or a double; this is {}", typed.kind.a()),
                None,
            );
        }
        Some(Typed {
            node: Node::Negate(Box::new(typed.node)),
            kind: typed.kind,
        })
    }

    pub(super) fn conditional(&mut self, ast: &Ast, parts: &[Ast; 3]) -> Option<Typed> {
        let [condition, then, otherwise] = parts;
        let known = self.established.len();
        let condition = self.truth(condition);
        let then = self.check(then);
        self.established.truncate(known);
        let (condition, then, otherwise) = (condition?, then?, self.check(otherwise)?);
        if !then.kind.comparable(&otherwise.kind) && !self.names.unchecked {
            let message = format!(
                "one branch is {}, the other {}",
                then.kind.a(),
                otherwise.kind.a()
            );
            return self.problem(
                &ast.at,
                message,
                Some("both branches need the same type".to_owned()),
            );
        }
        let kind = then.kind.join(otherwise.kind);
        Some(Typed {
            node: Node::Conditional(Box::new([condition, then.node, otherwise.node])),
            kind,
        })
    }

    pub(super) fn binary(
        &mut self,
        ast: &Ast,
        operator: Operator,
        sides: &[Ast; 2],
    ) -> Option<Typed> {
        let (left, right) = (self.check(&sides[0]), self.check(&sides[1]));
        let (left, right) = (left?, right?);
        match operator {
            Operator::Equal | Operator::NotEqual => {
                let node = self.equality(ast, sides, left, right)?;
                let node = match (operator, node) {
                    (Operator::Equal, node) => node,
                    (_, Node::Equal(sides)) => Node::NotEqual(sides),
                    (_, node) => Node::Not(Box::new(node)),
                };
                Some(Typed {
                    node,
                    kind: Kind::Bool,
                })
            }
            Operator::Less => self.order(ast, Comparison::Less, left, right),
            Operator::LessEqual => self.order(ast, Comparison::LessEqual, left, right),
            Operator::Greater => self.order(ast, Comparison::Greater, left, right),
            Operator::GreaterEqual => self.order(ast, Comparison::GreaterEqual, left, right),
            Operator::Add => self.arithmetic(ast, Arithmetic::Add, left, right),
            Operator::Subtract => self.arithmetic(ast, Arithmetic::Subtract, left, right),
            Operator::Multiply => self.arithmetic(ast, Arithmetic::Multiply, left, right),
            Operator::Divide => self.arithmetic(ast, Arithmetic::Divide, left, right),
            Operator::Modulo | Operator::In => {
                self.arithmetic(ast, Arithmetic::Modulo, left, right)
            }
        }
    }

    fn equality(&mut self, ast: &Ast, sides: &[Ast; 2], left: Typed, right: Typed) -> Option<Node> {
        let left = self.as_address(&sides[0], left, &right.kind)?;
        let right = self.as_address(&sides[1], right, &left.kind)?;
        if !left.kind.comparable(&right.kind) && !self.names.unchecked {
            let null = left.kind == Kind::Null || right.kind == Kind::Null;
            let help = match (&left.kind, &right.kind) {
                _ if null => {
                    let other = if left.kind == Kind::Null {
                        &sides[1]
                    } else {
                        &sides[0]
                    };
                    Some(format!(
                        "nothing known is ever null; `has({})` asks whether it is there",
                        self.text(&other.whole)
                    ))
                }
                (Kind::Optional(_), _) => Some(format!(
                    "add `.orValue(..)` to `{}`",
                    self.text(&sides[0].whole)
                )),
                (Kind::Ip, Kind::String) | (Kind::String, Kind::Ip) => {
                    Some("an address compares with `ip(..)` or a literal address".to_owned())
                }
                _ => None,
            };
            let message = format!("{} is never equal to {}", left.kind.a(), right.kind.a());
            return self.problem(&ast.at, message, help);
        }
        Some(match (left.node, right.node) {
            (node, Node::Constant(Val::String(text)))
            | (Node::Constant(Val::String(text)), node) => {
                Node::Text(Box::new(node), TextTest::Is((*text).into()))
            }
            (left, right) => Node::Equal(Box::new((left, right))),
        })
    }

    /// A literal string beside an address is an address.
    fn as_address(&mut self, ast: &Ast, typed: Typed, beside: &Kind) -> Option<Typed> {
        match (&typed.kind, ast.as_text()) {
            (Kind::String, Some(text)) if *beside == Kind::Ip => match parse_ip(text) {
                Ok(address) => Some(Typed {
                    node: Node::Constant(Val::Ip(address)),
                    kind: Kind::Ip,
                }),
                Err(_) => {
                    let help = text
                        .contains('/')
                        .then(|| format!("for a network: `cidr(\"{text}\").containsIP(..)`"));
                    self.problem_of(
                        ProblemKind::Literal,
                        &ast.whole,
                        format!("\"{text}\" is no IP address"),
                        help,
                    )
                }
            },
            _ => Some(typed),
        }
    }

    fn order(
        &mut self,
        ast: &Ast,
        comparison: Comparison,
        left: Typed,
        right: Typed,
    ) -> Option<Typed> {
        let ordered = |kind: &Kind| {
            kind.is_number()
                || matches!(
                    kind,
                    Kind::Dyn
                        | Kind::Bool
                        | Kind::String
                        | Kind::Bytes
                        | Kind::Timestamp
                        | Kind::Duration
                )
        };
        if (!ordered(&left.kind) || !ordered(&right.kind) || !left.kind.comparable(&right.kind))
            && !self.names.unchecked
        {
            return self.mismatch(ast, &left.kind, &right.kind);
        }
        Some(Typed {
            node: Node::Order(comparison, Box::new((left.node, right.node))),
            kind: Kind::Bool,
        })
    }

    fn mismatch<T>(&mut self, ast: &Ast, left: &Kind, right: &Kind) -> Option<T> {
        let sign = self.text(&ast.at);
        let help = match (left, right) {
            (Kind::String, Kind::Int | Kind::Uint | Kind::Double) if sign == "+" => {
                Some("`string(..)` makes text of a number".to_owned())
            }
            (Kind::String, right) if right.is_number() => {
                Some("`int(..)` reads a number from text".to_owned())
            }
            (left, right) if left.is_number() && right.is_number() => Some(format!(
                "convert one of them: `{left}(..)` or `{right}(..)`"
            )),
            (Kind::Optional(_), _) | (_, Kind::Optional(_)) => {
                Some("add `.orValue(..)`".to_owned())
            }
            _ => None,
        };
        self.problem(
            &ast.at,
            format!("`{sign}` does not take {} and {}", left.a(), right.a()),
            help,
        )
    }

    fn arithmetic(
        &mut self,
        ast: &Ast,
        operator: Arithmetic,
        left: Typed,
        right: Typed,
    ) -> Option<Typed> {
        let kind = match (operator, &left.kind, &right.kind) {
            (_, Kind::Int, Kind::Int) => Kind::Int,
            (_, Kind::Uint, Kind::Uint) => Kind::Uint,
            (Arithmetic::Modulo, Kind::Double, Kind::Double) => {
                return self.mismatch(ast, &left.kind, &right.kind);
            }
            (_, Kind::Double, Kind::Double) => Kind::Double,
            (Arithmetic::Add, Kind::String, Kind::String) => Kind::String,
            (Arithmetic::Add, Kind::Bytes, Kind::Bytes) => Kind::Bytes,
            (Arithmetic::Add, Kind::List(_), Kind::List(_)) => {
                left.kind.clone().join(right.kind.clone())
            }
            (Arithmetic::Add | Arithmetic::Subtract, Kind::Duration, Kind::Duration) => {
                Kind::Duration
            }
            (Arithmetic::Add | Arithmetic::Subtract, Kind::Timestamp, Kind::Duration) => {
                Kind::Timestamp
            }
            (Arithmetic::Add, Kind::Duration, Kind::Timestamp) => Kind::Timestamp,
            (Arithmetic::Subtract, Kind::Timestamp, Kind::Timestamp) => Kind::Duration,
            (_, Kind::Dyn, _) | (_, _, Kind::Dyn) => Kind::Dyn,
            _ if self.names.unchecked => Kind::Dyn,
            _ => return self.mismatch(ast, &left.kind, &right.kind),
        };
        // What a dyn side leaves open, the other side settles where only one result is possible.
        let kind = match (operator, kind, &left.kind, &right.kind) {
            (_, Kind::Dyn, Kind::Dyn, other) | (_, Kind::Dyn, other, Kind::Dyn)
                if other.is_number() || matches!(other, Kind::String | Kind::Bytes) =>
            {
                other.clone()
            }
            (_, kind, _, _) => kind,
        };
        Some(Typed {
            node: Node::Arithmetic(operator, Box::new((left.node, right.node))),
            kind,
        })
    }

    /// `item in container`.
    pub(super) fn contained(&mut self, ast: &Ast, item: &Ast, container: &Ast) -> Option<Typed> {
        let known = self.established.len();
        let left = self.forgetting(known, |checker| checker.check(item));
        let member = self.forgetting(known, |checker| match container.kind {
            AstKind::Ident(_) | AstKind::Select { .. } | AstKind::Index { .. } => {
                checker.member(container)
            }
            _ => checker
                .check(container)
                .map(|typed| super::access::Member { typed, keys: None }),
        });
        let (left, member) = (left?, member?);
        self.note_container(container, member.keys.as_ref());
        let right = member.typed;
        let node = match (&left.kind, &right.kind, right.node) {
            (_, Kind::Map(..), Node::Attribute(map)) if item.as_text().is_some() => {
                let key = item.as_text().unwrap_or_default();
                if !self.is_lower_case(&map, item, key) {
                    return None;
                }
                self.key_is_read(&map, Some(key), container, ast);
                Node::KeyIn(Box::new(self.key_read(&map, key)))
            }
            (Kind::String | Kind::Dyn, Kind::Map(..), Node::Attribute(map)) => {
                self.key_is_read(&map, None, container, ast);
                Node::DynamicKeyIn(Box::new((*map, left.node)))
            }
            (_, Kind::List(element), Node::Constant(Val::List(list))) => {
                let list = self.as_addresses(container, &left.kind, element, list)?;
                self.comparable(
                    ast,
                    &left.kind,
                    &if left.kind == Kind::Ip {
                        Kind::Ip
                    } else {
                        (**element).clone()
                    },
                )?;
                one_of(left, list)
            }
            (_, Kind::List(element), node) => {
                self.comparable(ast, &left.kind, element)?;
                Node::In(Box::new((left.node, node)))
            }
            (_, Kind::Map(key, _), node) => {
                self.comparable(ast, &left.kind, key)?;
                Node::In(Box::new((left.node, node)))
            }
            (_, Kind::Dyn, node) => Node::In(Box::new((left.node, node))),
            (_, _, node) if self.names.unchecked => Node::In(Box::new((left.node, node))),
            (_, kind, _) => {
                let text = self.text(&container.whole);
                let help = match kind {
                    Kind::String => Some(format!("`{text}.contains({})`", self.text(&item.whole))),
                    Kind::Cidr => Some(format!("`{text}.containsIP({})`", self.text(&item.whole))),
                    Kind::Optional(_) => Some("add `.orValue([])`".to_owned()),
                    _ => None,
                };
                let message = format!("`in` looks into a list or a map; `{text}` is {}", kind.a());
                return self.problem(&container.whole, message, help);
            }
        };
        self.established.truncate(known);
        if let Some(keys) = member.keys {
            let steps = self.established_by(keys, item);
            self.established.push(steps);
        }
        Some(Typed {
            node,
            kind: Kind::Bool,
        })
    }

    /// The container of an `in` is itself read by its keys.
    fn note_container(&mut self, container: &Ast, keys: Option<&Keys>) {
        let Some(keys) = keys.filter(|keys| keys.steps.len() > 1) else {
            return;
        };
        let path = self.key_path(container, keys, "[]");
        if !path.is_in(&self.established) {
            self.unguarded.push(path);
        }
    }

    fn comparable(&mut self, ast: &Ast, left: &Kind, element: &Kind) -> Option<()> {
        if left.comparable(element) || self.names.unchecked {
            return Some(());
        }
        self.problem(
            &ast.at,
            format!("{} is never one of {element}s", left.a()),
            None,
        )
    }

    /// Literal strings that an address is looked for among are addresses.
    fn as_addresses(
        &mut self,
        ast: &Ast,
        left: &Kind,
        element: &Kind,
        list: List<'static>,
    ) -> Option<List<'static>> {
        let AstKind::List(elements) = &ast.kind else {
            return Some(list);
        };
        if *left != Kind::Ip || *element != Kind::String {
            return Some(list);
        }
        let mut sound = true;
        let mut addresses = Vec::new();
        for element in elements {
            let typed = Typed {
                node: Node::Constant(Val::Null),
                kind: Kind::String,
            };
            match self.as_address(&element.value, typed, &Kind::Ip) {
                Some(Typed {
                    node: Node::Constant(address),
                    ..
                }) => addresses.push(address),
                _ => sound = false,
            }
        }
        sound.then(|| addresses.into_iter().collect())
    }
}

/// Two neighbouring alternatives: one where both ask the same text for equality, which is then `in`. Value, errors and what is
/// read stay the same.
fn either(before: Node, node: Node) -> impl IntoIterator<Item = Node> {
    let literals = |test: &TextTest| match test {
        TextTest::Is(literal) => Some(vec![literal.clone()]),
        TextTest::OneOf(literals) => Some(literals.to_vec()),
        _ => None,
    };
    let same = |a: &Node, b: &Node| match (a, b) {
        (Node::Attribute(a), Node::Attribute(b)) => a.reference == b.reference,
        (Node::Key(a), Node::Key(b)) => a.reference == b.reference,
        _ => false,
    };
    if let (Node::Text(operand, first), Node::Text(other, second)) = (&before, &node)
        && same(operand, other)
        && let (Some(mut all), Some(more)) = (literals(first), literals(second))
    {
        all.extend(more);
        all.sort();
        all.dedup();
        return vec![Node::Text(operand.clone(), TextTest::OneOf(all.into()))];
    }
    vec![before, node]
}

fn one_of(item: Typed, list: List<'static>) -> Node {
    let texts: Option<Vec<Box<str>>> = list
        .iter()
        .map(|element| element.as_str().map(Box::from))
        .collect();
    match texts {
        Some(mut texts) => {
            texts.sort();
            texts.dedup();
            Node::Text(Box::new(item.node), TextTest::OneOf(texts.into()))
        }
        None => Node::In(Box::new((item.node, Node::Constant(Val::List(list))))),
    }
}
