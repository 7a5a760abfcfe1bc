//! Operators and calls.

use std::cmp::Ordering;

use super::{Names, Result, Scope, Walk};
use crate::compare;
use crate::functions::{Function, arithmetic, negate};
use crate::node::{Arithmetic, Comparison, Node};
use crate::{EvalError, Val};

/// Arguments a function may have, the one before the dot included.
pub(crate) const ARGUMENTS: usize = 4;

impl<'a> Walk<'_, 'a> {
    pub(super) fn is(
        &mut self,
        operand: &'a Node,
        text: &str,
        names: Names<'_, 'a>,
    ) -> Result<bool> {
        Ok(match self.value(operand, names)? {
            Val::String(value) => *value == *text,
            _ => false,
        })
    }

    pub(super) fn one_of(
        &mut self,
        operand: &'a Node,
        texts: &[Box<str>],
        names: Names<'_, 'a>,
    ) -> Result<bool> {
        let Val::String(value) = self.value(operand, names)? else {
            return Ok(false);
        };
        Ok(match texts.len() {
            0..=8 => texts.iter().any(|text| **text == *value),
            _ => texts.binary_search_by(|text| (**text).cmp(&*value)).is_ok(),
        })
    }

    pub(super) fn with_text(
        &mut self,
        function: &'static str,
        operand: &'a Node,
        names: Names<'_, 'a>,
        holds: impl FnOnce(&str) -> bool,
    ) -> Result<bool> {
        match self.value(operand, names)? {
            Val::String(text) => {
                self.evaluation.budget.read(text.len())?;
                Ok(holds(&text))
            }
            _ => Err(EvalError::NoOverload(function)),
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
        let order = compare::order(sign, &left, &right)?;
        Ok(order.is_some_and(|order| match comparison {
            Comparison::Less => order == Ordering::Less,
            Comparison::LessEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterEqual => order != Ordering::Less,
        }))
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
