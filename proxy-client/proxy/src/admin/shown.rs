//! What this proxy knows and was told, as JSON.
//!
//! No secrets: the values of headers that routes set may be credentials, and none of them is shown.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Json;
use mixer_documents::Route;
use mixer_identity::{Summary, Timestamp};
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value, json};

use crate::route::Routed;
use crate::shared::Shared;
use crate::upstream::{Kind, Upstream};

/// In the place of what may be a secret.
const REDACTED: &str = "redacted";

/// What is known of each service: how it is balanced, its endpoints, its circuit.
pub(super) async fn clusters(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let now = shared.clock.now();
    let routing = shared.routing.load();
    let mut clusters = Map::new();
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
        let circuit: Map<String, Value> = circuit.into_iter().collect();
        let about = json!({
            "balance": upstream.service.balance.by.to_string(),
            "endpoints": endpoints,
            "circuit": circuit,
        });
        clusters.insert(upstream.label(), about);
    }
    Json(clusters.into())
}

/// Who this proxy is and whom it trusts: what certificates say of themselves, never a key.
pub(super) async fn certs(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let identity = shared.own.as_ref().and_then(|own| own.source.current());
    let Some(identity) = identity else {
        return Json(Value::Null);
    };
    let show = |der: &CertificateDer<'_>| match Summary::read(der) {
        Ok(summary) => json!({
            "uris": summary.uris,
            "serial": summary.serial,
            "not_before": Timestamp(summary.validity.not_before).to_string(),
            "not_after": Timestamp(summary.validity.not_after).to_string(),
        }),
        Err(fault) => json!({ "unreadable": fault.to_string() }),
    };
    let chain: Vec<Value> = identity.svid().chain().iter().map(show).collect();
    let bundles = identity.bundles().iter().map(|bundle| {
        let authorities: Vec<Value> = bundle.authorities().map(show).collect();
        let sequence = bundle.sequence();
        let about = json!({ "sequence": sequence, "authorities": authorities });
        (bundle.trust_domain().to_string(), about)
    });
    let bundles: Map<String, Value> = bundles.collect();
    Json(json!({ "id": identity.id().as_str(), "chain": chain, "bundles": bundles }))
}

/// What the own service takes, and who called it in plaintext.
pub(super) async fn tls(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let identity = shared.own.as_ref().and_then(|own| own.source.current());
    let routing = shared.routing.load();
    let (callers, others) = shared.plain_callers.all();
    let callers: Vec<Value> = callers
        .into_iter()
        .map(|(address, plain)| {
            json!({
                "address": address.to_string(),
                "connections": plain.connections,
                "last": Timestamp(plain.last).to_string(),
            })
        })
        .collect();
    Json(json!({
        "service": shared.config.service,
        "tls": routing.as_ref().map(|routing| routing.own_tls.word()),
        "identity": identity.map(|identity| identity.id().to_string()),
        "since": Timestamp(shared.plain_callers.since()).to_string(),
        "plaintext": { "callers": callers, "others": others },
    }))
}

/// What routes say: per service where its parts are, and the rules in the order in which they are asked.
pub(super) async fn routes(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let routing = shared.routing.load();
    let services = routing.iter().flat_map(|routing| routing.services());
    let services: Map<String, Value> = services
        .map(|(name, routed)| (name.to_string(), routes_of(routed)))
        .collect();
    Json(services.into())
}

fn routes_of(routed: &Routed) -> Value {
    let subsets: Map<String, Value> = routed
        .subsets
        .iter()
        .map(|(name, part)| (name.to_string(), addresses(part)))
        .collect();
    let table = routed.table.as_ref();
    let rules = table.into_iter().flat_map(|table| table.rules());
    let rules: Vec<Value> = rules
        .map(|(route, rule)| {
            let mut shown = json!({ "route": &*route.name });
            if let (Value::Object(shown), Value::Object(rule)) = (&mut shown, rule.canonical()) {
                shown.extend(rule);
            }
            redact(&mut shown);
            shown
        })
        .collect();
    json!({
        "endpoints": addresses(&routed.whole),
        "subsets": subsets,
        "reads_path": table.is_some_and(|table| table.reads_path),
        "rules": rules,
    })
}

fn addresses(upstream: &Upstream) -> Value {
    let addresses = upstream.addresses();
    addresses.iter().map(ToString::to_string).collect()
}

/// A route as its document says.
fn route(route: &Route) -> Value {
    let mut shown: Value = document(&route.canonical());
    let rules = shown.get_mut("rules").and_then(Value::as_array_mut);
    rules.into_iter().flatten().for_each(redact);
    shown
}

/// Hides the values of the headers that a rule sets.
fn redact(rule: &mut Value) {
    let Some(headers) = rule.get_mut("headers") else {
        return;
    };
    let hide = |changes: &mut Value| {
        for key in ["set", "add"] {
            let values = changes.get_mut(key).and_then(Value::as_object_mut);
            for (_, value) in values.into_iter().flatten() {
                *value = REDACTED.into();
            }
        }
    };
    if let Some(response) = headers.get_mut("response") {
        hide(response);
    }
    hide(headers);
}

/// Canonical documents are JSON.
fn document(canonical: &str) -> Value {
    serde_json::from_str(canonical).unwrap_or_else(|_| canonical.into())
}

/// Everything in force.
pub(super) async fn config_dump(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let config = &shared.config;
    let state = shared
        .client
        .as_ref()
        .and_then(|client| client.state().borrow().clone());
    let scope = |scope: &mixer_client::Scope| {
        json!({
            "revision": &*scope.revision,
            "rules": scope.rules,
            "quotas": scope.quotas,
            "fail": if scope.fail_open { "open" } else { "closed" },
            "reads_path": scope.reads_path,
            "records": scope.records,
            "trace_sample": scope.trace_sample,
            "standard_metrics": scope.standard_metrics,
        })
    };
    let scopes = state.as_ref().map(|state| {
        let outbound: Map<String, Value> = state
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
    let routing = routing.as_ref();
    let services: Map<String, Value> = routing
        .into_iter()
        .flat_map(|routing| routing.services())
        .map(|(name, routed)| {
            (
                name.to_string(),
                document(&routed.whole.service.canonical()),
            )
        })
        .collect();
    let routes: Map<String, Value> = routing
        .into_iter()
        .flat_map(|routing| &routing.routes)
        .map(|one| (one.name.to_string(), route(one)))
        .collect();
    let upstreams: Map<String, Value> = routing
        .into_iter()
        .flat_map(|routing| routing.upstreams())
        .map(|upstream| (upstream.label(), addresses(upstream)))
        .collect();
    Json(json!({
        "proxy": {
            "service": config.service,
            "namespace": config.own_namespace(),
            "labels": config.labels,
            "app": config.app.map(|app| app.to_string()),
            "transparent": config.transparent,
            "workers": shared.counters.len(),
        },
        "scopes": scopes,
        "mesh": routing.map(|routing| document(&routing.mesh.canonical())),
        "services": services,
        "routes": routes,
        "addresses": upstreams,
        "refused": shared.routing_problem.load().as_deref(),
    }))
}
