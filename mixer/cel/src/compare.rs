//! Equality and order, as CEL has them: numbers by value across their types, everything else within its type.

use std::cmp::Ordering;

use crate::budget::Budget;
use crate::val::Looked;
use crate::{EvalError, Val};

/// Whether two values are equal. Values of different types are not, numbers apart.
pub(crate) fn equal(a: &Val<'_>, b: &Val<'_>, budget: &mut Budget) -> Result<bool, EvalError> {
    Ok(match (a, b) {
        (Val::String(a), Val::String(b)) => {
            budget.read(a.len().min(b.len()))?;
            **a == **b
        }
        (Val::Null, Val::Null) => true,
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::Int(a), Val::Int(b)) => a == b,
        (Val::Bytes(a), Val::Bytes(b)) => {
            budget.read(a.len().min(b.len()))?;
            **a == **b
        }
        (Val::Timestamp(a), Val::Timestamp(b)) => a == b,
        (Val::Duration(a), Val::Duration(b)) => a == b,
        (Val::Ip(a), Val::Ip(b)) => a == b,
        (Val::Cidr(a, bits), Val::Cidr(b, other)) => a == b && bits == other,
        (Val::Type(a), Val::Type(b)) => a == b,
        (Val::Optional(a), Val::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b, budget)?,
            (None, None) => true,
            _ => false,
        },
        (Val::List(a), Val::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            budget.step(a.len())?;
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(&a, &b, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Val::Map(a), Val::Map(b)) => {
            let entries = a.looked();
            budget.step(entries.len())?;
            if entries.len() != b.len() {
                return Ok(false);
            }
            for (key, ours) in entries {
                match (ours, b.look(&key)) {
                    (Looked::Ambiguous, _) | (_, Looked::Ambiguous) => return Err(ambiguous(&key)),
                    (Looked::Found(ours), Looked::Found(theirs))
                        if equal(&ours, &theirs, budget)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        _ => compare_numbers(a, b).is_some_and(Ordering::is_eq),
    })
}

/// The error of reading a key that the request gives more than once.
pub(crate) fn ambiguous(key: &Val<'_>) -> EvalError {
    EvalError::Ambiguous(key.shown().into())
}

/// How two values are ordered. NaN has no order, which is an error and not false: a limit that was not computed is not kept.
pub(crate) fn order(
    operator: &'static str,
    a: &Val<'_>,
    b: &Val<'_>,
    budget: &mut Budget,
) -> Result<Ordering, EvalError> {
    Ok(match (a, b) {
        (Val::Int(a), Val::Int(b)) => a.cmp(b),
        (Val::String(a), Val::String(b)) => {
            budget.read(a.len().min(b.len()))?;
            a.as_bytes().cmp(b.as_bytes())
        }
        (Val::Bool(a), Val::Bool(b)) => a.cmp(b),
        (Val::Bytes(a), Val::Bytes(b)) => {
            budget.read(a.len().min(b.len()))?;
            a.cmp(b)
        }
        (Val::Timestamp(a), Val::Timestamp(b)) => a.cmp(b),
        (Val::Duration(a), Val::Duration(b)) => a.total_nanos().cmp(&b.total_nanos()),
        (
            Val::Int(_) | Val::Uint(_) | Val::Double(_),
            Val::Int(_) | Val::Uint(_) | Val::Double(_),
        ) => compare_numbers(a, b)
            .ok_or_else(|| EvalError::Invalid(operator, "NaN has no order".into()))?,
        _ => return Err(EvalError::NoOverload(operator)),
    })
}

/// How two numbers compare, as CEL says: an integer beside a double is compared as a double. `None` with NaN, and for what is no
/// number.
pub(crate) fn compare_numbers(a: &Val<'_>, b: &Val<'_>) -> Option<Ordering> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => Some(a.cmp(b)),
        (Val::Uint(a), Val::Uint(b)) => Some(a.cmp(b)),
        (Val::Int(a), Val::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Val::Uint(a), Val::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        _ => as_double(a)?.partial_cmp(&as_double(b)?),
    }
}

fn as_double(number: &Val<'_>) -> Option<f64> {
    match number {
        Val::Int(number) => Some(*number as f64),
        Val::Uint(number) => Some(*number as f64),
        Val::Double(number) => Some(*number),
        _ => None,
    }
}

/// The integer a number is, when it is one: map keys are found by it, so that no key is found by rounding.
pub(crate) fn as_integer(number: &Val<'_>) -> Option<i128> {
    match number {
        Val::Int(number) => Some(i128::from(*number)),
        Val::Uint(number) => Some(i128::from(*number)),
        // Beyond 2^64 there are no keys.
        Val::Double(number) if number.fract() == 0.0 && number.abs() < 1.9e19 => {
            Some(*number as i128)
        }
        _ => None,
    }
}
