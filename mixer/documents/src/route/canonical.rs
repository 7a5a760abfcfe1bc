//! Routes as canonical JSON: what Watch carries, and what is compared to see whether two mean the same.

use serde_json::{Map, Value, json};

use super::{Fault, HeaderChanges, Mirror, Redirect, Retry, Rewrite, Route, RouteRule};
use crate::Condition;
use crate::scalar::span_text;

impl Route {
    /// The document as canonical JSON, as Watch carries it; [`crate::load`] reads it back to the same route but for places and
    /// tests.
    pub fn canonical(&self) -> String {
        let rules: Vec<Value> = self.rules.iter().map(|one| rule(one)).collect();
        json!({ "route": &*self.name, "for": &*self.selected, "rules": rules }).to_string()
    }
}

impl RouteRule {
    /// One rule of the document.
    pub fn canonical(&self) -> Value {
        rule(self)
    }
}

fn rule(rule: &RouteRule) -> Value {
    let mut written = json!({ "name": &*rule.name });
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            written[key] = value;
        }
    };
    put("when", condition(&rule.when));
    put("to", weights(rule));
    put(
        "sticky",
        rule.sticky.as_ref().map(|sticky| sticky.source().into()),
    );
    put(
        "timeout",
        rule.timeout.map(|timeout| span_text(timeout).into()),
    );
    put("retry", rule.retry.as_ref().map(retry));
    put(
        "fault",
        (!rule.faults.is_empty()).then(|| rule.faults.iter().map(fault).collect()),
    );
    put("mirror", rule.mirror.as_ref().map(mirror));
    put("headers", headers(rule));
    put("rewrite", rule.rewrite.as_ref().map(rewrite));
    put("redirect", rule.redirect.as_ref().map(redirect));
    written
}

fn condition(condition: &Condition) -> Option<Value> {
    let lines = condition.expressions();
    (!condition.is_always()).then(|| lines.map(|line| line.source()).collect())
}

fn weights(rule: &RouteRule) -> Option<Value> {
    let weights = rule.to.iter();
    let weights: Map<String, Value> = weights
        .map(|(subset, weight)| (subset.to_string(), (*weight).into()))
        .collect();
    (!weights.is_empty()).then(|| weights.into())
}

fn retry(retry: &Retry) -> Value {
    let when: Vec<String> = retry.when.iter().map(ToString::to_string).collect();
    let methods: Vec<&str> = retry.methods.iter().map(|method| &**method).collect();
    let mut written = json!({
        "when": when,
        "extra": retry.extra,
        "methods": methods,
        "budget": { "share": percent(retry.budget), "floor": retry.floor },
    });
    if let Some(per_try) = retry.per_try {
        written["per_try"] = span_text(per_try).into();
    }
    written
}

fn fault(fault: &Fault) -> Value {
    let mut written = json!({ "percent": percent(fault.percent) });
    if let Some(delay) = fault.delay {
        written["delay"] = span_text(delay).into();
    }
    if let Some(abort) = fault.abort {
        written["abort"] = abort.into();
    }
    if let Some(when) = condition(&fault.when) {
        written["when"] = when;
    }
    written
}

fn mirror(mirror: &Mirror) -> Value {
    json!({ "to": &*mirror.to, "percent": percent(mirror.percent) })
}

fn headers(rule: &RouteRule) -> Option<Value> {
    let mut written = changes(&rule.request_headers);
    if !rule.response_headers.is_empty() {
        written["response"] = changes(&rule.response_headers);
    }
    (written != json!({})).then_some(written)
}

fn changes(changes: &HeaderChanges) -> Value {
    let map = |pairs: &[(std::sync::Arc<str>, std::sync::Arc<str>)]| -> Value {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.to_string(), Value::from(&**value)));
        pairs.collect::<Map<String, Value>>().into()
    };
    let mut written = json!({});
    if !changes.remove.is_empty() {
        written["remove"] = changes.remove.iter().map(|name| &**name).collect();
    }
    if !changes.set.is_empty() {
        written["set"] = map(&changes.set);
    }
    if !changes.add.is_empty() {
        written["add"] = map(&changes.add);
    }
    written
}

fn rewrite(rewrite: &Rewrite) -> Value {
    let mut written = json!({});
    if let Some((from, prefix)) = &rewrite.prefix {
        written["from"] = (&**from).into();
        written["prefix"] = (&**prefix).into();
    }
    if let Some(host) = &rewrite.host {
        written["host"] = (&**host).into();
    }
    written
}

fn redirect(redirect: &Redirect) -> Value {
    json!({ "status": redirect.status, "location": redirect.location.source() })
}

fn percent(percent: f64) -> String {
    format!("{percent}%")
}
