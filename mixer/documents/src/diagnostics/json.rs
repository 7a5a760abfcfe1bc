//! Problems for scripts. Members are added to, never renamed; `version` rises if that must ever change.

use serde_json::{Value, json};

use super::position::Position;
use super::{Diagnostic, Diagnostics, Severity};
use crate::{Sources, Span};

const VERSION: u32 = 1;

pub(super) fn all(problems: &Diagnostics) -> Value {
    let list: Vec<Value> = problems
        .list
        .iter()
        .map(|problem| one(&problems.sources, problem))
        .collect();
    json!({
        "version": VERSION,
        "errors": problems.errors(),
        "warnings": problems.list.len() - problems.errors(),
        "problems": list,
    })
}

fn one(sources: &Sources, problem: &Diagnostic) -> Value {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut value = json!({
        "code": problem.code.id(),
        "severity": severity,
        "message": problem.message,
        "help": problem.help,
        "label": problem.label,
        "path": null,
        "line": null,
        "column": null,
        "end": null,
    });
    if let Some(span) = problem.span {
        place(sources, span, &mut value);
    }
    if !problem.fix.is_empty() {
        let edits = problem.fix.iter().map(|edit| {
            let mut value = json!({ "text": edit.text });
            place(sources, edit.span, &mut value);
            value
        });
        value["fix"] = edits.collect();
    }
    value
}

fn place(sources: &Sources, span: Span, value: &mut Value) {
    let place = Position::of(sources, span);
    value["path"] = place.path.into();
    value["line"] = place.line.into();
    value["column"] = place.column.into();
    value["end"] = json!({ "line": place.end_line, "column": place.end_column });
}
