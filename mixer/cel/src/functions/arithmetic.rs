//! `+ - * / %`: checked, within one type.

use mixer_attributes::{Duration, Timestamp};

use super::Result;
use super::times::{checked_duration, checked_timestamp};
use crate::budget::Budget;
use crate::node::Arithmetic;
use crate::val::{Blob, List, Text};
use crate::{EvalError, Val};

/// `left operator right`.
pub(crate) fn arithmetic<'a>(
    operator: Arithmetic,
    left: Val<'a>,
    right: Val<'a>,
    budget: &mut Budget,
) -> Result<Val<'a>> {
    match (left, right) {
        (Val::Int(a), Val::Int(b)) => integers(operator, a, b).map(Val::Int),
        (Val::Uint(a), Val::Uint(b)) => unsigned(operator, a, b).map(Val::Uint),
        (Val::Double(a), Val::Double(b)) => doubles(operator, a, b).map(Val::Double),
        (Val::Timestamp(a), Val::Timestamp(b)) if operator == Arithmetic::Subtract => {
            checked_duration(a.total_nanos() - b.total_nanos()).map(Val::Duration)
        }
        (Val::Timestamp(a), Val::Duration(b)) => shift(operator, a, b).map(Val::Timestamp),
        (Val::Duration(a), Val::Timestamp(b)) if operator == Arithmetic::Add => {
            shift(operator, b, a).map(Val::Timestamp)
        }
        (Val::Duration(a), Val::Duration(b)) => {
            checked_duration(signed(operator, a.total_nanos(), b.total_nanos())?).map(Val::Duration)
        }
        (left, right) if operator == Arithmetic::Add => join(left, right, budget),
        _ => Err(EvalError::NoOverload(sign(operator))),
    }
}

/// `-operand`.
pub(crate) fn negate(operand: Val<'_>) -> Result<Val<'_>> {
    match operand {
        Val::Int(number) => number
            .checked_neg()
            .map(Val::Int)
            .ok_or(EvalError::Overflow("int")),
        Val::Double(number) => Ok(Val::Double(-number)),
        _ => Err(EvalError::NoOverload("-")),
    }
}

fn join<'a>(left: Val<'a>, right: Val<'a>, budget: &mut Budget) -> Result<Val<'a>> {
    match (left, right) {
        (Val::String(a), Val::String(b)) => {
            if a.is_empty() {
                return Ok(Val::String(b));
            }
            if b.is_empty() {
                return Ok(Val::String(a));
            }
            budget.build(a.len() + b.len())?;
            Ok(Val::String(Text::from([&*a, &*b].concat())))
        }
        (Val::Bytes(a), Val::Bytes(b)) => {
            budget.build(a.len() + b.len())?;
            Ok(Val::Bytes(Blob::from([&*a, &*b].concat())))
        }
        (Val::List(a), Val::List(b)) => {
            budget.elements(a.len() + b.len())?;
            Ok(Val::List(a.iter().chain(b.iter()).collect::<List<'a>>()))
        }
        _ => Err(EvalError::NoOverload("+")),
    }
}

fn shift(operator: Arithmetic, time: Timestamp, span: Duration) -> Result<Timestamp> {
    checked_timestamp(signed(operator, time.total_nanos(), span.total_nanos())?)
}

fn signed(operator: Arithmetic, a: i128, b: i128) -> Result<i128> {
    match operator {
        Arithmetic::Add => Ok(a + b),
        Arithmetic::Subtract => Ok(a - b),
        _ => Err(EvalError::NoOverload(sign(operator))),
    }
}

fn integers(operator: Arithmetic, a: i64, b: i64) -> Result<i64> {
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Modulo);
    if divides && b == 0 {
        return Err(EvalError::DivideByZero);
    }
    let result = match operator {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Modulo => a.checked_rem(b),
    };
    result.ok_or(EvalError::Overflow("int"))
}

fn unsigned(operator: Arithmetic, a: u64, b: u64) -> Result<u64> {
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Modulo);
    if divides && b == 0 {
        return Err(EvalError::DivideByZero);
    }
    let result = match operator {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Modulo => a.checked_rem(b),
    };
    result.ok_or(EvalError::Overflow("uint"))
}

fn doubles(operator: Arithmetic, a: f64, b: f64) -> Result<f64> {
    match operator {
        Arithmetic::Add => Ok(a + b),
        Arithmetic::Subtract => Ok(a - b),
        Arithmetic::Multiply => Ok(a * b),
        Arithmetic::Divide => Ok(a / b),
        Arithmetic::Modulo => Err(EvalError::NoOverload("%")),
    }
}

fn sign(operator: Arithmetic) -> &'static str {
    match operator {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::Modulo => "%",
    }
}
