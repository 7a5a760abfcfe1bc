//! Texts to compiled expressions, sharing one table of references.

use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{AttributeId, Vocabulary};

use crate::{Expression, Kind, Problem, References, Selector, Template};

/// What an expression must yield.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Exactly this kind (`dyn` is admitted and checked when it is evaluated).
    Kind(Kind),
    /// Any of these.
    OneOf(Vec<Kind>),
    /// Anything.
    Any,
}

/// Compiles the expressions of one set of documents.
#[derive(Debug)]
pub struct Compiler {}

impl Compiler {
    /// For expressions over `vocabulary`.
    pub fn new(vocabulary: Vocabulary) -> Self {
        let _ = vocabulary;
        unimplemented!()
    }

    /// The vocabulary expressions are checked against.
    pub fn vocabulary(&self) -> &Vocabulary {
        unimplemented!()
    }

    /// Gives the custom attribute `id` its meaning: reading it evaluates `source` in its place (so that what it reads is
    /// referenced). Definitions may read attributes defined before them.
    pub fn define(&mut self, id: AttributeId, source: &str) -> Result<(), Vec<Problem>> {
        let _ = (id, source);
        unimplemented!()
    }

    /// An expression over what is known at `phase` (at Report everything is).
    pub fn expression(&mut self, source: &str, phase: Producer, expect: Expect) -> Result<Expression, Vec<Problem>> {
        let _ = (source, phase, expect);
        unimplemented!()
    }

    /// A text with CEL in braces, `{{` and `}}` for braces.
    pub fn template(&mut self, source: &str, phase: Producer) -> Result<Template, Vec<Problem>> {
        let _ = (source, phase);
        unimplemented!()
    }

    /// A `for`: selector attributes only, `==`, `in`, `startsWith`, `endsWith`, `&&`, `||`, or `always`.
    pub fn selector(&mut self, source: &str) -> Result<Selector, Vec<Problem>> {
        let _ = source;
        unimplemented!()
    }

    /// The table of references that evaluations of these expressions need.
    pub fn finish(self) -> References {
        unimplemented!()
    }
}
