//! Headers that tell callers of their limits, where the quotas say so.
//!
//! `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-10 has them: lists of Structured Fields (RFC 9651), to
//! which the server's own are left standing. `X-RateLimit-*` as Envoy writes them, of the limit that is nearest; they replace the
//! server's, for who may go on is who passes both. Seconds are rounded up: who waits that long does not come too early.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use mixer_client::{RateLimit, Tell};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The largest integer of a Structured Field.
const MOST: u64 = 999_999_999_999_999;

/// Adds what `limits` say to the headers of a response.
pub(crate) fn tell(limits: &[RateLimit], headers: &mut HeaderMap) {
    let standard = limits
        .iter()
        .filter(|limit| matches!(limit.tell, Tell::RateLimit | Tell::Both));
    let (mut policies, mut left) = (String::new(), String::new());
    for limit in standard {
        let comma = if policies.is_empty() { "" } else { ", " };
        policies.push_str(comma);
        left.push_str(comma);
        name(&limit.sentence, &mut policies);
        name(&limit.sentence, &mut left);
        let _ = write!(policies, ";q={}", limit.amount.min(MOST));
        // The draft knows whole seconds only: of another window it is better to say nothing than what is wrong.
        if limit.window.subsec_nanos() == 0 {
            let _ = write!(policies, ";w={}", limit.window.as_secs());
        }
        let (remaining, reset) = (limit.remaining.min(MOST), seconds(limit.reset));
        let _ = write!(left, ";r={remaining};t={reset}");
    }
    if !policies.is_empty() {
        append(headers, POLICY, policies);
        append(headers, LIMIT, left);
    }
    let old = limits
        .iter()
        .filter(|limit| matches!(limit.tell, Tell::XRateLimit | Tell::Both));
    let nearest = old
        .clone()
        .min_by_key(|limit| (!limit.refuses, limit.remaining));
    let Some(nearest) = nearest else { return };
    let mut all = nearest.amount.to_string();
    for limit in old {
        let _ = write!(all, ", {};w={};name=", limit.amount, seconds(limit.window));
        name(&limit.sentence, &mut all);
    }
    if let Ok(all) = HeaderValue::try_from(all) {
        headers.insert(X_LIMIT, all);
    }
    headers.insert(X_REMAINING, nearest.remaining.into());
    headers.insert(X_RESET, seconds(nearest.reset).into());
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.append(name, value);
    }
}

/// A String of a Structured Field, which is visible ASCII and spaces: `?` stands for what it cannot hold.
fn name(sentence: &str, into: &mut String) {
    into.push('"');
    for character in sentence.chars() {
        match character {
            '"' | '\\' => into.extend(['\\', character]),
            ' '..='~' => into.push(character),
            _ => into.push('?'),
        }
    }
    into.push('"');
}

fn seconds(span: Duration) -> u64 {
    span.as_secs()
        .saturating_add(u64::from(span.subsec_nanos() > 0))
        .min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(sentence: &str, amount: u64, remaining: u64, tell: Tell) -> RateLimit {
        RateLimit {
            sentence: sentence.into(),
            amount,
            window: Duration::from_secs(60),
            remaining,
            reset: Duration::from_millis(1_500),
            refuses: false,
            tell,
        }
    }

    fn told(limits: &[RateLimit]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        tell(limits, &mut headers);
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn limits_are_listed_each_under_its_sentence() {
        let of_a_moment = RateLimit {
            window: Duration::from_millis(250),
            ..limit("burst", 5, 2, Tell::RateLimit)
        };
        assert_eq!(
            told(&[limit("per customer", 100, 7, Tell::RateLimit), of_a_moment]),
            [
                "ratelimit-policy: \"per customer\";q=100;w=60, \"burst\";q=5",
                "ratelimit: \"per customer\";r=7;t=2, \"burst\";r=2;t=2",
            ]
        );
    }

    #[test]
    fn x_headers_tell_of_the_nearest_limit_and_of_one_that_refuses_first() {
        let near = limit("near", 10, 1, Tell::XRateLimit);
        let far = limit("far", 100, 7, Tell::Both);
        assert_eq!(
            told(&[far.clone(), near.clone()])[2..],
            [
                "x-ratelimit-limit: 10, 100;w=60;name=\"far\", 10;w=60;name=\"near\"",
                "x-ratelimit-remaining: 1",
                "x-ratelimit-reset: 2",
            ]
        );
        let refusing = RateLimit {
            refuses: true,
            ..far
        };
        assert_eq!(told(&[near, refusing])[3], "x-ratelimit-remaining: 7");
    }

    #[test]
    fn a_sentence_is_quoted_whatever_it_is() {
        let lines = told(&[limit("\"a\\ü\r\n", 1, 1, Tell::RateLimit)]);
        assert_eq!(lines[1], "ratelimit: \"\\\"a\\\\???\";r=1;t=2");
    }

    #[test]
    fn what_the_server_says_of_its_own_limits_stays_in_the_lists_only() {
        let mut headers = HeaderMap::new();
        headers.insert(LIMIT, HeaderValue::from_static("\"own\";r=1"));
        headers.insert(X_REMAINING, HeaderValue::from_static("1"));
        tell(&[limit("ours", 9, 3, Tell::Both)], &mut headers);
        assert_eq!(headers.get_all(LIMIT).iter().count(), 2);
        assert_eq!(headers[X_REMAINING], "3");
    }
}
