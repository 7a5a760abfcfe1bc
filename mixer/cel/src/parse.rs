//! Text to syntax tree, behind a guard.
//!
//! The grammar is the `cel` crate's parser. It recurses once per operator of a chain, so three kilobytes of `1+1+..` overflow
//! the stack of a server thread, which aborts the process: here it runs on a [`Parser`]'s thread with a large stack, on texts
//! whose length, nesting and chains were bounded first, and what leaves that thread is a tree of our own of bounded size and
//! depth. Macros stay calls: the checker gives them better messages and better code than an expansion would.

mod convert;
mod parser;
pub(crate) mod tokens;

use cel::Env;
use cel::parser::ParseErrors;

use crate::tree::Ast;
use crate::{Problem, ProblemKind};

pub(crate) use parser::Parser;

/// Bytes an expression may have.
pub(crate) const SOURCE: usize = 16 * 1024;
/// Nodes its tree may have.
pub(crate) const NODES: usize = 4096;
/// How deep its tree may be.
pub(crate) const DEPTH: usize = 128;

const STACK: usize = 64 * 1024 * 1024;

/// Parses one expression on `parser`'s thread.
pub(crate) fn parse(parser: &mut Parser, source: &str) -> Result<Ast, Vec<Problem>> {
    let whole = 0..source.len();
    if source.len() > SOURCE {
        return Err(vec![
            problem(
                whole,
                format!(
                    "an expression may have {SOURCE} bytes, this one has {}",
                    source.len()
                ),
            )
            .of(ProblemKind::Limit),
        ]);
    }
    if let Some(tree) = parser.remembered(source) {
        return Ok(tree);
    }
    let tokens = tokens::tokens(source).map_err(|problem| vec![problem])?;
    if tokens.is_empty() {
        return Err(vec![problem(whole, "the expression is empty".to_owned())]);
    }
    tokens::bounded(source, &tokens).map_err(|problem| vec![problem])?;
    parser
        .parse(source, tokens)
        .map_err(|problem| vec![problem])
}

fn parse_here(env: &Env, source: &str, tokens: &[tokens::Token]) -> Result<Ast, Problem> {
    let parser = env
        .parser()
        .max_recursion_depth(DEPTH as u16)
        .enable_optional_syntax(true)
        .enable_ident_escape_syntax(true);
    match parser.parse_with_source_info(source) {
        Ok((tree, places)) => convert::convert(source, tokens, &places, tree),
        Err(errors) => Err(explain(source, tokens, &errors)),
    }
}

/// The parser's first error in words of ours: its own list every token the grammar would have taken.
fn explain(source: &str, tokens: &[tokens::Token], errors: &ParseErrors) -> Problem {
    let Some(first) = errors.errors.first() else {
        return problem(0..source.len(), "this is not an expression".to_owned());
    };
    if first.msg.contains("Recursion limit") {
        return problem(
            0..source.len(),
            format!("the expression is nested deeper than {DEPTH}"),
        )
        .of(ProblemKind::Limit);
    }
    let at = offset(source, first.pos);
    let Some(token) = tokens::at(tokens, at).map(|index| &tokens[index]) else {
        let end = tokens
            .last()
            .map_or(0..source.len(), |token| token.span.clone());
        return problem(end, "the expression ends too early".to_owned());
    };
    let text = &source[token.span.clone()];
    let shown = match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    };
    let (message, help) = if first.msg.contains("reserved identifier") {
        (format!("`{shown}` is a reserved word"), None)
    } else if first.msg.contains("invalid int") || first.msg.contains("invalid uint") {
        (format!("`{shown}` does not fit 64 bits"), None)
    } else if first.msg.contains("invalid double") {
        (format!("`{shown}` is no finite number"), None)
    } else if first.msg.contains("invalid string")
        || first.msg.contains("invalid bytes")
        || (first.msg.contains("token recognition") && token.kind == tokens::TokenKind::Text)
    {
        (
            "the string has a bad escape".to_owned(),
            Some("write `\\\\` for a backslash, or r\"..\"".to_owned()),
        )
    } else {
        let help = match text {
            "and" | "AND" => Some("`&&` is \"and\""),
            "or" | "OR" => Some("`||` is \"or\""),
            "not" | "NOT" => Some("`!` is \"not\""),
            _ if matches!(
                token.kind,
                tokens::TokenKind::Word | tokens::TokenKind::Number | tokens::TokenKind::Text
            ) =>
            {
                Some("an operator is missing before it")
            }
            _ => None,
        };
        (format!("unexpected `{shown}`"), help.map(str::to_owned))
    };
    Problem {
        kind: ProblemKind::Parse,
        span: token.span.clone(),
        message,
        help,
        replacement: None,
    }
}

/// Bytes before the parser's (line, column), which count characters from one.
fn offset(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let column = usize::try_from(column - 1).unwrap_or(0);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let within = source[start..]
        .char_indices()
        .nth(column)
        .map_or(source.len() - start, |(at, _)| at);
    start + within
}

fn problem(span: std::ops::Range<usize>, message: String) -> Problem {
    Problem {
        kind: ProblemKind::Parse,
        span,
        message,
        help: None,
        replacement: None,
    }
}
