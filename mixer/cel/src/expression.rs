//! A compiled expression.

use std::ops::Range;

use mixer_attributes::AttributeId;

use crate::{EvalError, Evaluation, Kind, Val};

/// A compiled expression: immutable, shared by threads, no I/O, bounded time.
#[derive(Clone, Debug)]
pub struct Expression {}

/// A place where an expression reads an attribute, whether or not an evaluation gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The attribute.
    pub attribute: AttributeId,
    /// The key of a map attribute, when it is a literal.
    pub key: Option<String>,
    /// Where, in the source.
    pub span: Range<usize>,
}

/// A key of a map attribute or of `auth.claims` that is read with no test of its presence before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnguardedKey {
    /// Where, in the source.
    pub span: Range<usize>,
    /// As written, such as `request.headers["x-tester"]`.
    pub text: String,
    /// The same read with `[?..].orValue(..)`.
    pub optional: String,
}

impl Expression {
    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        unimplemented!()
    }

    /// Its static type.
    pub fn kind(&self) -> &Kind {
        unimplemented!()
    }

    /// Every read in it, those of custom attributes' definitions included.
    pub fn reads(&self) -> &[Read] {
        unimplemented!()
    }

    /// Reads of map keys with no `has()` or `in` test of that key earlier in the same `&&`. `earlier` are expressions that
    /// stand before this one in a list that means `&&`.
    pub fn unguarded_keys(&self, earlier: &[&Expression]) -> Vec<UnguardedKey> {
        let _ = earlier;
        unimplemented!()
    }

    /// Its value for one request.
    pub fn evaluate<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Result<Val<'a>, EvalError> {
        let _ = evaluation;
        unimplemented!()
    }

    /// Its value as a condition; a value that is not a bool is an error.
    pub fn test<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Result<bool, EvalError> {
        let _ = evaluation;
        unimplemented!()
    }
}
