//! Revisions: digests of what documents mean.
//!
//! A revision is part of every cache key and the same on every Mixer, so it covers all that can change a decision and nothing
//! that cannot: not comments, formatting, tests or places, not the file a policy stands in, not other destinations' documents.
//! Each document is digested once at load; a destination's revision is the digest of those that apply to it.

mod canon;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use self::canon::Canon;
use crate::reply::Part;
use crate::{
    AdapterDocument, Algorithm, At, LeaseLimit, Mesh, MetricKind, Otherwise, Policy, Quota,
    QuotaOnError, Reply, Rule, Telemetry,
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

    /// The revision of everything.
    pub(crate) fn whole(&self) -> Arc<str> {
        let all = |digests: &[Digest]| (0..digests.len()).collect::<Vec<_>>();
        self.revision(
            At::Inbound,
            false,
            &all(&self.policies),
            &all(&self.telemetry),
        )
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
        hasher.update([at as u8, declared_tcp.into()]);
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
            until: _,
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
            Some(Otherwise::Deny {
                sentence, reply, ..
            }) => {
                canon.tag(2);
                canon.text(sentence);
                canon.reply(reply);
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

impl Canon<'_> {
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
        self.reply(&rule.reply);
        self.tag(rule.mode as u8);
    }

    fn reply(&mut self, reply: &Reply) {
        self.number(reply.status.into());
        self.tag(reply.grpc);
        self.maybe(reply.location.as_ref(), Canon::template);
        self.maybe(reply.message.as_ref(), Canon::template);
        self.each(&reply.headers, |canon, (name, value)| {
            canon.text(name);
            canon.template(value);
        });
        self.maybe(reply.body.as_ref(), |canon, body| {
            canon.text(&body.content_type);
            canon.each(&body.parts, |canon, part| match part {
                Part::Fixed(fixed) => {
                    canon.tag(0);
                    canon.text(fixed);
                }
                Part::Text(template) => {
                    canon.tag(1);
                    canon.template(template);
                }
                Part::JsonText(template) => {
                    canon.tag(2);
                    canon.template(template);
                }
                Part::JsonValue(expression) => {
                    canon.tag(3);
                    canon.expression(expression);
                }
            });
        });
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
            Algorithm::FixedWindow { calendar } => {
                self.tag(2);
                self.maybe(calendar.as_ref(), |canon, calendar| {
                    canon.tag(calendar.period as u8);
                    canon.text(calendar.zone.name());
                });
            }
            Algorithm::Concurrency { hold } => {
                self.tag(3);
                self.span(hold);
            }
        }
        self.tag(quota.denied as u8);
        self.tag(quota.tell as u8);
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
        self.reply(&quota.reply);
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
