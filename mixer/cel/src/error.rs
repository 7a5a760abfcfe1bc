//! What can be wrong with an expression: a problem at load, an error in evaluation.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Something wrong with an expression's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What sort of problem it is.
    pub kind: ProblemKind,
    /// Bytes of the source that are meant.
    pub span: Range<usize>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The text to put in the place of the span, where nothing else can have been meant.
    pub replacement: Option<String>,
}

impl Problem {
    /// The same, of another kind.
    pub(crate) fn of(self, kind: ProblemKind) -> Self {
        Self { kind, ..self }
    }
}

/// Sorts of problems, as far as they call for different remedies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// It is not CEL.
    Parse,
    /// It is longer, deeper or larger than what is compiled.
    Limit,
    /// CEL has it, this implementation has not: functions nobody knows are among them.
    Unsupported,
    /// No attribute is called so.
    UnknownName,
    /// The attribute is known only when the request is over.
    TooLate,
    /// Values of types that do not go together, or a type that is not wanted here.
    Type,
    /// A function or macro is called with what does not make a call of it.
    Call,
    /// A literal text that is no pattern, address, time or span of time.
    Literal,
    /// Braces of a template that do not pair.
    Template,
    /// CEL that the language of `for` does not have.
    Selector,
}

/// Why an evaluation has no value. Cheap to make and to absorb: names were made when the expression was compiled, and the text
/// is built by [`std::fmt::Display`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EvalError {
    /// The request lacks this attribute.
    Unknown(Arc<str>),
    /// The map lacks this key: the read as written.
    Missing(Arc<str>),
    /// The request gives this key more than once.
    Ambiguous(Arc<str>),
    /// A map that is no attribute lacks this key.
    NoKey(Box<str>),
    /// A list has no element there.
    NoElement(i64),
    /// An operator or function was applied to kinds it does not take.
    NoOverload(&'static str),
    /// A condition is of this kind, not a bool.
    NotBool(&'static str),
    /// Arithmetic beyond the kind's range.
    Overflow(&'static str),
    /// Division by zero.
    DivideByZero,
    /// An argument a function cannot take: the function, and what is wrong with it.
    Invalid(&'static str, Box<str>),
    /// A map literal gives a key twice.
    RepeatedKey,
    /// `value()` of an empty optional.
    NoValue,
    /// More steps than an evaluation may take.
    TooManySteps,
    /// More bytes built than an evaluation may build.
    TooManyBytes,
}

impl EvalError {
    /// Whether something that was read is not there, as against a mistake or a limit.
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            EvalError::Unknown(_) | EvalError::Missing(_) | EvalError::NoKey(_)
        )
    }

    /// Whether something that was read is given more than once, so that nobody can say which is meant.
    pub fn is_ambiguity(&self) -> bool {
        matches!(self, EvalError::Ambiguous(_))
    }

    /// Whether the evaluation went over a limit. No operator absorbs that.
    pub fn is_limit(&self) -> bool {
        matches!(self, EvalError::TooManySteps | EvalError::TooManyBytes)
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::Unknown(name) => write!(f, "{name} is not known"),
            EvalError::Missing(read) => write!(f, "{read} is not there"),
            EvalError::Ambiguous(read) => write!(f, "{read} is given more than once"),
            EvalError::NoKey(key) => write!(f, "no such key: {key}"),
            EvalError::NoElement(index) => write!(f, "the list has no element {index}"),
            EvalError::NoOverload(operation) => {
                write!(f, "`{operation}` does not take values of these types")
            }
            EvalError::NotBool(kind) => write!(f, "the condition is a {kind}, not a bool"),
            EvalError::Overflow(kind) => write!(f, "{kind} overflow"),
            EvalError::DivideByZero => f.write_str("division by zero"),
            EvalError::Invalid(function, reason) => write!(f, "{function}: {reason}"),
            EvalError::RepeatedKey => f.write_str("a map gives the same key twice"),
            EvalError::NoValue => f.write_str("value() of an empty optional"),
            EvalError::TooManySteps => f.write_str("the expression takes too many steps"),
            EvalError::TooManyBytes => f.write_str("the expression builds too much"),
        }
    }
}

impl std::error::Error for EvalError {}
