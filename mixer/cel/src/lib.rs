//! CEL for policies: parsed behind a guard, checked against the vocabulary, compiled to slots, evaluated without allocating.
//!
//! A [`Compiler`] turns the texts of one set of documents into [`Expression`]s, [`Template`]s and [`Selector`]s; an
//! [`Evaluation`] runs them against one request's attributes and keeps the **referenced set**: everything that was read,
//! present or absent. That set is what makes an answer cacheable: it holds for every request equal on it.
//!
//! The `cel` crate gives the grammar (its parser) and the oracle of the tests; its evaluator compiles regexes per call, has no
//! types and no positions, and is not used here.

mod budget;
pub mod cases;
mod check;
mod clause;
mod compare;
mod compiler;
mod error;
mod eval;
mod evaluation;
mod expression;
mod facts;
mod functions;
mod kind;
mod node;
mod outline;
mod parse;
mod pattern;
mod reference;
mod selector;
mod template;
mod tree;
mod val;

pub use clause::{Clause, ClauseKind, Comparison, Constant, ConstantValue, Place};
pub use compiler::{Compiler, Expect};
pub use error::{EvalError, Problem, ProblemKind};
pub use evaluation::Evaluation;
pub use expression::{Expression, Read, UnguardedKey};
pub use facts::{Fact, FactTest, Question, Said, Scalar};
pub use kind::Kind;
pub use outline::{Outline, Shape};
pub use reference::{Reference, ReferenceId, References};
pub use selector::Selector;
pub use template::Template;
pub use val::{Blob, List, Map, Text, Val};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
