//! Problems of an expression that stands in no file: the line, a caret, what to do.

use std::fmt::Write;

use mixer_cel::Problem;

/// Every problem, as it would be shown in a document.
pub(in crate::cli) fn shown(source: &str, problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        let at = source.floor_char_boundary(problem.span.start);
        let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = source[start..].lines().next().unwrap_or_default();
        let before = source[start..at].chars().count();
        let end = source
            .floor_char_boundary(problem.span.end)
            .clamp(at, (start + line.len()).max(at));
        let marked = source[at..end].chars().count().max(1);
        let number = source[..start].matches('\n').count() + 1;
        let margin = " ".repeat(number.to_string().len());
        // A tab is one column, so that the caret stands below what it means.
        let line = line.replace('\t', " ");
        let _ = writeln!(text, "error: {}", problem.message);
        let _ = writeln!(text, "{margin} |");
        let _ = writeln!(text, "{number} | {line}");
        let _ = writeln!(
            text,
            "{margin} | {}{}",
            " ".repeat(before),
            "^".repeat(marked)
        );
        if let Some(help) = &problem.help {
            let _ = writeln!(text, "{margin} = help: {help}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_what_is_meant() {
        let source = "a &&\n\t\u{fc} == b";
        let problem = |span, help: Option<&str>| Problem {
            kind: mixer_cel::ProblemKind::Type,
            span,
            message: "wrong".to_owned(),
            help: help.map(str::to_owned),
            replacement: None,
        };
        assert_eq!(
            shown(source, &[problem(9..11, Some("right"))]),
            "error: wrong\n  |\n2 |  \u{fc} == b\n  |    ^^\n  = help: right\n"
        );
        // Over the end of its line, at the end of the text, and beyond it.
        assert!(shown(source, &[problem(2..9, None)]).ends_with("1 | a &&\n  |   ^^\n"));
        assert!(shown("a", &[problem(1..1, None)]).ends_with("1 | a\n  |  ^\n"));
        assert!(shown("", &[problem(7..9, None)]).ends_with("1 | \n  | ^\n"));
    }
}
