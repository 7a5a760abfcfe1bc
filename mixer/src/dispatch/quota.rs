//! Taking what requests cost from the stores that count it.
//!
//! The charges of one request are taken all or nothing: the asks on one store in one call, and where another store refuses, what
//! was taken is given back. A store that cannot be asked is not a refusal: each quota's `on_error` says what it means. Shadow
//! quotas are counted alone and last, so that they refuse nothing, and only for requests that pass.
//!
//! Tries of one request carry one `dedup_id`. Every call made for it has an id of its own derived from that, giving back
//! included, so that a repeated try neither takes nor gives back twice.

use std::time::Duration;

use mixer_adapter::{Ask, Outcome as Granted};
use mixer_attributes::AttributeBag;
use mixer_documents::{Limit, Mode, Quota, QuotaOnError};
use mixer_runtime::Instant;

use super::decision::{Charge, Decision, Verdict};
use super::ledger::LEASE_FOR;
use super::{Dispatcher, ask, outcome};

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
    pub fn refusal(
        &self,
        decision: &Decision,
        taken: &[Taken],
        bag: &AttributeBag<'_>,
    ) -> Option<Decision> {
        let mut outcomes = decision.charges.iter().zip(taken);
        let (charge, taken) =
            outcomes.find(|(charge, taken)| !charge.shadow && taken.outcome == Outcome::Refused)?;
        Some(outcome::refused(
            &self.snapshot,
            decision,
            charge,
            taken.retry_after,
            bag,
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
        Some(outcome::uncountable(
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
        let now = self.clock.now();
        let wants = charges.iter().map(|charge| {
            let quota = &self.snapshot.set.policies[charge.place.0].quotas[charge.place.1];
            let rate = rates
                .iter()
                .find(|rate| *rate.quota == *charge.quota && rate.key == charge.key);
            let per_second = rate.map(|rate| rate.per_second);
            self.want(
                quota,
                &charge.key,
                charge.limit,
                charge.cost,
                per_second,
                charge.shadow,
                client,
                now,
            )
        });
        let wants: Vec<Want<'_>> = wants.collect();
        self.spend(&wants, client, dedup_id, now + ask::patience(left))
            .await
    }

    /// Takes, refills and gives back quota, all or nothing; one outcome each, in order. Giving back never fails; of what a client
    /// says it gives back, only what it holds counts. A quota that is not known makes all of the request unknown.
    pub async fn quota(
        &self,
        asks: &[QuotaAsk<'_>],
        client: &str,
        dedup_id: &str,
        left: Duration,
    ) -> Vec<Taken> {
        let now = self.clock.now();
        let until = now + ask::patience(left);
        let place = |ask: &QuotaAsk<'_>| self.snapshot.quota(ask.quota);
        let known: Vec<_> = asks
            .iter()
            .filter_map(|ask| Some((ask, place(ask)?)))
            .collect();
        let wants: Vec<Want<'_>> = known
            .iter()
            .map(|(ask, place)| {
                let policy = &self.snapshot.set.policies[place.0];
                let quota = &policy.quotas[place.1];
                let shadow = quota.mode == Mode::Shadow || policy.mode == Mode::Shadow;
                let limit = if ask.tier.is_empty() {
                    quota.limit.otherwise
                } else {
                    quota.limit.row(ask.tier)
                };
                let per_second = ask.lease.then_some(ask.per_second);
                self.want(
                    quota, ask.key, limit, ask.cost, per_second, shadow, client, now,
                )
            })
            .collect();
        self.return_unused(
            known.iter().map(|(ask, _)| *ask).zip(&wants),
            client,
            dedup_id,
            until,
        )
        .await;
        if wants.len() < asks.len() {
            return vec![nothing(Outcome::Unknown); asks.len()];
        }
        self.spend(&wants, client, dedup_id, until).await
    }

    #[allow(clippy::too_many_arguments)]
    fn want<'a>(
        &self,
        quota: &'a Quota,
        key: &'a [String],
        limit: Limit,
        cost: i64,
        per_second: Option<f64>,
        shadow: bool,
        client: &str,
        now: Instant,
    ) -> Want<'a> {
        let counter = self.ledger.counter(&quota.id, key);
        let extra = match per_second {
            Some(rate) if !shadow => {
                self.ledger
                    .size(counter, client, limit, quota.lease, rate, now)
            }
            _ => 0,
        };
        Want {
            quota,
            key,
            limit,
            cost,
            extra,
            shadow,
            counter,
        }
    }

    async fn spend(
        &self,
        wants: &[Want<'_>],
        client: &str,
        dedup_id: &str,
        until: Instant,
    ) -> Vec<Taken> {
        let mut taken = vec![nothing(Outcome::Granted); wants.len()];
        let mut stores: Vec<usize> = Vec::new();
        for want in wants.iter().filter(|want| want.is_taken()) {
            if !want.shadow && !stores.contains(&want.quota.store) {
                stores.push(want.quota.store);
            }
        }
        for (position, store) in stores.iter().enumerate() {
            let here: Vec<usize> = (0..wants.len())
                .filter(|at| {
                    wants[*at].is_taken() && !wants[*at].shadow && wants[*at].quota.store == *store
                })
                .collect();
            if !self
                .take_from(
                    *store, &here, wants, &mut taken, client, dedup_id, "take", until,
                )
                .await
            {
                self.give_back(
                    &stores[..position],
                    wants,
                    &mut taken,
                    client,
                    dedup_id,
                    until,
                )
                .await;
                return taken;
            }
        }
        for at in (0..wants.len()).filter(|at| wants[*at].is_taken() && wants[*at].shadow) {
            let part = format!("shadow {at}");
            let store = wants[at].quota.store;
            self.take_from(
                store,
                &[at],
                wants,
                &mut taken,
                client,
                dedup_id,
                &part,
                until,
            )
            .await;
        }
        let now = self.clock.now();
        for (want, taken) in wants.iter().zip(&mut taken) {
            if taken.lease > 0 {
                taken.lease_for = LEASE_FOR.min(want.limit.window);
                self.ledger.grant(
                    want.counter,
                    client,
                    taken.lease,
                    now + taken.lease_for,
                    now,
                );
            }
        }
        taken
    }

    /// Takes the wants `here` from one store; whether the request still passes.
    #[allow(clippy::too_many_arguments)]
    async fn take_from(
        &self,
        store: usize,
        here: &[usize],
        wants: &[Want<'_>],
        taken: &mut [Taken],
        client: &str,
        dedup_id: &str,
        part: &str,
        until: Instant,
    ) -> bool {
        let asks: Vec<Ask<'_>> = here
            .iter()
            .map(|at| wants[*at].ask(wants[*at].cost, wants[*at].extra))
            .collect();
        let store = &self.snapshot.adapters[store];
        let within = until.since(self.clock.now());
        match store
            .allocate(&asks, &derived(client, dedup_id, part), within)
            .await
        {
            Ok(grants) => {
                let refused = grants.iter().any(|grant| grant.outcome == Granted::Refused);
                for (at, grant) in here.iter().zip(grants) {
                    taken[*at] = Taken {
                        outcome: match grant.outcome {
                            Granted::Granted => Outcome::Granted,
                            Granted::Refused => Outcome::Refused,
                        },
                        lease: if refused { 0 } else { grant.extra },
                        lease_for: Duration::ZERO,
                        retry_after: grant.retry_after,
                        remaining: grant.remaining,
                    };
                }
                !refused
            }
            Err(why) => {
                tracing::debug!(store = %store.name(), reason = %why.reason, "quota could not be counted");
                for at in here {
                    taken[*at] = Taken {
                        retry_after: Some(why.retry_after),
                        ..nothing(Outcome::Unavailable)
                    };
                }
                !here
                    .iter()
                    .any(|at| wants[*at].quota.on_error == QuotaOnError::Deny)
            }
        }
    }

    /// Undoes what was taken from `stores` for a request that another store refused.
    async fn give_back(
        &self,
        stores: &[usize],
        wants: &[Want<'_>],
        taken: &mut [Taken],
        client: &str,
        dedup_id: &str,
        until: Instant,
    ) {
        for &store in stores {
            let mut asks = Vec::new();
            for (want, taken) in wants.iter().zip(taken.iter_mut()) {
                if want.quota.store == store
                    && !want.shadow
                    && taken.outcome == Outcome::Granted
                    && want.is_taken()
                {
                    let all = want.cost.saturating_add_unsigned(taken.lease);
                    asks.push(want.ask(-all, 0));
                    taken.lease = 0;
                }
            }
            self.returned(store, &asks, &derived(client, dedup_id, "back"), until)
                .await;
        }
    }

    /// Gives back what a client held and did not spend, as far as it did hold it.
    async fn return_unused<'a>(
        &self,
        asks: impl Iterator<Item = (&'a QuotaAsk<'a>, &'a Want<'a>)>,
        client: &str,
        dedup_id: &str,
        until: Instant,
    ) {
        let now = self.clock.now();
        let mut back: Vec<(usize, Ask<'_>)> = Vec::new();
        for (ask, want) in asks {
            let said = ask.unused.saturating_add(if ask.cost < 0 {
                ask.cost.unsigned_abs()
            } else {
                0
            });
            let held = if said == 0 {
                0
            } else {
                self.ledger.give_back(want.counter, client, said, now)
            };
            if held > 0 {
                back.push((
                    want.quota.store,
                    want.ask(0i64.saturating_sub_unsigned(held), 0),
                ));
            }
        }
        back.sort_by_key(|(store, _)| *store);
        for of_store in back.chunk_by(|(a, _), (b, _)| a == b) {
            let asks: Vec<Ask<'_>> = of_store.iter().map(|(_, ask)| ask.clone()).collect();
            self.returned(
                of_store[0].0,
                &asks,
                &derived(client, dedup_id, "unused"),
                until,
            )
            .await;
        }
    }

    async fn returned(&self, store: usize, asks: &[Ask<'_>], dedup_id: &str, until: Instant) {
        if asks.is_empty() {
            return;
        }
        let store = &self.snapshot.adapters[store];
        let within = until.since(self.clock.now());
        if let Err(why) = store.allocate(asks, dedup_id, within).await {
            // Lost until its window passes: the limit holds, a little less may be spent.
            tracing::debug!(store = %store.name(), reason = %why.reason, "quota could not be given back");
        }
    }
}

/// One counter and what is wanted of it.
struct Want<'a> {
    quota: &'a Quota,
    key: &'a [String],
    limit: Limit,
    cost: i64,
    extra: u64,
    shadow: bool,
    counter: super::ledger::Counter,
}

impl<'a> Want<'a> {
    /// Whether the store is asked; what only gives back was given back before.
    fn is_taken(&self) -> bool {
        self.cost >= 0
    }

    fn ask(&self, cost: i64, extra: u64) -> Ask<'a> {
        Ask {
            quota: &self.quota.id,
            key: self.key,
            cost,
            limit: mixer_adapter::Limit {
                amount: self.limit.amount,
                window: self.limit.window,
            },
            algorithm: match self.quota.algorithm {
                mixer_documents::Algorithm::SlidingWindow => {
                    mixer_adapter::Algorithm::SlidingWindow
                }
                mixer_documents::Algorithm::Gcra { burst } => {
                    mixer_adapter::Algorithm::Gcra { burst }
                }
            },
            extra,
        }
    }
}

fn nothing(outcome: Outcome) -> Taken {
    Taken {
        outcome,
        lease: 0,
        lease_for: Duration::ZERO,
        retry_after: None,
        remaining: 0,
    }
}

/// The id of one call made for a request. None for requests without one: an empty id means no deduplication.
fn derived(client: &str, dedup_id: &str, part: &str) -> String {
    if dedup_id.is_empty() {
        String::new()
    } else {
        format!("{client}\0{dedup_id}\0{part}")
    }
}
