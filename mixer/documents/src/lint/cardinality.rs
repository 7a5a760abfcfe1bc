//! Labels of metrics that have as many values as callers please.
//!
//! Each value of a label is a time series that is kept for ever. Adapters bound their number and drop what is beyond; that is
//! the end of the metric's use, so it is said before.

use mixer_attributes::vocabulary::{self, AttributeId};
use mixer_cel::{ClauseKind, Compiler};

use super::{Reading, warn};
use crate::{Code, Diagnostic};

/// Attributes with a value for each request, client or whim of one.
const UNBOUNDED: [AttributeId; 13] = [
    vocabulary::REQUEST_PATH,
    vocabulary::REQUEST_RAW_PATH,
    vocabulary::REQUEST_QUERY,
    vocabulary::REQUEST_HEADERS,
    vocabulary::REQUEST_COOKIES,
    vocabulary::REQUEST_CLIENT_IP,
    vocabulary::REQUEST_ID,
    vocabulary::REQUEST_TIME,
    vocabulary::REQUEST_USERAGENT,
    vocabulary::SOURCE_IP,
    vocabulary::CONNECTION_ID,
    vocabulary::AUTH_PRINCIPAL,
    vocabulary::RESPONSE_HEADERS,
];

pub(super) fn look(read: &Reading<'_>, found: &mut Vec<Diagnostic>) {
    let mut compiler = Compiler::new(read.set.vocabulary.clone());
    for telemetry in &read.set.telemetry {
        for metric in &telemetry.metrics {
            for (name, value) in &metric.labels {
                let Some(attribute) = label(value.source(), &mut compiler) else {
                    continue;
                };
                let shown = read
                    .set
                    .vocabulary
                    .by_id(attribute)
                    .map_or("", |attribute| attribute.name.as_str());
                warn(
                    found,
                    Code::LabelUnbounded,
                    metric.span,
                    format!(
                        "the label `{name}` has a time series for each value of `{shown}`, which callers choose"
                    ),
                    "use what is configured, such as `context.route` or `source.namespace`, or a few words: `x.startsWith(\"/api\") ? \"api\" : \"other\"`",
                );
            }
        }
    }
}

/// The unbounded attribute whose value a label is, as it stands or as text.
fn label(source: &str, compiler: &mut Compiler) -> Option<AttributeId> {
    let text = source.trim();
    let inner = text
        .strip_prefix("string(")
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(text);
    let clause = compiler.clause(inner).ok()?;
    match clause.kind {
        ClauseKind::Holds(place) => Some(place.attribute).filter(|id| UNBOUNDED.contains(id)),
        _ => None,
    }
}
