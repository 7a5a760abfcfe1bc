//! A compiled expression.

use std::ops::Range;
use std::sync::Arc;

use mixer_attributes::AttributeId;

use crate::budget::Budget;
use crate::node::Node;
use crate::{EvalError, Evaluation, Fact, Kind, Val, eval, facts};

/// A compiled expression: immutable, shared by threads, no I/O, bounded time.
#[derive(Clone, Debug)]
pub struct Expression(Arc<Compiled>);

#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) source: String,
    pub(crate) kind: Kind,
    /// The types its value may have where the checker could not tell; empty: any.
    pub(crate) wanted: Vec<&'static str>,
    pub(crate) node: Node,
    pub(crate) reads: Vec<Read>,
    pub(crate) unguarded: Vec<KeyPath>,
    pub(crate) established: Vec<Vec<String>>,
}

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

/// A read by its way: the attribute, then the keys.
#[derive(Clone, Debug)]
pub(crate) struct KeyPath {
    pub(crate) steps: Vec<String>,
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
    pub(crate) optional: String,
}

impl KeyPath {
    /// Whether one of the tested ways leads over this one.
    pub(crate) fn is_in(&self, tested: &[Vec<String>]) -> bool {
        tested.iter().any(|way| way.starts_with(&self.steps))
    }
}

impl Expression {
    pub(crate) fn new(compiled: Compiled) -> Self {
        Self(Arc::new(compiled))
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Its static type.
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// Every read in it, those of custom attributes' definitions included.
    pub fn reads(&self) -> &[Read] {
        &self.0.reads
    }

    /// What makes it false whatever else is so, in the order it is written in.
    pub fn facts(&self) -> Vec<Fact> {
        facts::facts(&self.0.node)
    }

    /// Reads of map keys with no `has()` or `in` test of that key earlier in the same `&&`. `earlier` are expressions that
    /// stand before this one in a list that means `&&`.
    pub fn unguarded_keys(&self, earlier: &[&Expression]) -> Vec<UnguardedKey> {
        let unguarded = self.0.unguarded.iter();
        let unguarded = unguarded.filter(|path| {
            !earlier
                .iter()
                .any(|before| path.is_in(&before.0.established))
        });
        let shown = |path: &KeyPath| UnguardedKey {
            span: path.span.clone(),
            text: path.text.clone(),
            optional: path.optional.clone(),
        };
        unguarded.map(shown).collect()
    }

    /// Its value for one request.
    pub fn evaluate<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Result<Val<'a>, EvalError> {
        evaluation.budget = Budget::default();
        self.evaluate_within(evaluation)
    }

    /// The same, within what is left of the budget. The value is one that can be written out: lists and maps share what they
    /// hold, so that a few nested ones of two elements each would be beyond all bounds when they are written.
    pub(crate) fn evaluate_within<'a>(
        &'a self,
        evaluation: &mut Evaluation<'a>,
    ) -> Result<Val<'a>, EvalError> {
        let value = eval::evaluate(&self.0.node, evaluation)?;
        value.written_out(&mut Budget::default())?;
        if !self.0.wanted.is_empty() && !self.0.wanted.contains(&value.type_name()) {
            let reason = format!("it is {}", value.type_name());
            return Err(EvalError::Invalid(self.0.wanted[0], reason.into()));
        }
        Ok(value)
    }

    /// Its value as a condition; a value that is not a bool is an error.
    pub fn test<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Result<bool, EvalError> {
        evaluation.budget = Budget::default();
        eval::test(&self.0.node, evaluation)
    }
}
