//! Operators and calls.

use std::borrow::Cow;

use mixer_attributes::{Entry, Value};

use super::{Names, Result, Scope, Walk};
use crate::budget::Budget;
use crate::compare;
use crate::functions::{Function, arithmetic, negate};
use crate::node::{Arithmetic, Comparison, Node, TextTest};
use crate::{EvalError, Val};

/// Arguments a function may have, the one before the dot included.
pub(crate) const ARGUMENTS: usize = 4;

impl<'a> Walk<'_, 'a> {
    /// Asks `test` of a text, without making a value of what lies in the request.
    pub(super) fn text(
        &mut self,
        operand: &'a Node,
        test: &'a TextTest,
        names: Names<'_, 'a>,
    ) -> Result<bool> {
        match operand {
            Node::Attribute(read) => {
                self.evaluation.touch_reference(read.reference);
                match self.evaluation.bag().value(read.attribute) {
                    Some(Value::String(text)) => test.holds(text, &mut self.evaluation.budget),
                    Some(_) => test.of_no_text(),
                    None => Err(EvalError::Unknown(read.name.clone())),
                }
            }
            Node::Key(read) => match self.entry(read) {
                Some(Entry::Value(text)) => {
                    if let Cow::Owned(joined) = &text {
                        self.evaluation.budget.build(joined.len())?;
                    }
                    test.holds(&text, &mut self.evaluation.budget)
                }
                Some(Entry::Absent) => Err(EvalError::Missing(read.text.clone())),
                Some(Entry::Ambiguous) => Err(EvalError::Ambiguous(read.text.clone())),
                None => match self.key(read)? {
                    Val::String(text) => test.holds(&text, &mut self.evaluation.budget),
                    _ => test.of_no_text(),
                },
            },
            Node::Local(index) => match super::local(names, *index) {
                Val::String(text) => test.holds(text, &mut self.evaluation.budget),
                _ => test.of_no_text(),
            },
            _ => match self.value(operand, names)? {
                Val::String(text) => test.holds(&text, &mut self.evaluation.budget),
                _ => test.of_no_text(),
            },
        }
    }

    pub(super) fn equal(
        &mut self,
        left: &'a Node,
        right: &'a Node,
        names: Names<'_, 'a>,
    ) -> Result<bool> {
        let left = self.value(left, names)?;
        let right = self.value(right, names)?;
        compare::equal(&left, &right, &mut self.evaluation.budget)
    }

    pub(super) fn order(
        &mut self,
        comparison: Comparison,
        left: &'a Node,
        right: &'a Node,
        names: Names<'_, 'a>,
    ) -> Result<bool> {
        let left = self.value(left, names)?;
        let right = self.value(right, names)?;
        let sign = match comparison {
            Comparison::Less => "<",
            Comparison::LessEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterEqual => ">=",
        };
        let order = compare::order(sign, &left, &right, &mut self.evaluation.budget)?;
        Ok(match comparison {
            Comparison::Less => order.is_lt(),
            Comparison::LessEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterEqual => order.is_ge(),
        })
    }

    pub(super) fn arithmetic(
        &mut self,
        operator: Arithmetic,
        left: &'a Node,
        right: &'a Node,
        names: Names<'_, 'a>,
    ) -> Result<Val<'a>> {
        let left = self.value(left, names)?;
        let right = self.value(right, names)?;
        arithmetic(operator, left, right, &mut self.evaluation.budget)
    }

    pub(super) fn negate(&mut self, operand: &'a Node, names: Names<'_, 'a>) -> Result<Val<'a>> {
        negate(self.value(operand, names)?)
    }

    pub(super) fn call(
        &mut self,
        function: Function,
        args: &'a [Node],
        names: Names<'_, 'a>,
    ) -> Result<Val<'a>> {
        let mut values = [const { Val::Null }; ARGUMENTS];
        let Some(values) = values.get_mut(..args.len()) else {
            return Err(EvalError::NoOverload(function.name()));
        };
        for (value, arg) in values.iter_mut().zip(args) {
            *value = self.value(arg, names)?;
        }
        function.call(values, &mut self.evaluation.budget)
    }

    pub(super) fn or_else(
        &mut self,
        optional: &'a Node,
        other: &'a Node,
        unwrap: bool,
        names: Names<'_, 'a>,
    ) -> Result<Val<'a>> {
        if let (Node::Find(path), true) = (optional, unwrap) {
            return match self.find(path, names)? {
                Some(value) => Ok(value),
                None => self.value(other, names),
            };
        }
        match self.value(optional, names)? {
            Val::Optional(Some(value)) if unwrap => Ok((*value).clone()),
            Val::Optional(None) => self.value(other, names),
            some @ Val::Optional(_) => Ok(some),
            _ => Err(EvalError::NoOverload(if unwrap { "orValue" } else { "or" })),
        }
    }

    pub(super) fn optional_map(
        &mut self,
        optional: &'a Node,
        body: &'a Node,
        flat: bool,
        names: Names<'_, 'a>,
    ) -> Result<Val<'a>> {
        let value = match self.value(optional, names)? {
            Val::Optional(Some(value)) => (*value).clone(),
            Val::Optional(None) => return Ok(Val::Optional(None)),
            _ => {
                return Err(EvalError::NoOverload(if flat {
                    "optFlatMap"
                } else {
                    "optMap"
                }));
            }
        };
        let mapped = self.value(
            body,
            Some(&Scope {
                value,
                outer: names,
            }),
        )?;
        match (flat, mapped) {
            (true, optional @ Val::Optional(_)) => Ok(optional),
            (true, _) => Err(EvalError::NoOverload("optFlatMap")),
            (false, value) => Ok(Val::some(value)),
        }
    }
}

impl TextTest {
    /// The answer for a value that is this text, or none.
    pub(super) fn of(&self, text: Option<&str>, budget: &mut Budget) -> Result<bool> {
        match text {
            Some(text) => self.holds(text, budget),
            None => self.of_no_text(),
        }
    }

    fn holds(&self, text: &str, budget: &mut Budget) -> Result<bool> {
        Ok(match self {
            TextTest::Is(literal) => *text == **literal,
            // For a few, comparing lengths and first bytes beats a search.
            TextTest::OneOf(literals) if literals.len() <= 16 => {
                literals.iter().any(|literal| *text == **literal)
            }
            TextTest::OneOf(literals) => literals
                .binary_search_by(|literal| (**literal).cmp(text))
                .is_ok(),
            TextTest::StartsWith(start) => text.starts_with(&**start),
            TextTest::EndsWith(end) => text.ends_with(&**end),
            TextTest::Contains(piece) => {
                budget.read(text.len())?;
                text.contains(&**piece)
            }
            TextTest::Matches(pattern) => {
                budget.step(pattern.steps(text))?;
                pattern.matches(text)
            }
        })
    }

    /// The answer for what is no text: never equal to one, and no subject of the rest.
    fn of_no_text(&self) -> Result<bool> {
        match self {
            TextTest::Is(_) | TextTest::OneOf(_) => Ok(false),
            TextTest::StartsWith(_) => Err(EvalError::NoOverload("startsWith")),
            TextTest::EndsWith(_) => Err(EvalError::NoOverload("endsWith")),
            TextTest::Contains(_) => Err(EvalError::NoOverload("contains")),
            TextTest::Matches(_) => Err(EvalError::NoOverload("matches")),
        }
    }
}
