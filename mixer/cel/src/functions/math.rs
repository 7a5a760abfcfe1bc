//! The math extension.

use std::cmp::Ordering;

use super::{Definition, Result, Signature, Sort};
use crate::budget::Budget;
use crate::compare::compare_numbers;
use crate::{EvalError, Val};

const ROUND: &[Signature] = &[(&[Sort::Double], Sort::Double)];
const ASK: &[Signature] = &[(&[Sort::Double], Sort::Bool)];
const SAME: &[Signature] = &[
    (&[Sort::Int], Sort::Int),
    (&[Sort::Uint], Sort::Uint),
    (&[Sort::Double], Sort::Double),
];
const ROOT: &[Signature] = &[
    (&[Sort::Int], Sort::Double),
    (&[Sort::Uint], Sort::Double),
    (&[Sort::Double], Sort::Double),
];
const BITS: &[Signature] = &[
    (&[Sort::Int, Sort::Int], Sort::Int),
    (&[Sort::Uint, Sort::Uint], Sort::Uint),
];
const FLIP: &[Signature] = &[(&[Sort::Int], Sort::Int), (&[Sort::Uint], Sort::Uint)];
const SHIFT: &[Signature] = &[
    (&[Sort::Int, Sort::Int], Sort::Int),
    (&[Sort::Uint, Sort::Int], Sort::Uint),
];
/// The checker makes a list of their arguments.
const EXTREME: &[Signature] = &[(&[Sort::ListOfDyn], Sort::Dyn)];

pub(super) const TABLE: &[Definition] = &[
    Definition {
        name: "math.ceil",
        member: false,
        signatures: ROUND,
        run: ceil,
    },
    Definition {
        name: "math.floor",
        member: false,
        signatures: ROUND,
        run: floor,
    },
    Definition {
        name: "math.round",
        member: false,
        signatures: ROUND,
        run: round,
    },
    Definition {
        name: "math.trunc",
        member: false,
        signatures: ROUND,
        run: trunc,
    },
    Definition {
        name: "math.isNaN",
        member: false,
        signatures: ASK,
        run: is_nan,
    },
    Definition {
        name: "math.isInf",
        member: false,
        signatures: ASK,
        run: is_inf,
    },
    Definition {
        name: "math.isFinite",
        member: false,
        signatures: ASK,
        run: is_finite,
    },
    Definition {
        name: "math.abs",
        member: false,
        signatures: SAME,
        run: abs,
    },
    Definition {
        name: "math.sign",
        member: false,
        signatures: SAME,
        run: sign,
    },
    Definition {
        name: "math.sqrt",
        member: false,
        signatures: ROOT,
        run: sqrt,
    },
    Definition {
        name: "math.bitAnd",
        member: false,
        signatures: BITS,
        run: bit_and,
    },
    Definition {
        name: "math.bitOr",
        member: false,
        signatures: BITS,
        run: bit_or,
    },
    Definition {
        name: "math.bitXor",
        member: false,
        signatures: BITS,
        run: bit_xor,
    },
    Definition {
        name: "math.bitNot",
        member: false,
        signatures: FLIP,
        run: bit_not,
    },
    Definition {
        name: "math.bitShiftLeft",
        member: false,
        signatures: SHIFT,
        run: shift_left,
    },
    Definition {
        name: "math.bitShiftRight",
        member: false,
        signatures: SHIFT,
        run: shift_right,
    },
    Definition {
        name: "math.greatest",
        member: false,
        signatures: EXTREME,
        run: greatest,
    },
    Definition {
        name: "math.least",
        member: false,
        signatures: EXTREME,
        run: least,
    },
];

fn double<'a, T>(
    function: &'static str,
    args: &[Val<'a>],
    then: impl FnOnce(f64) -> T,
) -> Result<T> {
    match &args[0] {
        Val::Double(number) => Ok(then(*number)),
        _ => Err(EvalError::NoOverload(function)),
    }
}

fn ceil<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    double("math.ceil", args, f64::ceil).map(Val::Double)
}

fn floor<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    double("math.floor", args, f64::floor).map(Val::Double)
}

/// Halves away from zero.
fn round<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    double("math.round", args, f64::round).map(Val::Double)
}

fn trunc<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    double("math.trunc", args, f64::trunc).map(Val::Double)
}

fn is_nan<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    double("math.isNaN", args, f64::is_nan).map(Val::Bool)
}

fn is_inf<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    double("math.isInf", args, f64::is_infinite).map(Val::Bool)
}

fn is_finite<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    double("math.isFinite", args, f64::is_finite).map(Val::Bool)
}

fn abs<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Int(number) => number
            .checked_abs()
            .map(Val::Int)
            .ok_or(EvalError::Overflow("int")),
        Val::Uint(number) => Ok(Val::Uint(*number)),
        _ => double("math.abs", args, f64::abs).map(Val::Double),
    }
}

fn sign<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Int(number) => Ok(Val::Int(number.signum())),
        Val::Uint(number) => Ok(Val::Uint((*number).min(1))),
        _ => {
            let sign = |number: f64| if number == 0.0 { 0.0 } else { number.signum() };
            double("math.sign", args, |number| {
                if number.is_nan() {
                    number
                } else {
                    sign(number)
                }
            })
            .map(Val::Double)
        }
    }
}

fn sqrt<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Int(number) => Ok(Val::Double((*number as f64).sqrt())),
        Val::Uint(number) => Ok(Val::Double((*number as f64).sqrt())),
        _ => double("math.sqrt", args, f64::sqrt).map(Val::Double),
    }
}

fn bits<'a>(
    function: &'static str,
    args: &[Val<'a>],
    signed: impl FnOnce(i64, i64) -> i64,
    unsigned: impl FnOnce(u64, u64) -> u64,
) -> Result<Val<'a>> {
    match (&args[0], &args[1]) {
        (Val::Int(a), Val::Int(b)) => Ok(Val::Int(signed(*a, *b))),
        (Val::Uint(a), Val::Uint(b)) => Ok(Val::Uint(unsigned(*a, *b))),
        _ => Err(EvalError::NoOverload(function)),
    }
}

fn bit_and<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    bits("math.bitAnd", args, |a, b| a & b, |a, b| a & b)
}

fn bit_or<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    bits("math.bitOr", args, |a, b| a | b, |a, b| a | b)
}

fn bit_xor<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    bits("math.bitXor", args, |a, b| a ^ b, |a, b| a ^ b)
}

fn bit_not<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Int(number) => Ok(Val::Int(!number)),
        Val::Uint(number) => Ok(Val::Uint(!number)),
        _ => Err(EvalError::NoOverload("math.bitNot")),
    }
}

fn shift_left<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    let by = distance("math.bitShiftLeft", args)?;
    match &args[0] {
        Val::Int(number) => Ok(Val::Int(number.checked_shl(by).unwrap_or(0))),
        Val::Uint(number) => Ok(Val::Uint(number.checked_shl(by).unwrap_or(0))),
        _ => Err(EvalError::NoOverload("math.bitShiftLeft")),
    }
}

/// Zeros come in from the left, for signed numbers too.
fn shift_right<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    let by = distance("math.bitShiftRight", args)?;
    match &args[0] {
        Val::Int(number) => Ok(Val::Int(
            (*number as u64).checked_shr(by).unwrap_or(0) as i64
        )),
        Val::Uint(number) => Ok(Val::Uint(number.checked_shr(by).unwrap_or(0))),
        _ => Err(EvalError::NoOverload("math.bitShiftRight")),
    }
}

fn distance(function: &'static str, args: &[Val<'_>]) -> Result<u32> {
    match &args[1] {
        Val::Int(by) if *by < 0 => Err(EvalError::Invalid(function, "a negative offset".into())),
        Val::Int(by) => Ok(u32::try_from(*by).unwrap_or(u32::MAX)),
        _ => Err(EvalError::NoOverload(function)),
    }
}

fn greatest<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    extreme("math.greatest", Ordering::Greater, args, budget)
}

fn least<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    extreme("math.least", Ordering::Less, args, budget)
}

/// The first of those that are furthest in one direction.
fn extreme<'a>(
    function: &'static str,
    direction: Ordering,
    args: &[Val<'a>],
    budget: &mut Budget,
) -> Result<Val<'a>> {
    let Val::List(list) = &args[0] else {
        return Err(EvalError::NoOverload(function));
    };
    budget.step(list.len())?;
    let mut best: Option<Val<'a>> = None;
    for number in list.iter() {
        if !matches!(number, Val::Int(_) | Val::Uint(_) | Val::Double(_)) {
            return Err(EvalError::NoOverload(function));
        }
        if best
            .as_ref()
            .is_none_or(|best| compare_numbers(&number, best) == Some(direction))
        {
            best = Some(number);
        }
    }
    best.ok_or_else(|| EvalError::Invalid(function, "of nothing".into()))
}
