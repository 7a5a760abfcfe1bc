//! The functions expressions may call, each with its signatures and what it does.
//!
//! One entry serves all overloads of a name: the checker picks by static types, the function by the values it gets, so that a
//! `dyn` argument takes the same road. What is not in these tables is a problem at load.

mod arithmetic;
mod conversions;
mod encoders;
mod format;
mod lists;
mod math;
mod network;
mod optional;
mod strings;
mod times;

use std::cmp::Ordering;
use std::fmt;

use crate::budget::Budget;
use crate::compare::order;
use crate::{EvalError, Kind, Val};

pub(crate) use arithmetic::{arithmetic, negate};
pub(crate) use conversions::text_of;
pub(crate) use encoders::{base64, from_base64};
pub(crate) use network::{parse_cidr, parse_ip};
pub(crate) use times::{parse_duration, parse_timestamp};

type Result<T> = std::result::Result<T, EvalError>;

/// A type in a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    Ip,
    Cidr,
    Type,
    Dyn,
    /// Whatever the first argument that says so makes it.
    A,
    ListOfA,
    ListOfDyn,
    ListOfString,
    ListOfInt,
    Map,
    OptionalOfA,
}

/// Argument sorts, the one before the dot first, and the result's.
pub(crate) type Signature = (&'static [Sort], Sort);

/// What a function does with its arguments.
pub(crate) type Run = for<'a> fn(&mut [Val<'a>], &mut Budget) -> Result<Val<'a>>;

/// A function of the library.
pub(crate) struct Definition {
    name: &'static str,
    /// Called as `x.name(..)`.
    member: bool,
    signatures: &'static [Signature],
    run: Run,
}

/// A function of the library, by reference.
#[derive(Clone, Copy)]
pub(crate) struct Function(&'static Definition);

impl Function {
    /// The function of that name and style; names of global functions include their namespace.
    pub(crate) fn named(name: &str, member: bool) -> Option<Self> {
        definitions()
            .find(|definition| definition.name == name && definition.member == member)
            .map(Function)
    }

    /// Every name of that style.
    pub(crate) fn names(member: bool) -> impl Iterator<Item = &'static str> {
        definitions()
            .filter(move |definition| definition.member == member)
            .map(|definition| definition.name)
    }

    pub(crate) fn name(self) -> &'static str {
        self.0.name
    }

    pub(crate) fn signatures(self) -> &'static [Signature] {
        self.0.signatures
    }

    /// Text and bytes among the arguments are paid for here: most functions read all of them.
    pub(crate) fn call<'a>(self, args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
        for arg in &*args {
            match arg {
                Val::String(text) => budget.read(text.len())?,
                Val::Bytes(bytes) => budget.read(bytes.len())?,
                _ => {}
            }
        }
        (self.0.run)(args, budget)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

fn definitions() -> impl Iterator<Item = &'static Definition> {
    let tables: [&'static [Definition]; 9] = [
        conversions::TABLE,
        strings::TABLE,
        times::TABLE,
        network::TABLE,
        optional::TABLE,
        format::TABLE,
        math::TABLE,
        lists::TABLE,
        encoders::TABLE,
    ];
    tables.into_iter().flatten()
}

impl Sort {
    /// Whether an argument of static type `kind` may stand here, `a` being what the type variable is bound to.
    pub(crate) fn admits(self, kind: &Kind, a: &mut Option<Kind>) -> bool {
        let mut bind = |kind: &Kind| match a {
            Some(bound) => {
                let admitted = bound.admits(kind);
                if !admitted || *kind == Kind::Dyn {
                    *bound = Kind::Dyn;
                }
                true
            }
            None => {
                *a = Some(kind.clone());
                true
            }
        };
        match (self, kind) {
            (Sort::A, kind) => bind(kind),
            (Sort::ListOfA, Kind::List(item)) => bind(item),
            (Sort::OptionalOfA, Kind::Optional(item)) => bind(item),
            (Sort::Dyn, _) | (_, Kind::Dyn) => true,
            (Sort::ListOfDyn, Kind::List(_)) => true,
            (Sort::ListOfString, Kind::List(item)) => Kind::String.admits(item),
            (Sort::Map, Kind::Map(..)) => true,
            _ => self.kind(&None) == *kind,
        }
    }

    /// The static type a result of this sort has.
    pub(crate) fn kind(self, a: &Option<Kind>) -> Kind {
        let bound = || a.clone().unwrap_or(Kind::Dyn);
        match self {
            Sort::Bool => Kind::Bool,
            Sort::Int => Kind::Int,
            Sort::Uint => Kind::Uint,
            Sort::Double => Kind::Double,
            Sort::String => Kind::String,
            Sort::Bytes => Kind::Bytes,
            Sort::Timestamp => Kind::Timestamp,
            Sort::Duration => Kind::Duration,
            Sort::Ip => Kind::Ip,
            Sort::Cidr => Kind::Cidr,
            Sort::Type => Kind::Type,
            Sort::Dyn => Kind::Dyn,
            Sort::A => bound(),
            Sort::ListOfA => Kind::List(Box::new(bound())),
            Sort::ListOfDyn => Kind::List(Box::new(Kind::Dyn)),
            Sort::ListOfString => Kind::List(Box::new(Kind::String)),
            Sort::ListOfInt => Kind::List(Box::new(Kind::Int)),
            Sort::Map => Kind::Map(Box::new(Kind::Dyn), Box::new(Kind::Dyn)),
            Sort::OptionalOfA => Kind::Optional(Box::new(bound())),
        }
    }
}

/// Elements in the order of their keys, which must be of one type and comparable.
pub(crate) fn sort<'a>(
    mut keyed: Vec<(Val<'a>, Val<'a>)>,
    budget: &mut Budget,
) -> Result<crate::val::List<'a>> {
    let rounds = keyed.len().max(2).ilog2() as usize;
    budget.step(keyed.len() * rounds)?;
    // Each compared with the first and with itself finds another type and NaN; what is left has a total order.
    let mut free = Budget::boundless();
    if let Some((first, _)) = keyed.first() {
        for (key, _) in &keyed {
            let length = key.as_str().map_or(0, str::len);
            budget.read(length.saturating_mul(rounds))?;
            order("sort", key, key, &mut free)?;
            if key.type_name() != first.type_name() {
                return Err(EvalError::NoOverload("sort"));
            }
        }
    }
    // Paid for above: a comparison that failed halfway would leave no order at all.
    keyed.sort_by(|(a, _), (b, _)| order("sort", a, b, &mut free).unwrap_or(Ordering::Equal));
    Ok(keyed.into_iter().map(|(_, value)| value).collect())
}
