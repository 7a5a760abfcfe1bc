//! Taking what requests cost from the stores that count it.
//!
//! The charges of one request are taken all or nothing: the asks on one store in one call, and where another store refuses, what
//! was taken is given back. A store that cannot be asked is not a refusal: each quota's `on_error` says what it means. Shadow
//! quotas are counted alone and last, so that they refuse nothing, and only for requests that pass.

mod counters;
mod reserve;
mod spend;

use std::time::Duration;

use mixer_attributes::AttributeBag;
use mixer_documents::{Mode, QuotaOnError};
use smallvec::SmallVec;

pub(crate) use self::counters::CountersOf;
pub use self::reserve::RESERVED_FOR;
pub(super) use self::spend::ask_of;
use self::spend::{Moment, Spending, Want};
use super::decision::{Charge, Decision, Verdict};
use super::outcome::denial;
use super::{Dispatcher, ask};

/// One counter that a proxy asks about.
#[derive(Clone, Copy, Debug)]
pub struct QuotaAsk<'a> {
    /// The quota's id.
    pub quota: &'a str,
    /// Names the counter within it, as [`Charge::key`].
    pub key: &'a [String],
    /// The row of its table, as [`Charge::tier`].
    pub tier: &'a str,
    /// Tokens: positive takes, 0 peeks, negative gives back.
    pub cost: i64,
    /// More is welcome, to be held.
    pub lease: bool,
    /// What the client spends on the counter.
    pub per_second: f64,
    /// What it gives back of an earlier lease.
    pub unused: u64,
    /// The cost is an estimate, to be settled by [`Dispatcher::commit`].
    pub reserve: bool,
    /// How long ago what a negative cost frees of a concurrency limit was taken, at most.
    pub age: Duration,
}

/// What became of the asks of one request, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Of each ask.
    pub taken: Vec<Taken>,
    /// Where any ask reserves: what names its reservation, for each ask; empty for what was not taken.
    pub reservations: Vec<String>,
}

/// How fast a client spends on one counter.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Rate<'a> {
    pub quota: &'a str,
    pub key: &'a [String],
    pub per_second: f64,
}

/// What became of one charge. Where any enforced one of a request is refused, unknown, or unavailable with `on_error: deny`,
/// nothing was taken for any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What became of it.
    pub outcome: Outcome,
    /// Tokens beyond the cost that the client now holds.
    pub lease: u64,
    /// How long it may hold them.
    pub lease_for: Duration,
    /// When a refused cost may be granted at the earliest; `None`: never, or not known.
    pub retry_after: Option<Duration>,
    /// Tokens left under the limit, all leases taken off.
    pub remaining: u64,
    /// Until all of the limit is there again if nothing more is spent, at most.
    pub reset: Duration,
}

/// What became of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken.
    Granted,
    /// The limit is reached. Of a shadow quota this is for information.
    Refused,
    /// The store could not be asked.
    Unavailable,
    /// There is no such quota (any more).
    Unknown,
}

impl Dispatcher {
    /// Decides, and takes what the decision charges, before the `left` time is over. The decision is that of the policies, which
    /// may be kept; what was taken of its charges, in their order, stands beside it. Where a store cannot be asked and its quota
    /// says `on_error: deny`, the decision is a denial that may not be kept, and nothing is taken.
    pub async fn check_and_take(
        &self,
        bag: &AttributeBag<'_>,
        client: &str,
        rates: &[Rate<'_>],
        dedup_id: &str,
        left: Duration,
    ) -> (Decision, Vec<Taken>) {
        let begun = self.clock.now();
        let decision = self.check(bag, left).await;
        if decision.verdict == Verdict::Deny || decision.charges.is_empty() {
            return (decision, Vec::new());
        }
        let left = left.saturating_sub(self.clock.now().since(begun));
        let taken = self
            .take(&decision.charges, client, rates, dedup_id, left)
            .await;
        match self.uncountable(&decision, &taken, bag) {
            Some(denial) => (denial, Vec::new()),
            None => (decision, taken),
        }
    }

    /// The denial (429) that `taken` makes of an allow, for askers that know no grants; the first refused charge names it.
    pub fn refusal(&self, decision: &Decision, taken: &[Taken]) -> Option<Decision> {
        let mut outcomes = decision.charges.iter().zip(taken);
        let (charge, taken) =
            outcomes.find(|(charge, taken)| !charge.shadow && taken.outcome == Outcome::Refused)?;
        Some(denial::refused(
            &self.snapshot,
            decision,
            charge,
            taken.retry_after,
        ))
    }

    /// The denial (503) where a store could not be asked and `on_error` says so.
    fn uncountable(
        &self,
        decision: &Decision,
        taken: &[Taken],
        bag: &AttributeBag<'_>,
    ) -> Option<Decision> {
        let mut outcomes = decision.charges.iter().zip(taken);
        let (charge, taken) = outcomes.find(|(charge, taken)| {
            !charge.shadow
                && taken.outcome == Outcome::Unavailable
                && charge.on_error == QuotaOnError::Deny
        })?;
        Some(denial::uncountable(
            &self.snapshot,
            decision,
            charge,
            taken.retry_after,
            bag,
        ))
    }

    /// Takes `charges`, all or nothing; one outcome each, in order. `client` holds what is leased with them.
    pub async fn take(
        &self,
        charges: &[Charge],
        client: &str,
        rates: &[Rate<'_>],
        dedup_id: &str,
        left: Duration,
    ) -> Vec<Taken> {
        let wants = charges.iter().map(|charge| {
            let rate = rates
                .iter()
                .find(|rate| *rate.quota == *charge.quota && rate.key == charge.key);
            self.want(charge, rate.map(|rate| rate.per_second))
        });
        let wants: SmallVec<[Want<'_>; 2]> = wants.collect();
        self.spending(client, dedup_id, left).spend(&wants).await
    }

    /// Gives the costs of `charges` back to their counters, whoever took them.
    pub(super) async fn give_back(&self, charges: &[Charge], left: Duration) {
        let wants = charges.iter().map(|charge| self.want(charge, None));
        let wants: Vec<Want<'_>> = wants.collect();
        self.spending("", "", left).put_back(&wants).await;
    }

    fn want<'a>(&'a self, charge: &'a Charge, per_second: Option<f64>) -> Want<'a> {
        Want {
            quota: &self.snapshot.set.policies[charge.place.0].quotas[charge.place.1],
            key: &charge.key,
            limit: charge.limit,
            cost: charge.cost,
            age: Duration::ZERO,
            reservation: None,
            per_second,
            shadow: charge.shadow,
            tally: Some(self.snapshot.tally(charge.place)),
        }
    }

    /// Takes, refills and gives back quota, all or nothing; one outcome each, in order. Giving back never fails; of what a client
    /// says it gives back, only what it holds counts. A quota that is not known makes all of the request unknown.
    pub async fn quota(
        &self,
        asks: &[QuotaAsk<'_>],
        client: &str,
        dedup_id: &str,
        left: Duration,
    ) -> Spent {
        let spending = self.spending(client, dedup_id, left);
        let known = asks.iter().enumerate().filter_map(|(at, ask)| {
            let place = self.snapshot.quota(ask.quota)?;
            let policy = &self.snapshot.set.policies[place.0];
            let quota = &policy.quotas[place.1];
            let want = Want {
                quota,
                key: ask.key,
                limit: if ask.tier.is_empty() {
                    quota.limit.otherwise
                } else {
                    quota.limit.row(ask.tier)
                },
                cost: ask.cost,
                age: ask.age,
                reservation: None,
                per_second: ask.lease.then_some(ask.per_second),
                shadow: quota.mode == Mode::Shadow || policy.mode == Mode::Shadow,
                tally: Some(self.snapshot.tally(place)),
            };
            let want = Want {
                reservation: ask
                    .reserve
                    .then(|| spending.reservation(&want, ask, at))
                    .flatten(),
                ..want
            };
            let negative = if ask.cost < 0 {
                ask.cost.unsigned_abs()
            } else {
                0
            };
            Some((want, ask.unused.saturating_add(negative)))
        });
        let (wants, unused): (Vec<Want<'_>>, Vec<u64>) = known.unzip();
        spending.give_back_unused(&wants, &unused).await;
        let taken = match wants.len() == asks.len() {
            true => spending.spend(&wants).await,
            false => vec![Taken::nothing(Outcome::Unknown); asks.len()],
        };
        let reservations = match asks.iter().any(|ask| ask.reserve) {
            true => reserve::names(&wants, &taken),
            false => Vec::new(),
        };
        Spent {
            taken,
            reservations,
        }
    }

    fn spending<'a>(&'a self, client: &'a str, dedup_id: &'a str, left: Duration) -> Spending<'a> {
        let begun = Moment::now(&self.clock);
        Spending {
            dispatcher: self,
            client,
            dedup_id,
            until: begun.now + ask::patience(left),
            begun,
        }
    }
}

impl Taken {
    fn nothing(outcome: Outcome) -> Self {
        Self {
            outcome,
            lease: 0,
            lease_for: Duration::ZERO,
            retry_after: None,
            remaining: 0,
            reset: Duration::ZERO,
        }
    }
}
