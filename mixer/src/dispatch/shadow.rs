//! What shadow rules and policies would have done. They are evaluated after what is enforced and can change nothing: not the
//! verdict, and, if one panics, only whether the decision may be kept.

use mixer_attributes::AttributeBag;
use mixer_cel::Evaluation;
use mixer_documents::{Applicable, Mode};

use super::ask::{Asked, contained};
use super::decision::{ShadowVerdict, Verdict};
use super::outcome::because;
use super::settle::{Deciding, Group, Settled};

/// Shadow rules and policies as far as they are decided without asking.
pub(super) struct Watching {
    settled: Vec<Settled>,
    /// One of them panicked; what it read is lost.
    pub(super) panicked: bool,
}

impl<'a> Deciding<'a> {
    /// Evaluates what is in shadow; what it must ask goes on the list after all that is enforced.
    pub(super) fn watch(&mut self, applicable: &Applicable, bag: &'a AttributeBag<'a>) -> Watching {
        let enforced = applicable.guards.iter().chain(&applicable.pool);
        let mut watching = Watching {
            settled: Vec::new(),
            panicked: false,
        };
        if applicable.shadow.is_empty()
            && !enforced
                .clone()
                .any(|at| self.snapshot.index.facts[*at].has_shadow_rules)
        {
            return watching;
        }
        let doubted = self.doubted.take();
        for &policy in enforced.filter(|at| self.snapshot.index.facts[**at].has_shadow_rules) {
            let rules = &self.snapshot.set.policies[policy].rules;
            for (at, rule) in rules.iter().enumerate() {
                if rule.mode == Mode::Shadow && !(self.tcp && rule.reads_request) {
                    self.watched(&mut watching, bag, |deciding| {
                        deciding.settle_alone(policy, at)
                    });
                }
            }
        }
        for policy in &applicable.shadow {
            self.watched(&mut watching, bag, |deciding| {
                deciding.settle(std::slice::from_ref(policy), Group::Shadow)
            });
        }
        self.doubted = doubted;
        watching
    }

    fn watched(
        &mut self,
        watching: &mut Watching,
        bag: &'a AttributeBag<'a>,
        settle: impl FnOnce(&mut Self) -> Settled,
    ) {
        let before = self.pending.len();
        match contained(|| settle(self)) {
            Some(settled) => watching.settled.push(settled),
            None => {
                tracing::error!("a shadow rule panicked; it was left out");
                self.pending.truncate(before);
                self.evaluation = Evaluation::new(bag, &self.snapshot.set.references);
                watching.panicked = true;
            }
        }
    }

    /// What each would have done, in decision order; those that would have done nothing are left out.
    pub(super) fn watched_verdicts(
        &self,
        watching: Watching,
        asked: &[Asked],
    ) -> Vec<ShadowVerdict> {
        let mut verdicts = Vec::new();
        for settled in watching.settled {
            let settled = match settled {
                Settled::Open(open) => self.resolve(open, asked),
                settled => settled,
            };
            let (would, by) = match settled {
                Settled::Deny(by) => (Verdict::Deny, by),
                Settled::Pass(Some(by)) => (Verdict::Allow, by),
                Settled::Pass(None) | Settled::Open(_) => continue,
            };
            let named = self.named(&by);
            let because = because(&by, asked);
            verdicts.push(ShadowVerdict {
                policy: named.policy,
                rule: named.sentence,
                would,
                because,
            });
        }
        verdicts
    }
}
