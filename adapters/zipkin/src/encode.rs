//! A span as Zipkin's v2 JSON.
//!
//! <https://zipkin.io/zipkin-api/zipkin2-api.yaml>. Trace ids are always 128 bits, times are microseconds, and a duration is
//! at least 1, since 0 means "not known" there. What comes from requests is cut at [`LONGEST`] bytes a value.

use std::borrow::Cow;
use std::time::UNIX_EPOCH;

use mixer_adapter::{Span, SpanKind};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Bytes of a name or a tag's value; the rest is cut off.
const LONGEST: usize = 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Encoded<'a> {
    trace_id: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    kind: &'static str,
    name: &'a str,
    timestamp: u64,
    duration: u64,
    local_endpoint: Endpoint<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_endpoint: Option<Endpoint<'a>>,
    #[serde(skip_serializing_if = "Tags::is_empty")]
    tags: Tags<'a>,
    #[serde(skip_serializing_if = "is_false")]
    shared: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    service_name: &'a str,
}

struct Tags<'a> {
    given: &'a [(Cow<'a, str>, Cow<'a, str>)],
    /// The span failed and no tag says how.
    error: bool,
}

/// The span as a JSON object.
pub(crate) fn span(span: &Span<'_>) -> Vec<u8> {
    let error = span.error && !span.tags.iter().any(|(name, _)| name == "error");
    let since_epoch = span.start.duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros =
        |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1);
    let encoded = Encoded {
        trace_id: format!("{:032x}", span.trace_id),
        id: format!("{:016x}", span.id),
        parent_id: span.parent.map(|parent| format!("{parent:016x}")),
        kind: match span.kind {
            SpanKind::Client => "CLIENT",
            SpanKind::Server => "SERVER",
        },
        name: cut(&span.name),
        timestamp: micros(since_epoch),
        duration: micros(span.duration),
        local_endpoint: Endpoint {
            service_name: cut(&span.service),
        },
        remote_endpoint: span.peer.as_deref().map(|peer| Endpoint {
            service_name: cut(peer),
        }),
        tags: Tags {
            given: &span.tags,
            error,
        },
        shared: span.shared,
    };
    serde_json::to_vec(&encoded).expect("strings and numbers can be written as JSON")
}

impl Tags<'_> {
    fn is_empty(&self) -> bool {
        self.given.is_empty() && !self.error
    }
}

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (at, (name, value)) in self.given.iter().enumerate() {
            // A name twice would be an object that readers disagree about: the last one counts.
            if !self.given[at + 1..].iter().any(|(later, _)| later == name) {
                map.serialize_entry(cut(name), cut(value))?;
            }
        }
        if self.error {
            map.serialize_entry("error", "true")?;
        }
        map.end()
    }
}

fn is_false(bit: &bool) -> bool {
    !bit
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn example() -> Span<'static> {
        Span {
            trace_id: 0xabc,
            id: 0x1,
            parent: None,
            shared: false,
            kind: SpanKind::Server,
            service: "products.shop".into(),
            peer: None,
            name: "GET /products/*".into(),
            start: UNIX_EPOCH + Duration::from_micros(1_767_225_600_000_123),
            duration: Duration::from_nanos(1_999),
            error: false,
            tags: Vec::new(),
        }
    }

    fn encoded(of: &Span<'_>) -> Value {
        serde_json::from_slice(&span(of)).unwrap()
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        assert_eq!(
            encoded(&example()),
            json!({
                "traceId": "00000000000000000000000000000abc",
                "id": "0000000000000001",
                "kind": "SERVER",
                "name": "GET /products/*",
                "timestamp": 1_767_225_600_000_123u64,
                "duration": 1,
                "localEndpoint": {"serviceName": "products.shop"},
            })
        );
    }

    #[test]
    fn everything_that_is_there_is_written() {
        let span = Span {
            trace_id: u128::MAX,
            id: u64::MAX,
            parent: Some(0xff),
            shared: true,
            kind: SpanKind::Client,
            peer: Some("reviews.shop".into()),
            duration: Duration::ZERO,
            error: true,
            tags: vec![
                ("http.method".into(), "GET".into()),
                ("http.path".into(), "/a\"\n".into()),
                ("http.method".into(), "PUT".into()),
            ],
            ..example()
        };
        let encoded = encoded(&span);
        assert_eq!(encoded["traceId"], "f".repeat(32));
        assert_eq!(encoded["id"], "f".repeat(16));
        assert_eq!(encoded["parentId"], "00000000000000ff");
        assert_eq!(
            (&encoded["kind"], &encoded["shared"], &encoded["duration"]),
            (&json!("CLIENT"), &json!(true), &json!(1))
        );
        assert_eq!(
            encoded["remoteEndpoint"],
            json!({"serviceName": "reviews.shop"})
        );
        assert_eq!(
            encoded["tags"],
            json!({"http.path": "/a\"\n", "http.method": "PUT", "error": "true"})
        );
    }

    #[test]
    fn a_tag_that_says_how_it_failed_is_kept() {
        let span = Span {
            error: true,
            tags: vec![("error".into(), "503".into())],
            ..example()
        };
        assert_eq!(encoded(&span)["tags"], json!({"error": "503"}));
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "ä".repeat(LONGEST);
        let span = Span {
            name: long.into(),
            ..example()
        };
        assert_eq!(encoded(&span)["name"].as_str().unwrap().len(), LONGEST);
    }
}
