//! `/config_dump`: what is in force, as JSON. Secrets are not in it: whatever may hold one says `redacted`.

use mixer_documents::{
    Algorithm, At, Condition, Denied, Fail, Limit, Mode, Otherwise, Policy, Quota, QuotaOnError,
    Reply, Rule, RuleKind, Scope, Telemetry,
};
use serde_json::{Value, json};

use crate::live::{Live, explained};
use crate::server::watch::{Watching, service_scope};

const REDACTED: &str = "redacted";

pub(super) fn dump(live: &Live, watching: &[Watching]) -> Value {
    let current = live.current();
    let snapshot = current.snapshot();
    let set = &snapshot.set;
    let (outbound, rest) = snapshot.outbound_scopes();
    let inbound = set.services.iter().map(|service| {
        (
            service.name.to_string(),
            scope(&service_scope(snapshot, service)),
        )
    });
    let outbound = outbound
        .iter()
        .map(|(service, found)| (service.to_string(), scope(found)));
    let parsed = |text: String| serde_json::from_str::<Value>(&text).unwrap_or(Value::String(text));
    json!({
        "revision": &*current.revision,
        "since_unix_seconds": current.since.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        "refused": live.refused().map(|problems| explained(&problems)),
        "destinations": {
            "inbound": inbound.collect::<serde_json::Map<_, _>>(),
            "outbound": outbound.collect::<serde_json::Map<_, _>>(),
            "outbound_default": scope(&rest),
        },
        "documents": {
            "mesh": parsed(set.mesh.canonical()),
            "routes": set.routes.iter().map(|route| parsed(route.canonical())).collect::<Vec<_>>(),
            "services": set.services.iter().map(|service| parsed(service.canonical())).collect::<Vec<_>>(),
            "issuers": set.jwts.iter().map(|jwt| parsed(jwt.canonical())).collect::<Vec<_>>(),
            "policies": set.policies.iter().map(|held| policy(held, set)).collect::<Vec<_>>(),
            "telemetry": set.telemetry.iter().map(|held| telemetry(held, set)).collect::<Vec<_>>(),
            "attributes": set.vocabulary.iter().filter(|attribute| attribute.id.is_custom()).map(|attribute| json!({
                "name": attribute.name, "type": attribute.kind.to_string(),
            })).collect::<Vec<_>>(),
        },
        "issuer_keys": set.jwts.iter().zip(&snapshot.keys).map(|(jwt, checked)| {
            (jwt.name.to_string(), Value::from(live.keys.word(checked)))
        }).collect::<serde_json::Map<_, _>>(),
        "adapters": set.adapters.iter().zip(&snapshot.adapters).map(|(document, installed)| {
            let counts = installed.counts();
            json!({
                "name": &*document.name,
                "type": &*document.kind,
                "config": redact(&document.config),
                "data": installed.handler().version_changes().map(|version| format!("{:016x}", *version.borrow())),
                "breaker_open": installed.breaker_is_open(),
                "calls": {
                    "answered": counts.answered, "matched": counts.matched, "refused": counts.refused,
                    "unavailable": counts.unavailable, "timed_out": counts.timed_out, "panicked": counts.panicked,
                    "breaker_open": counts.breaker_open, "bulkhead_full": counts.bulkhead_full,
                },
            })
        }).collect::<Vec<_>>(),
        "subscribers": watching.iter().map(|one| json!({
            "client": one.client, "service": one.service.as_deref(), "version": one.version, "revision": one.revision,
        })).collect::<Vec<_>>(),
    })
}

fn scope(scope: &Scope) -> Value {
    json!({
        "revision": &*scope.revision,
        "rules": scope.rules,
        "quotas": scope.quotas,
        "fail": fail(scope.fail),
        "reads_path": scope.reads_path,
        "reads_claims": scope.reads_claims,
        "records": scope.records,
        "trace_sample": scope.trace_sample,
        "standard_metrics": scope.standard_metrics,
    })
}

fn policy(policy: &Policy, set: &mixer_documents::PolicySet) -> Value {
    json!({
        "policy": &*policy.name,
        "for": policy.selector.canonical(),
        "at": at(policy.at),
        "guard": policy.guard,
        "mode": mode(policy.mode),
        "until": policy.until.as_ref().map(|until| &*until.text),
        "fail": fail(policy.fail),
        "rules": policy.rules.iter().map(|held| rule(held, set)).collect::<Vec<_>>(),
        "otherwise": policy.otherwise.as_ref().map(|otherwise| match otherwise {
            Otherwise::Allow { .. } => json!("allow"),
            Otherwise::Deny { sentence, reply: held, .. } => json!({ "deny": &**sentence, "reply": reply(held) }),
        }),
        "quotas": policy.quotas.iter().map(|held| quota(held, set)).collect::<Vec<_>>(),
    })
}

fn rule(rule: &Rule, set: &mixer_documents::PolicySet) -> Value {
    let kind = match rule.kind {
        RuleKind::Deny => "deny",
        RuleKind::Require => "require",
        RuleKind::Allow => "allow",
    };
    json!({
        kind: &*rule.sentence,
        "id": &*rule.id,
        "mode": mode(rule.mode),
        "when": condition(&rule.when),
        "that": rule.that.as_ref().map(condition),
        "ask": rule.ask.as_ref().map(|ask| &*set.adapters[ask.adapter].name),
        "until": rule.until.as_ref().map(|until| &*until.text),
        "reply": (rule.kind != RuleKind::Allow).then(|| reply(&rule.reply)),
    })
}

fn reply(reply: &Reply) -> Value {
    json!({
        "status": reply.status,
        "grpc": reply.grpc,
        "location": reply.location.as_ref().map(|location| location.source()),
        "message": reply.message.as_ref().map(|message| message.source()),
        "headers": reply.headers.iter().map(|(name, value)| (name.to_string(), json!(value.source())))
            .collect::<serde_json::Map<_, _>>(),
        "body": reply.body.as_ref().map(|body| json!({
            "content_type": &*body.content_type, "text": body.source(),
        })),
    })
}

fn quota(quota: &Quota, set: &mixer_documents::PolicySet) -> Value {
    let table = quota
        .limit
        .table
        .iter()
        .map(|(row, held)| (row.to_string(), json!(limit(*held))));
    json!({
        "quota": &*quota.sentence,
        "id": &*quota.id,
        "mode": mode(quota.mode),
        "when": condition(&quota.when),
        "key": quota.key.iter().map(|key| key.source()).collect::<Vec<_>>(),
        "cost": quota.cost.as_ref().map_or("1", |cost| cost.source()),
        "limit": {
            "by": quota.limit.by.as_ref().map(|by| by.source()),
            "table": table.collect::<serde_json::Map<_, _>>(),
            "otherwise": limit(quota.limit.otherwise),
        },
        "algorithm": match quota.algorithm {
            Algorithm::SlidingWindow => json!("sliding-window"),
            Algorithm::Gcra { burst } => json!({ "gcra": { "burst": burst } }),
            Algorithm::FixedWindow { calendar: None } => json!("fixed-window"),
            Algorithm::FixedWindow { calendar: Some(calendar) } =>
                json!({ "fixed-window": { "calendar": calendar.zone.name() } }),
            Algorithm::Concurrency { hold } => json!({ "concurrency": { "hold": format!("{hold:?}") } }),
        },
        "denied": match quota.denied {
            Denied::Free => "free",
            Denied::Counts => "counts",
        },
        "store": &*set.adapters[quota.store].name,
        "on_error": match quota.on_error {
            QuotaOnError::Allow => json!("allow"),
            QuotaOnError::Deny => json!("deny"),
            QuotaOnError::Local(percent) => json!({ "local": format!("{percent}%") }),
        },
        "until": quota.until.as_ref().map(|until| &*until.text),
        "tell": quota.tell.word(),
        "reply": reply(&quota.reply),
    })
}

fn telemetry(telemetry: &Telemetry, set: &mixer_documents::PolicySet) -> Value {
    let adapter = |index: usize| &*set.adapters[index].name;
    json!({
        "telemetry": &*telemetry.name,
        "for": telemetry.selector.canonical(),
        "standard": if telemetry.drop_standard { "drop" } else { "keep" },
        "metrics": telemetry.metrics.iter().map(|metric| json!({
            "metric": &*metric.name,
            "at": at(metric.at),
            "when": condition(&metric.when),
            "value": metric.value.as_ref().map_or("1", |value| value.source()),
            "labels": metric.labels.iter().map(|(name, value)| (name.to_string(), json!(value.source())))
                .collect::<serde_json::Map<_, _>>(),
            "to": adapter(metric.to),
        })).collect::<Vec<_>>(),
        "logs": telemetry.logs.iter().map(|log| json!({
            "at": at(log.at), "when": condition(&log.when), "to": adapter(log.to),
        })).collect::<Vec<_>>(),
        "traces": telemetry.traces.map(|traces| json!({ "sample": traces.sample, "to": adapter(traces.to) })),
    })
}

fn condition(condition: &Condition) -> Value {
    condition
        .lines
        .iter()
        .map(|(line, _)| line.source())
        .collect()
}

fn limit(limit: Limit) -> String {
    format!("{} per {:?}", limit.amount, limit.window)
}

fn at(at: At) -> &'static str {
    match at {
        At::Inbound => "inbound",
        At::Outbound => "outbound",
        At::RateLimit => "rate limit service",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
    }
}

fn fail(fail: Fail) -> &'static str {
    match fail {
        Fail::Closed => "closed",
        Fail::Open => "open",
    }
}

/// A configuration without what may be a secret: header values, what names a variable of the environment, members that are
/// called like a secret, and the user part of addresses.
fn redact(config: &Value) -> Value {
    match config {
        Value::Object(members) => {
            let shown = members.iter().map(|(name, value)| {
                let shown = match (name.as_str(), value) {
                    ("headers", Value::Object(headers)) => Value::Object(
                        headers
                            .keys()
                            .map(|name| (name.clone(), json!(REDACTED)))
                            .collect(),
                    ),
                    ("headers", _) => json!(REDACTED),
                    (name, _) if is_secret(name) => json!(REDACTED),
                    _ => redact(value),
                };
                (name.clone(), shown)
            });
            Value::Object(shown.collect())
        }
        Value::Array(items) => items.iter().map(redact).collect(),
        Value::String(text) => Value::String(without_user(text)),
        other => other.clone(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "from_env"
        || [
            "password",
            "passwd",
            "secret",
            "token",
            "credential",
            "api_key",
        ]
        .iter()
        .any(|word| name.contains(word))
}

/// `redis://user:word@host/path?key=k` as `redis://redacted@host/path?redacted`.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (address, query) = rest
        .split_once('?')
        .map_or((rest, ""), |(address, _)| (address, "?redacted"));
    let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{REDACTED}@{host}{path}{query}"),
        None => format!("{scheme}://{authority}{path}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_may_be_a_secret_is_shown() {
        let config = json!({
            "url": "https://bob:hunter2@feeds.example/drop.txt?key=hunter2",
            "headers": { "authorization": "hunter2", "x-key": { "from_env": "hunter2" } },
            "nested": [{ "from_env": "hunter2" }, { "client_secret": ["hunter2"], "apiToken": "hunter2" }],
            "refresh": "5m",
            "entries": ["10.0.0.0/8"],
        });
        let shown = redact(&config).to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(
            redact(&config)["url"],
            "https://redacted@feeds.example/drop.txt?redacted"
        );
        assert_eq!(redact(&config)["headers"]["authorization"], "redacted");
        assert_eq!(
            (&redact(&config)["refresh"], &redact(&config)["entries"][0]),
            (&json!("5m"), &json!("10.0.0.0/8"))
        );
    }
}
