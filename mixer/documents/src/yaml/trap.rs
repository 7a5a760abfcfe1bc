//! Why YAML stumbled over a policy, in the words of who wrote the policy.
//!
//! Expressions are full of what YAML gives a meaning of its own; nearly every syntax error in a document is one that should
//! have been quoted.

use granit_parser::ErrorKind;

use crate::diagnostics::Problems;
use crate::{Code, Diagnostic, Span};

/// What to do inside `[ ]` and `{ }`.
pub(crate) const FLOW: &str = "inside [ ] and { } an expression with brackets, braces or a comma must be quoted: 'source.namespace in [\"shop\"]'";

/// Says what `kind`, met at byte `at` of `text` (shown as `place`), means for a policy.
pub(super) fn explain(
    problems: &mut Problems,
    text: &str,
    at: usize,
    place: Span,
    kind: &ErrorKind,
    flow: bool,
) {
    use ErrorKind::*;
    let character = text[at..].chars().next();
    let quote = |problems: &mut Problems, flow: bool| {
        if let Some(error) = problems.list.last_mut()
            && !flow
        {
            quote_line(error, text, at, place);
        }
    };
    match kind {
        ExpectedFlowMappingSeparator
        | ExpectedFlowSequenceSeparator
        | FlowMappingValueAdjacentCollection
        | InvalidColonPlacement
            if character == Some(':') =>
        {
            problems
                .error(
                    Code::Unquoted,
                    place,
                    "a colon ends a text that is not quoted",
                )
                .help("quote the text: 'x ? \"a\" : \"b\"'");
        }
        ExpectedFlowMappingSeparator
        | ExpectedFlowSequenceSeparator
        | FlowMappingValueAdjacentCollection
        | InvalidColonPlacement => {
            problems
                .error(
                    Code::CutShort,
                    place,
                    "the text ends here, but neither `,` nor the closing bracket follows",
                )
                .help(FLOW);
        }
        MismatchedFlowCollectionEnd { .. } | MisplacedFlowCollectionEnd if flow => {
            problems
                .error(Code::CutShort, place, "this bracket closes nothing")
                .help(FLOW);
        }
        InvalidTrailingDoubleQuotedScalar | InvalidTrailingSingleQuotedScalar => {
            problems
                .error(
                    Code::Unquoted,
                    place,
                    "a text that begins with a quote must end with it",
                )
                .help("quote the whole: '\"admins\" in auth.claims.groups'");
            quote(problems, flow);
        }
        ExpectedBlockMappingKey | InvalidBlockEntryWhitespace
            if matches!(before(text, at), Some(']' | '}')) =>
        {
            problems
                .error(
                    Code::Unquoted,
                    place,
                    "a text that begins with a bracket is a YAML list or map",
                )
                .help("quote the whole: '[\"GET\", \"HEAD\"].exists(m, m == request.method)'");
            quote(problems, flow);
        }
        MappingValueNotAllowed | InvalidMappingValueWhitespace | InvalidSimpleKey
            if character == Some(':') =>
        {
            problems
                .error(
                    Code::Unquoted,
                    place,
                    "a colon and a space in a text that is not quoted",
                )
                .help("quote the text: 'x ? \"a\" : \"b\"'")
                .help("or is the line not indented as the one above it?");
            // `x ? y : z`; else it may be a key that is not where it should be.
            let conditional = text[..at].ends_with(' ') && text[..at].contains('?');
            quote(problems, flow || !conditional);
        }
        ExpectedTagBang
        | InvalidGlobalTagCharacter
        | UndeclaredTagHandle
        | InvalidTagTerminator
        | MissingTagUri
        | UnclosedVerbatimTag
        | InvalidTagEscape
        | InvalidTagUtf8LeadingByte
        | InvalidTagUtf8TrailingByte
        | InvalidTagUtf8 => {
            tag(problems, text, at, place);
        }
        MissingAnchorOrAliasName => {
            problems.error(
                Code::Unquoted,
                place,
                "a text that begins with `*` or `&` must be quoted",
            );
        }
        UnexpectedCharacter { character } => {
            problems.error(
                Code::Unquoted,
                place,
                format!("a text that begins with `{character}` must be quoted"),
            );
        }
        TabInBlockIndentation
        | TabInIndentation
        | TabNotAllowed
        | TabAtBlockScalarStart
        | TabInPlainScalar => {
            problems
                .error(Code::Tab, place, "a tab cannot indent YAML")
                .help("use spaces");
        }
        ExpectedBlockMappingKey
        | InvalidIndentation
        | ExpectedBlockSequenceEntry
        | BlockSequenceEntryNotAllowed
        | MappingKeyNotAllowed
        | InvalidSimpleKey
        | SimpleKeyExpected => {
            problems
                .error(
                    Code::Indentation,
                    place,
                    "this line is not indented as the lines it belongs to, or lacks a colon",
                )
                .label(kind.to_string());
        }
        RecursionLimitExceeded => {
            problems.error(
                Code::TooDeep,
                place,
                format!("collections nest deeper than {}", super::DEEPEST),
            );
        }
        UnclosedFlowCollection { open } => {
            problems
                .error(Code::Unclosed, place, format!("`{open}` is not closed"))
                .help(FLOW);
        }
        UnclosedQuotedScalar => {
            problems.error(Code::Unclosed, place, "the quote is not closed");
        }
        DirectiveDisallowed => {
            problems
                .error(
                    Code::YamlFeature,
                    place,
                    "YAML directives are not supported",
                )
                .help("quote a text that begins with `%`");
        }
        other => {
            let error = problems.error(Code::NotYaml, place, format!("not YAML: {other}"));
            if flow {
                error.help(FLOW);
            }
        }
    }
}

/// Says that a text beginning with `!` is no text.
pub(super) fn tag(problems: &mut Problems, text: &str, at: usize, place: Span) {
    let line = text[at..].lines().next().unwrap_or_default().trim_end();
    let error = problems.error(
        Code::Tag,
        place,
        "a text that begins with `!` is a YAML tag, not an expression: quote it",
    );
    if line.starts_with('!') && !line.contains('\'') && !line.contains([',', '}']) {
        error.help(format!("write '{line}'"));
    }
    if line.starts_with('!') && !line.contains([',', '}']) && !line.contains(" #") {
        let end = place.start + line.len() as u32;
        error.fix(Span { end, ..place }, quoted(line));
    }
}

/// A text between single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Offers to quote what stands behind the dashes and the key of the line `at` is in. What is meant is certain in block style
/// and without a comment.
fn quote_line(error: &mut Diagnostic, text: &str, at: usize, place: Span) {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default().trim_end();
    let mut value = line.trim_start();
    while let Some(rest) = value.strip_prefix("- ") {
        value = rest.trim_start();
    }
    if let Some((key, rest)) = value.split_once(": ")
        && !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    {
        value = rest.trim_start();
    }
    if value.is_empty() || value.contains(" #") || value.starts_with(['|', '>', '{']) {
        return;
    }
    let from = place.start - at as u32 + start as u32;
    let end = from + line.len() as u32;
    let span = Span {
        start: end - value.len() as u32,
        end,
        ..place
    };
    error.fix(span, quoted(value));
}

fn before(text: &str, at: usize) -> Option<char> {
    text[..at].trim_end_matches([' ', '\t']).chars().next_back()
}
