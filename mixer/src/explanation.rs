//! What a request meets, rule by rule, with the values that were read: the tale that `mixer explain`, `mixer can` and a test
//! that fails tell.
//!
//! The decision in it is the dispatcher's. Beside it every rule is evaluated alone, also those that a decision never gets to,
//! so that all reasons to deny are known and not only the first. It is plain data: [`text`] shows it to people, serde to
//! programs.

mod rule;
mod steps;
mod teller;
mod text;
mod words;

use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::AttributeBag;
use mixer_documents::{Applicable, At};
use serde::Serialize;

use self::teller::Teller;
use crate::dispatch::{Decision, Dispatcher};

pub(crate) use rule::{Effect, RuleStory};
pub(crate) use steps::{Denial, Step};
pub(crate) use words::{because, name_of, place, printable, summary};

/// How long the whole may take: an operator waits, no proxy does.
const LEFT: Duration = Duration::from_secs(5);

/// What one request meets on one side.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// `inbound` or `outbound`.
    pub(crate) side: &'static str,
    /// Of what can apply to the destination.
    pub(crate) revision: Arc<str>,
    /// Those that apply: guards, the pool, shadow policies.
    pub(crate) policies: Vec<PolicyStory>,
    /// The steps of each guard and of the pool.
    pub(crate) steps: Vec<Step>,
    /// Everything that is enforced and would deny on its own, in the order of the steps.
    pub(crate) denials: Vec<Denial>,
    /// What is decided.
    pub(crate) decision: DecisionStory,
}

/// One policy.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyStory {
    pub(crate) policy: Arc<str>,
    pub(crate) place: String,
    /// `guard`, `policy` or `shadow policy`.
    pub(crate) group: &'static str,
    pub(crate) rules: Vec<RuleStory>,
    /// `allow`, or the sentence it denies with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) otherwise: Option<OtherwiseStory>,
    pub(crate) quotas: Vec<QuotaStory>,
}

/// The end of a policy.
#[derive(Debug, Serialize)]
pub(crate) struct OtherwiseStory {
    pub(crate) denies: bool,
    pub(crate) sentence: Arc<str>,
    pub(crate) place: String,
}

/// One quota.
#[derive(Debug, Serialize)]
pub(crate) struct QuotaStory {
    pub(crate) quota: Arc<str>,
    pub(crate) place: String,
    pub(crate) shadow: bool,
    /// Its `when`, key, `by` and cost.
    pub(crate) lines: Vec<Line>,
    /// What a request that passes is charged; `None` when it does not pass or the quota does not apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) charge: Option<ChargeStory>,
}

/// What a request costs.
#[derive(Debug, Serialize)]
pub(crate) struct ChargeStory {
    pub(crate) counter: Arc<str>,
    pub(crate) key: Vec<String>,
    pub(crate) cost: i64,
    pub(crate) limit: u64,
    pub(crate) window_seconds: f64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) row: String,
}

/// An expression, its value, and what it read.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// `when`, `that`, `key`, or the name of an input.
    pub(crate) role: String,
    pub(crate) expression: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// As text; `None` when it has none.
    pub(crate) value: Option<String>,
    /// Why it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) reads: Vec<ReadStory>,
}

/// An attribute, or one key of it, and its value in the request.
#[derive(Debug, Serialize)]
pub(crate) struct ReadStory {
    pub(crate) name: String,
    /// `None` when the request has none.
    pub(crate) value: Option<String>,
}

/// The decision, for people and programs.
#[derive(Debug, Serialize)]
pub(crate) struct DecisionStory {
    pub(crate) verdict: &'static str,
    pub(crate) because: &'static str,
    pub(crate) policy: Arc<str>,
    pub(crate) rule: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// In one line.
    pub(crate) summary: String,
    pub(crate) http_status: u16,
    pub(crate) grpc_status: u8,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    /// Headers of the request that change when it passes, or of the response when it is denied; `null` removes.
    pub(crate) headers: Vec<(String, Option<String>)>,
    /// Body of the response when it is denied, unless it is the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<BodyStory>,
    pub(crate) shadow: Vec<ShadowStory>,
    /// What a cached answer holds for: requests equal in these.
    pub(crate) referenced: Vec<ReadStory>,
    /// `None`: while the revision is in force.
    pub(crate) valid_for_seconds: Option<f64>,
    /// It may be used once only.
    pub(crate) once: bool,
}

/// What the caller reads.
#[derive(Debug, Serialize)]
pub(crate) struct BodyStory {
    pub(crate) content_type: Arc<str>,
    pub(crate) text: String,
}

/// What something in shadow would have done.
#[derive(Debug, Serialize)]
pub(crate) struct ShadowStory {
    pub(crate) policy: Arc<str>,
    pub(crate) rule: Arc<str>,
    pub(crate) would: &'static str,
    pub(crate) because: &'static str,
}

impl Explanation {
    /// What `bag` meets among all policies.
    pub(crate) async fn of(dispatcher: &Dispatcher, at: At, bag: &AttributeBag<'_>) -> Self {
        let applicable = dispatcher.snapshot().set.applicable(at, bag);
        let decision = dispatcher
            .check_against(&applicable, at, bag, LEFT)
            .await
            .decision;
        Self::around(dispatcher, &applicable, at, bag, &decision).await
    }

    /// What led to `decision`, which was made of `bag` among `applicable`.
    pub(crate) async fn around(
        dispatcher: &Dispatcher,
        applicable: &Applicable,
        at: At,
        bag: &AttributeBag<'_>,
        decision: &Decision,
    ) -> Self {
        let teller = Teller {
            dispatcher,
            set: &dispatcher.snapshot().set,
            bag,
            tcp: applicable.declared_tcp,
            decision,
        };
        let shadows = if decision.in_shadow {
            let enforced = (decision.verdict, decision.because);
            dispatcher.shadow(bag, enforced, LEFT).await
        } else {
            Vec::new()
        };
        let mut policies = Vec::new();
        for (group, members) in [
            ("guard", &applicable.guards),
            ("policy", &applicable.pool),
            ("shadow policy", &applicable.shadow),
        ] {
            for at in members {
                policies.push(teller.policy(group, *at).await);
            }
        }
        let (steps, denials) = steps::steps(&policies, at, teller.set, decision);
        Self {
            side: match at {
                At::Inbound => "inbound",
                At::Outbound => "outbound",
                At::RateLimit => "rate limit service",
            },
            revision: decision.revision.clone(),
            steps,
            denials,
            decision: teller.decision(&shadows),
            policies,
        }
    }
}

#[cfg(test)]
mod tests;
