//! Access log lines.

use std::borrow::Cow;
use std::time::SystemTime;

use mixer_adapter::LogEntry;
use mixer_attributes::vocabulary as v;
use mixer_attributes::{AttributeId, OwnedValue, Value};
use mixer_cel::Evaluation;
use mixer_documents::LogSpec;

use super::Happened;
use super::spans::system_time;

/// What every line has, as far as it is known, in this order. Names as in Istio's JSON access log where it has one.
const FIELDS: [(&str, AttributeId); 23] = [
    ("reporter", v::CONTEXT_REPORTER),
    ("source_principal", v::SOURCE_PRINCIPAL),
    ("source_workload", v::SOURCE_WORKLOAD),
    ("downstream_remote_address", v::SOURCE_IP),
    ("client_ip", v::REQUEST_CLIENT_IP),
    ("destination_service", v::DESTINATION_SERVICE),
    ("route_name", v::CONTEXT_ROUTE),
    ("method", v::REQUEST_METHOD),
    ("authority", v::REQUEST_HOST),
    ("path", v::REQUEST_PATH),
    ("protocol", v::API_PROTOCOL),
    ("response_code", v::RESPONSE_CODE),
    ("grpc_status", v::RESPONSE_GRPC_STATUS),
    ("response_flags", v::RESPONSE_FLAGS),
    ("bytes_received", v::REQUEST_SIZE),
    ("bytes_sent", v::RESPONSE_SIZE),
    ("duration", v::RESPONSE_DURATION),
    ("request_id", v::REQUEST_ID),
    ("user_agent", v::REQUEST_USERAGENT),
    ("decision", v::CHECK_DECISION),
    ("policy", v::CHECK_POLICY),
    ("rule", v::CHECK_RULE),
    ("cached", v::CHECK_CACHED),
];

/// The line that one request gives, if it gives one. Expressions without a value are counted in `failures`.
pub(super) fn line<'a>(
    spec: &'a LogSpec,
    one: &'a Happened<'_>,
    evaluation: &mut Evaluation<'a>,
    now: SystemTime,
    failures: &mut u64,
) -> Option<LogEntry<'a>> {
    match spec.when.test(evaluation) {
        Ok(true) => {}
        Ok(false) => return None,
        Err(_) => {
            *failures += 1;
            return None;
        }
    }
    let mut fields: Vec<(Cow<'a, str>, OwnedValue)> =
        Vec::with_capacity(FIELDS.len() + spec.fields.len() + 1);
    for (name, attribute) in FIELDS {
        if let Some(value) = one.bag.value(attribute).and_then(owned) {
            fields.push((name.into(), value));
        }
    }
    if let Some(trace) = &one.trace {
        fields.push((
            "trace_id".into(),
            OwnedValue::String(format!("{:032x}", trace.trace_id)),
        ));
    }
    for (name, expression) in &spec.fields {
        match expression
            .evaluate(evaluation)
            .ok()
            .and_then(|value| value.to_owned_value())
        {
            Some(value) => fields.push((Cow::Borrowed(name), value)),
            None => *failures += 1,
        }
    }
    let time = one
        .bag
        .value(v::REQUEST_TIME)
        .and_then(system_time)
        .unwrap_or(now);
    Some(LogEntry { time, fields })
}

/// The kinds of value that [`FIELDS`] have.
fn owned(value: Value<'_>) -> Option<OwnedValue> {
    match value {
        Value::String(text) => Some(OwnedValue::String(text.to_owned())),
        Value::Int(number) => Some(OwnedValue::Int(number)),
        Value::Bool(bit) => Some(OwnedValue::Bool(bit)),
        Value::Ip(address) => Some(OwnedValue::Ip(address)),
        Value::Duration(span) => Some(OwnedValue::Duration(span)),
        _ => None,
    }
}
