//! The admin listener: metrics, health, what is in force, and the counters of quotas. Only the last can be changed here.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mixer_adapter::{Exposition, Format};
use mixer_runtime::{Clock, Drain, Guard};

use super::metrics::{Metrics, expose_adapters};
use super::watch::Subscribers;
use crate::dispatch::tally;
use crate::live::{Live, explained};

mod dump;
mod problem;
mod quotas;

/// What the pages show.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) live: Arc<Live>,
    pub(crate) subscribers: Arc<Subscribers>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drain: Drain,
    pub(crate) guard: Guard,
    pub(crate) clock: Clock,
    /// Whether metrics name the busiest keys of quotas.
    pub(crate) quota_keys: bool,
}

/// The pages.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/stats/prometheus", get(classic))
        .route("/healthz/live", get(async || "ok\n"))
        .route("/healthz/ready", get(ready))
        .route("/config_dump", get(config_dump))
        .merge(quotas::routes())
        .with_state(admin)
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    page(&admin, Format::accepted(accept))
}

async fn classic(State(admin): State<Admin>) -> Response {
    page(&admin, Format::Text)
}

fn page(admin: &Admin, format: Format) -> Response {
    let mut page = Exposition::new(format);
    admin.metrics.expose(&mut page);
    let current = admin.live.current();
    let snapshot = current.snapshot();
    expose_adapters(snapshot, &mut page);
    let issuers = snapshot.set.jwts.iter().map(|jwt| &*jwt.name);
    admin
        .live
        .keys
        .expose(issuers.zip(&snapshot.keys), &mut page);
    let now = admin.clock.now();
    tally::expose(snapshot.tallies(), admin.quota_keys, now, &mut page);
    (
        [(header::CONTENT_TYPE, format.content_type())],
        page.finish(),
    )
        .into_response()
}

/// 200 while requests are decided, whatever the newest documents are like: the body says when these were refused, and why.
async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    if admin.drain.has_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    let revision = admin.live.current().revision.clone();
    let body = match admin.live.refused() {
        None => format!("ready: revision {revision} is in force\n"),
        Some(problems) => {
            let mut body = format!(
                "ready: revision {revision} stays in force, the newest documents were refused:\n"
            );
            for line in explained(&problems) {
                // Writing to a String cannot fail.
                let _ = writeln!(body, "{line}");
            }
            body
        }
    };
    (StatusCode::OK, body)
}

async fn config_dump(State(admin): State<Admin>) -> Response {
    let dump = dump::dump(&admin.live, &admin.subscribers.list());
    let text = serde_json::to_string_pretty(&dump).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
}
