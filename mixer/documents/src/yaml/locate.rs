//! From a place in a scalar's text to the place in the file.
//!
//! An expression's errors count bytes of its text; the file has quotes, escapes, line breaks and indentation around and
//! between them. The two are walked side by side: what is not white space stands in both, in the same order.

use std::ops::Range;

use granit_parser::ScalarStyle;

/// Where `range` of `text` is in `raw`, the scalar as it stands in the file. Exact but for white space that was folded.
pub(super) fn locate(
    raw: &str,
    style: ScalarStyle,
    text: &str,
    range: Range<usize>,
) -> Range<usize> {
    let (start, end) = (
        range.start.min(text.len()),
        range.end.clamp(range.start.min(text.len()), text.len()),
    );
    if style == ScalarStyle::Plain && raw == text {
        return start..end;
    }
    let mut at = match style {
        ScalarStyle::SingleQuoted => usize::from(raw.starts_with('\'')),
        ScalarStyle::DoubleQuoted => usize::from(raw.starts_with('"')),
        _ => 0,
    };
    let mut found = at..at;
    for (offset, wanted) in text.char_indices() {
        if offset >= end && offset > start {
            break;
        }
        let (from, to) = step(raw, style, at, wanted);
        if offset <= start {
            found.start = from;
        }
        if offset < end {
            found.end = to;
        }
        at = to;
    }
    if start == text.len() {
        found.start = at;
    }
    found.end = found.end.max(found.start);
    found
}

/// Where `wanted`, which comes next, begins and ends in `raw`, looking from `at`.
fn step(raw: &str, style: ScalarStyle, mut at: usize, wanted: char) -> (usize, usize) {
    let next = |at: usize| raw[at..].chars().next();
    if style == ScalarStyle::DoubleQuoted && next(at) == Some('\\') && !line_break(&raw[at + 1..]) {
        return (at, at + escape(&raw[at..]));
    }
    if wanted.is_whitespace() {
        let same = next(at) == Some(wanted);
        return (at, if same { at + wanted.len_utf8() } else { at });
    }
    loop {
        match next(at) {
            Some(c) if c.is_whitespace() => at += c.len_utf8(),
            Some('\\') if style == ScalarStyle::DoubleQuoted && line_break(&raw[at + 1..]) => {
                at += 1
            }
            Some('\\') if style == ScalarStyle::DoubleQuoted => {
                return (at, at + escape(&raw[at..]));
            }
            Some('\'') if style == ScalarStyle::SingleQuoted && raw[at..].starts_with("''") => {
                return (at, at + 2);
            }
            Some(c) => return (at, at + c.len_utf8()),
            None => return (at, at),
        }
    }
}

fn line_break(rest: &str) -> bool {
    rest.starts_with(['\n', '\r'])
}

/// Length of the escape that `raw` begins with.
fn escape(raw: &str) -> usize {
    let length = match raw.as_bytes().get(1) {
        Some(b'x') => 4,
        Some(b'u') => 6,
        Some(b'U') => 10,
        Some(_) => 1 + raw[1..].chars().next().map_or(0, char::len_utf8),
        None => 1,
    };
    if raw.is_char_boundary(length.min(raw.len())) {
        length.min(raw.len())
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to write the same expression; the caret must be under `b.c` in all of them.
    #[test]
    fn a_token_is_found_in_every_style() {
        let text = "x == 'a' && b.c";
        let at = text.find("b.c").unwrap();
        for (raw, style) in [
            ("x == 'a' && b.c", ScalarStyle::Plain),
            ("'x == ''a'' && b.c'", ScalarStyle::SingleQuoted),
            ("\"x == 'a' && b.c\"", ScalarStyle::DoubleQuoted),
            ("\"x == \\x27a' &\\u0026 b.c\"", ScalarStyle::DoubleQuoted),
            ("\"x == 'a' \\\n   && b.c\"", ScalarStyle::DoubleQuoted),
            ("x == 'a' &&\n      b.c", ScalarStyle::Plain),
            ("'x == ''a''\n\n && b.c'", ScalarStyle::SingleQuoted),
            ("x == 'a'\n   &&\n   b.c\n", ScalarStyle::Folded),
        ] {
            let found = locate(raw, style, text, at..at + 3);
            assert_eq!(&raw[found], "b.c", "{raw:?}");
        }
    }

    #[test]
    fn later_lines_of_a_block_are_found_behind_their_indentation() {
        let (raw, text) = ("foo\n    bar\n      baz\n", "foo\nbar\n  baz\n");
        for token in ["foo", "bar", "baz"] {
            let at = text.find(token).unwrap();
            assert_eq!(
                &raw[locate(raw, ScalarStyle::Literal, text, at..at + 3)],
                token
            );
        }
    }

    #[test]
    fn the_end_of_a_text_is_a_place() {
        assert_eq!(locate("abc", ScalarStyle::Plain, "abc", 3..3), 3..3);
        assert_eq!(
            locate("'abc'", ScalarStyle::SingleQuoted, "abc", 3..3),
            4..4
        );
        assert_eq!(
            locate("'abc'", ScalarStyle::SingleQuoted, "abc", 7..9),
            4..4
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_range_of_any_text_panics(raw in "[ -~\n\u{e9}]{0,30}", text in "[ -~\n\u{e9}]{0,30}", start in 0usize..40, length in 0usize..9) {
            for style in [ScalarStyle::Plain, ScalarStyle::SingleQuoted, ScalarStyle::DoubleQuoted, ScalarStyle::Literal, ScalarStyle::Folded] {
                let found = locate(&raw, style, &text, start..start + length);
                proptest::prop_assert!(raw.get(found).is_some());
            }
        }
    }
}
