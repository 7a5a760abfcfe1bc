//! Conversions between types, `type`, `dyn` and `size`.

use super::network::{ip_of, parse_ip};
use super::times::{parse_duration, parse_timestamp, timestamp_text};
use super::{Definition, Result, Sort};
use crate::budget::Budget;
use crate::val::{Blob, Text};
use crate::{EvalError, Val};

pub(super) const TABLE: &[Definition] = &[
    Definition {
        name: "bool",
        member: false,
        signatures: &[(&[Sort::Bool], Sort::Bool), (&[Sort::String], Sort::Bool)],
        run: to_bool,
    },
    Definition {
        name: "int",
        member: false,
        signatures: &[
            (&[Sort::Int], Sort::Int),
            (&[Sort::Uint], Sort::Int),
            (&[Sort::Double], Sort::Int),
            (&[Sort::String], Sort::Int),
            (&[Sort::Timestamp], Sort::Int),
        ],
        run: to_int,
    },
    Definition {
        name: "uint",
        member: false,
        signatures: &[
            (&[Sort::Uint], Sort::Uint),
            (&[Sort::Int], Sort::Uint),
            (&[Sort::Double], Sort::Uint),
            (&[Sort::String], Sort::Uint),
        ],
        run: to_uint,
    },
    Definition {
        name: "double",
        member: false,
        signatures: &[
            (&[Sort::Double], Sort::Double),
            (&[Sort::Int], Sort::Double),
            (&[Sort::Uint], Sort::Double),
            (&[Sort::String], Sort::Double),
        ],
        run: to_double,
    },
    Definition {
        name: "string",
        member: false,
        signatures: &[
            (&[Sort::String], Sort::String),
            (&[Sort::Int], Sort::String),
            (&[Sort::Uint], Sort::String),
            (&[Sort::Double], Sort::String),
            (&[Sort::Bool], Sort::String),
            (&[Sort::Bytes], Sort::String),
            (&[Sort::Timestamp], Sort::String),
            (&[Sort::Duration], Sort::String),
            (&[Sort::Ip], Sort::String),
            (&[Sort::Cidr], Sort::String),
        ],
        run: to_string,
    },
    Definition {
        name: "bytes",
        member: false,
        signatures: &[
            (&[Sort::Bytes], Sort::Bytes),
            (&[Sort::String], Sort::Bytes),
        ],
        run: to_bytes,
    },
    Definition {
        name: "timestamp",
        member: false,
        signatures: &[
            (&[Sort::Timestamp], Sort::Timestamp),
            (&[Sort::String], Sort::Timestamp),
            (&[Sort::Int], Sort::Timestamp),
        ],
        run: to_timestamp,
    },
    Definition {
        name: "duration",
        member: false,
        signatures: &[
            (&[Sort::Duration], Sort::Duration),
            (&[Sort::String], Sort::Duration),
        ],
        run: to_duration,
    },
    Definition {
        name: "type",
        member: false,
        signatures: &[(&[Sort::Dyn], Sort::Type)],
        run: type_of,
    },
    Definition {
        name: "dyn",
        member: false,
        signatures: &[(&[Sort::Dyn], Sort::Dyn)],
        run: to_dyn,
    },
    Definition {
        name: "size",
        member: false,
        signatures: SIZES,
        run: size,
    },
    Definition {
        name: "size",
        member: true,
        signatures: SIZES,
        run: size,
    },
];

const SIZES: &[super::Signature] = &[
    (&[Sort::String], Sort::Int),
    (&[Sort::Bytes], Sort::Int),
    (&[Sort::ListOfA], Sort::Int),
    (&[Sort::Map], Sort::Int),
];

/// What `string(value)` gives; `None` where it gives nothing.
pub(crate) fn text_of(value: &Val<'_>) -> Option<String> {
    Some(match value {
        Val::String(text) => (**text).to_owned(),
        Val::Bool(bit) => bit.to_string(),
        Val::Int(number) => number.to_string(),
        Val::Uint(number) => number.to_string(),
        Val::Double(number) => double_text(*number),
        Val::Timestamp(time) => timestamp_text(*time),
        Val::Duration(span) => span.to_string(),
        Val::Ip(address) => address.to_string(),
        Val::Cidr(address, bits) => format!("{address}/{bits}"),
        _ => return None,
    })
}

/// The shortest decimal that reads back the same; very large and very small ones with an exponent.
pub(super) fn double_text(number: f64) -> String {
    let magnitude = number.abs();
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 {
            "+Inf".to_owned()
        } else {
            "-Inf".to_owned()
        }
    } else if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent
            .strip_prefix('-')
            .map_or(("+", exponent), |exponent| ("-", exponent));
        format!("{digits}e{sign}{exponent:0>2}")
    } else {
        number.to_string()
    }
}

fn to_bool<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Bool(bit) => Ok(Val::Bool(*bit)),
        Val::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Val::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Val::Bool(false)),
            other => Err(unreadable("bool", other)),
        },
        _ => Err(EvalError::NoOverload("bool")),
    }
}

fn to_int<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    Ok(Val::Int(match &args[0] {
        Val::Int(number) => *number,
        Val::Uint(number) => i64::try_from(*number).map_err(|_| EvalError::Overflow("int"))?,
        // Both bounds are excluded: as doubles they stand for values beyond the range.
        Val::Double(number)
            if *number > -9_223_372_036_854_775_808.0 && *number < 9_223_372_036_854_775_808.0 =>
        {
            *number as i64
        }
        Val::Double(_) => return Err(EvalError::Overflow("int")),
        Val::String(text) => text.parse().map_err(|_| unreadable("int", text))?,
        Val::Timestamp(time) => time.seconds,
        _ => return Err(EvalError::NoOverload("int")),
    }))
}

fn to_uint<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    Ok(Val::Uint(match &args[0] {
        Val::Uint(number) => *number,
        Val::Int(number) => u64::try_from(*number).map_err(|_| EvalError::Overflow("uint"))?,
        Val::Double(number) if *number >= 0.0 && *number < 18_446_744_073_709_551_616.0 => {
            *number as u64
        }
        Val::Double(_) => return Err(EvalError::Overflow("uint")),
        Val::String(text) => text.parse().map_err(|_| unreadable("uint", text))?,
        _ => return Err(EvalError::NoOverload("uint")),
    }))
}

fn to_double<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    Ok(Val::Double(match &args[0] {
        Val::Double(number) => *number,
        Val::Int(number) => *number as f64,
        Val::Uint(number) => *number as f64,
        Val::String(text) => text.parse().map_err(|_| unreadable("double", text))?,
        _ => return Err(EvalError::NoOverload("double")),
    }))
}

fn to_string<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let text = match &args[0] {
        Val::String(text) => return Ok(Val::String(text.clone())),
        Val::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Err(EvalError::Invalid("string", "invalid UTF-8".into())),
        },
        other => text_of(other).ok_or(EvalError::NoOverload("string"))?,
    };
    budget.build(text.len())?;
    Ok(Val::String(Text::from(text)))
}

fn to_bytes<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Bytes(bytes) => Ok(Val::Bytes(bytes.clone())),
        Val::String(Text::Borrowed(text)) => Ok(Val::Bytes(Blob::Borrowed(text.as_bytes()))),
        Val::String(text) => {
            budget.build(text.len())?;
            Ok(Val::Bytes(Blob::from(text.as_bytes().to_vec())))
        }
        _ => Err(EvalError::NoOverload("bytes")),
    }
}

fn to_timestamp<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Timestamp(time) => Ok(Val::Timestamp(*time)),
        Val::String(text) => parse_timestamp(text).map(Val::Timestamp),
        Val::Int(seconds) => super::times::checked_timestamp(i128::from(*seconds) * 1_000_000_000)
            .map(Val::Timestamp),
        _ => Err(EvalError::NoOverload("timestamp")),
    }
}

fn to_duration<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Duration(span) => Ok(Val::Duration(*span)),
        Val::String(text) => parse_duration(text).map(Val::Duration),
        _ => Err(EvalError::NoOverload("duration")),
    }
}

fn type_of<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    Ok(Val::Type(args[0].type_name()))
}

fn to_dyn<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    Ok(args[0].clone())
}

fn size<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let size = match &args[0] {
        Val::String(text) => text.chars().count(),
        Val::Bytes(bytes) => bytes.len(),
        Val::List(list) => list.len(),
        Val::Map(map) => {
            let size = map.len();
            budget.step(size)?;
            size
        }
        _ => return Err(EvalError::NoOverload("size")),
    };
    Ok(Val::Int(size as i64))
}

fn unreadable(kind: &'static str, text: &str) -> EvalError {
    let start: String = text.chars().take(40).collect();
    EvalError::Invalid(kind, format!("{start:?} is not one").into())
}

/// For `ip(..)`, which stands with the conversions in CEL's libraries.
pub(super) fn to_ip<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::String(text) => parse_ip(text).map(Val::Ip),
        other => ip_of(other).map(Val::Ip).ok_or(EvalError::NoOverload("ip")),
    }
}
