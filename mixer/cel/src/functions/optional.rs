//! Functions of optional values. `or`, `orValue`, `optMap` and `optFlatMap` are not here: they do not evaluate all they are given.

use super::{Definition, Result, Sort};
use crate::budget::Budget;
use crate::{EvalError, Val};

pub(super) const TABLE: &[Definition] = &[
    Definition {
        name: "optional.none",
        member: false,
        signatures: &[(&[], Sort::OptionalOfA)],
        run: none,
    },
    Definition {
        name: "optional.of",
        member: false,
        signatures: &[(&[Sort::A], Sort::OptionalOfA)],
        run: of,
    },
    Definition {
        name: "optional.ofNonZeroValue",
        member: false,
        signatures: &[(&[Sort::A], Sort::OptionalOfA)],
        run: of_non_zero,
    },
    Definition {
        name: "hasValue",
        member: true,
        signatures: &[(&[Sort::OptionalOfA], Sort::Bool)],
        run: has_value,
    },
    Definition {
        name: "value",
        member: true,
        signatures: &[(&[Sort::OptionalOfA], Sort::A)],
        run: value,
    },
];

fn none<'a>(_: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    Ok(Val::Optional(None))
}

fn of<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    Ok(Val::some(args[0].clone()))
}

fn of_non_zero<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    let zero = match &args[0] {
        Val::Null | Val::Bool(false) | Val::Int(0) | Val::Uint(0) | Val::Optional(None) => true,
        Val::Double(number) => *number == 0.0,
        Val::String(text) => text.is_empty(),
        Val::Bytes(bytes) => bytes.is_empty(),
        Val::List(list) => list.is_empty(),
        Val::Map(map) => map.is_empty(),
        Val::Duration(span) => span.total_nanos() == 0,
        Val::Timestamp(time) => time.total_nanos() == 0,
        _ => false,
    };
    if zero {
        Ok(Val::Optional(None))
    } else {
        of(args, &mut Budget::default())
    }
}

fn has_value<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Optional(value) => Ok(Val::Bool(value.is_some())),
        _ => Err(EvalError::NoOverload("hasValue")),
    }
}

fn value<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Optional(Some(value)) => Ok((**value).clone()),
        Val::Optional(None) => Err(EvalError::NoValue),
        _ => Err(EvalError::NoOverload("value")),
    }
}
