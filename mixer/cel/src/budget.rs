//! What one evaluation may use up.
//!
//! The checker bounds an expression's text, not its work: nested comprehensions multiply, and a doubled string doubles. So work
//! is counted where it grows with data, and an expression that goes over ends in an error, like any other that has no value.

use crate::EvalError;

/// Iterations of comprehensions, elements compared, 64-byte pieces of text searched.
pub(crate) const STEPS: u32 = 100_000;
/// Bytes of strings, lists and maps built.
pub(crate) const BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Budget {
    steps: u32,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            steps: STEPS,
            bytes: BYTES,
        }
    }
}

impl Budget {
    /// For work that was paid for before.
    pub(crate) fn boundless() -> Self {
        Self {
            steps: u32::MAX,
            bytes: usize::MAX,
        }
    }

    /// Takes `count` steps.
    pub(crate) fn step(&mut self, count: usize) -> Result<(), EvalError> {
        match u32::try_from(count)
            .ok()
            .and_then(|count| self.steps.checked_sub(count))
        {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => {
                self.steps = 0;
                Err(EvalError::TooManySteps)
            }
        }
    }

    /// Takes the steps of reading `length` bytes.
    pub(crate) fn read(&mut self, length: usize) -> Result<(), EvalError> {
        self.step(length / 64)
    }

    /// Takes `count` bytes.
    pub(crate) fn build(&mut self, count: usize) -> Result<(), EvalError> {
        match self.bytes.checked_sub(count) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => {
                self.bytes = 0;
                Err(EvalError::TooManyBytes)
            }
        }
    }

    /// Takes what `count` elements of a list or map occupy.
    pub(crate) fn elements(&mut self, count: usize) -> Result<(), EvalError> {
        self.build(count.saturating_mul(size_of::<crate::Val<'static>>()))
    }
}
