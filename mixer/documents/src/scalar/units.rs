//! `30s`, `100 per minute`, `20%`.

use std::time::Duration;

use super::{digits, scalar};
use crate::diagnostics::Problems;
use crate::yaml::Node;
use crate::{Code, Limit, Period};

/// The longest span of time that is taken.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A span of time above zero: `10ms`, `30s`, `5m`, `24h`, `1d`.
pub(crate) fn span(node: &Node, what: &str, problems: &mut Problems) -> Option<Duration> {
    let text = &scalar(node, what, problems)?.text;
    let span = parse_span(text).filter(|span| !span.is_zero() && *span <= LONGEST);
    if span.is_none() {
        problems.error(
            Code::Time,
            node.span,
            format!("{what} is a time such as 10ms, 30s, 5m, 24h or 1d, not `{text}`"),
        );
    }
    span
}

/// `100 per minute`, `5000 per 10s`; with the word for its time, if it is one.
pub(crate) fn limit(node: &Node, problems: &mut Problems) -> Option<(Limit, Option<Period>)> {
    let text = scalar(node, "a limit", problems)?.text.trim();
    let mut words = text.split_whitespace();
    let (amount, per, window) = (words.next(), words.next(), words.next());
    let parsed = match (amount.and_then(digits), per, window, words.next()) {
        (Some(0), Some("per"), Some(_), None) => {
            problems
                .error(Code::Limit, node.span, "a limit is above zero")
                .help("to refuse every request, write a deny rule");
            return None;
        }
        (Some(amount), Some("per"), Some(window), None) if amount <= i64::MAX as u64 => {
            let named = Period::WORDS.iter().find(|(word, _)| *word == window);
            let period = named.map(|(_, period)| *period);
            period
                .map_or_else(|| parse_span(window), |period| Some(period.span()))
                .filter(|window| !window.is_zero() && *window <= LONGEST)
                .map(|window| (Limit { amount, window }, period))
        }
        _ => None,
    };
    if parsed.is_none() {
        let error = problems.error(Code::Limit,
            node.span,
            format!("a limit is an amount per time, such as `100 per minute` or `5000 per 10s`, not `{text}`"),
        );
        if digits(text).is_some() {
            error.help(
                "a bare number is how many at once: it needs `algorithm: concurrency` and `hold`",
            );
        }
    }
    parsed
}

/// `20`: how many at once.
pub(crate) fn at_once(node: &Node, problems: &mut Problems) -> Option<u64> {
    let text = scalar(node, "a limit", problems)?.text.trim();
    let amount = digits(text).filter(|amount| (1..=i64::MAX as u64).contains(amount));
    if amount.is_none() {
        problems
            .error(
                Code::Limit,
                node.span,
                format!("with `algorithm: concurrency` a limit is how many at once, not `{text}`"),
            )
            .help("such as `limit: 20`");
    }
    amount
}

/// `20%` or `0.1%`, as a number from 0 to 100.
pub(crate) fn percent(node: &Node, what: &str, problems: &mut Problems) -> Option<f64> {
    let text = &scalar(node, what, problems)?.text;
    let number = text.strip_suffix('%').filter(|number| {
        number
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    });
    let percent = number
        .and_then(|number| number.parse::<f64>().ok())
        .filter(|number| (0.0..=100.0).contains(number));
    if percent.is_none() {
        problems.error(
            Code::Share,
            node.span,
            format!("{what} is a share from 0% to 100%, not `{text}`"),
        );
    }
    percent
}

fn parse_span(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let number = digits(&text[..unit]).filter(|_| unit > 0)?;
    let millis = match &text[unit..] {
        "ms" => number,
        "s" => number.checked_mul(1000)?,
        "m" => number.checked_mul(60 * 1000)?,
        "h" => number.checked_mul(3600 * 1000)?,
        "d" => number.checked_mul(24 * 3600 * 1000)?,
        _ => return None,
    };
    Some(Duration::from_millis(millis))
}

/// A span of time as [`parse_span`] reads it.
pub(crate) fn span_text(span: Duration) -> String {
    match span.as_millis() {
        millis if millis % 1000 != 0 => format!("{millis}ms"),
        millis => format!("{}s", millis / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        for (text, millis) in [
            ("10ms", Some(10)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("1d", Some(86_400_000)),
        ] {
            assert_eq!(
                parse_span(text).map(|span| span.as_millis()),
                millis,
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "30",
            "30 s",
            "-1s",
            "1.5s",
            "1w",
            "30S",
            "99999999999999999999s",
            "+1s",
            "é",
        ] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }

    #[test]
    fn a_span_is_read_as_it_was_written() {
        for millis in [1, 999, 1000, 1001, 60_000, 86_400_000] {
            let span = Duration::from_millis(millis);
            assert_eq!(parse_span(&span_text(span)), Some(span));
        }
    }
}
