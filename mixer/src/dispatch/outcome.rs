//! Decisions from what decided: names, codes, messages, and how long they hold. The only place that makes one.

use std::sync::Arc;
use std::time::Duration;

use mixer_adapter::{Answer, ValidFor};
use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_documents::{Applicable, Denials, Mesh, Mode, Otherwise, Rule};

use super::ask::{Asked, Fault};
use super::charge::{Unchargeable, undetermined};
use super::decision::{Because, Charge, Decision, HeaderOperation, ShadowVerdict, Verdict};
use super::settle::{By, Deciding, Settled, Why};
use super::shadow::Watching;
use super::{Decided, Source};
use crate::snapshot::Snapshot;

/// What was found out, to make a decision of.
pub(super) struct Verdicts<'v> {
    pub(super) settled: Settled,
    pub(super) asked: &'v [Asked],
    pub(super) watching: Watching,
    pub(super) revision: Arc<str>,
}

/// Policy, sentence and name in metrics of what decided.
pub(super) struct Named {
    pub(super) policy: Arc<str>,
    pub(super) sentence: Arc<str>,
    pub(super) id: Arc<str>,
}

/// What is said to a caller that is denied.
struct Denial {
    because: Because,
    status: u16,
    message: String,
    detail: Option<String>,
    location: Option<String>,
    retry_after: Option<Duration>,
}

/// Makes the decision.
pub(super) fn decision(
    mut deciding: Deciding<'_>,
    applicable: &Applicable,
    found: Verdicts<'_>,
    id: u64,
) -> Decided {
    let Verdicts {
        settled,
        asked,
        watching,
        revision,
    } = found;
    let panicked = watching.panicked;
    let mut shadow = deciding.watched_verdicts(watching, asked);
    let mut decided = match settled {
        Settled::Deny(by) => deciding.deny(&by, asked, revision, id),
        Settled::Open(_) => {
            return Decided {
                decision: broken(revision, id),
                by: Source::Panic,
            };
        }
        Settled::Pass(by) => match deciding.charges(applicable) {
            Ok((charges, would)) => {
                let by = by.unwrap_or(By::Default { for_want_of: None });
                shadow.extend(would.iter().map(|failed| deciding.would_deny(failed)));
                let mut decided = deciding.allow(&by, asked, revision, id);
                decided.decision.charges = charges;
                decided
            }
            Err(failed) => deciding.deny_unchargeable(&failed, revision, id),
        },
    };
    let decision = &mut decided.decision;
    decision.shadow = shadow;
    decision.referenced = deciding.evaluation.referenced();
    // Equal in these is hardly ever equal again.
    const ONCE: [vocabulary::AttributeId; 3] = [
        vocabulary::REQUEST_TIME,
        vocabulary::REQUEST_ID,
        vocabulary::REQUEST_SIZE,
    ];
    if decision
        .referenced
        .iter()
        .any(|(reference, _)| ONCE.contains(&reference.attribute))
    {
        decision.valid_uses = 1;
    }
    for asked in asked {
        let span = match &asked.result {
            Ok(Answer {
                valid_for: ValidFor::Version,
                ..
            })
            | Err(Fault::Undetermined(_)) => continue,
            Ok(Answer {
                valid_for: ValidFor::Span(span),
                ..
            }) => *span,
            Ok(Answer {
                valid_for: ValidFor::Once,
                ..
            })
            | Err(Fault::Unavailable { .. }) => Duration::ZERO,
        };
        decision.valid_for = Some(decision.valid_for.map_or(span, |least| least.min(span)));
    }
    if panicked {
        decision.valid_for = Some(Duration::ZERO);
    }
    if decision.valid_for == Some(Duration::ZERO) {
        decision.valid_uses = 1;
    }
    decided
}

/// The denial of a request that could not be decided because of a defect of ours.
pub(super) fn broken(revision: Arc<str>, id: u64) -> Decision {
    let named = Named {
        policy: Arc::default(),
        sentence: Arc::default(),
        id: Arc::default(),
    };
    let message = "cannot decide: internal error".to_owned();
    Decision {
        http_status: 403,
        grpc_status: 7,
        detail: Some(message.clone()),
        message,
        valid_for: Some(Duration::ZERO),
        valid_uses: 1,
        ..plain(Verdict::Deny, Because::Undetermined, named, revision, id)
    }
}

/// The denial of a request that one of its quotas refuses. Nobody may keep it: the policies' own decision may be kept.
pub(super) fn refused(
    snapshot: &Snapshot,
    allowed: &Decision,
    charge: &Charge,
    retry_after: Option<Duration>,
    bag: &AttributeBag<'_>,
) -> Decision {
    let denial = Decision {
        http_status: 429,
        grpc_status: 8,
        retry_after,
        ..by_quota(snapshot, allowed, charge)
    };
    let message = denial.rule.to_string();
    told(snapshot, denial, Because::Quota, message, bag)
}

/// The denial of a request that one of its quotas cannot count, where `on_error` says so.
pub(super) fn uncountable(
    snapshot: &Snapshot,
    allowed: &Decision,
    charge: &Charge,
    retry_after: Option<Duration>,
    bag: &AttributeBag<'_>,
) -> Decision {
    let store = snapshot.set.policies[charge.place.0].quotas[charge.place.1].store;
    let message = format!(
        "cannot decide now: {} could not be asked",
        snapshot.adapters[store].name()
    );
    let denial = Decision {
        http_status: 503,
        grpc_status: 14,
        retry_after,
        detail: Some(message.clone()),
        ..by_quota(snapshot, allowed, charge)
    };
    told(snapshot, denial, Because::Unavailable, message, bag)
}

fn by_quota(snapshot: &Snapshot, allowed: &Decision, charge: &Charge) -> Decision {
    let policy = &snapshot.set.policies[charge.place.0];
    let quota = &policy.quotas[charge.place.1];
    Decision {
        verdict: Verdict::Deny,
        policy: policy.name.clone(),
        rule: quota.sentence.clone(),
        rule_id: quota.id.clone(),
        headers: Vec::new(),
        charges: Vec::new(),
        valid_for: Some(Duration::ZERO),
        valid_uses: 1,
        ..allowed.clone()
    }
}

fn told(
    snapshot: &Snapshot,
    denial: Decision,
    because: Because,
    message: String,
    bag: &AttributeBag<'_>,
) -> Decision {
    let message = shown(&snapshot.set.mesh, bag, message, &denial.id);
    Decision {
        because,
        message,
        ..denial
    }
}

/// What `mesh.denials` lets the caller see of `message`.
fn shown(mesh: &Mesh, bag: &AttributeBag<'_>, message: String, id: &str) -> String {
    let may_see = match mesh.denials {
        Denials::Everyone => true,
        Denials::Nobody => false,
        Denials::Mesh => match bag.value(vocabulary::SOURCE_PRINCIPAL) {
            Some(Value::String(principal)) => {
                let domain = principal
                    .strip_prefix("spiffe://")
                    .and_then(|id| id.split('/').next());
                domain == Some(&*mesh.trust_domain)
            }
            _ => false,
        },
    };
    if may_see {
        message
    } else {
        format!("access denied ({id})")
    }
}

/// Why what decided did.
pub(super) fn because(by: &By, asked: &[Asked]) -> Because {
    match by {
        By::Rule {
            why: Why::Matched, ..
        } => Because::Matched,
        By::Rule {
            why: Why::Undetermined(_),
            ..
        } => Because::Undetermined,
        By::Rule {
            why: Why::Asked(at),
            ..
        } => match asked[*at].result {
            Ok(_) => Because::Matched,
            Err(Fault::Undetermined(_)) => Because::Undetermined,
            Err(Fault::Unavailable { .. }) => Because::Unavailable,
        },
        By::Otherwise {
            for_want_of: None, ..
        } => Because::Otherwise,
        By::Default { for_want_of: None } => Because::Default,
        By::Otherwise { .. } | By::Default { .. } => Because::Unavailable,
    }
}

impl<'a> Deciding<'a> {
    /// What decided, by name.
    pub(super) fn named(&self, by: &By) -> Named {
        let policies = &self.snapshot.set.policies;
        match *by {
            By::Rule { policy, rule, .. } => {
                let rule = &policies[policy].rules[rule];
                Named {
                    policy: policies[policy].name.clone(),
                    sentence: rule.sentence.clone(),
                    id: rule.id.clone(),
                }
            }
            By::Otherwise { policy, .. } => {
                let sentence = match &policies[policy].otherwise {
                    Some(Otherwise::Deny { sentence, .. }) => sentence.clone(),
                    _ => "otherwise".into(),
                };
                Named {
                    policy: policies[policy].name.clone(),
                    id: sentence.clone(),
                    sentence,
                }
            }
            By::Default { .. } => Named {
                policy: Arc::default(),
                sentence: Arc::default(),
                id: Arc::default(),
            },
        }
    }

    fn allow(&self, by: &By, asked: &[Asked], revision: Arc<str>, id: u64) -> Decided {
        let mut decision = plain(
            Verdict::Allow,
            because(by, asked),
            self.named(by),
            revision,
            id,
        );
        for (pending, asked) in self.pending.iter().zip(asked) {
            if let Ok(answer) = &asked.result
                && self.is_enforced(pending.policy, pending.rule)
            {
                let operation = |of: &mixer_adapter::HeaderOperation| HeaderOperation {
                    name: of.name.clone(),
                    value: of.value.clone(),
                };
                decision
                    .headers
                    .extend(answer.headers.iter().map(operation));
            }
        }
        if decision.because == Because::Unavailable
            && let By::Rule {
                why: Why::Asked(at),
                ..
            } = by
        {
            decision.detail = unavailable(&asked[*at]).map(|(detail, _)| detail);
        }
        Decided {
            decision,
            by: source(by),
        }
    }

    fn deny(&mut self, by: &By, asked: &[Asked], revision: Arc<str>, id: u64) -> Decided {
        let denial = self.denial(by, asked);
        Decided {
            decision: self.denied_with(denial, self.named(by), revision, id),
            by: source(by),
        }
    }

    fn deny_unchargeable(&mut self, failed: &Unchargeable, revision: Arc<str>, id: u64) -> Decided {
        let ShadowVerdict { policy, rule, .. } = self.would_deny(failed);
        let quota = &self.snapshot.set.policies[failed.place.0].quotas[failed.place.1];
        let named = Named {
            policy,
            sentence: rule,
            id: quota.id.clone(),
        };
        let denial = Denial {
            because: Because::Undetermined,
            status: 403,
            message: failed.reason.clone(),
            detail: Some(failed.reason.clone()),
            location: None,
            retry_after: None,
        };
        Decided {
            decision: self.denied_with(denial, named, revision, id),
            by: Source::Quota,
        }
    }

    fn would_deny(&self, failed: &Unchargeable) -> ShadowVerdict {
        let policy = &self.snapshot.set.policies[failed.place.0];
        let (policy, rule) = (
            policy.name.clone(),
            policy.quotas[failed.place.1].sentence.clone(),
        );
        ShadowVerdict {
            policy,
            rule,
            would: Verdict::Deny,
            because: Because::Undetermined,
        }
    }

    fn denial(&mut self, by: &By, asked: &[Asked]) -> Denial {
        let because = because(by, asked);
        let plain = |status, message, detail| Denial {
            because,
            status,
            message,
            detail,
            location: None,
            retry_after: None,
        };
        let wanting = match by {
            By::Rule {
                why: Why::Asked(at),
                ..
            }
            | By::Otherwise {
                for_want_of: Some(at),
                ..
            }
            | By::Default {
                for_want_of: Some(at),
            } => unavailable(&asked[*at]).map(|why| (*at, why)),
            _ => None,
        };
        if let Some((at, (detail, retry_after))) = wanting {
            let adapter = &self.snapshot.adapters[self.ask(self.pending[at]).adapter];
            let message = format!("cannot decide now: {} could not be asked", adapter.name());
            return Denial {
                retry_after: Some(retry_after),
                ..plain(503, message, Some(detail))
            };
        }
        match by {
            By::Rule {
                why: Why::Undetermined(error),
                ..
            } => {
                let text = undetermined(error);
                plain(403, text.clone(), Some(text))
            }
            By::Rule {
                why: Why::Asked(at),
                ..
            } if matches!(asked[*at].result, Err(Fault::Undetermined(_))) => {
                let Err(Fault::Undetermined(error)) = &asked[*at].result else {
                    unreachable!("it was just matched")
                };
                let text = undetermined(error);
                plain(403, text.clone(), Some(text))
            }
            By::Rule { policy, rule, why } => {
                let answer = match why {
                    Why::Asked(at) => asked[*at].result.as_ref().ok(),
                    _ => None,
                };
                let rule = &self.snapshot.set.policies[*policy].rules[*rule];
                let status = answer
                    .and_then(|answer| answer.status)
                    .filter(|status| (400..600).contains(status));
                let message = match answer.and_then(|answer| answer.message.clone()) {
                    Some(message) => message,
                    None => self.message(rule),
                };
                let location = match status {
                    None => rule
                        .location
                        .as_ref()
                        .map(|location| location.render(&mut self.evaluation)),
                    Some(_) => None,
                };
                Denial {
                    location,
                    ..plain(status.unwrap_or(rule.status), message, None)
                }
            }
            By::Otherwise { .. } => {
                let detail = self.doubted.as_ref().map(|(policy, rule, error)| {
                    let rule = &self.snapshot.set.policies[*policy].rules[*rule];
                    format!("\"{}\": {}", rule.sentence, undetermined(error))
                });
                plain(403, self.named(by).sentence.to_string(), detail)
            }
            By::Default { .. } => plain(403, "denied by default".to_owned(), None),
        }
    }

    fn message(&mut self, rule: &'a Rule) -> String {
        match &rule.message {
            Some(template) => template.render(&mut self.evaluation),
            None => rule.sentence.to_string(),
        }
    }

    fn denied_with(
        &mut self,
        denial: Denial,
        named: Named,
        revision: Arc<str>,
        id: u64,
    ) -> Decision {
        let grpc_status = if denial.because == Because::Unavailable {
            14
        } else {
            7
        };
        let mut decision = Decision {
            http_status: denial.status,
            grpc_status,
            message: denial.message,
            detail: denial.detail,
            location: denial.location,
            retry_after: denial.retry_after,
            ..plain(Verdict::Deny, denial.because, named, revision, id)
        };
        let mesh = &self.snapshot.set.mesh;
        if mesh.denials == Denials::Mesh {
            self.evaluation.touch(vocabulary::SOURCE_PRINCIPAL, None);
        }
        decision.message = shown(mesh, self.evaluation.bag(), decision.message, &decision.id);
        decision
    }

    fn is_enforced(&self, policy: usize, rule: usize) -> bool {
        let policy = &self.snapshot.set.policies[policy];
        policy.mode == Mode::Enforce && policy.rules[rule].mode == Mode::Enforce
    }
}

fn source(by: &By) -> Source {
    match by {
        By::Rule { .. } => Source::Rule,
        By::Otherwise { .. } => Source::Otherwise,
        By::Default { .. } => Source::Default,
    }
}

/// Why nobody could be asked, in full, and when trying again may help.
fn unavailable(asked: &Asked) -> Option<(String, Duration)> {
    match &asked.result {
        Err(Fault::Unavailable { adapter, why }) => Some((
            format!("{adapter} could not be asked: {}", why.reason),
            why.retry_after,
        )),
        _ => None,
    }
}

/// A decision with nothing but its verdict and names.
fn plain(
    verdict: Verdict,
    because: Because,
    named: Named,
    revision: Arc<str>,
    id: u64,
) -> Decision {
    Decision {
        verdict,
        because,
        policy: named.policy,
        rule: named.sentence,
        rule_id: named.id,
        http_status: 200,
        grpc_status: 0,
        message: String::new(),
        detail: None,
        location: None,
        retry_after: None,
        revision,
        shadow: Vec::new(),
        headers: Vec::new(),
        charges: Vec::new(),
        referenced: Vec::new(),
        valid_for: None,
        valid_uses: 0,
        id: format!("{id:016x}"),
    }
}
