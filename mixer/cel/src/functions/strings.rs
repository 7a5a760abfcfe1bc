//! Strings: the standard library's and the strings extension. Positions count code points.

use super::{Definition, Result, Signature, Sort};
use crate::budget::Budget;
use crate::val::Text;
use crate::{EvalError, Val};

const TEST: &[Signature] = &[(&[Sort::String, Sort::String], Sort::Bool)];
const CHANGE: &[Signature] = &[(&[Sort::String], Sort::String)];
const FIND: &[Signature] = &[
    (&[Sort::String, Sort::String], Sort::Int),
    (&[Sort::String, Sort::String, Sort::Int], Sort::Int),
];

pub(super) const TABLE: &[Definition] = &[
    Definition {
        name: "contains",
        member: true,
        signatures: TEST,
        run: contains,
    },
    Definition {
        name: "startsWith",
        member: true,
        signatures: TEST,
        run: starts_with,
    },
    Definition {
        name: "endsWith",
        member: true,
        signatures: TEST,
        run: ends_with,
    },
    Definition {
        name: "charAt",
        member: true,
        signatures: &[(&[Sort::String, Sort::Int], Sort::String)],
        run: char_at,
    },
    Definition {
        name: "indexOf",
        member: true,
        signatures: FIND,
        run: index_of,
    },
    Definition {
        name: "lastIndexOf",
        member: true,
        signatures: FIND,
        run: last_index_of,
    },
    Definition {
        name: "join",
        member: true,
        signatures: &[
            (&[Sort::ListOfString], Sort::String),
            (&[Sort::ListOfString, Sort::String], Sort::String),
        ],
        run: join,
    },
    Definition {
        name: "lowerAscii",
        member: true,
        signatures: CHANGE,
        run: lower_ascii,
    },
    Definition {
        name: "upperAscii",
        member: true,
        signatures: CHANGE,
        run: upper_ascii,
    },
    Definition {
        name: "trim",
        member: true,
        signatures: CHANGE,
        run: trim,
    },
    Definition {
        name: "replace",
        member: true,
        signatures: &[
            (&[Sort::String, Sort::String, Sort::String], Sort::String),
            (
                &[Sort::String, Sort::String, Sort::String, Sort::Int],
                Sort::String,
            ),
        ],
        run: replace,
    },
    Definition {
        name: "split",
        member: true,
        signatures: &[
            (&[Sort::String, Sort::String], Sort::ListOfString),
            (&[Sort::String, Sort::String, Sort::Int], Sort::ListOfString),
        ],
        run: split,
    },
    Definition {
        name: "substring",
        member: true,
        signatures: &[
            (&[Sort::String, Sort::Int], Sort::String),
            (&[Sort::String, Sort::Int, Sort::Int], Sort::String),
        ],
        run: substring,
    },
    Definition {
        name: "strings.quote",
        member: false,
        signatures: CHANGE,
        run: quote,
    },
];

/// The text of argument `at`.
fn text<'v>(function: &'static str, args: &'v [Val<'_>], at: usize) -> Result<&'v str> {
    match &args[at] {
        Val::String(text) => Ok(text),
        _ => Err(EvalError::NoOverload(function)),
    }
}

fn integer(function: &'static str, args: &[Val<'_>], at: usize) -> Result<Option<i64>> {
    match args.get(at) {
        None => Ok(None),
        Some(Val::Int(number)) => Ok(Some(*number)),
        Some(_) => Err(EvalError::NoOverload(function)),
    }
}

fn built<'a>(text: String, budget: &mut Budget) -> Result<Val<'a>> {
    budget.build(text.len())?;
    Ok(Val::String(Text::from(text)))
}

/// A part of argument 0, without copying it when it is borrowed.
fn part<'a>(args: &[Val<'a>], start: usize, end: usize, budget: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::String(Text::Borrowed(text)) => Ok(Val::text(&text[start..end])),
        Val::String(text) => built(text[start..end].to_owned(), budget),
        _ => Err(EvalError::NoOverload("substring")),
    }
}

fn out_of_range(function: &'static str, index: i64) -> EvalError {
    EvalError::Invalid(function, format!("index {index} is out of range").into())
}

/// The byte at which code point `index` starts; `None` beyond the end.
fn byte_of(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .nth(index)
}

fn contains<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    let (whole, piece) = (text("contains", args, 0)?, text("contains", args, 1)?);
    Ok(Val::Bool(whole.contains(piece)))
}

fn starts_with<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    let (whole, piece) = (text("startsWith", args, 0)?, text("startsWith", args, 1)?);
    Ok(Val::Bool(whole.starts_with(piece)))
}

fn ends_with<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    let (whole, piece) = (text("endsWith", args, 0)?, text("endsWith", args, 1)?);
    Ok(Val::Bool(whole.ends_with(piece)))
}

fn char_at<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let whole = text("charAt", args, 0)?;
    let index = integer("charAt", args, 1)?.unwrap_or(0);
    let start = byte_of(whole, index).ok_or_else(|| out_of_range("charAt", index))?;
    let end = start + whole[start..].chars().next().map_or(0, char::len_utf8);
    part(args, start, end, budget)
}

fn index_of<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    let (whole, piece) = (text("indexOf", args, 0)?, text("indexOf", args, 1)?);
    let from = integer("indexOf", args, 2)?.unwrap_or(0);
    let start = byte_of(whole, from).ok_or_else(|| out_of_range("indexOf", from))?;
    let found = whole[start..]
        .find(piece)
        .map(|at| whole[..start + at].chars().count() as i64);
    Ok(Val::Int(found.unwrap_or(-1)))
}

/// With a third argument, the last place that is not after it.
fn last_index_of<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    let (whole, piece) = (text("lastIndexOf", args, 0)?, text("lastIndexOf", args, 1)?);
    let end = match integer("lastIndexOf", args, 2)? {
        Some(to) => {
            let to = byte_of(whole, to).ok_or_else(|| out_of_range("lastIndexOf", to))?;
            // A match may begin at `to`, so it may end as far behind it as the piece is long.
            (to + piece.len()).min(whole.len())
        }
        None => whole.len(),
    };
    let end = (0..=end)
        .rev()
        .find(|at| whole.is_char_boundary(*at))
        .unwrap_or(0);
    let found = whole[..end]
        .rfind(piece)
        .map(|at| whole[..at].chars().count() as i64);
    Ok(Val::Int(found.unwrap_or(-1)))
}

fn join<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let separator = if args.len() > 1 {
        text("join", args, 1)?
    } else {
        ""
    };
    let Val::List(list) = &args[0] else {
        return Err(EvalError::NoOverload("join"));
    };
    budget.step(list.len())?;
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        let Val::String(item) = &item else {
            return Err(EvalError::NoOverload("join"));
        };
        let separator = if index == 0 { "" } else { separator };
        budget.build(separator.len() + item.len())?;
        joined.push_str(separator);
        joined.push_str(item);
    }
    Ok(Val::String(Text::from(joined)))
}

fn lower_ascii<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let lower = text("lowerAscii", args, 0)?;
    if !lower.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(args[0].clone());
    }
    built(lower.to_ascii_lowercase(), budget)
}

fn upper_ascii<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let upper = text("upperAscii", args, 0)?;
    if !upper.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Ok(args[0].clone());
    }
    built(upper.to_ascii_uppercase(), budget)
}

fn trim<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let whole = text("trim", args, 0)?;
    let start = whole.len() - whole.trim_start().len();
    let end = start + whole.trim().len();
    part(args, start, end, budget)
}

fn replace<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let (whole, old, new) = (
        text("replace", args, 0)?,
        text("replace", args, 1)?,
        text("replace", args, 2)?,
    );
    let times = integer("replace", args, 3)?
        .and_then(|times| usize::try_from(times).ok())
        .unwrap_or(usize::MAX);
    // What it may grow to is known before it is built.
    let found = if old.is_empty() {
        whole.chars().count() + 1
    } else {
        whole.matches(old).count()
    };
    budget.build(
        whole
            .len()
            .saturating_add(found.min(times).saturating_mul(new.len())),
    )?;
    Ok(Val::String(Text::from(whole.replacen(old, new, times))))
}

fn split<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let (whole, separator) = (text("split", args, 0)?, text("split", args, 1)?);
    let limit = integer("split", args, 2)?.unwrap_or(-1);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut ranges = Vec::new();
    if separator.is_empty() {
        let mut starts = whole.char_indices().map(|(at, _)| at).collect::<Vec<_>>();
        starts.truncate(limit);
        let ends = starts
            .iter()
            .skip(1)
            .copied()
            .chain([whole.len()])
            .collect::<Vec<_>>();
        ranges.extend(starts.into_iter().zip(ends));
    } else if limit > 0 {
        let base = whole.as_ptr() as usize;
        let pieces = whole.splitn(limit, separator);
        ranges.extend(pieces.map(|piece| {
            (
                piece.as_ptr() as usize - base,
                piece.as_ptr() as usize - base + piece.len(),
            )
        }));
    }
    budget.elements(ranges.len())?;
    let pieces = ranges
        .into_iter()
        .map(|(start, end)| part(args, start, end, budget));
    Ok(Val::List(pieces.collect::<Result<_>>()?))
}

fn substring<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let whole = text("substring", args, 0)?;
    let from = integer("substring", args, 1)?.unwrap_or(0);
    let start = byte_of(whole, from).ok_or_else(|| out_of_range("substring", from))?;
    let end = match integer("substring", args, 2)? {
        Some(to) => byte_of(whole, to).ok_or_else(|| out_of_range("substring", to))?,
        None => whole.len(),
    };
    if end < start {
        return Err(EvalError::Invalid(
            "substring",
            "the end is before the start".into(),
        ));
    }
    part(args, start, end, budget)
}

fn quote<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let whole = text("strings.quote", args, 0)?;
    let mut quoted = String::with_capacity(whole.len() + 2);
    quoted.push('"');
    for c in whole.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    built(quoted, budget)
}
