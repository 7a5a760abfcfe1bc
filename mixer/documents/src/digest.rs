//! Revisions: digests of what documents mean.
//!
//! A revision is part of every cache key and the same on every Mixer, so it covers all that can change a decision and nothing
//! that cannot: not comments, formatting, tests or places, not the file a policy stands in, not other destinations' documents.
//! Each document is digested once at load; a destination's revision is the digest of those that apply to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use mixer_cel::{Expression, Template};
use sha2::{Digest as _, Sha256};

use crate::{
    AdapterDocument, Algorithm, At, Condition, LeaseLimit, Limit, Mesh, MetricKind, Otherwise,
    Policy, Quota, QuotaOnError, Rule, Telemetry,
};

type Digest = [u8; 32];

/// The digests of the documents of a set, by index.
#[derive(Debug)]
pub(crate) struct Digests {
    mesh: Digest,
    policies: Vec<Digest>,
    telemetry: Vec<Digest>,
}

impl Digests {
    /// `defined` are the custom attributes that have a definition, with it, in order.
    pub(crate) fn new(
        mesh: &Mesh,
        policies: &[Policy],
        telemetry: &[Telemetry],
        adapters: &[AdapterDocument],
        defined: &[(String, String)],
    ) -> Self {
        let known = Known {
            adapters: adapters.iter().map(adapter).collect(),
            defined: definitions(defined),
        };
        let mut canon = Canon::new(&known);
        canon.text(&mesh.canonical());
        Self {
            mesh: canon.finish(),
            policies: policies
                .iter()
                .map(|document| known.policy(document))
                .collect(),
            telemetry: telemetry
                .iter()
                .map(|document| known.telemetry(document))
                .collect(),
        }
    }

    /// The revision of a destination to which these documents apply: 16 hex digits.
    pub(crate) fn revision(
        &self,
        at: At,
        declared_tcp: bool,
        policies: &[usize],
        telemetry: &[usize],
    ) -> Arc<str> {
        let mut hasher = Sha256::new();
        hasher.update(b"mixer.revision.1");
        hasher.update([(at == At::Outbound).into(), declared_tcp.into()]);
        hasher.update(self.mesh);
        hasher.update((policies.len() as u64).to_be_bytes());
        policies
            .iter()
            .for_each(|index| hasher.update(self.policies[*index]));
        telemetry
            .iter()
            .for_each(|index| hasher.update(self.telemetry[*index]));
        let mut hex = String::with_capacity(16);
        for byte in &hasher.finalize()[..8] {
            let _ = write!(hex, "{byte:02x}");
        }
        hex.into()
    }
}

/// What documents refer to.
struct Known {
    adapters: Vec<Digest>,
    /// The first word of a custom attribute's name, and the digest of its definition.
    defined: Vec<(String, Digest)>,
}

/// A hash of fields, each with its length or a tag, so that no two sequences of fields are one.
struct Canon<'k> {
    hasher: Sha256,
    known: &'k Known,
}

fn adapter(adapter: &AdapterDocument) -> Digest {
    let none = Known {
        adapters: Vec::new(),
        defined: Vec::new(),
    };
    let mut canon = Canon::new(&none);
    canon.text(&adapter.name);
    canon.text(&adapter.kind);
    canon.text(&sorted(&adapter.config).to_string());
    canon.finish()
}

fn definitions(defined: &[(String, String)]) -> Vec<(String, Digest)> {
    let mut known = Known {
        adapters: Vec::new(),
        defined: Vec::new(),
    };
    for (name, from) in defined {
        let mut canon = Canon::new(&known);
        canon.text(name);
        canon.source(from);
        let digest = canon.finish();
        let family = name.split('.').next().unwrap_or(name).to_owned();
        known.defined.push((family, digest));
    }
    known.defined
}

impl Known {
    fn policy(&self, policy: &Policy) -> Digest {
        let Policy {
            name,
            at,
            guard,
            mode,
            selector,
            rules,
            otherwise,
            fail,
            quotas,
            tests: _,
            span: _,
        } = policy;
        let mut canon = Canon::new(self);
        canon.text(name);
        canon.tag(*at as u8);
        canon.tag((*guard).into());
        canon.tag(*mode as u8);
        canon.text(&selector.canonical());
        canon.tag(*fail as u8);
        match otherwise {
            None => canon.tag(0),
            Some(Otherwise::Allow { .. }) => canon.tag(1),
            Some(Otherwise::Deny { sentence, .. }) => {
                canon.tag(2);
                canon.text(sentence);
            }
        }
        canon.each(rules, Canon::rule);
        canon.each(quotas, Canon::quota);
        canon.finish()
    }

    fn telemetry(&self, telemetry: &Telemetry) -> Digest {
        let Telemetry {
            name,
            selector,
            drop_standard,
            metrics,
            logs,
            traces,
            span: _,
        } = telemetry;
        let mut canon = Canon::new(self);
        canon.text(name);
        canon.text(&selector.canonical());
        canon.tag((*drop_standard).into());
        canon.each(metrics, |canon, metric| {
            canon.text(&metric.name);
            match &metric.kind {
                MetricKind::Counter => canon.tag(0),
                MetricKind::Gauge => canon.tag(1),
                MetricKind::Histogram(bounds) => {
                    canon.tag(2);
                    canon.each(bounds, |canon, bound| canon.number(bound.to_bits()));
                }
            }
            canon.tag(metric.at as u8);
            canon.condition(&metric.when);
            canon.maybe(metric.value.as_ref(), Canon::expression);
            canon.each(&metric.labels, Canon::named);
            canon.adapter(metric.to);
        });
        canon.each(logs, |canon, logs| {
            canon.condition(&logs.when);
            canon.each(&logs.fields, Canon::named);
            canon.tag(logs.at as u8);
            canon.adapter(logs.to);
        });
        canon.maybe(traces.as_ref(), |canon, traces| {
            canon.number(traces.sample.to_bits());
            canon.adapter(traces.to);
        });
        canon.finish()
    }
}

impl<'k> Canon<'k> {
    fn new(known: &'k Known) -> Self {
        Self {
            hasher: Sha256::new(),
            known,
        }
    }

    fn finish(self) -> Digest {
        self.hasher.finalize().into()
    }

    fn tag(&mut self, tag: u8) {
        self.hasher.update([tag]);
    }

    fn number(&mut self, number: u64) {
        self.hasher.update(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.hasher.update(text);
    }

    fn each<T>(&mut self, items: &[T], mut one: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| one(self, item));
    }

    fn maybe<T>(&mut self, item: Option<&T>, one: impl FnOnce(&mut Self, &T)) {
        self.tag(item.is_some().into());
        if let Some(item) = item {
            one(self, item);
        }
    }

    /// The text of an expression without what is only formatting, and the definitions it may read.
    fn source(&mut self, source: &str) {
        self.text(&without_formatting(source));
        let read = self
            .known
            .defined
            .iter()
            .filter(|(family, _)| source.contains(family.as_str()));
        for (_, digest) in read {
            self.hasher.update(digest);
        }
    }

    fn expression(&mut self, expression: &Expression) {
        self.source(expression.source());
    }

    fn template(&mut self, template: &Template) {
        self.source(template.source());
    }

    fn named(&mut self, (name, expression): &(Arc<str>, Expression)) {
        self.text(name);
        self.expression(expression);
    }

    fn condition(&mut self, condition: &Condition) {
        self.each(&condition.lines, |canon, (line, _)| canon.expression(line));
    }

    fn adapter(&mut self, index: usize) {
        let digest = self.known.adapters.get(index).copied().unwrap_or_default();
        self.hasher.update(digest);
    }

    fn span(&mut self, span: Duration) {
        self.number(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    fn limit(&mut self, limit: &Limit) {
        self.number(limit.amount);
        self.span(limit.window);
    }

    fn rule(&mut self, rule: &Rule) {
        self.tag(rule.kind as u8);
        self.text(&rule.sentence);
        self.text(&rule.id);
        self.condition(&rule.when);
        self.maybe(rule.that.as_ref(), Canon::condition);
        self.maybe(rule.ask.as_ref(), |canon, ask| {
            canon.adapter(ask.adapter);
            canon.each(&ask.with, Canon::expression);
        });
        self.tag(rule.on_error as u8);
        self.number(rule.status.into());
        self.maybe(rule.location.as_ref(), Canon::template);
        self.maybe(rule.message.as_ref(), Canon::template);
        self.tag(rule.mode as u8);
    }

    fn quota(&mut self, quota: &Quota) {
        self.text(&quota.sentence);
        self.text(&quota.id);
        self.condition(&quota.when);
        self.each(&quota.key, Canon::expression);
        self.tag(quota.absent as u8);
        self.maybe(quota.limit.by.as_ref(), Canon::expression);
        self.each(&quota.limit.table, |canon, (row, limit)| {
            canon.text(row);
            canon.limit(limit);
        });
        self.limit(&quota.limit.otherwise);
        self.maybe(quota.cost.as_ref(), Canon::expression);
        match quota.algorithm {
            Algorithm::SlidingWindow => self.tag(0),
            Algorithm::Gcra { burst } => {
                self.tag(1);
                self.number(burst);
            }
        }
        self.adapter(quota.store);
        match quota.lease {
            LeaseLimit::Auto => self.tag(0),
            LeaseLimit::AtMost(most) => {
                self.tag(1);
                self.number(most);
            }
        }
        match quota.on_error {
            QuotaOnError::Allow => self.tag(0),
            QuotaOnError::Deny => self.tag(1),
            QuotaOnError::Local(share) => {
                self.tag(2);
                self.tag(share);
            }
        }
        self.tag(quota.mode as u8);
    }
}

/// JSON with its keys in order.
fn sorted(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(members) => {
            let members: BTreeMap<&String, serde_json::Value> = members
                .iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            members
                .into_iter()
                .map(|(key, value)| (key.clone(), value))
                .collect()
        }
        serde_json::Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// A text whose white space outside of quotes is one space, none at the ends. A text with a comment, or with a kind of quote
/// that spans lines, is left as it is: a revision that changes needlessly costs a few questions, one that does not change when
/// it must costs a wrong answer.
fn without_formatting(source: &str) -> String {
    if ["//", "\"\"\"", "'''", "\\"]
        .iter()
        .any(|odd| source.contains(odd))
    {
        return source.to_owned();
    }
    let mut text = String::with_capacity(source.len());
    let mut quote = None;
    for c in source.trim().chars() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => {
                if !text.ends_with(' ') {
                    text.push(' ');
                }
                continue;
            }
            _ => {}
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_formatting_only_outside_of_quotes() {
        assert_eq!(
            without_formatting(" a ==\n   'b  c' &&  d\n"),
            "a == 'b  c' && d"
        );
        assert_eq!(without_formatting("a == \"it's  b\""), "a == \"it's  b\"");
        assert_ne!(
            without_formatting("a == 'b c'"),
            without_formatting("a == 'b  c'")
        );
        assert_ne!(
            without_formatting("a // x\n == b"),
            without_formatting("a // x == b")
        );
    }
}
