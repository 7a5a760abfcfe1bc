//! Regular expressions with RE2's meaning, compiled when the policy is loaded.
//!
//! CEL's `matches` is RE2's. The `regex` crate differs in corners: `\d`, `\w`, `\s` and `\b` are Unicode there and ASCII in RE2,
//! and character classes nest and subtract. Where the two differ, the pattern is rewritten to what RE2 means; where it cannot
//! be, it is refused.

use std::fmt::Write;

use regex::{Regex, RegexBuilder};

/// Bytes a compiled pattern may take, and how many 64ths of a step one byte of a text then costs. A pattern is searched in
/// time proportional to its size in the worst case; small ones rarely come near it.
const SIZES: [(usize, usize); 4] = [
    (16 * 1024, 1),
    (64 * 1024, 4),
    (256 * 1024, 16),
    (1024 * 1024, 64),
];

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    weight: usize,
}

impl Pattern {
    /// Compiles a pattern; the error is one sentence.
    pub(crate) fn compile(pattern: &str) -> Result<Self, String> {
        let translated = translate(pattern)?;
        for (size, weight) in SIZES {
            let built = RegexBuilder::new(&translated)
                .size_limit(size)
                .dfa_size_limit(SIZES[SIZES.len() - 1].0)
                .nest_limit(128)
                .build();
            match built {
                Ok(regex) => return Ok(Self { regex, weight }),
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(regex::Error::Syntax(text)) => {
                    let reason = text.lines().last().unwrap_or("it cannot be read");
                    let reason = reason.trim_start_matches("error: ");
                    return Err(format!("not a regular expression: {reason}"));
                }
                Err(_) => return Err("not a regular expression".to_owned()),
            }
        }
        Err("the pattern is too large when compiled".to_owned())
    }

    /// What looking for it in `text` costs.
    pub(crate) fn steps(&self, text: &str) -> usize {
        text.len().saturating_mul(self.weight) / 64
    }

    /// Whether it is found in `text`.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    // Within `[..]`: how many characters since it opened, so that a first `]` is one of them.
    let mut class: Option<usize> = None;
    while let Some(c) = chars.next() {
        let first_in_class = class == Some(0);
        if let Some(length) = &mut class {
            *length += 1;
        }
        match (c, class) {
            ('\\', _) => match chars.next() {
                Some(escaped) => escape(escaped, class.is_some(), &mut out),
                None => return Err("the pattern ends in a backslash".to_owned()),
            },
            ('[', None) => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                class = Some(0);
            }
            ('[', Some(_)) if chars.peek() == Some(&':') => {
                // A named class, such as [:alpha:].
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            (']', Some(_)) if !first_in_class => {
                out.push(']');
                class = None;
            }
            ('[' | ']' | '&' | '~', Some(_)) => {
                let _ = write!(out, "\\{c}");
            }
            ('-', Some(_)) if chars.peek() == Some(&'-') => {
                chars.next();
                out.push_str(if first_in_class { "\\-\\-" } else { "-\\-" });
            }
            ('(', None) if chars.peek() == Some(&'?') => {
                let flags: String = chars
                    .clone()
                    .skip(1)
                    .take_while(|c| c.is_ascii_alphabetic() || *c == '-')
                    .collect();
                let group = chars.clone().nth(1);
                if !matches!(group, Some('P' | '<'))
                    && flags.chars().any(|flag| !"imsU-".contains(flag))
                {
                    return Err(format!("unsupported flags in (?{flags}"));
                }
                out.push('(');
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

fn escape(escaped: char, in_class: bool, out: &mut String) {
    let ascii = match escaped {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => "[\\t\\n\\x0C\\r ]",
        'S' => "[^\\t\\n\\x0C\\r ]",
        'b' if !in_class => "(?-u:\\b)",
        'B' if !in_class => "(?-u:\\B)",
        '<' => "<",
        '>' => ">",
        _ => {
            out.push('\\');
            out.push(escaped);
            return;
        }
    };
    out.push_str(ascii);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_re2_says() {
        for (pattern, text, matches) in [
            (r"^\d+$", "123", true),
            (r"^\d+$", "\u{661}\u{662}", false),
            (r"^\w+$", "caf\u{e9}", false),
            (r"^[\w\u{e9}-]+$", "x", true),
            (r"^\S+$", "\u{a0}", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[a&&b]+$", "&", true),
            (r"^[+--]+$", ",", true),
            (r"^[--]$", "-", true),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"(?i)^get$", "GET", true),
            (r"^\<a\>$", "<a>", true),
            (r"^.$", "\u{1f600}", true),
        ] {
            match Pattern::compile(pattern) {
                Ok(compiled) => {
                    assert_eq!(compiled.matches(text), matches, "{pattern} on {text:?}")
                }
                Err(error) => assert!(pattern.contains("\\u"), "{pattern}: {error}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for pattern in [
            r"(",
            r"a\",
            r"(?x)a b",
            r"(((a{100}){100}){100})",
            r"(?=a)",
            r"[z-a]",
        ] {
            assert!(Pattern::compile(pattern).is_err(), "{pattern}");
        }
    }
}
