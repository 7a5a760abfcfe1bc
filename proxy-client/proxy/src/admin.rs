//! The admin listener: health, metrics, and what this proxy was told.

use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::metrics::Exposed;
use crate::shared::Shared;
use crate::upstream::Kind;

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/healthz/live", get(async || "live\n"))
        .route("/healthz/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/clusters", get(clusters))
        .route("/config_dump", get(config_dump))
        .with_state(shared);
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, router).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!("the admin listener ended: {error}");
    }
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

/// What is known of each service: how it is balanced, its endpoints, its circuit.
async fn clusters(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let now = shared.clock.now();
    let routing = shared.routing.load();
    let mut clusters = serde_json::Map::new();
    for upstream in routing.iter().flat_map(|routing| routing.upstreams()) {
        let endpoints: Vec<Value> = upstream
            .show(now)
            .iter()
            .map(|shown| {
                json!({
                    "address": shown.address.to_string(),
                    "healthy": !shown.unwell,
                    "ejected_for_seconds": shown.ejected_for.as_secs_f64(),
                    "requests_in_flight": shown.in_flight,
                    "ewma_ms": shown.latency.map(|latency| latency.as_secs_f64() * 1e3),
                    "requests": shown.requests,
                    "failures": shown.failures,
                })
            })
            .collect();
        let circuit = Kind::ALL.map(|kind| {
            let (taken, most, refused) = upstream.circuit.read(kind);
            (
                kind.word().to_owned(),
                json!({ "now": taken, "most": most, "refused": refused }),
            )
        });
        let circuit: serde_json::Map<String, Value> = circuit.into_iter().collect();
        let about = json!({
            "balance": upstream.service.balance.by.to_string(),
            "endpoints": endpoints,
            "circuit": circuit,
        });
        clusters.insert(upstream.label(), about);
    }
    Json(clusters.into())
}

async fn config_dump(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let config = &shared.config;
    let state = shared
        .client
        .as_ref()
        .and_then(|client| client.state().borrow().clone());
    let documents = state.iter().flat_map(|state| state.documents.iter());
    let documents: Vec<Value> = documents
        .map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()))
        .collect();
    let scope = |scope: &mixer_client::Scope| {
        json!({
            "revision": &*scope.revision,
            "rules": scope.rules,
            "quotas": scope.quotas,
            "fail": if scope.fail_open { "open" } else { "closed" },
            "reads_path": scope.reads_path,
            "reads_claims": scope.reads_claims,
            "records": scope.records,
            "trace_sample": scope.trace_sample,
            "standard_metrics": scope.standard_metrics,
        })
    };
    let scopes = state.as_ref().map(|state| {
        let outbound: serde_json::Map<String, Value> = state
            .outbound
            .iter()
            .map(|(service, of)| (service.to_string(), scope(of)))
            .collect();
        json!({
            "version": state.version,
            "inbound": scope(&state.inbound),
            "outbound": outbound,
            "outbound_default": scope(&state.outbound_default),
        })
    });
    let routing = shared.routing.load();
    let upstreams: serde_json::Map<String, Value> = routing
        .iter()
        .flat_map(|routing| routing.upstreams())
        .map(|upstream| {
            let shown = upstream.show(shared.clock.now());
            let addresses: Vec<String> = shown
                .iter()
                .map(|shown| shown.address.to_string())
                .collect();
            (upstream.label(), json!(addresses))
        })
        .collect();
    Json(json!({
        "proxy": {
            "service": config.service,
            "namespace": config.own_namespace(),
            "labels": config.labels,
            "app": config.app.map(|app| app.to_string()),
            "workers": shared.counters.len(),
        },
        "scopes": scopes,
        "documents": documents,
        "addresses": upstreams,
        "issuer_keys": shared.tokens.load().shown(),
    }))
}
