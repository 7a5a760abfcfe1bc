//! Deciding: which rules apply, whom to ask, how answers combine, and what happens when somebody cannot be asked.
//!
//! [`Dispatcher::check`] takes the policies that apply to a destination, each guard alone and the others as one pool, through
//! the same steps ([`settle`]), asks adapters only where the verdict still depends on them ([`ask`]), charges what passes
//! ([`charge`]), and makes one [`Decision`] of it ([`outcome`]). A decision is a function of the attributes it read and of the
//! adapters' answers: it holds for every request equal in its referenced set while its revision is in force.
//! [`Dispatcher::limit`] answers rate limit descriptors, which only quotas are about ([`limits`]).

mod ask;
pub(crate) mod assign;
mod breaker;
mod charge;
mod decision;
mod installed;
mod ledger;
mod limits;
mod outcome;
mod quota;
pub mod report;
mod settle;
mod shadow;
pub(crate) mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_cel::Evaluation;
use mixer_documents::{Applicable, At, Plan};
use mixer_runtime::{Clock, Random};

use self::ask::contained;
pub(crate) use self::ask::together;
use self::outcome::Verdicts;
use self::settle::{By, Deciding, End, Open, Settled};
use crate::snapshot::{Snapshot, Surroundings};

pub use decision::{
    Because, Body, Charge, Decision, HeaderOperation, ShadowOutcome, ShadowVerdict, Told, Verdict,
};
pub(crate) use installed::contained as contained_work;
pub use installed::{Counts, Installed};
pub use ledger::{LEASE_FOR, Ledger};
pub use limits::{Hits, Limited, Nearest, Over, What, Why};
pub(crate) use outcome::denial::no_more_than;
pub(crate) use quota::CountersOf;
pub use quota::{Outcome, QuotaAsk, RESERVED_FOR, Rate, Spent, Taken};
pub use shadow::Enforced;
pub use tally::Tallies;

/// Decides against one snapshot.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    snapshot: Arc<Snapshot>,
    clock: Clock,
    random: Arc<Random>,
    ledger: Arc<Ledger>,
}

impl Dispatcher {
    /// Over `snapshot`.
    pub fn new(snapshot: Arc<Snapshot>, surroundings: &Surroundings) -> Self {
        Self {
            snapshot,
            clock: surroundings.clock.clone(),
            random: surroundings.random.clone(),
            ledger: surroundings.ledger.clone(),
        }
    }

    /// What it decides against.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// May this request pass? Always a decision; the asker has `left` time for it.
    pub async fn check(&self, bag: &AttributeBag<'_>, left: Duration) -> Decision {
        let at = side(bag);
        match contained(|| self.snapshot.set.applicable(at, bag)) {
            Some(applicable) => {
                self.check_against(&applicable, at, bag, left)
                    .await
                    .decision
            }
            None => self.broken(Arc::default()),
        }
    }

    /// Decides among the policies of `applicable` only.
    pub(crate) async fn check_against(
        &self,
        applicable: &Applicable,
        at: At,
        bag: &AttributeBag<'_>,
        left: Duration,
    ) -> Decided {
        // Read before anybody is asked: an answer from newer data under the older revision is stored by nobody, an answer from
        // older data under the newer revision would be.
        let revision = self.snapshot.revision(at, applicable);
        let mut deciding = Deciding {
            snapshot: &self.snapshot,
            evaluation: Evaluation::new(bag, &self.snapshot.set.references),
            at,
            pending: Vec::new(),
            doubted: None,
        };
        let Some(first) = contained(|| deciding.first_pass(&applicable.plan)) else {
            return Decided::broken(self.broken(revision));
        };
        let asked = if deciding.pending.is_empty() {
            Vec::new()
        } else {
            let Some(inputs) = contained(|| deciding.inputs()) else {
                return Decided::broken(self.broken(revision));
            };
            let within = ask::patience(left);
            let asking = ask::ask(&self.snapshot, &deciding.pending, inputs, within);
            // Few decisions ask; those that do not must not carry the room for it.
            Box::pin(asking).await
        };
        let finish = || {
            let settled = match first {
                First::Settled(settled) => settled,
                First::Open(groups) => deciding.second_pass(groups, &asked),
            };
            let verdicts = Verdicts {
                settled,
                asked: &asked,
                revision: revision.clone(),
            };
            outcome::decision(deciding, &applicable.plan, verdicts, self.random.next())
        };
        contained(finish).unwrap_or_else(|| Decided::broken(self.broken(revision)))
    }

    /// The denial that stands in where deciding panicked. Nobody may keep it.
    fn broken(&self, revision: Arc<str>) -> Decision {
        tracing::error!("deciding a request panicked; it was denied");
        outcome::denial::broken(revision, self.random.next())
    }
}

/// A decision, and what made it, for those who test policies.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    pub(crate) by: Source,
}

/// What kind of thing made a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Rule,
    Otherwise,
    Default,
    Quota,
    Panic,
}

impl Decided {
    fn broken(decision: Decision) -> Self {
        Self {
            decision,
            by: Source::Panic,
        }
    }
}

/// Which policies are meant: the caller's proxy asks about the way out.
pub(crate) fn side(bag: &AttributeBag<'_>) -> At {
    match bag.value(vocabulary::CONTEXT_REPORTER) {
        Some(Value::String("source")) => At::Outbound,
        _ => At::Inbound,
    }
}

/// How far rules without `ask` decide.
enum First {
    Settled(Settled),
    Open(Groups),
}

/// What is left to adapters: open guards, then the pool.
struct Groups {
    guards: Vec<Open>,
    pool: Settled,
}

impl Deciding<'_> {
    fn first_pass(&mut self, plan: &Plan) -> First {
        for reference in &self.snapshot.set.consulted {
            self.evaluation.touch_reference(*reference);
        }
        let mut guards = Vec::new();
        for guard in &plan.guards {
            match self.settle(guard, End::Nothing) {
                Settled::Deny(by) => return self.denied(by),
                Settled::Open(open) => guards.push(open),
                Settled::Pass(_) => {}
            }
        }
        match self.settle(&plan.pool, End::Default) {
            Settled::Deny(by) => self.denied(by),
            pool if guards.is_empty() && !matches!(pool, Settled::Open(_)) => First::Settled(pool),
            pool => First::Open(Groups { guards, pool }),
        }
    }

    fn second_pass(&mut self, groups: Groups, asked: &[ask::Asked]) -> Settled {
        for open in groups.guards {
            if let denied @ Settled::Deny(_) = self.resolve(open, asked) {
                return denied;
            }
        }
        match groups.pool {
            Settled::Open(open) => self.resolve(open, asked),
            settled => settled,
        }
    }

    /// Nobody needs to be asked any more.
    fn denied(&mut self, by: By) -> First {
        self.pending.clear();
        First::Settled(Settled::Deny(by))
    }
}
