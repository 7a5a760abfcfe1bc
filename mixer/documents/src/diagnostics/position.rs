//! Bytes to lines and columns, as tools count them: from 1, columns in characters.

use crate::{Sources, Span};

/// Where a span is.
pub(super) struct Position {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) column: usize,
    /// One past the last character.
    pub(super) end_line: usize,
    pub(super) end_column: usize,
}

impl Position {
    pub(super) fn of(sources: &Sources, span: Span) -> Self {
        let (line, column) = sources.line_and_column(span);
        let end = Span {
            start: span.end,
            ..span
        };
        let (end_line, end_column) = sources.line_and_column(end);
        Self {
            path: sources.path(span.file).display().to_string(),
            line,
            column,
            end_line,
            end_column,
        }
    }
}
