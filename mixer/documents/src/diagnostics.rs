//! What is wrong with documents, and where.

mod code;
mod github;
mod json;
mod position;
mod render;
mod sarif;

pub use code::Code;

use crate::{Sources, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Refuses the whole set.
    Error,
    /// Loads, and is said.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What it is, for scripts and for `mixer validate --explain`.
    pub code: Code,
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
    /// Edits that remedy it, all of them together; none where only its author can say what was meant.
    pub fix: Vec<Edit>,
}

/// A text to put in the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced.
    pub span: Span,
    /// What by.
    pub text: String,
}

/// Problems together with the sources they are shown in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// The files.
    pub sources: Sources,
    /// The problems, in the order of their places.
    pub list: Vec<Diagnostic>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            ..Self::directory(code, message)
        }
    }

    /// A warning at a place.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    /// An error of a directory, or of what stands in no file.
    pub fn directory(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: None,
            help: Vec::new(),
            fix: Vec::new(),
        }
    }

    /// Says `label` under the caret.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to do about it.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help.push(help.into());
        self
    }

    /// Says that it is remedied by putting `text` in the place of `span`.
    pub fn fix(&mut self, span: Span, text: impl Into<String>) -> &mut Self {
        let text = text.into();
        self.fix.push(Edit { span, text });
        self
    }
}

impl Diagnostics {
    /// Problems in the order of their places, each once.
    pub(crate) fn new(sources: Sources, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by(|a, b| {
            (a.span, a.severity, a.code, &a.message).cmp(&(b.span, b.severity, b.code, &b.message))
        });
        list.dedup_by(|a, b| (a.span, a.severity, &a.message) == (b.span, b.severity, &b.message));
        Self { sources, list }
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.list
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .count()
    }

    /// Each problem with its place, the lines it is in and a caret (colours as terminals take them if `color`).
    pub fn render(&self, color: bool) -> String {
        render::all(self, color)
    }

    /// For scripts: `{ version, errors, warnings, problems: [{ code, severity, message, help, label, path, line, column, end }] }`,
    /// and `fix` where there is one.
    pub fn json(&self) -> serde_json::Value {
        json::all(self)
    }

    /// As SARIF 2.1.0.
    pub fn sarif(&self) -> serde_json::Value {
        sarif::all(self)
    }

    /// As workflow commands of GitHub Actions, a line each.
    pub fn github(&self) -> String {
        github::all(self)
    }

    /// One line per problem: `path:line:column: error[MX1004]: message`.
    pub fn lines(&self) -> Vec<String> {
        let line = |problem: &Diagnostic| {
            let severity = match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let code = problem.code;
            let message = problem.message.replace(['\n', '\r'], " ");
            match problem.span {
                Some(span) => format!(
                    "{}: {severity}[{code}]: {message}",
                    self.sources.place(span)
                ),
                None => format!("{severity}[{code}]: {message}"),
            }
        };
        self.list.iter().map(line).collect()
    }
}

/// Problems while they are being found.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    pub(crate) list: Vec<Diagnostic>,
}

impl Problems {
    pub(crate) fn error(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Diagnostic::error(code, span, message))
    }

    pub(crate) fn warning(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Diagnostic::warning(code, span, message))
    }

    fn add(&mut self, problem: Diagnostic) -> &mut Diagnostic {
        self.list.push(problem);
        let last = self.list.len() - 1;
        &mut self.list[last]
    }
}

#[cfg(test)]
mod tests;
