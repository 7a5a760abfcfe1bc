//! The lists extension, and base64.

use super::{Definition, Result, Sort};
use crate::budget::Budget;
use crate::compare::equal;
use crate::val::{Blob, List, Text};
use crate::{EvalError, Val};

pub(super) const TABLE: &[Definition] = &[
    Definition {
        name: "slice",
        member: true,
        signatures: &[(&[Sort::ListOfA, Sort::Int, Sort::Int], Sort::ListOfA)],
        run: slice,
    },
    Definition {
        name: "flatten",
        member: true,
        signatures: &[
            (&[Sort::ListOfDyn], Sort::ListOfDyn),
            (&[Sort::ListOfDyn, Sort::Int], Sort::ListOfDyn),
        ],
        run: flatten,
    },
    Definition {
        name: "distinct",
        member: true,
        signatures: &[(&[Sort::ListOfA], Sort::ListOfA)],
        run: distinct,
    },
    Definition {
        name: "reverse",
        member: true,
        signatures: &[
            (&[Sort::String], Sort::String),
            (&[Sort::ListOfA], Sort::ListOfA),
        ],
        run: reverse,
    },
    Definition {
        name: "sort",
        member: true,
        signatures: &[(&[Sort::ListOfA], Sort::ListOfA)],
        run: sort,
    },
    Definition {
        name: "lists.range",
        member: false,
        signatures: &[(&[Sort::Int], Sort::ListOfInt)],
        run: range,
    },
    Definition {
        name: "base64.encode",
        member: false,
        signatures: &[(&[Sort::Bytes], Sort::String)],
        run: encode,
    },
    Definition {
        name: "base64.decode",
        member: false,
        signatures: &[(&[Sort::String], Sort::Bytes)],
        run: decode,
    },
];

fn items<'v, 'a>(function: &'static str, args: &'v [Val<'a>]) -> Result<&'v List<'a>> {
    match &args[0] {
        Val::List(list) => Ok(list),
        _ => Err(EvalError::NoOverload(function)),
    }
}

fn slice<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let list = items("slice", args)?;
    let (Val::Int(start), Val::Int(end)) = (&args[1], &args[2]) else {
        return Err(EvalError::NoOverload("slice"));
    };
    match (usize::try_from(*start), usize::try_from(*end)) {
        (Ok(start), Ok(end)) if start <= end && end <= list.len() => {
            budget.elements(end - start)?;
            Ok(Val::List(
                (start..end).filter_map(|at| list.element(at)).collect(),
            ))
        }
        _ => {
            let reason = format!("{start} to {end} of a list of {}", list.len());
            Err(EvalError::Invalid("slice", reason.into()))
        }
    }
}

fn flatten<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let depth = match args.get(1) {
        None => 1,
        Some(Val::Int(depth)) if *depth >= 0 => *depth,
        Some(Val::Int(_)) => return Err(EvalError::Invalid("flatten", "a negative depth".into())),
        Some(_) => return Err(EvalError::NoOverload("flatten")),
    };
    let mut flat = Vec::new();
    flatten_into(items("flatten", args)?, depth, &mut flat, budget)?;
    Ok(Val::List(flat.into_iter().collect()))
}

fn flatten_into<'a>(
    list: &List<'a>,
    depth: i64,
    flat: &mut Vec<Val<'a>>,
    budget: &mut Budget,
) -> Result<()> {
    for item in list.iter() {
        match &item {
            Val::List(inner) if depth > 0 => {
                budget.step(1)?;
                flatten_into(inner, depth - 1, flat, budget)?;
            }
            _ => {
                budget.elements(1)?;
                flat.push(item);
            }
        }
    }
    Ok(())
}

fn distinct<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let mut kept: Vec<Val<'a>> = Vec::new();
    'items: for item in items("distinct", args)?.iter() {
        budget.step(kept.len())?;
        for held in &kept {
            if equal(held, &item, budget)? {
                continue 'items;
            }
        }
        budget.elements(1)?;
        kept.push(item);
    }
    Ok(Val::List(kept.into_iter().collect()))
}

fn reverse<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    if let Val::String(text) = &args[0] {
        budget.build(text.len())?;
        return Ok(Val::String(Text::from(
            text.chars().rev().collect::<String>(),
        )));
    }
    let list = items("reverse", args)?;
    budget.elements(list.len())?;
    Ok(Val::List(
        (0..list.len())
            .rev()
            .filter_map(|at| list.element(at))
            .collect(),
    ))
}

fn sort<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let list = items("sort", args)?;
    budget.elements(list.len() * 2)?;
    super::sort(
        list.iter().map(|item| (item.clone(), item)).collect(),
        budget,
    )
    .map(Val::List)
}

fn range<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let Val::Int(end) = &args[0] else {
        return Err(EvalError::NoOverload("lists.range"));
    };
    budget.elements(usize::try_from(*end).unwrap_or(0))?;
    Ok(Val::List((0..*end).map(Val::Int).collect()))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let Val::Bytes(bytes) = &args[0] else {
        return Err(EvalError::NoOverload("base64.encode"));
    };
    budget.build(bytes.len().saturating_mul(4) / 3 + 4)?;
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = ALPHABET[(group >> (18 - 6 * at)) as usize & 63];
            text.push(if at > chunk.len() { '=' } else { letter.into() });
        }
    }
    Ok(Val::String(Text::from(text)))
}

/// With or without padding.
fn decode<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let Val::String(text) = &args[0] else {
        return Err(EvalError::NoOverload("base64.decode"));
    };
    let invalid = || EvalError::Invalid("base64.decode", "this is no base64".into());
    budget.build(text.len())?;
    let letters = text.trim_end_matches('=');
    if text.len() - letters.len() > 2 || (text.len() > letters.len() && text.len() % 4 != 0) {
        return Err(invalid());
    }
    let mut bytes = Vec::with_capacity(letters.len());
    let (mut group, mut bits) = (0_u32, 0);
    for letter in letters.bytes() {
        let value = ALPHABET
            .iter()
            .position(|held| *held == letter)
            .ok_or_else(invalid)?;
        group = group << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((group >> bits) as u8);
            group &= (1 << bits) - 1;
        }
    }
    if bits == 6 || group != 0 {
        return Err(invalid());
    }
    Ok(Val::Bytes(Blob::from(bytes)))
}
