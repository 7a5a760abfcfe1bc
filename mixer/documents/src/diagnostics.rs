//! What is wrong with documents, and where.

use crate::{Sources, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Refuses the whole set.
    Error,
    /// Loads, and is said.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Where; `None` for problems of a directory.
    pub span: Option<Span>,
    /// What is said under the caret.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Vec<String>,
}

/// Problems together with the sources they are shown in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// The files.
    pub sources: Sources,
    /// The problems, in the order of their places.
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// Each problem with its place, the lines it is in and a caret (colours as terminals take them if `color`).
    pub fn render(&self, color: bool) -> String {
        let _ = color;
        unimplemented!()
    }

    /// One line per problem: `path:line:column: error: message`.
    pub fn lines(&self) -> Vec<String> {
        unimplemented!()
    }
}
