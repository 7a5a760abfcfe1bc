//! One request's spending: what is asked of which store, in which order, and what is undone.
//!
//! Tries of one request carry one `dedup_id`. Every call made for it has an id of its own derived from that, giving back
//! included, so that a repeated try neither takes nor gives back twice.

use std::time::Duration;

use mixer_adapter::{Ask, Outcome as Granted};
use mixer_documents::{Limit, Quota, QuotaOnError};
use mixer_runtime::Instant;

use super::{Outcome, Taken};
use crate::dispatch::ledger::LEASE_FOR;
use crate::dispatch::{Dispatcher, Installed};

/// One counter and what is wanted of it.
pub(super) struct Want<'a> {
    pub(super) quota: &'a Quota,
    pub(super) key: &'a [String],
    pub(super) limit: Limit,
    /// Negative: it only gives back, which is done before.
    pub(super) cost: i64,
    /// What the client spends, if a lease is welcome.
    pub(super) per_second: Option<f64>,
    pub(super) shadow: bool,
}

/// Who spends, and until when stores are waited for.
pub(super) struct Spending<'a> {
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) client: &'a str,
    pub(super) dedup_id: &'a str,
    pub(super) until: Instant,
}

impl Spending<'_> {
    /// Takes all of `wants` or nothing; one outcome each, in order.
    pub(super) async fn spend(&self, wants: &[Want<'_>]) -> Vec<Taken> {
        let mut taken = vec![Taken::nothing(Outcome::Granted); wants.len()];
        let mut stores: Vec<usize> = Vec::new();
        for want in wants.iter().filter(|want| want.is_enforced()) {
            if !stores.contains(&want.quota.store) {
                stores.push(want.quota.store);
            }
        }
        for (position, store) in stores.iter().enumerate() {
            let of_store =
                |at: &usize| wants[*at].is_enforced() && wants[*at].quota.store == *store;
            let here: Vec<usize> = (0..wants.len()).filter(of_store).collect();
            if !self.take(*store, &here, wants, &mut taken, "take").await {
                self.undo(&stores[..position], wants, &mut taken).await;
                return taken;
            }
        }
        for at in (0..wants.len()).filter(|at| wants[*at].shadow && wants[*at].cost >= 0) {
            self.take(
                wants[at].quota.store,
                &[at],
                wants,
                &mut taken,
                &format!("shadow {at}"),
            )
            .await;
        }
        let Dispatcher { clock, ledger, .. } = self.dispatcher;
        let now = clock.now();
        for (want, taken) in wants
            .iter()
            .zip(&mut taken)
            .filter(|(_, taken)| taken.lease > 0)
        {
            taken.lease_for = LEASE_FOR.min(want.limit.window);
            let counter = ledger.counter(&want.quota.id, want.key);
            ledger.grant(
                counter,
                self.client,
                taken.lease,
                now + taken.lease_for,
                now,
            );
        }
        taken
    }

    /// Gives back the cost of each want, whoever took it.
    pub(super) async fn put_back(&self, wants: &[Want<'_>]) {
        let mut stores: Vec<usize> = wants.iter().map(|want| want.quota.store).collect();
        stores.sort_unstable();
        stores.dedup();
        for store in stores {
            let here = wants.iter().filter(|want| want.quota.store == store);
            let asks: Vec<Ask<'_>> = here.map(|want| want.ask(-want.cost, 0)).collect();
            self.give_back(store, &asks, "back").await;
        }
    }

    /// Gives back what the client says it did not use of each want, as far as it did hold it.
    pub(super) async fn give_back_unused(&self, wants: &[Want<'_>], unused: &[u64]) {
        let Dispatcher { clock, ledger, .. } = self.dispatcher;
        let now = clock.now();
        let mut back: Vec<(usize, Ask<'_>)> = Vec::new();
        for (want, unused) in wants.iter().zip(unused).filter(|(_, unused)| **unused > 0) {
            let counter = ledger.counter(&want.quota.id, want.key);
            let held = ledger.give_back(counter, self.client, *unused, now);
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
            self.give_back(of_store[0].0, &asks, "unused").await;
        }
    }

    /// Takes the wants `here` from one store; whether the request still passes.
    async fn take(
        &self,
        store: usize,
        here: &[usize],
        wants: &[Want<'_>],
        taken: &mut [Taken],
        part: &str,
    ) -> bool {
        let asks: Vec<Ask<'_>> = here
            .iter()
            .map(|at| wants[*at].ask(wants[*at].cost, self.lease(&wants[*at])))
            .collect();
        let store = &self.dispatcher.snapshot.adapters[store];
        match store
            .allocate(&asks, &self.call_id(part, store), self.left())
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
                        ..Taken::nothing(Outcome::Unavailable)
                    };
                }
                !here
                    .iter()
                    .any(|at| wants[*at].quota.on_error == QuotaOnError::Deny)
            }
        }
    }

    /// Gives back what was taken from `stores` for a request that another store refused.
    async fn undo(&self, stores: &[usize], wants: &[Want<'_>], taken: &mut [Taken]) {
        for &store in stores {
            let mut asks = Vec::new();
            for (want, taken) in wants.iter().zip(taken.iter_mut()) {
                if want.is_enforced()
                    && want.quota.store == store
                    && taken.outcome == Outcome::Granted
                {
                    let all = want
                        .cost
                        .saturating_add_unsigned(std::mem::take(&mut taken.lease));
                    asks.push(want.ask(-all, 0));
                }
            }
            self.give_back(store, &asks, "undo").await;
        }
    }

    async fn give_back(&self, store: usize, asks: &[Ask<'_>], part: &str) {
        if asks.is_empty() {
            return;
        }
        let store = &self.dispatcher.snapshot.adapters[store];
        if let Err(why) = store
            .allocate(asks, &self.call_id(part, store), self.left())
            .await
        {
            // Lost until its window passes: the limit holds, a little less may be spent.
            tracing::debug!(store = %store.name(), reason = %why.reason, "quota could not be given back");
        }
    }

    /// How much beyond its cost the client may hold.
    fn lease(&self, want: &Want<'_>) -> u64 {
        let Dispatcher { clock, ledger, .. } = self.dispatcher;
        match want.per_second {
            Some(rate) if !want.shadow => {
                let counter = ledger.counter(&want.quota.id, want.key);
                ledger.size(
                    counter,
                    self.client,
                    want.limit,
                    want.quota.lease,
                    rate,
                    clock.now(),
                )
            }
            _ => 0,
        }
    }

    fn left(&self) -> Duration {
        self.until.since(self.dispatcher.clock.now())
    }

    /// The id of one call made for the request; none for requests without one: an empty id means no deduplication.
    fn call_id(&self, part: &str, store: &Installed) -> String {
        let Self {
            client, dedup_id, ..
        } = self;
        if dedup_id.is_empty() {
            String::new()
        } else {
            format!("{client}\0{dedup_id}\0{part}\0{}", store.name())
        }
    }
}

impl<'a> Want<'a> {
    /// Whether it is taken and may be refused.
    fn is_enforced(&self) -> bool {
        !self.shadow && self.cost >= 0
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
