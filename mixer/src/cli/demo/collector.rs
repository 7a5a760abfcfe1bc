//! Where spans go when the demo is given no Zipkin: a collector that speaks Zipkin's v2 API, counts spans and keeps one trace.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use mixer_runtime::Tasks;
use serde::Deserialize;

use super::listen::serve_http;

/// A batch of spans is no larger than this.
const MAX_BODY: usize = 4 << 20;
/// Traces that are kept while their spans come in.
const MAX_TRACES: usize = 64;

/// What was collected.
#[derive(Clone, Debug, Default)]
pub(super) struct Collector(Arc<Mutex<Collected>>);

#[derive(Debug, Default)]
struct Collected {
    spans: u64,
    traces: HashMap<String, Vec<Span>>,
}

/// What the demo reads of a Zipkin v2 span.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    trace_id: String,
    id: String,
    parent_id: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    #[serde(default)]
    duration: u64,
    local_endpoint: Option<Endpoint>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    service_name: Option<String>,
}

impl Collector {
    /// Listens on a free port; the URL to post spans to.
    pub(super) async fn start(&self, tasks: &Tasks) -> io::Result<String> {
        let collector = self.clone();
        let address = serve_http(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tasks,
            move |request| {
                let collector = collector.clone();
                async move { Ok::<_, Infallible>(collector.answer(request).await) }
            },
        )
        .await?;
        Ok(format!("http://{address}/api/v2/spans"))
    }

    /// How many spans came.
    pub(super) fn spans(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spans
    }

    /// The trace with the most spans, a line a span, children below their parents.
    pub(super) fn show_trace(&self) -> Vec<String> {
        let collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(spans) = collected.traces.values().max_by_key(|spans| spans.len()) else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        for root in spans.iter().filter(|span| {
            span.parent_id
                .as_ref()
                .is_none_or(|id| spans.iter().all(|s| s.id != *id))
        }) {
            show(root, spans, 0, &mut lines);
        }
        lines
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let status = if request.method() != Method::POST || request.uri().path() != "/api/v2/spans"
        {
            StatusCode::NOT_FOUND
        } else {
            match Limited::new(request.into_body(), MAX_BODY).collect().await {
                Ok(body) => self.collect(&body.to_bytes()),
                Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
            }
        };
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        response
    }

    fn collect(&self, body: &[u8]) -> StatusCode {
        let Ok(spans) = serde_json::from_slice::<Vec<Span>>(body) else {
            return StatusCode::BAD_REQUEST;
        };
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        collected.spans += spans.len() as u64;
        for span in spans {
            if collected.traces.len() < MAX_TRACES || collected.traces.contains_key(&span.trace_id)
            {
                collected
                    .traces
                    .entry(span.trace_id.clone())
                    .or_default()
                    .push(span);
            }
        }
        StatusCode::ACCEPTED
    }
}

fn show(span: &Span, all: &[Span], depth: usize, lines: &mut Vec<String>) {
    let service = span
        .local_endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.service_name.as_deref())
        .unwrap_or("-");
    let (kind, name) = (
        span.kind.as_deref().unwrap_or("-"),
        span.name.as_deref().unwrap_or("-"),
    );
    lines.push(format!(
        "{:indent$}{service} {kind} {name} {} us",
        "",
        span.duration,
        indent = 2 * depth
    ));
    if depth < 16 {
        for child in all
            .iter()
            .filter(|child| child.parent_id.as_ref() == Some(&span.id))
        {
            show(child, all, depth + 1, lines);
        }
    }
}
