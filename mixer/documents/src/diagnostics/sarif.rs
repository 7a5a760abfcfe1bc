//! Problems as SARIF 2.1.0 (OASIS, 27 March 2020), which code hosts and editors show beside the lines.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::position::Position;
use super::{Code, Diagnostic, Diagnostics, Severity};
use crate::Sources;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

pub(super) fn all(problems: &Diagnostics) -> Value {
    let codes: BTreeSet<Code> = problems.list.iter().map(|problem| problem.code).collect();
    let codes: Vec<Code> = codes.into_iter().collect();
    let results: Vec<Value> = problems
        .list
        .iter()
        .map(|problem| result(&problems.sources, problem, &codes))
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "mixer",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(*code)).collect::<Vec<_>>(),
            } },
            // Columns count characters, not UTF-16 units.
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: Code) -> Value {
    let mut rule = json!({
        "id": code.id(),
        "shortDescription": { "text": code.title() },
    });
    let explanation = code.explanation();
    if !explanation.is_empty() {
        rule["help"] = json!({ "text": explanation, "markdown": explanation });
    }
    rule
}

fn result(sources: &Sources, problem: &Diagnostic, codes: &[Code]) -> Value {
    let mut text = problem.message.clone();
    for help in &problem.help {
        text.push_str("\nhelp: ");
        text.push_str(help);
    }
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut result = json!({
        "ruleId": problem.code.id(),
        "ruleIndex": codes.binary_search(&problem.code).unwrap_or_default(),
        "level": level,
        "message": { "text": text },
    });
    if let Some(span) = problem.span {
        let place = Position::of(sources, span);
        result["locations"] = json!([{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&place.path) },
            "region": region(&place),
        } }]);
    }
    if let [first, ..] = &problem.fix[..] {
        let path = Position::of(sources, first.span).path;
        let replacements: Vec<Value> = problem
            .fix
            .iter()
            .map(|edit| {
                json!({
                    "deletedRegion": region(&Position::of(sources, edit.span)),
                    "insertedContent": { "text": edit.text },
                })
            })
            .collect();
        result["fixes"] = json!([{ "artifactChanges": [{
            "artifactLocation": { "uri": uri(&path) },
            "replacements": replacements,
        }] }]);
    }
    result
}

fn region(place: &Position) -> Value {
    json!({
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    })
}

/// A path as a URI reference (RFC 3986): what a segment may not hold is percent-encoded. An absolute one is a `file:` URI.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte as char);
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
