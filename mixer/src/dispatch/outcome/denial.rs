//! Denials: what the caller is told, in which status, and what the log is told.
//!
//! Outcomes are never mixed: denied is 403 (or the rule's status), undetermined 403, what could not be asked 503 with a time to
//! come back, over the limit 429 with one. What a rule has of its own (status, message, location, headers, body) is for its match
//! alone.
//!
//! Statuses, `location` and the time to come back are the denial itself, and everybody gets them. Words (message, headers, body)
//! are told to whom `mesh.denials` shows them; others get the decision's id.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_documents::{Denials, Mesh, Otherwise, Reply};

use super::{Named, because, plain, source};
use crate::dispatch::ask::{Asked, Fault};
use crate::dispatch::charge::{Unchargeable, undetermined};
use crate::dispatch::decision::{Because, Body, Charge, Decision, HeaderOperation, Told, Verdict};
use crate::dispatch::settle::{By, Deciding, Why};
use crate::dispatch::{Decided, Source};
use crate::snapshot::Snapshot;

const DENIED: (u16, u8) = (403, 7);
const UNAVAILABLE: (u16, u8) = (503, 14);

/// What is said to a caller that is denied, and what the log is told.
struct Denial {
    told: Told,
    detail: Option<String>,
    retry_after: Option<Duration>,
}

impl Denial {
    fn with(told: Told, detail: Option<String>) -> Self {
        Self {
            told,
            detail,
            retry_after: None,
        }
    }
}

impl<'a> Deciding<'a> {
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
            decision: told(denial, decision),
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
            decision: told(self.for_reason(failed.reason.clone()), decision),
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
            let message = unasked(adapter.name());
            return Denial {
                told: self.only(UNAVAILABLE, message),
                detail: Some(detail),
                retry_after: Some(retry_after),
            };
        }
        match by {
            By::Rule {
                why: Why::Undetermined(error),
                ..
            } => self.for_reason(undetermined(error)),
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
                Err(Fault::Undetermined(error)) => self.for_reason(undetermined(error)),
                Err(Fault::Unavailable { .. }) => unreachable!("it was told above"),
            },
            By::Otherwise { policy, .. } => {
                let detail = self.doubted.as_ref().map(|(policy, rule, error)| {
                    let rule = &self.snapshot.set.policies[*policy].rules[*rule];
                    format!("\"{}\": {}", rule.sentence, undetermined(error))
                });
                let Some(Otherwise::Deny {
                    sentence, reply, ..
                }) = &self.snapshot.set.policies[*policy].otherwise
                else {
                    unreachable!("an `otherwise` that denies decided")
                };
                Denial::with(self.tell(reply, sentence), detail)
            }
            By::Default { .. } => {
                Denial::with(self.only(DENIED, "denied by default".to_owned()), None)
            }
        }
    }

    /// In the words of a rule; an adapter may have a better message, and a status if it is one of a denial.
    fn by_rule(
        &mut self,
        policy: usize,
        rule: usize,
        status: Option<u16>,
        message: Option<String>,
    ) -> Denial {
        let rule = &self.snapshot.set.policies[policy].rules[rule];
        let mut told = self.tell(&rule.reply, &rule.sentence);
        if let Some(status) = status.filter(|status| (400..600).contains(status)) {
            told.http_status = status;
            told.location = None;
        }
        if let (Some(said), Some(message)) = (&mut told.message, message) {
            *said = message;
        }
        Denial::with(told, None)
    }

    /// For a reason the operator did not foresee, which is the message.
    fn for_reason(&mut self, reason: String) -> Denial {
        Denial::with(self.only(DENIED, reason.clone()), Some(reason))
    }

    /// In the operator's words.
    pub(in crate::dispatch) fn tell(&mut self, reply: &'a Reply, sentence: &str) -> Told {
        let location = reply.location.as_ref();
        let location = location.map(|location| as_uri(&location.render(&mut self.evaluation)));
        let location = location.filter(|location| !location.is_empty());
        let http_status = match reply.status {
            // There is nowhere to send the caller: a plain denial.
            300..400 if location.is_none() => DENIED.0,
            status => status,
        };
        let plain = Told {
            http_status,
            grpc_status: reply.grpc,
            message: None,
            location,
            headers: Vec::new(),
            body: None,
        };
        if !self.may_see() {
            return plain;
        }
        let body = reply.body.as_ref().and_then(|body| {
            let text = body.render(&mut self.evaluation)?;
            let content_type = body.content_type.clone();
            Some(Body { content_type, text })
        });
        let headers = reply.headers(&mut self.evaluation).into_iter();
        let headers = headers.map(|(name, value)| HeaderOperation {
            name: name.as_ref().to_owned(),
            value: Some(value),
        });
        Told {
            message: Some(reply.message(sentence, &mut self.evaluation)),
            headers: headers.collect(),
            body,
            ..plain
        }
    }

    /// Nothing but a message.
    fn only(&mut self, (http_status, grpc_status): (u16, u8), message: String) -> Told {
        Told {
            http_status,
            grpc_status,
            message: self.may_see().then_some(message),
            location: None,
            headers: Vec::new(),
            body: None,
        }
    }

    /// Whether `mesh.denials` shows the caller why.
    fn may_see(&mut self) -> bool {
        let mesh = &self.snapshot.set.mesh;
        if mesh.denials == Denials::Mesh {
            self.evaluation.touch(vocabulary::SOURCE_PRINCIPAL, None);
        }
        may_see(mesh, self.evaluation.bag())
    }
}

/// The decision, with what the caller is told.
fn told(denial: Denial, decision: Decision) -> Decision {
    let Told {
        http_status,
        grpc_status,
        message,
        location,
        headers,
        body,
    } = denial.told;
    Decision {
        http_status,
        grpc_status,
        message: message.unwrap_or_else(|| no_more_than(&decision.id)),
        detail: denial.detail,
        location,
        retry_after: denial.retry_after,
        reply_headers: headers,
        body,
        ..decision
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
) -> Decision {
    let denial = Denial {
        told: charge.told.clone(),
        detail: None,
        retry_after,
    };
    let because = Because::Quota;
    told(
        denial,
        Decision {
            because,
            ..by_quota(snapshot, allowed, charge)
        },
    )
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
    let message = match may_see(&snapshot.set.mesh, bag) {
        true => reason.clone(),
        false => no_more_than(&allowed.id),
    };
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

/// Whether `mesh.denials` shows the caller of `bag` why.
fn may_see(mesh: &Mesh, bag: &AttributeBag<'_>) -> bool {
    match mesh.denials {
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
    }
}

/// What others are told: the name by which the log knows the decision.
pub(crate) fn no_more_than(id: &str) -> String {
    format!("access denied ({id})")
}
