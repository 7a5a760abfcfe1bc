//! Trace contexts: W3C `traceparent`, B3 in one header, B3 in several.
//!
//! A caller's trace and its sampling decision are continued; a new trace is sampled at the rate of the scope. The application
//! passes on the headers it knows, so a context goes out in every format it came in, and a new one in W3C and in B3. A request
//! that is not sampled passes with its headers untouched.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use mixer_client::TraceContext;
use mixer_runtime::Random;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const B3: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// What a request says about its trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Caller {
    /// Trace and span.
    ids: Option<(u128, u64)>,
    /// `None`: left to us.
    sampled: Option<bool>,
}

/// Begins the span of a request, if it is sampled: continues its trace or starts one, and rewrites `headers` so that what follows
/// becomes its child.
pub(crate) fn begin(headers: &mut HeaderMap, sample: f64, random: &Random) -> Option<TraceContext> {
    let (w3c, single, multiple) = (traceparent(headers), b3(headers), b3_headers(headers));
    let caller = [w3c, single, multiple]
        .into_iter()
        .flatten()
        .next()
        .unwrap_or_default();
    if caller.sampled == Some(false) || (caller.sampled.is_none() && sample <= 0.0) {
        return None;
    }
    let sampled = caller.sampled.unwrap_or_else(|| random.unit() < sample);
    let (trace_id, parent_id) = match caller.ids {
        Some((trace, span)) => (trace, Some(span)),
        None => (
            (u128::from(random.next()) << 64 | u128::from(random.next())).max(1),
            None,
        ),
    };
    let span = TraceContext {
        trace_id,
        span_id: random.next().max(1),
        parent_id,
        shared: false,
    };
    let new = caller.ids.is_none();
    if w3c.is_some() || new {
        headers.insert(TRACEPARENT, write_traceparent(&span, sampled));
    }
    if single.is_some() {
        headers.insert(B3, write_b3(&span, sampled));
    }
    if multiple.is_some() || new {
        if sampled {
            headers.insert(TRACE_ID, trace_id_value(trace_id));
            headers.insert(SPAN_ID, ascii(&hex64(span.span_id)));
            match parent_id {
                Some(parent) => headers.insert(PARENT_ID, ascii(&hex64(parent))),
                None => headers.remove(PARENT_ID),
            };
        }
        headers.insert(
            SAMPLED,
            HeaderValue::from_static(if sampled { "1" } else { "0" }),
        );
    }
    sampled.then_some(span)
}

/// W3C Trace Context section 3.2: `00-{32 hex}-{16 hex}-{2 hex}`; later versions may be longer.
fn traceparent(headers: &HeaderMap) -> Option<Caller> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?.trim();
    let parts: Vec<&str> = text.splitn(5, '-').collect();
    let [version, trace, span, flags, ..] = parts[..] else {
        return None;
    };
    let version = fixed_hex(version, 2)?;
    if version == 0xff || (version == 0 && parts.len() != 4) {
        return None;
    }
    let flags = fixed_hex(flags, 2)?;
    Some(Caller {
        ids: ids(fixed_hex(trace, 32)?, fixed_hex(span, 16)?),
        sampled: Some(flags & 1 == 1),
    })
    .filter(|c| c.ids.is_some())
}

/// B3 in one header: `{trace}-{span}[-{sampling}[-{parent}]]`, or a sampling state alone.
fn b3(headers: &HeaderMap) -> Option<Caller> {
    let text = headers.get(B3)?.to_str().ok()?.trim();
    if text.len() == 1 {
        return Some(Caller {
            ids: None,
            sampled: Some(sampling(text)?),
        });
    }
    let mut parts = text.split('-');
    let (trace, span) = (b3_trace(parts.next()?)?, fixed_hex(parts.next()?, 16)?);
    let sampled = match parts.next() {
        Some(state) => Some(sampling(state)?),
        None => None,
    };
    Some(Caller {
        ids: ids(trace, span),
        sampled,
    })
    .filter(|caller| caller.ids.is_some())
}

fn b3_headers(headers: &HeaderMap) -> Option<Caller> {
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let debug = text(&FLAGS) == Some("1");
    let sampled = if debug {
        Some(true)
    } else {
        text(&SAMPLED).and_then(sampling)
    };
    let both = text(&TRACE_ID)
        .and_then(b3_trace)
        .zip(text(&SPAN_ID).and_then(|span| fixed_hex(span, 16)));
    let ids = both.and_then(|(trace, span)| ids(trace, span));
    (ids.is_some() || sampled.is_some()).then_some(Caller { ids, sampled })
}

fn sampling(state: &str) -> Option<bool> {
    match state {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// Zero is no id in either format.
fn ids(trace: u128, span: u128) -> Option<(u128, u64)> {
    let span = u64::try_from(span).ok()?;
    (trace != 0 && span != 0).then_some((trace, span))
}

fn b3_trace(text: &str) -> Option<u128> {
    fixed_hex(text, 32).or_else(|| fixed_hex(text, 16))
}

fn fixed_hex(text: &str, digits: usize) -> Option<u128> {
    let hex = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

fn write_traceparent(span: &TraceContext, sampled: bool) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    text[3..35].copy_from_slice(&hex128(span.trace_id));
    text[36..52].copy_from_slice(&hex64(span.span_id));
    text[54] = if sampled { b'1' } else { b'0' };
    ascii(&text)
}

fn write_b3(span: &TraceContext, sampled: bool) -> HeaderValue {
    let mut text = trace_id_value(span.trace_id).as_bytes().to_vec();
    text.push(b'-');
    text.extend(hex64(span.span_id));
    text.extend(if sampled { b"-1" } else { b"-0" });
    if let Some(parent) = span.parent_id {
        text.push(b'-');
        text.extend(hex64(parent));
    }
    ascii(&text)
}

/// B3 ids of 64 bits stay as short as they came.
fn trace_id_value(trace: u128) -> HeaderValue {
    let digits = hex128(trace);
    ascii(if trace >> 64 == 0 {
        &digits[16..]
    } else {
        &digits
    })
}

fn ascii(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).expect("hex digits and dashes are visible ASCII")
}

pub(crate) fn hex64(value: u64) -> [u8; 16] {
    let mut text = [0; 16];
    text.copy_from_slice(&hex128(value.into())[16..]);
    text
}

fn hex128(value: u128) -> [u8; 32] {
    std::array::from_fn(|at| b"0123456789abcdef"[(value >> (124 - 4 * at)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn text(headers: &HeaderMap, name: &str) -> String {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default()
    }

    const W3C: (&str, &str) = (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );

    #[test]
    fn a_callers_trace_is_continued_in_the_format_it_came_in() {
        let random = Random::from_seed(1);
        let mut headers = map(&[W3C]);
        let span = begin(&mut headers, 0.0, &random).unwrap();
        assert_eq!(
            (span.trace_id, span.parent_id),
            (
                0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
                Some(0xb7ad_6b71_6920_3331)
            )
        );
        assert_eq!(
            text(&headers, "traceparent"),
            format!(
                "00-0af7651916cd43dd8448eb211c80319c-{:016x}-01",
                span.span_id
            )
        );
        assert_eq!(headers.len(), 1);

        let mut headers = map(&[(
            "b3",
            "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90",
        )]);
        let span = begin(&mut headers, 0.0, &random).unwrap();
        let b3 = format!(
            "80f198ee56343ba864fe8b2a57d3eff7-{:016x}-1-e457b5a2e4d86bd1",
            span.span_id
        );
        assert_eq!((text(&headers, "b3"), headers.len()), (b3, 1));

        let mut headers = map(&[
            ("x-b3-traceid", "64fe8b2a57d3eff7"),
            ("x-b3-spanid", "e457b5a2e4d86bd1"),
            ("x-b3-sampled", "1"),
        ]);
        let span = begin(&mut headers, 0.0, &random).unwrap();
        assert_eq!(text(&headers, "x-b3-traceid"), "64fe8b2a57d3eff7");
        assert_eq!(
            text(&headers, "x-b3-spanid"),
            format!("{:016x}", span.span_id)
        );
        assert_eq!(text(&headers, "x-b3-parentspanid"), "e457b5a2e4d86bd1");
    }

    #[test]
    fn a_span_begun_here_is_the_parent_of_the_next() {
        let random = Random::from_seed(2);
        let mut headers = HeaderMap::new();
        let root = begin(&mut headers, 1.0, &random).unwrap();
        assert_eq!(root.parent_id, None);
        for forwarded in [
            &["traceparent"][..],
            &["x-b3-traceid", "x-b3-spanid", "x-b3-sampled"],
        ] {
            let mut next: HeaderMap = headers
                .iter()
                .filter(|(name, _)| forwarded.contains(&name.as_str()))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect();
            let child = begin(&mut next, 0.0, &random).unwrap();
            assert_eq!(
                (child.trace_id, child.parent_id),
                (root.trace_id, Some(root.span_id)),
                "{forwarded:?}"
            );
        }
    }

    #[test]
    fn a_decision_not_to_sample_is_kept_and_passed_on() {
        let random = Random::from_seed(3);
        for pairs in [
            [(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            )],
            [("b3", "0")],
            [("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0")],
            [("x-b3-sampled", "0")],
        ] {
            let mut headers = map(&pairs);
            assert_eq!(begin(&mut headers, 1.0, &random), None);
            assert_eq!(headers, map(&pairs));
        }
        let mut headers = HeaderMap::new();
        while begin(&mut headers, 0.5, &random).is_some() {
            headers.clear();
        }
        assert_eq!(text(&headers, "x-b3-sampled"), "0");
        assert!(text(&headers, "traceparent").ends_with("-00"));
        assert_eq!(begin(&mut headers, 1.0, &random), None);
    }

    #[test]
    fn without_sampling_nothing_is_added() {
        let mut headers = HeaderMap::new();
        assert_eq!(begin(&mut headers, 0.0, &Random::from_seed(4)), None);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_decision_left_open_is_made_here() {
        let mut headers = map(&[("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1")]);
        assert!(begin(&mut headers.clone(), 0.0, &Random::from_seed(5)).is_none());
        assert!(begin(&mut headers, 1.0, &Random::from_seed(5)).is_some());
    }

    #[test]
    fn what_is_no_context_starts_a_new_trace() {
        for value in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            let mut headers = map(&[("traceparent", value)]);
            assert_eq!(
                begin(&mut headers, 1.0, &Random::from_seed(6))
                    .unwrap()
                    .parent_id,
                None,
                "{value}"
            );
        }
        let later = map(&[(
            "traceparent",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        )]);
        assert!(traceparent(&later).is_some());
    }
}
