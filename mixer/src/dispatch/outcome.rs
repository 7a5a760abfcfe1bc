//! Decisions from what decided: names, how long they hold, what they read. With [`denial`] the only place that makes one.

pub(super) mod denial;

use std::sync::Arc;
use std::time::Duration;

use mixer_adapter::{Answer, ValidFor};
use mixer_attributes::vocabulary::{self, AttributeId};
use mixer_documents::{Otherwise, Plan};

use super::ask::{Asked, Fault};
use super::decision::{Because, Decision, HeaderOperation, Verdict};
use super::settle::{By, Deciding, Settled, Why};
use super::{Decided, Source};

/// What was found out, to make a decision of.
pub(super) struct Verdicts<'v> {
    pub(super) settled: Settled,
    pub(super) asked: &'v [Asked],
    pub(super) revision: Arc<str>,
}

/// Policy, sentence and name in metrics of what decided.
#[derive(Default)]
pub(super) struct Named {
    pub(super) policy: Arc<str>,
    pub(super) sentence: Arc<str>,
    pub(super) id: Arc<str>,
}

/// Makes the decision.
pub(super) fn decision(
    mut deciding: Deciding<'_>,
    plan: &Plan,
    found: Verdicts<'_>,
    id: u64,
) -> Decided {
    let Verdicts {
        settled,
        asked,
        revision,
    } = found;
    let mut decided = match settled {
        Settled::Deny(by) => deciding.deny(&by, asked, revision, id),
        Settled::Open(_) => unreachable!("an open group was resolved before"),
        Settled::Pass(by) => match deciding.charges(&plan.quotas) {
            Ok(charges) => {
                let by = by.unwrap_or(By::Default { for_want_of: None });
                let mut decided = deciding.allow(&by, asked, revision, id);
                decided.decision.charges = charges;
                decided
            }
            Err(failed) => deciding.deny_unchargeable(&failed, revision, id),
        },
    };
    let decision = &mut decided.decision;
    decision.in_shadow = plan.has_shadow;
    decision.referenced = deciding.evaluation.referenced();
    decision.valid_for = valid_for(asked);
    // Equal in these is hardly ever equal again.
    const ONCE: [AttributeId; 3] = [
        vocabulary::REQUEST_TIME,
        vocabulary::REQUEST_ID,
        vocabulary::REQUEST_SIZE,
    ];
    let reads_once = decision
        .referenced
        .iter()
        .any(|(reference, _)| ONCE.contains(&reference.attribute));
    if reads_once || decision.valid_for == Some(Duration::ZERO) {
        decision.valid_uses = 1;
    }
    decided
}

/// How long answers hold, the shortest of them; `None`: while the revision is in force.
fn valid_for(asked: &[Asked]) -> Option<Duration> {
    let spans = asked.iter().filter_map(|asked| match &asked.result {
        Ok(Answer {
            valid_for: ValidFor::Version,
            ..
        })
        | Err(Fault::Undetermined(_)) => None,
        Ok(Answer {
            valid_for: ValidFor::Span(span),
            ..
        }) => Some(*span),
        Ok(Answer {
            valid_for: ValidFor::Once,
            ..
        })
        | Err(Fault::Unavailable { .. }) => Some(Duration::ZERO),
    });
    spans.min()
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

impl Deciding<'_> {
    /// What decided, by name.
    pub(super) fn named(&self, by: &By) -> Named {
        let policies = &self.snapshot.set.policies;
        match *by {
            By::Rule { policy, rule, .. } => {
                let rule = &policies[policy].rules[rule];
                let (sentence, id) = (rule.sentence.clone(), rule.id.clone());
                Named {
                    policy: policies[policy].name.clone(),
                    sentence,
                    id,
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
            By::Default { .. } => Named::default(),
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
        for asked in asked {
            if let Ok(answer) = &asked.result {
                let operation = |of: &mixer_adapter::HeaderOperation| HeaderOperation {
                    name: of.name.clone(),
                    value: of.value.clone(),
                };
                decision
                    .headers
                    .extend(answer.headers.iter().map(operation));
            }
        }
        if let By::Rule {
            why: Why::Asked(at),
            ..
        } = by
        {
            decision.detail = asked[*at].unavailable().map(|(detail, _)| detail);
        }
        Decided {
            decision,
            by: source(by),
        }
    }
}

fn source(by: &By) -> Source {
    match by {
        By::Rule { .. } => Source::Rule,
        By::Otherwise { .. } => Source::Otherwise,
        By::Default { .. } => Source::Default,
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
        in_shadow: false,
        headers: Vec::new(),
        reply_headers: Vec::new(),
        body: None,
        charges: Vec::new(),
        referenced: Vec::new(),
        valid_for: None,
        valid_uses: 0,
        id: format!("{id:016x}"),
    }
}
