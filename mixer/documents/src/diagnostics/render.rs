//! Problems as rustc shows them: the place, the line, a caret, what to do.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Diagnostic, Diagnostics, Severity};
use crate::{Sources, Span};

pub(super) fn all(problems: &Diagnostics, color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
    .decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    for problem in &problems.list {
        text.push_str(&renderer.render(&[group(&problems.sources, problem)]));
        text.push_str("\n\n");
    }
    text
}

fn group<'a>(sources: &'a Sources, problem: &'a Diagnostic) -> Group<'a> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(
        level
            .primary_title(problem.message.as_str())
            .id(problem.code.id()),
    );
    if let Some(span) = problem.span {
        group = group.element(excerpt(sources, span, problem.label.as_deref()));
    }
    problem.help.iter().fold(group, |group, help| {
        group.element(Level::HELP.message(help.as_str()))
    })
}

/// The line a span starts in, cut out of its file: a span over many lines (a whole document) is shown by its first.
fn excerpt<'a>(
    sources: &'a Sources,
    span: Span,
    label: Option<&'a str>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let text = sources.text(span.file);
    let at = text.floor_char_boundary(span.start as usize);
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..]
        .find('\n')
        .map_or(text.len(), |newline| at + newline);
    let line = &text[start..end];
    let line = line.strip_suffix('\r').unwrap_or(line);
    let from = (at - start).min(line.len());
    let to = text
        .floor_char_boundary((span.end as usize).min(end))
        .saturating_sub(start)
        .clamp(from, line.len());
    let annotation = AnnotationKind::Primary.span(from..to).label(label);
    Snippet::source(line)
        .path(sources.path(span.file).display().to_string())
        .line_start(sources.line_and_column(span).0)
        .annotation(annotation)
}
