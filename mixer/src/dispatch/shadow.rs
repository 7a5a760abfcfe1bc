//! What rules, quotas and policies in shadow would have done.
//!
//! They are evaluated after the answer was given, apart from what decided it: nothing of theirs can reach the verdict, what it
//! read or how long it holds, so that trying a rule costs no cache hit. What comes out is compared with what was enforced:
//! a deny rule on trial says nothing about a request that was denied anyway, and an `otherwise: deny` on trial would not have
//! denied what an allow rule of another policy lets pass.

use mixer_attributes::AttributeBag;
use mixer_cel::Evaluation;

use super::ask::{Asked, contained};
use super::charge::Unchargeable;
use super::decision::{Because, ShadowOutcome, ShadowVerdict, Verdict};
use super::outcome::{Named, because};
use super::settle::{By, Deciding, End, Settled};
use super::{Dispatcher, ask, side};

/// What was enforced.
pub type Enforced = (Verdict, Because);

/// Something in shadow, as far as it is decided without asking.
struct Trial {
    policy: usize,
    /// `None`: the whole policy is in shadow.
    rule: Option<usize>,
    settled: Settled,
}

impl Dispatcher {
    /// What is in shadow would have done about a request that was answered with `enforced`, in decision order: rules of
    /// enforced policies, policies, then quotas that could not be charged (what others would refuse is known when they are
    /// taken). Adapters are asked within `left`. Nothing else than this follows from it.
    pub async fn shadow(
        &self,
        bag: &AttributeBag<'_>,
        enforced: Enforced,
        left: std::time::Duration,
    ) -> Vec<ShadowVerdict> {
        let at = side(bag);
        let Some(applicable) = contained(|| self.snapshot.set.applicable(at, bag)) else {
            return Vec::new();
        };
        let plan = &applicable.plan;
        if !plan.has_shadow {
            return Vec::new();
        }
        let mut deciding = Deciding {
            snapshot: &self.snapshot,
            evaluation: Evaluation::new(bag, &self.snapshot.set.references),
            at,
            pending: Vec::new(),
            doubted: None,
        };
        let mut trials = Vec::new();
        for (policy, rule) in &plan.trials {
            let settled = deciding.tried(|deciding| deciding.settle_alone(*policy, *rule));
            trials.extend(settled.map(|settled| Trial {
                policy: *policy,
                rule: Some(*rule),
                settled,
            }));
        }
        for (policy, group) in applicable.shadow.iter().zip(&plan.shadow) {
            let settled = deciding.tried(|deciding| deciding.settle(group, End::Nothing));
            trials.extend(settled.map(|settled| Trial {
                policy: *policy,
                rule: None,
                settled,
            }));
        }
        let Some(inputs) = contained(|| deciding.inputs()) else {
            return Vec::new();
        };
        let within = ask::patience(left);
        let asked = ask::ask(&self.snapshot, &deciding.pending, inputs, within).await;
        let verdicts = || {
            let compared = trials.into_iter();
            let compared = compared.map(|trial| deciding.compared(trial, &asked, enforced));
            let mut verdicts: Vec<ShadowVerdict> = compared.collect();
            if enforced.0 == Verdict::Allow {
                let failed = deciding.unchargeable_in_shadow(&plan.quotas);
                verdicts.extend(failed.iter().map(|failed| deciding.would_deny(failed)));
            }
            verdicts
        };
        contained(verdicts).unwrap_or_default()
    }
}

impl Deciding<'_> {
    fn tried(&mut self, settle: impl FnOnce(&mut Self) -> Settled) -> Option<Settled> {
        let before = self.pending.len();
        let settled = contained(|| settle(self));
        if settled.is_none() {
            tracing::error!("a shadow rule panicked; it was left out");
            self.pending.truncate(before);
        }
        settled
    }

    fn compared(&self, trial: Trial, asked: &[Asked], enforced: Enforced) -> ShadowVerdict {
        let settled = match trial.settled {
            Settled::Open(open) => self.resolve(open, asked),
            settled => settled,
        };
        let policy = &self.snapshot.set.policies[trial.policy];
        let (would, by) = match settled {
            Settled::Deny(by) => (Some(Verdict::Deny), Some(by)),
            Settled::Pass(Some(by)) => (Some(Verdict::Allow), Some(by)),
            Settled::Pass(None) | Settled::Open(_) => (None, None),
        };
        let named = match (&by, trial.rule) {
            (Some(by), _) => self.named(by),
            (None, rule) => Named {
                policy: policy.name.clone(),
                sentence: rule
                    .map_or_else(Default::default, |at| policy.rules[at].sentence.clone()),
                id: rule.map_or_else(Default::default, |at| policy.rules[at].id.clone()),
            },
        };
        let is_rule = matches!(by, Some(By::Rule { .. }));
        ShadowVerdict {
            policy: named.policy,
            rule: named.sentence,
            rule_id: named.id,
            would: would.zip(by.map(|by| because(&by, asked))),
            outcome: outcome(would, is_rule, policy.guard, enforced),
        }
    }

    /// A shadow quota that cannot be charged.
    fn would_deny(&self, failed: &Unchargeable) -> ShadowVerdict {
        let policy = &self.snapshot.set.policies[failed.place.0];
        let quota = &policy.quotas[failed.place.1];
        ShadowVerdict {
            policy: policy.name.clone(),
            rule: quota.sentence.clone(),
            rule_id: quota.id.clone(),
            would: Some((Verdict::Deny, Because::Undetermined)),
            outcome: ShadowOutcome::WouldDeny,
        }
    }
}

/// What enforcing it would change. Within the pool an allow rule is above any `otherwise`, and any deny above it; a guard can
/// only deny.
fn outcome(
    would: Option<Verdict>,
    is_rule: bool,
    guard: bool,
    (verdict, because): Enforced,
) -> ShadowOutcome {
    let by_rule = !matches!(because, Because::Otherwise | Because::Default);
    match (would, verdict) {
        (Some(Verdict::Deny), Verdict::Allow) if is_rule || guard || !by_rule => {
            ShadowOutcome::WouldDeny
        }
        (Some(Verdict::Allow), Verdict::Deny) if !guard && !by_rule => {
            // An `otherwise: allow` is below an `otherwise: deny`, above the default.
            match is_rule || because == Because::Default {
                true => ShadowOutcome::WouldAllow,
                false => ShadowOutcome::Same,
            }
        }
        _ => ShadowOutcome::Same,
    }
}
