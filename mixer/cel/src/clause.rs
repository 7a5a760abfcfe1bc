//! What a condition says of the request, as far as that can be read off its text: for lints.
//!
//! A condition is a tree of `&&`, `||` and `!` over comparisons of one attribute (or one literal key of one) with literals.
//! What is not of this form is [`ClauseKind::Other`], of which nothing is concluded.

use std::fmt::Write as _;
use std::ops::Range;

use mixer_attributes::{AttributeId, Vocabulary};

use crate::check::dotted;
use crate::tree::{Ast, AstKind, Literal, Operator};
use crate::{Compiler, Problem};

/// A condition or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// Bytes of the source.
    pub span: Range<usize>,
    /// The same for parts that differ only in white space, parentheses and quotes.
    pub text: String,
    /// What it is.
    pub kind: ClauseKind,
}

/// What a condition is.
#[derive(Clone, Debug, PartialEq)]
pub enum ClauseKind {
    /// Two or more that must all hold; none of them is an `All`.
    All(Vec<Clause>),
    /// Two or more of which one must hold.
    Any(Vec<Clause>),
    /// It must not hold.
    Not(Box<Clause>),
    /// `true` or `false`.
    Constant(bool),
    /// A comparison with literals.
    Compare(Place, Comparison),
    /// `has(..)`, or `"key" in ..`.
    Has(Place),
    /// An attribute or key by itself.
    Holds(Place),
    /// Anything else.
    Other,
}

/// An attribute, or one literal key of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The attribute.
    pub attribute: AttributeId,
    /// The key of a map attribute.
    pub key: Option<String>,
    /// Where the key is written as a string literal, quotes included.
    pub key_span: Option<Range<usize>>,
    /// `[?"key"].orValue("text")`: what an absent one counts as.
    pub or_value: Option<String>,
}

/// How a place is compared.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparison {
    /// `==`, or `in` a list of literals: it is one of these.
    OneOf(Vec<Constant>),
    /// `!=`.
    IsNot(Constant),
    /// `startsWith`.
    StartsWith(Constant),
    /// `endsWith`.
    EndsWith(Constant),
    /// `contains`.
    Contains(Constant),
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Its value.
    pub value: ConstantValue,
    /// Where it is written, quotes included.
    pub span: Range<usize>,
}

/// The value of a literal.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum ConstantValue {
    Text(String),
    Int(i64),
    Bool(bool),
}

impl Constant {
    /// It, if it is a text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            ConstantValue::Text(text) => Some(text),
            ConstantValue::Int(_) | ConstantValue::Bool(_) => None,
        }
    }
}

impl Clause {
    /// It, or what it joins with `&&`.
    pub fn terms(&self) -> &[Clause] {
        match &self.kind {
            ClauseKind::All(terms) => terms,
            _ => std::slice::from_ref(self),
        }
    }

    /// Visits it and every part of it.
    pub fn visit<'c>(&'c self, see: &mut impl FnMut(&'c Clause)) {
        see(self);
        match &self.kind {
            ClauseKind::All(parts) | ClauseKind::Any(parts) => {
                parts.iter().for_each(|part| part.visit(see));
            }
            ClauseKind::Not(part) => part.visit(see),
            _ => {}
        }
    }
}

impl Compiler {
    /// What a condition says; types are not looked at.
    pub fn clause(&mut self, source: &str) -> Result<Clause, Vec<Problem>> {
        let ast = self.parsed(source)?;
        Ok(clause(&ast, self.vocabulary()))
    }
}

fn clause(ast: &Ast, vocabulary: &Vocabulary) -> Clause {
    let kind = match &ast.kind {
        AstKind::And(terms) => {
            let mut all = Vec::with_capacity(terms.len());
            for term in terms {
                match clause(term, vocabulary) {
                    Clause {
                        kind: ClauseKind::All(inner),
                        ..
                    } => all.extend(inner),
                    term => all.push(term),
                }
            }
            ClauseKind::All(all)
        }
        AstKind::Or(terms) => {
            ClauseKind::Any(terms.iter().map(|term| clause(term, vocabulary)).collect())
        }
        AstKind::Not(operand) => ClauseKind::Not(Box::new(clause(operand, vocabulary))),
        AstKind::Literal(Literal::Bool(bit)) => ClauseKind::Constant(*bit),
        _ => compare(ast, vocabulary).unwrap_or(ClauseKind::Other),
    };
    Clause {
        span: ast.whole.clone(),
        text: printed(ast),
        kind,
    }
}

fn compare(ast: &Ast, vocabulary: &Vocabulary) -> Option<ClauseKind> {
    let place = |ast: &Ast| place(ast, vocabulary);
    Some(match &ast.kind {
        AstKind::Binary(operator @ (Operator::Equal | Operator::NotEqual), sides) => {
            let (read, constant) = match constant(&sides[1]) {
                Some(constant) => (place(&sides[0])?, constant),
                None => (place(&sides[1])?, constant(&sides[0])?),
            };
            let test = match operator {
                Operator::Equal => Comparison::OneOf(vec![constant]),
                _ => Comparison::IsNot(constant),
            };
            ClauseKind::Compare(read, test)
        }
        AstKind::Binary(Operator::In, sides) => match &sides[1].kind {
            AstKind::List(elements) => {
                let constants = elements
                    .iter()
                    .map(|element| constant(&element.value).filter(|_| !element.optional));
                let constants = constants.collect::<Option<Vec<_>>>()?;
                ClauseKind::Compare(place(&sides[0])?, Comparison::OneOf(constants))
            }
            _ => {
                let mut map = place(&sides[1]).filter(|map| map.key.is_none())?;
                map.key = Some(sides[0].as_text()?.to_owned());
                map.key_span = Some(sides[0].whole.clone());
                ClauseKind::Has(map)
            }
        },
        AstKind::Call {
            target: Some(target),
            name,
            args,
        } => {
            let [argument] = &args[..] else { return None };
            let constant = constant(argument).filter(|constant| constant.as_text().is_some())?;
            let test = match &**name {
                "startsWith" => Comparison::StartsWith(constant),
                "endsWith" => Comparison::EndsWith(constant),
                "contains" => Comparison::Contains(constant),
                _ => return place(ast).map(ClauseKind::Holds),
            };
            ClauseKind::Compare(place(target)?, test)
        }
        AstKind::Call {
            target: None,
            name,
            args,
        } if name == "has" => ClauseKind::Has(place(args.first()?)?),
        _ => ClauseKind::Holds(place(ast)?),
    })
}

/// What is read, when it is an attribute or a literal key of one.
fn place(ast: &Ast, vocabulary: &Vocabulary) -> Option<Place> {
    let named = |ast: &Ast| {
        let (name, optional) = dotted(ast)?;
        vocabulary
            .by_name(&name)
            .filter(|_| !optional)
            .map(|attribute| attribute.id)
    };
    if let Some(attribute) = named(ast) {
        return Some(Place {
            attribute,
            key: None,
            key_span: None,
            or_value: None,
        });
    }
    match &ast.kind {
        AstKind::Index { operand, index, .. } => Some(Place {
            attribute: named(operand)?,
            key: Some(index.as_text()?.to_owned()),
            key_span: Some(index.whole.clone()),
            or_value: None,
        }),
        AstKind::Select { operand, field, .. } => Some(Place {
            attribute: named(operand)?,
            key: Some(field.clone()),
            key_span: None,
            or_value: None,
        }),
        AstKind::Call {
            target: Some(target),
            name,
            args,
        } if name == "orValue" => {
            let [or_value] = &args[..] else { return None };
            let read = place(target, vocabulary).filter(|read| read.or_value.is_none())?;
            Some(Place {
                or_value: Some(or_value.as_text()?.to_owned()),
                ..read
            })
        }
        _ => None,
    }
}

fn constant(ast: &Ast) -> Option<Constant> {
    let value = match &ast.kind {
        AstKind::Literal(Literal::String(text)) => ConstantValue::Text(text.clone()),
        AstKind::Literal(Literal::Int(number)) => ConstantValue::Int(*number),
        AstKind::Literal(Literal::Bool(bit)) => ConstantValue::Bool(*bit),
        _ => return None,
    };
    Some(Constant {
        value,
        span: ast.whole.clone(),
    })
}

/// The tree in one way of writing it.
fn printed(ast: &Ast) -> String {
    let mut out = String::new();
    print(ast, &mut out);
    out
}

fn print(ast: &Ast, out: &mut String) {
    let list = |asts: &mut dyn Iterator<Item = (bool, &Ast)>, between: &str, out: &mut String| {
        for (at, (optional, ast)) in asts.enumerate() {
            out.push_str(if at > 0 { between } else { "" });
            out.push_str(if optional { "?" } else { "" });
            print(ast, out);
        }
    };
    let mark = |optional: bool| if optional { "?" } else { "" };
    match &ast.kind {
        AstKind::Literal(literal) => drop(write!(out, "{literal:?}")),
        AstKind::Ident(name) | AstKind::Struct(name) => out.push_str(name),
        AstKind::Select {
            operand,
            field,
            optional,
        } => {
            print(operand, out);
            let _ = write!(out, ".{}{field}", mark(*optional));
        }
        AstKind::Index {
            operand,
            index,
            optional,
        } => {
            print(operand, out);
            let _ = write!(out, "[{}", mark(*optional));
            print(index, out);
            out.push(']');
        }
        AstKind::Call { target, name, args } => {
            if let Some(target) = target {
                print(target, out);
                out.push('.');
            }
            let _ = write!(out, "{name}(");
            list(&mut args.iter().map(|arg| (false, arg)), ", ", out);
            out.push(')');
        }
        AstKind::And(terms) | AstKind::Or(terms) => {
            let between = match &ast.kind {
                AstKind::And(_) => " && ",
                _ => " || ",
            };
            out.push('(');
            list(&mut terms.iter().map(|term| (false, term)), between, out);
            out.push(')');
        }
        AstKind::Not(operand) | AstKind::Negate(operand) => {
            out.push(if matches!(ast.kind, AstKind::Not(_)) {
                '!'
            } else {
                '-'
            });
            print(operand, out);
        }
        AstKind::Conditional(parts) => {
            out.push('(');
            list(&mut parts.iter().map(|part| (false, part)), " ? ", out);
            out.push(')');
        }
        AstKind::Binary(operator, sides) => {
            out.push('(');
            print(&sides[0], out);
            let _ = write!(out, " {operator:?} ");
            print(&sides[1], out);
            out.push(')');
        }
        AstKind::List(elements) => {
            out.push('[');
            let mut elements = elements
                .iter()
                .map(|element| (element.optional, &element.value));
            list(&mut elements, ", ", out);
            out.push(']');
        }
        AstKind::Map(entries) => {
            out.push('{');
            for (at, entry) in entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                out.push_str(mark(entry.optional));
                print(&entry.key, out);
                out.push_str(": ");
                print(&entry.value, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use mixer_attributes::vocabulary;

    use super::*;

    fn of(source: &str) -> Clause {
        Compiler::new(Vocabulary::new())
            .clause(source)
            .unwrap_or_else(|problems| panic!("{source}: {problems:?}"))
    }

    fn text(value: &str, span: Range<usize>) -> Constant {
        Constant {
            value: ConstantValue::Text(value.to_owned()),
            span,
        }
    }

    #[test]
    fn what_differs_only_in_writing_has_one_text() {
        for (a, b) in [
            ("source.namespace=='a'", "( source.namespace == \"a\" )"),
            (
                "(connection.mtls) && source.port in [1,2]",
                "connection.mtls && (source.port in [1, 2])",
            ),
        ] {
            assert_eq!(of(a).text, of(b).text);
        }
        for (a, b) in [
            ("source.namespace == 'a b'", "source.namespace == 'ab'"),
            ("a.b || c.d && e.f", "(a.b || c.d) && e.f"),
            ("a[?'b']", "a['b']"),
            ("-a.b == 1", "a.b == -1"),
        ] {
            assert_ne!(of(a).text, of(b).text);
        }
    }

    #[test]
    fn comparisons_are_read_off() {
        let method = Place {
            attribute: vocabulary::REQUEST_METHOD,
            key: None,
            key_span: None,
            or_value: None,
        };
        assert_eq!(
            of("'GET' == request.method").kind,
            ClauseKind::Compare(method.clone(), Comparison::OneOf(vec![text("GET", 0..5)]))
        );
        assert_eq!(
            of("request.method in ['A', 'B']").kind,
            ClauseKind::Compare(
                method.clone(),
                Comparison::OneOf(vec![text("A", 19..22), text("B", 24..27)])
            )
        );
        let header = of(r#"request.headers[?"x-a"].orValue("") != "y""#).kind;
        let ClauseKind::Compare(place, Comparison::IsNot(constant)) = header else {
            panic!("{header:?}");
        };
        assert_eq!(place.attribute, vocabulary::REQUEST_HEADERS);
        assert_eq!(place.key.as_deref(), Some("x-a"));
        assert_eq!(place.key_span, Some(17..22));
        assert_eq!(place.or_value.as_deref(), Some(""));
        assert_eq!(constant.as_text(), Some("y"));
        assert!(
            matches!(of("has(auth.claims.plan)").kind, ClauseKind::Has(place) if place.key.as_deref() == Some("plan"))
        );
        assert!(
            matches!(of("'x' in request.headers").kind, ClauseKind::Has(place) if place.key.as_deref() == Some("x"))
        );
        assert!(matches!(of("connection.mtls").kind, ClauseKind::Holds(_)));
        for other in [
            "request.method == request.path",
            "source.namespace in request.headers",
            "size(request.path) > 3",
            "auth.claims.a.b == 'x'",
        ] {
            assert_eq!(of(other).kind, ClauseKind::Other, "{other}");
        }
    }

    #[test]
    fn joined_terms_are_one_list() {
        let terms = of("a.b && (c.d && e.f) && !(g.h && i.j)");
        assert_eq!(terms.terms().len(), 4);
        assert_eq!(of("a.b || c.d").terms().len(), 1);
    }
}
