//! The lists extension.

use super::{Definition, Result, Sort};
use crate::budget::Budget;
use crate::compare::equal;
use crate::val::{List, Text};
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
