//! Evaluation: one walk over the compiled tree, left to right, errors absorbed as CEL says.
//!
//! The order is part of the contract: the referenced set is what this walk read, so the walk must be the same for every request
//! that is equal on it. Each step is a function of its own, to keep the frames of the recursion small.

mod access;
mod loops;
mod operators;

use crate::node::{Definition, Node};
use crate::{EvalError, Evaluation, Val};

type Result<T> = std::result::Result<T, EvalError>;

/// The names bound around a node, innermost first.
pub(crate) struct Scope<'s, 'a> {
    value: Val<'a>,
    outer: Option<&'s Scope<'s, 'a>>,
}

type Names<'s, 'a> = Option<&'s Scope<'s, 'a>>;

/// The value of a whole expression.
pub(crate) fn evaluate<'a>(node: &'a Node, evaluation: &mut Evaluation<'a>) -> Result<Val<'a>> {
    Walk { evaluation }.value(node, None)
}

/// The truth of a whole expression.
pub(crate) fn test<'a>(node: &'a Node, evaluation: &mut Evaluation<'a>) -> Result<bool> {
    Walk { evaluation }.truth(node, None)
}

struct Walk<'w, 'a> {
    evaluation: &'w mut Evaluation<'a>,
}

impl<'a> Walk<'_, 'a> {
    fn value(&mut self, node: &'a Node, names: Names<'_, 'a>) -> Result<Val<'a>> {
        match node {
            Node::Constant(value) => Ok(value.borrowed()),
            Node::Local(index) => Ok(local(names, *index).clone()),
            Node::Variable(index, name) => {
                self.evaluation.touch_variable(*index, None);
                let value = self.evaluation.variable(*index);
                value.ok_or_else(|| EvalError::Unknown(name.clone()))
            }
            Node::Attribute(read) => self.attribute(read),
            Node::Defined(definition) => self.defined(definition),
            Node::Key(read) => self.key(read),
            Node::DynamicKey(read) => self.dynamic_key(&read.0, &read.1, names),
            Node::Index(parts) => self.index(&parts.0, &parts.1, names),
            Node::Find(path) => self
                .find(path, names)
                .map(|found| Val::Optional(found.map(std::sync::Arc::new))),
            Node::Conditional(parts) => self.conditional(parts, names),
            Node::Arithmetic(operator, sides) => {
                self.arithmetic(*operator, &sides.0, &sides.1, names)
            }
            Node::Negate(operand) => self.negate(operand, names),
            Node::Call(function, args) => self.call(*function, args, names),
            Node::List(elements) => self.list(elements, names),
            Node::Map(entries) => self.map(entries, names),
            Node::OrElse {
                optional,
                other,
                unwrap,
            } => self.or_else(optional, other, *unwrap, names),
            Node::OptionalMap {
                optional,
                body,
                flat,
            } => self.optional_map(optional, body, *flat, names),
            Node::Bind(parts) => self.bind(&parts.0, &parts.1, names),
            Node::Loop(each) => self.run(each, names),
            _ => self.truth(node, names).map(Val::Bool),
        }
    }

    fn truth(&mut self, node: &'a Node, names: Names<'_, 'a>) -> Result<bool> {
        match node {
            Node::And(terms) => self.connective(terms, false, names),
            Node::Or(terms) => self.connective(terms, true, names),
            Node::Not(operand) => self
                .truth(operand, names)
                .map(|truth| !truth)
                .map_err(|error| overload(error, "!")),
            Node::Text(operand, test) => self.text(operand, test, names),
            Node::Equal(sides) => self.equal(&sides.0, &sides.1, names),
            Node::NotEqual(sides) => self.equal(&sides.0, &sides.1, names).map(|equal| !equal),
            Node::Order(comparison, sides) => self.order(*comparison, &sides.0, &sides.1, names),
            Node::In(sides) => self.contained(&sides.0, &sides.1, names),
            Node::KeyIn(read) => self.key_in(read),
            Node::DynamicKeyIn(read) => self.dynamic_key_in(&read.0, &read.1, names),
            Node::Has(path) => self.has(path, names),
            _ => match self.value(node, names)? {
                Val::Bool(truth) => Ok(truth),
                other => Err(EvalError::NotBool(other.type_name())),
            },
        }
    }

    /// `&&` (until a term is false) and `||` (until one is true): an error counts only when no term decides.
    fn connective(
        &mut self,
        terms: &'a [Node],
        decides: bool,
        names: Names<'_, 'a>,
    ) -> Result<bool> {
        let mut first_error = None;
        for term in terms {
            match self.truth(term, names) {
                Ok(truth) if truth == decides => return Ok(decides),
                Ok(_) => {}
                Err(limit) if limit.is_limit() => return Err(limit),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) => Err(overload(error, if decides { "||" } else { "&&" })),
            None => Ok(!decides),
        }
    }

    fn conditional(&mut self, parts: &'a [Node; 3], names: Names<'_, 'a>) -> Result<Val<'a>> {
        let [condition, then, otherwise] = parts;
        let condition = self
            .truth(condition, names)
            .map_err(|error| overload(error, "? :"))?;
        self.value(if condition { then } else { otherwise }, names)
    }

    fn defined(&mut self, definition: &'a Definition) -> Result<Val<'a>> {
        self.evaluation.budget.step(1)?;
        let value = self.value(&definition.node, None)?;
        match definition.wanted {
            Some(wanted) if wanted != value.type_name() => Err(EvalError::Invalid(
                wanted,
                format!("the definition gives {}", value.type_name()).into(),
            )),
            _ => Ok(value),
        }
    }

    fn bind(&mut self, value: &'a Node, body: &'a Node, names: Names<'_, 'a>) -> Result<Val<'a>> {
        let value = self.value(value, names)?;
        self.value(
            body,
            Some(&Scope {
                value,
                outer: names,
            }),
        )
    }
}

/// The value of the `index`-th enclosing name; the checker saw that there are so many.
fn local<'s, 'a>(names: Names<'s, 'a>, index: usize) -> &'s Val<'a> {
    let mut scope = names;
    for _ in 0..index {
        scope = scope.and_then(|scope| scope.outer);
    }
    scope.map_or(&Val::Null, |scope| &scope.value)
}

/// What is no bool is no operand of a logical operator.
fn overload(error: EvalError, operator: &'static str) -> EvalError {
    match error {
        EvalError::NotBool(_) => EvalError::NoOverload(operator),
        other => other,
    }
}
