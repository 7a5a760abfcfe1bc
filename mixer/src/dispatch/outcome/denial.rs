//! Denials: what the caller is told, in which status, and what the log is told.
//!
//! Outcomes are never mixed: denied is 403 (or the rule's status), undetermined 403, what could not be asked 503 with a time to
//! come back, over the limit 429 with one. A rule's own status, message and location are for its match alone.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_documents::{Denials, Mesh};

use super::{Named, because, plain, source};
use crate::dispatch::ask::{Asked, Fault};
use crate::dispatch::charge::{Unchargeable, undetermined};
use crate::dispatch::decision::{Because, Charge, Decision, Verdict};
use crate::dispatch::settle::{By, Deciding, Why};
use crate::dispatch::{Decided, Source};
use crate::snapshot::Snapshot;

const DENIED: (u16, u8) = (403, 7);
const UNAVAILABLE: (u16, u8) = (503, 14);
const OVER_LIMIT: (u16, u8) = (429, 8);

/// What is said to a caller that is denied.
struct Denial {
    status: u16,
    message: String,
    detail: Option<String>,
    location: Option<String>,
    retry_after: Option<Duration>,
}

impl Denial {
    /// By the operator's words.
    fn with(message: String, detail: Option<String>) -> Self {
        Self {
            status: DENIED.0,
            message,
            detail,
            location: None,
            retry_after: None,
        }
    }

    /// For a reason the operator did not foresee, which is the message.
    fn for_reason(reason: String) -> Self {
        Self::with(reason.clone(), Some(reason))
    }
}

impl Deciding<'_> {
    /// The denial that `by` decides.
    pub(super) fn deny(
        &mut self,
        by: &By,
        asked: &[Asked],
        revision: Arc<str>,
        id: u64,
    ) -> Decided {
        let denial = self.denial(by, asked);
        let decision = plain(
            Verdict::Deny,
            because(by, asked),
            self.named(by),
            revision,
            id,
        );
        Decided {
            decision: self.told(denial, decision),
            by: source(by),
        }
    }

    /// The denial of a request that cannot be charged.
    pub(super) fn deny_unchargeable(
        &mut self,
        failed: &Unchargeable,
        revision: Arc<str>,
        id: u64,
    ) -> Decided {
        let policy = &self.snapshot.set.policies[failed.place.0];
        let quota = &policy.quotas[failed.place.1];
        let named = Named {
            policy: policy.name.clone(),
            sentence: quota.sentence.clone(),
            id: quota.id.clone(),
        };
        let decision = plain(Verdict::Deny, Because::Undetermined, named, revision, id);
        Decided {
            decision: self.told(Denial::for_reason(failed.reason.clone()), decision),
            by: Source::Quota,
        }
    }

    fn denial(&mut self, by: &By, asked: &[Asked]) -> Denial {
        let at = match by {
            By::Rule {
                why: Why::Asked(at),
                ..
            } => Some(*at),
            By::Otherwise { for_want_of, .. } | By::Default { for_want_of } => *for_want_of,
            By::Rule { .. } => None,
        };
        if let Some(at) = at
            && let Some((detail, retry_after)) = asked[at].unavailable()
        {
            let adapter = &self.snapshot.adapters[self.ask(self.pending[at]).adapter];
            return Denial {
                status: UNAVAILABLE.0,
                message: unasked(adapter.name()),
                detail: Some(detail),
                location: None,
                retry_after: Some(retry_after),
            };
        }
        match by {
            By::Rule {
                why: Why::Undetermined(error),
                ..
            } => Denial::for_reason(undetermined(error)),
            By::Rule {
                policy,
                rule,
                why: Why::Matched,
            } => self.by_rule(*policy, *rule, None, None),
            By::Rule {
                policy,
                rule,
                why: Why::Asked(at),
            } => match &asked[*at].result {
                Ok(answer) => self.by_rule(*policy, *rule, answer.status, answer.message.clone()),
                Err(Fault::Undetermined(error)) => Denial::for_reason(undetermined(error)),
                Err(Fault::Unavailable { .. }) => unreachable!("it was told above"),
            },
            By::Otherwise { .. } => {
                let detail = self.doubted.as_ref().map(|(policy, rule, error)| {
                    let rule = &self.snapshot.set.policies[*policy].rules[*rule];
                    format!("\"{}\": {}", rule.sentence, undetermined(error))
                });
                Denial::with(self.named(by).sentence.to_string(), detail)
            }
            By::Default { .. } => Denial::with("denied by default".to_owned(), None),
        }
    }

    /// In the words of a rule; an adapter may have better ones, and a status if it is one of a denial.
    fn by_rule(
        &mut self,
        policy: usize,
        rule: usize,
        status: Option<u16>,
        message: Option<String>,
    ) -> Denial {
        let rule = &self.snapshot.set.policies[policy].rules[rule];
        let status = status.filter(|status| (400..600).contains(status));
        let message = message.unwrap_or_else(|| match &rule.message {
            Some(template) => template.render(&mut self.evaluation),
            None => rule.sentence.to_string(),
        });
        let location = match (status, &rule.location) {
            (None, Some(location)) => Some(as_uri(&location.render(&mut self.evaluation))),
            _ => None,
        };
        let location = location.filter(|location| !location.is_empty());
        let status = match status.unwrap_or(rule.status) {
            // There is nowhere to send the caller: a plain denial.
            300..400 if location.is_none() => 403,
            status => status,
        };
        Denial {
            status,
            message,
            detail: None,
            location,
            retry_after: None,
        }
    }

    /// The decision, with what `mesh.denials` lets the caller see.
    fn told(&mut self, denial: Denial, decision: Decision) -> Decision {
        let mesh = &self.snapshot.set.mesh;
        if mesh.denials == Denials::Mesh {
            self.evaluation.touch(vocabulary::SOURCE_PRINCIPAL, None);
        }
        let (_, grpc_status) = if decision.because == Because::Unavailable {
            UNAVAILABLE
        } else {
            DENIED
        };
        Decision {
            http_status: denial.status,
            grpc_status,
            message: shown(mesh, self.evaluation.bag(), denial.message, &decision.id),
            detail: denial.detail,
            location: denial.location,
            retry_after: denial.retry_after,
            ..decision
        }
    }
}

impl Asked {
    /// Why nobody could be asked, in full, and when trying again may help.
    pub(super) fn unavailable(&self) -> Option<(String, Duration)> {
        match &self.result {
            Err(Fault::Unavailable { adapter, why }) => Some((
                format!("{adapter} could not be asked: {}", why.reason),
                why.retry_after,
            )),
            _ => None,
        }
    }
}

/// The denial of a request that could not be decided because of a defect of ours. Nobody may keep it.
pub(in crate::dispatch) fn broken(revision: Arc<str>, id: u64) -> Decision {
    let message = "cannot decide: internal error".to_owned();
    Decision {
        http_status: DENIED.0,
        grpc_status: DENIED.1,
        detail: Some(message.clone()),
        message,
        valid_for: Some(Duration::ZERO),
        valid_uses: 1,
        ..plain(
            Verdict::Deny,
            Because::Undetermined,
            Named::default(),
            revision,
            id,
        )
    }
}

/// The denial of a request that one of its quotas refuses. Nobody may keep it: the policies' own decision may be kept.
pub(in crate::dispatch) fn refused(
    snapshot: &Snapshot,
    allowed: &Decision,
    charge: &Charge,
    retry_after: Option<Duration>,
    bag: &AttributeBag<'_>,
) -> Decision {
    let sentence = &snapshot.set.policies[charge.place.0].quotas[charge.place.1].sentence;
    let message = shown(&snapshot.set.mesh, bag, sentence.to_string(), &allowed.id);
    let (http_status, grpc_status) = OVER_LIMIT;
    let because = Because::Quota;
    Decision {
        because,
        http_status,
        grpc_status,
        message,
        retry_after,
        ..by_quota(snapshot, allowed, charge)
    }
}

/// The denial of a request that one of its quotas cannot count, where `on_error` says so. Nobody may keep it.
pub(in crate::dispatch) fn uncountable(
    snapshot: &Snapshot,
    allowed: &Decision,
    charge: &Charge,
    retry_after: Option<Duration>,
    bag: &AttributeBag<'_>,
) -> Decision {
    let store = snapshot.set.policies[charge.place.0].quotas[charge.place.1].store;
    let reason = unasked(snapshot.adapters[store].name());
    let message = shown(&snapshot.set.mesh, bag, reason.clone(), &allowed.id);
    let (http_status, grpc_status) = UNAVAILABLE;
    let (because, detail) = (Because::Unavailable, Some(reason));
    Decision {
        because,
        http_status,
        grpc_status,
        message,
        detail,
        retry_after,
        ..by_quota(snapshot, allowed, charge)
    }
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

fn unasked(name: &str) -> String {
    format!("cannot decide now: {name} could not be asked")
}

/// Percent-encodes what no URI has (RFC 3986 section 2): what a template took from the request can neither end the header it
/// goes into nor be refused by it.
fn as_uri(text: &str) -> String {
    let mut uri = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte) {
            uri.push(byte.into());
        } else {
            write!(uri, "%{byte:02X}").expect("a String takes all that is written");
        }
    }
    uri
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
