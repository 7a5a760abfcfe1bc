//! The admin listener: health, metrics, what this proxy was told, and the few things that can be changed while it runs.
//!
//! Whoever reaches the listener may look. Changes are asked for with POST, and take the token if there is one; without one they are
//! for who asks on loopback, by address, and from no other site's page ([`Guard::may_operate`]).

mod change;
mod shown;

use std::fmt::Write;
use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use mixer_runtime::Guard;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::metrics::Exposed;
use crate::shared::Shared;

/// What the pages need.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) guard: Guard,
    /// Begins the end, as a signal does.
    pub(crate) end: CancellationToken,
}

impl FromRef<Admin> for Arc<Shared> {
    fn from_ref(admin: &Admin) -> Self {
        admin.shared.clone()
    }
}

/// Method, path, meaning.
const PAGES: [(&str, &str, &str); 11] = [
    ("GET", "/healthz/live", "200 as long as the process lives"),
    (
        "GET",
        "/healthz/ready",
        "200 once requests can be decided and routed; the body says what is wrong with newer documents",
    ),
    ("GET", "/metrics", "the proxy's own metrics"),
    (
        "GET",
        "/clusters",
        "per service its endpoints and its circuit, as they are now",
    ),
    (
        "GET",
        "/routes",
        "per service its subsets, and the rules of its routes in the order in which they are asked",
    ),
    (
        "GET",
        "/certs",
        "who this proxy is and whom it trusts: what certificates say, never a key",
    ),
    (
        "GET",
        "/tls",
        "who called in plaintext since the proxy began: whom `tls: strict` would refuse",
    ),
    (
        "GET",
        "/config_dump",
        "what is in force: services, routes, mesh, and what applies where",
    ),
    ("GET", "/logging", "how much the process logs"),
    (
        "POST",
        "/logging?level=debug",
        "have it log as much as that",
    ),
    ("POST", "/drain", "end gracefully, as after SIGTERM"),
];

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) {
    let router = Router::new()
        .route("/", get(index))
        .route("/healthz/live", get(async || "live\n"))
        .route("/healthz/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/clusters", get(shown::clusters))
        .route("/routes", get(shown::routes))
        .route("/certs", get(shown::certs))
        .route("/tls", get(shown::tls))
        .route("/config_dump", get(shown::config_dump))
        .route("/logging", get(change::level).post(change::set_level))
        .route("/drain", post(change::drain))
        .with_state(admin);
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, router).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!("the admin listener ended: {error}");
    }
}

async fn index() -> Html<String> {
    let mut page =
        String::from("<!doctype html><title>mixer-proxy</title><h1>mixer-proxy</h1><table>\n");
    for (method, path, meaning) in PAGES {
        let shown = match method {
            "GET" => format!("<a href=\"{path}\">{path}</a>"),
            _ => path.to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "<tr><td>{method}<td>{shown}<td>{meaning}");
    }
    page.push_str("</table>\n");
    Html(page)
}

async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if let Some(problem) = &*shared.routing_problem.load() {
        let status = if shared.ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        return (
            status,
            format!("documents that cannot be used:\n{problem}\n"),
        );
    }
    match (shared.ready(), shared.drain.has_begun()) {
        (true, _) => (StatusCode::OK, "ready\n".to_owned()),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "ending\n".to_owned()),
        (false, false) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the first state of Mixer\n".to_owned(),
        ),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposed(shared)));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            Ok(([(header::CONTENT_TYPE, kind)], text))
        }
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
