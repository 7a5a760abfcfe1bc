//! Spans of traced requests. Names have few values (a method and a service, or a gRPC operation): the path is a tag.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mixer_adapter::{Span, SpanKind};
use mixer_attributes::standard::UNKNOWN;
use mixer_attributes::vocabulary as v;
use mixer_attributes::{AttributeBag, AttributeId, Value};
use mixer_documents::At;

use super::Trace;

/// Tags as Envoy and Istio name them; the decision's as Mixer does.
const TAGS: [(&str, AttributeId); 15] = [
    ("http.method", v::REQUEST_METHOD),
    ("http.path", v::REQUEST_PATH),
    ("http.host", v::REQUEST_HOST),
    ("http.status_code", v::RESPONSE_CODE),
    ("grpc.status_code", v::RESPONSE_GRPC_STATUS),
    ("response_flags", v::RESPONSE_FLAGS),
    ("request_size", v::REQUEST_SIZE),
    ("response_size", v::RESPONSE_SIZE),
    ("guid:x-request-id", v::REQUEST_ID),
    ("user_agent", v::REQUEST_USERAGENT),
    ("peer.address", v::SOURCE_IP),
    ("mixer.decision", v::CHECK_DECISION),
    ("mixer.policy", v::CHECK_POLICY),
    ("mixer.rule", v::CHECK_RULE),
    ("mixer.cached", v::CHECK_CACHED),
];

/// The span of one request. `service` is the one whose proxy reports, when the attributes do not say.
pub(super) fn span<'a>(
    at: At,
    bag: &AttributeBag<'a>,
    trace: &Trace,
    service: Option<&'a str>,
    now: SystemTime,
) -> Span<'a> {
    let destination = text(bag, v::DESTINATION_SERVICE);
    let source = text(bag, v::SOURCE_WORKLOAD).or(text(bag, v::SOURCE_SERVICE_ACCOUNT));
    let (kind, own, peer) = match at {
        At::Inbound | At::RateLimit => (SpanKind::Server, destination.or(service), source),
        At::Outbound => (
            SpanKind::Client,
            source.or(service),
            destination.or(text(bag, v::REQUEST_HOST)),
        ),
    };
    let name = match (
        text(bag, v::API_SERVICE),
        text(bag, v::API_OPERATION),
        text(bag, v::REQUEST_METHOD),
    ) {
        (Some(service), Some(operation), _) => format!("{service}/{operation}").into(),
        (_, _, Some(method)) => format!("{method} {}", destination.unwrap_or(UNKNOWN)).into(),
        _ => Cow::Borrowed(destination.unwrap_or(UNKNOWN)),
    };
    let mut tags: Vec<(Cow<'a, str>, Cow<'a, str>)> = vec![("component".into(), "proxy".into())];
    tags.extend(
        TAGS.iter()
            .filter_map(|(tag, attribute)| Some(((*tag).into(), shown(bag.value(*attribute)?)?))),
    );
    let duration = match bag.value(v::RESPONSE_DURATION) {
        Some(Value::Duration(span)) => span.to_std().unwrap_or_default(),
        _ => Duration::ZERO,
    };
    Span {
        trace_id: trace.trace_id,
        id: trace.span_id,
        parent: trace.parent_id,
        shared: trace.shared,
        kind,
        service: own.unwrap_or(UNKNOWN).into(),
        peer: peer.map(Cow::Borrowed),
        name,
        start: bag
            .value(v::REQUEST_TIME)
            .and_then(system_time)
            .unwrap_or(now),
        duration,
        error: failed(bag),
        tags,
    }
}

/// A server's fault, or a gRPC call that did not end well.
fn failed(bag: &AttributeBag<'_>) -> bool {
    let code =
        matches!(bag.value(v::RESPONSE_CODE), Some(Value::Int(code)) if code >= 500 || code == 0);
    code || matches!(bag.value(v::RESPONSE_GRPC_STATUS), Some(Value::Int(status)) if status != 0)
}

fn text<'a>(bag: &AttributeBag<'a>, attribute: AttributeId) -> Option<&'a str> {
    match bag.value(attribute) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn shown(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Int(number) => Some(number.to_string().into()),
        Value::Bool(bit) => Some(if bit { "true" } else { "false" }.into()),
        Value::Ip(address) => Some(address.to_string().into()),
        _ => None,
    }
}

/// A timestamp as the standard library has it; none before the epoch.
pub(super) fn system_time(value: Value<'_>) -> Option<SystemTime> {
    let Value::Timestamp(time) = value else {
        return None;
    };
    UNIX_EPOCH.checked_add(Duration::new(u64::try_from(time.seconds).ok()?, time.nanos))
}
