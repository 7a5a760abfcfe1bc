//! `text.format([..])` of the strings extension: `%s %d %f %e %b %o %x %X`, a precision behind `%`, `%%` for itself.

use super::times::timestamp_text;
use super::{Definition, Result, Sort};
use crate::budget::Budget;
use crate::val::{List, Looked, Text};
use crate::{EvalError, Val};

pub(super) const TABLE: &[Definition] = &[Definition {
    name: "format",
    member: true,
    signatures: &[(&[Sort::String, Sort::ListOfDyn], Sort::String)],
    run: format,
}];

/// Digits behind the point where none are asked for, and the most that may be.
const PRECISION: usize = 6;
const MOST: usize = 100;

fn format<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let (Val::String(pattern), Val::List(values)) = (&args[0], &args[1]) else {
        return Err(EvalError::NoOverload("format"));
    };
    let text = fill(pattern, values, budget)?;
    Ok(Val::String(Text::from(text)))
}

fn fill(pattern: &str, values: &List<'_>, budget: &mut Budget) -> Result<String> {
    budget.build(pattern.len())?;
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (precision, clause) = precision(rest)?;
        let Some(letter) = clause.chars().next() else {
            return Err(invalid("a clause is not complete"));
        };
        let Some(value) = values.element(next) else {
            return Err(invalid(&format!(
                "there is no value for clause {}",
                next + 1
            )));
        };
        next += 1;
        let formatted = clause_text(letter, precision, &value, budget)?;
        budget.build(formatted.len())?;
        out.push_str(&formatted);
        rest = &clause[letter.len_utf8()..];
    }
    out.push_str(rest);
    Ok(out)
}

fn precision(clause: &str) -> Result<(usize, &str)> {
    let Some(rest) = clause.strip_prefix('.') else {
        return Ok((PRECISION, clause));
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    match rest[..end].parse() {
        Ok(precision) if precision <= MOST => Ok((precision, &rest[end..])),
        _ => Err(invalid("a precision is a number up to 100")),
    }
}

fn invalid(reason: &str) -> EvalError {
    EvalError::Invalid("format", reason.into())
}

fn clause_text(
    letter: char,
    precision: usize,
    value: &Val<'_>,
    budget: &mut Budget,
) -> Result<String> {
    let number = match value {
        Val::Int(number) => Some(*number as f64),
        Val::Uint(number) => Some(*number as f64),
        Val::Double(number) => Some(*number),
        _ => None,
    };
    let not_finite = number.filter(|number| !number.is_finite()).map(double);
    let formatted = match (letter, value) {
        ('s', value) => return string(value, budget),
        ('d', Val::Int(number)) => Some(number.to_string()),
        ('d', Val::Uint(number)) => Some(number.to_string()),
        ('d', Val::Double(number)) => Some(double(*number)),
        ('f' | 'e', _) if not_finite.is_some() => not_finite,
        ('f', _) => number.map(|number| format!("{number:.precision$}")),
        ('e', _) => number.map(|number| scientific(number, precision)),
        ('b', Val::Bool(bit)) => Some(u8::from(*bit).to_string()),
        ('b', Val::Int(number)) => Some(format!("{}{:b}", sign(*number), number.unsigned_abs())),
        ('b', Val::Uint(number)) => Some(format!("{number:b}")),
        ('o', Val::Int(number)) => Some(format!("{}{:o}", sign(*number), number.unsigned_abs())),
        ('o', Val::Uint(number)) => Some(format!("{number:o}")),
        ('x' | 'X', Val::Int(number)) => {
            Some(format!("{}{:x}", sign(*number), number.unsigned_abs()))
        }
        ('x' | 'X', Val::Uint(number)) => Some(format!("{number:x}")),
        ('x' | 'X', Val::String(text)) => Some(hex(text.as_bytes(), budget)?),
        ('x' | 'X', Val::Bytes(bytes)) => Some(hex(bytes, budget)?),
        ('b' | 'o' | 'x' | 'X' | 'd', _) => None,
        _ => return Err(invalid(&format!("unrecognized clause %{letter}"))),
    };
    match formatted {
        Some(text) if letter == 'X' => Ok(text.to_uppercase()),
        Some(text) => Ok(text),
        None => Err(invalid(&format!(
            "%{letter} does not take {}",
            value.type_name()
        ))),
    }
}

fn string(value: &Val<'_>, budget: &mut Budget) -> Result<String> {
    Ok(match value {
        Val::String(text) => {
            budget.build(text.len())?;
            (**text).to_owned()
        }
        Val::Bytes(bytes) => {
            budget.build(bytes.len())?;
            String::from_utf8_lossy(bytes).into_owned()
        }
        Val::Double(number) => double(*number),
        Val::Timestamp(time) => timestamp_text(*time),
        Val::List(list) => {
            let mut items = Vec::with_capacity(list.len());
            for item in list.iter() {
                budget.elements(1)?;
                items.push(string(&item, budget)?);
            }
            format!("[{}]", items.join(", "))
        }
        Val::Map(map) => {
            let mut entries = Vec::new();
            for (key, looked) in map.looked() {
                budget.elements(2)?;
                let Looked::Found(value) = looked else {
                    return Err(crate::compare::ambiguous(&key));
                };
                entries.push((string(&key, budget)?, string(&value, budget)?));
            }
            entries.sort();
            let entries: Vec<String> = entries
                .into_iter()
                .map(|(key, value)| format!("{key}: {value}"))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Val::Optional(_) => return Err(invalid("%s does not take an optional")),
        other => other.to_text(),
    })
}

fn double(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 {
            "Infinity".to_owned()
        } else {
            "-Infinity".to_owned()
        }
    } else {
        number.to_string()
    }
}

/// With at least two digits of exponent and its sign.
fn scientific(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent
        .strip_prefix('-')
        .map_or(("+", exponent), |exponent| ("-", exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

fn sign(number: i64) -> &'static str {
    if number < 0 { "-" } else { "" }
}

fn hex(bytes: &[u8], budget: &mut Budget) -> Result<String> {
    budget.build(bytes.len().saturating_mul(2))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
