//! The tokens of an expression, before the grammar sees it.
//!
//! A second, shallow reading of the text buys three things the parser does not give: bounds on nesting and on chains, which
//! keep its recursion within its stack; where brackets close, so that a problem can show a whole call; and plain words for the
//! commonest mistakes.

use std::ops::Range;

use crate::{Problem, ProblemKind};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// An identifier or keyword.
    Word,
    /// A number.
    Number,
    /// A string or bytes literal.
    Text,
    /// `(`, `[` or `{`; the index of what closes it.
    Open(usize),
    /// `)`, `]` or `}`; the index of what it closes.
    Close(usize),
    /// Any operator or punctuation.
    Sign,
}

/// One token and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Range<usize>,
}

/// Brackets within brackets.
const NESTING: usize = 96;
/// Operators, or member accesses, in one run at one level.
const CHAIN: usize = 512;

/// Reads `source` as tokens, brackets matched.
pub(crate) fn tokens(source: &str) -> Result<Vec<Token>, Problem> {
    read(source, false).map(|(tokens, _)| tokens)
}

/// Where the expression at the start of `source` ends that a brace closes, and not its own: in a template. `None`: nowhere.
pub(crate) fn closing(source: &str) -> Result<Option<usize>, Problem> {
    read(source, true).map(|(_, end)| end)
}

/// The tokens, up to a brace that closes nothing if that ends them.
fn read(source: &str, braced: bool) -> Result<(Vec<Token>, Option<usize>), Problem> {
    let mut reader = Reader { source, at: 0 };
    let mut tokens: Vec<Token> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    while let Some(token) = reader.token()? {
        let index = tokens.len();
        let kind = match token.kind {
            TokenKind::Open(_) => {
                if open.len() == NESTING {
                    return Err(problem(
                        token.span,
                        format!("brackets are nested deeper than {NESTING}"),
                    )
                    .of(ProblemKind::Limit));
                }
                open.push(index);
                token.kind
            }
            TokenKind::Close(_) => {
                let closing = &source[token.span.clone()];
                let Some(opened) = open.pop() else {
                    if braced && closing == "}" {
                        return Ok((tokens, Some(token.span.start)));
                    }
                    return Err(problem(
                        token.span.clone(),
                        format!("`{closing}` closes nothing"),
                    ));
                };
                let opening = &source[tokens[opened].span.clone()];
                if !matches!((opening, closing), ("(", ")") | ("[", "]") | ("{", "}")) {
                    return Err(problem(
                        token.span.clone(),
                        format!("`{closing}` does not close `{opening}`"),
                    ));
                }
                tokens[opened].kind = TokenKind::Open(index);
                TokenKind::Close(opened)
            }
            kind => kind,
        };
        tokens.push(Token {
            kind,
            span: token.span,
        });
    }
    match open.pop() {
        Some(_) if braced => Ok((tokens, None)),
        Some(opened) => {
            let span = tokens[opened].span.clone();
            Err(problem(
                span.clone(),
                format!("`{}` is never closed", &source[span]),
            ))
        }
        None => Ok((tokens, None)),
    }
}

/// The token that opens at or after byte `at`.
pub(crate) fn at(tokens: &[Token], at: usize) -> Option<usize> {
    let index = tokens.partition_point(|token| token.span.end <= at);
    (index < tokens.len()).then_some(index)
}

/// Refuses runs of operators that would recurse deeper in the parser than its stack is made for.
pub(crate) fn bounded(source: &str, tokens: &[Token]) -> Result<(), Problem> {
    // Per open bracket: operators since the last separator, member accesses since the last operator.
    let mut levels = vec![(0_usize, 0_usize)];
    let last = |levels: &mut Vec<(usize, usize)>| levels.last_mut().map_or((0, 0), |level| *level);
    for token in tokens {
        let (mut operators, mut members) = last(&mut levels);
        match token.kind {
            TokenKind::Open(_) => {
                members += 1;
                set(&mut levels, operators, members);
                levels.push((0, 0));
                continue;
            }
            TokenKind::Close(_) => {
                levels.pop();
                continue;
            }
            TokenKind::Sign => match &source[token.span.clone()] {
                "&&" | "||" | "," => (operators, members) = (0, 0),
                "." => members += 1,
                "!" => {}
                _ => (operators, members) = (operators + 1, 0),
            },
            TokenKind::Word if &source[token.span.clone()] == "in" => {
                (operators, members) = (operators + 1, 0)
            }
            TokenKind::Word | TokenKind::Number | TokenKind::Text => {}
        }
        if operators > CHAIN || members > CHAIN {
            return Err(problem(
                token.span.clone(),
                format!("more than {CHAIN} operators in one run"),
            )
            .of(ProblemKind::Limit));
        }
        set(&mut levels, operators, members);
    }
    Ok(())
}

fn set(levels: &mut [(usize, usize)], operators: usize, members: usize) {
    if let Some(level) = levels.last_mut() {
        *level = (operators, members);
    }
}

fn problem(span: Range<usize>, message: String) -> Problem {
    Problem {
        kind: ProblemKind::Parse,
        span,
        message,
        help: None,
        replacement: None,
    }
}

struct Reader<'s> {
    source: &'s str,
    at: usize,
}

impl Reader<'_> {
    fn token(&mut self) -> Result<Option<Token>, Problem> {
        self.skip_blanks();
        let start = self.at;
        let rest = &self.source[start..];
        let Some(first) = rest.chars().next() else {
            return Ok(None);
        };
        let kind = match first {
            '(' | '[' | '{' => self.advance(1, TokenKind::Open(0)),
            ')' | ']' | '}' => self.advance(1, TokenKind::Close(0)),
            '"' | '\'' => self.text(false)?,
            '`' => self.escaped_word()?,
            '0'..='9' => self.number(),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) && !self.after_operand() => {
                self.number()
            }
            'a'..='z' | 'A'..='Z' | '_' => match self.prefix(rest) {
                Some((length, raw)) => {
                    self.at += length;
                    self.text(raw)?
                }
                None => {
                    let length = rest
                        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                        .unwrap_or(rest.len());
                    self.advance(length, TokenKind::Word)
                }
            },
            _ => self.sign(rest, first)?,
        };
        Ok(Some(Token {
            kind,
            span: start..self.at,
        }))
    }

    fn advance(&mut self, length: usize, kind: TokenKind) -> TokenKind {
        self.at += length;
        kind
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.source[self.at..];
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    /// Whether what was read last can have a member: then `.5` is no number.
    fn after_operand(&self) -> bool {
        let before = self.source[..self.at].trim_end();
        before.ends_with(|c: char| {
            c.is_ascii_alphanumeric() || matches!(c, '_' | ')' | ']' | '}' | '"' | '\'' | '`')
        })
    }

    /// The length of a string's prefix (`r`, `b`, `br`) when a quote follows it, and whether it is raw.
    fn prefix(&self, rest: &str) -> Option<(usize, bool)> {
        let bytes = rest.as_bytes();
        let is = |at: usize, letter: u8| {
            bytes
                .get(at)
                .is_some_and(|b| b.eq_ignore_ascii_case(&letter))
        };
        let b = usize::from(is(0, b'b'));
        let r = usize::from(is(b, b'r'));
        matches!(bytes.get(b + r), Some(b'"' | b'\''))
            .then_some((b + r, r == 1))
            .filter(|(length, _)| *length > 0)
    }

    fn text(&mut self, raw: bool) -> Result<TokenKind, Problem> {
        let start = self.at;
        let rest = &self.source[start..];
        let quote = &rest[..1];
        let triple = quote.repeat(3);
        let (quotes, long) = if rest.starts_with(&triple) {
            (triple.as_str(), true)
        } else {
            (quote, false)
        };
        let mut chars = rest[quotes.len()..].char_indices();
        while let Some((at, c)) = chars.next() {
            let here = quotes.len() + at;
            if rest[here..].starts_with(quotes) {
                self.at = start + here + quotes.len();
                return Ok(TokenKind::Text);
            }
            if !long && matches!(c, '\n' | '\r') {
                break;
            }
            if c == '\\' && !raw {
                chars.next();
            }
        }
        Err(problem(
            start..start + quotes.len(),
            "the string is never closed".to_owned(),
        ))
    }

    fn escaped_word(&mut self) -> Result<TokenKind, Problem> {
        match self.source[self.at + 1..].find('`') {
            Some(length) => Ok(self.advance(length + 2, TokenKind::Word)),
            None => Err(problem(
                self.at..self.at + 1,
                "the quoted name is never closed".to_owned(),
            )),
        }
    }

    fn number(&mut self) -> TokenKind {
        let bytes = self.source.as_bytes();
        let hex = self.source[self.at..].starts_with("0x");
        while let Some(byte) = bytes.get(self.at) {
            let next = bytes.get(self.at + 1);
            let exponent = !hex && matches!(byte, b'e' | b'E') && matches!(next, Some(b'+' | b'-'));
            match byte {
                _ if exponent => self.at += 2,
                b'.' if next.is_some_and(u8::is_ascii_digit) => self.at += 1,
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => self.at += 1,
                _ => break,
            }
        }
        TokenKind::Number
    }

    fn sign(&mut self, rest: &str, first: char) -> Result<TokenKind, Problem> {
        if ["&&", "||", "==", "!=", "<=", ">="]
            .iter()
            .any(|sign| rest.starts_with(sign))
        {
            return Ok(self.advance(2, TokenKind::Sign));
        }
        if "<>+-*/%!?:,.".contains(first) {
            return Ok(self.advance(1, TokenKind::Sign));
        }
        let span = self.at..self.at + first.len_utf8();
        let help = match first {
            '=' => Some("`==` compares".to_owned()),
            '&' => Some("`&&` is \"and\"".to_owned()),
            '|' => Some("`||` is \"or\"".to_owned()),
            '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' => {
                Some("use straight quotes".to_owned())
            }
            _ => None,
        };
        Err(Problem {
            kind: ProblemKind::Parse,
            span,
            message: format!("unexpected `{}`", first.escape_debug()),
            help,
            replacement: None,
        })
    }
}
