//! Problems as workflow commands of GitHub Actions, which show them on the lines of a pull request.
//!
//! `::error file=F,line=L,endLine=L,col=C,endColumn=C,title=T::message`; in values `%`, line breaks, `:` and `,` are escaped,
//! in the message `%` and line breaks are.

use super::position::Position;
use super::{Diagnostic, Diagnostics, Severity};

pub(super) fn all(problems: &Diagnostics) -> String {
    problems
        .list
        .iter()
        .map(|problem| command(problems, problem) + "\n")
        .collect()
}

fn command(problems: &Diagnostics, problem: &Diagnostic) -> String {
    let name = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut values = String::new();
    if let Some(span) = problem.span {
        let place = Position::of(&problems.sources, span);
        values = format!(
            "file={},line={},endLine={},col={},",
            value(&place.path),
            place.line,
            place.end_line,
            place.column
        );
        // GitHub takes columns within one line only.
        if place.line == place.end_line {
            values.push_str(&format!("endColumn={},", place.end_column));
        }
    }
    let mut message = problem.message.clone();
    for help in &problem.help {
        message.push_str("\nhelp: ");
        message.push_str(help);
    }
    let title = format!("{} {}", problem.code, problem.code.title());
    format!(
        "::{name} {values}title={}::{}",
        value(&title),
        data(&message)
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn value(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
