//! What can be wrong with an expression: a problem at load, an error in evaluation.

use std::ops::Range;

/// Something wrong with an expression's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Bytes of the source that are meant.
    pub span: Range<usize>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// Why an evaluation has no value. Cheap to make and to absorb; the text is built by [`std::fmt::Display`].
#[derive(Clone, Debug, PartialEq)]
pub struct EvalError(pub(crate) String);

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EvalError {}
