//! What is asked of the store of a lease: in one call wherever nobody else may come between.

use std::time::Duration;

use mixer_adapter::{Algorithm as Counted, Ask, Grant, Outcome, Over};
use mixer_documents::{Algorithm, Quota};

use super::{LONG, Lease, Offer, SHORT, Way, signed, tokens_of};
use crate::dispatch::assign::{TURN, Usage, shares};
use crate::dispatch::installed::NotAsked;
use crate::dispatch::quota::ask_of;
use crate::dispatch::{Charge, Dispatcher, ask};

impl Dispatcher {
    pub(in crate::dispatch::assign) fn quota_of(&self, charge: &Charge) -> &Quota {
        &self.snapshot.set.policies[charge.place.0].quotas[charge.place.1]
    }

    /// What a store answers to the last of `asks`.
    async fn last(
        &self,
        quota: &Quota,
        asks: &[Ask<'_>],
        left: Duration,
    ) -> Result<Grant, NotAsked> {
        let store = &self.snapshot.adapters[quota.store];
        let until = self.clock.now() + ask::patience(left);
        let mut grants = store.allocate(asks, "", until).await?;
        Ok(grants.pop().expect("there are as many grants as asks"))
    }

    /// Gives back what `lease` holds, in one call with what `then` asks.
    async fn exchange(
        &self,
        lease: &Lease,
        quota: &Quota,
        then: Ask<'_>,
        left: Duration,
    ) -> Result<Grant, NotAsked> {
        if lease.held == 0 {
            return self.last(quota, &[then], left).await;
        }
        let age = self.clock.now().since(lease.since);
        let wall = self.clock.wall();
        let taken = wall.checked_sub(age).unwrap_or(wall);
        let back = Ask {
            age,
            ..lease.ask(quota, -signed(lease.held), taken)
        };
        self.last(quota, &[back, then], left).await
    }

    /// Charges what was spent as of now and goes on holding the rest.
    pub(in crate::dispatch::assign) async fn renew(
        &self,
        lease: &mut Lease,
        charge: &Charge,
        left: Duration,
    ) -> Result<(), NotAsked> {
        let now = self.clock.now();
        if lease.spent == 0 && now.since(lease.since) < lease.limit.window / 4 {
            return Ok(());
        }
        let quota = self.quota_of(charge);
        let all = signed(lease.held.max(lease.spent));
        let again = Ask {
            over: Over::Owe,
            ..lease.ask(quota, all, self.clock.wall())
        };
        self.exchange(lease, quota, again, left).await?;
        lease.held = lease.held.saturating_sub(lease.spent);
        (lease.spent, lease.since) = (0, now);
        Ok(())
    }

    /// Charges what was spent, and what was refused where that counts, gives the rest back; tokens left now.
    async fn settle(
        &self,
        lease: &mut Lease,
        quota: &Quota,
        left: Duration,
    ) -> Result<u64, NotAsked> {
        let spent = Ask {
            over: Over::Owe,
            ..lease.ask(quota, signed(lease.spent), self.clock.wall())
        };
        let free = self.exchange(lease, quota, spent, left).await?.remaining;
        (lease.held, lease.spent) = (0, 0);
        if lease.refused == 0 {
            return Ok(free);
        }
        let refused = Ask {
            over: Over::Count,
            ..lease.ask(quota, signed(lease.refused), self.clock.wall())
        };
        let free = self.last(quota, &[refused], left).await?.remaining;
        lease.refused = 0;
        Ok(free)
    }

    /// Settles and takes anew for a bucket that wants `demand` requests in a turn. `Ok(Err(..))`: there is nothing; when there may
    /// be.
    pub(in crate::dispatch::assign) async fn take_lease(
        &self,
        lease: &mut Lease,
        charge: &Charge,
        demand: f64,
        left: Duration,
    ) -> Result<Result<Offer, Option<Duration>>, NotAsked> {
        let quota = self.quota_of(charge);
        if lease.never_passes() {
            self.settle(lease, quota, left).await?;
            return Ok(Err(None));
        }
        let mut tokens = demand * lease.cost as f64;
        let grant = match lease.way {
            Way::Tokens => {
                let free = self.settle(lease, quota, left).await?;
                let slice = match lease.limit.window > LONG {
                    true => lease.limit.amount.div_ceil(10),
                    false => u64::MAX,
                };
                let part = shares::part(tokens, lease.share.others(), free, slice);
                let whole = part / lease.cost * lease.cost;
                let taking = Ask {
                    extra: whole.saturating_sub(lease.cost),
                    ..lease.ask(quota, signed(lease.cost), self.clock.wall())
                };
                let grant = self.last(quota, &[taking], left).await?;
                (lease.cost.saturating_add(grant.extra), grant)
            }
            Way::Rate => {
                tokens *= lease.limit.window.as_secs_f64() / TURN.as_secs_f64();
                let part = lease.part_of_limit(tokens);
                let taking = Ask {
                    extra: part - 1,
                    ..lease.ask(quota, 1, self.clock.wall())
                };
                let grant = self.exchange(lease, quota, taking, left).await?;
                (1 + grant.extra, grant)
            }
        };
        let (held, grant) = grant;
        lease.since = self.clock.now();
        lease.held = match grant.outcome {
            Outcome::Granted => held,
            Outcome::Refused => 0,
        };
        lease.wish(tokens);
        Ok(match grant.outcome {
            Outcome::Granted => Ok(lease.offer()),
            // What another bucket holds may come back with its next report.
            Outcome::Refused if lease.share.others().held > 0 => {
                Err(Some(grant.retry_after.unwrap_or(TURN).min(TURN)))
            }
            Outcome::Refused => Err(grant.retry_after),
        })
    }

    /// Gives back up to `tokens` of what is held. Where that fails, they stay counted until the bucket is settled.
    pub(in crate::dispatch::assign) async fn give_back_lease(
        &self,
        lease: &mut Lease,
        charge: &Charge,
        tokens: u64,
        left: Duration,
    ) {
        let tokens = tokens.min(lease.held.saturating_sub(lease.spent));
        if tokens == 0 {
            return;
        }
        let quota = self.quota_of(charge);
        let back = lease.ask(quota, -signed(tokens), self.clock.wall());
        if self.last(quota, &[back], left).await.is_ok() {
            lease.held -= tokens;
        }
    }

    /// Settles leases that end. Of a quota that is gone, what is held is forgotten when its window is over.
    pub(in crate::dispatch::assign) async fn release(&self, leases: Vec<Lease>, left: Duration) {
        for mut lease in leases {
            let Some((policy, quota)) = self.snapshot.quota(&lease.quota) else {
                continue;
            };
            let quota = &self.snapshot.set.policies[policy].quotas[quota];
            let kind = std::mem::discriminant::<Algorithm>;
            if lease.held + lease.spent > 0
                && kind(&quota.algorithm) == kind(&lease.algorithm)
                && let Err(why) = self.settle(&mut lease, quota, left).await
            {
                tracing::debug!(quota = %lease.quota, reason = %why.reason, "quota could not be settled");
            }
        }
    }

    /// Counts what passed with a quota in shadow: how many of the requests it would have let pass, and how many not.
    pub(in crate::dispatch::assign) async fn count_in_shadow(
        &self,
        charge: &Charge,
        way: Way,
        usage: Usage,
        left: Duration,
    ) -> Option<((usize, usize), u64, u64)> {
        if usage.allowed == 0 {
            return None;
        }
        if charge.cost == 0 {
            return Some((charge.place, usage.allowed, 0));
        }
        let quota = self.quota_of(charge);
        let wanted = usage.allowed.saturating_mul(tokens_of(charge));
        let ask = ask_of(quota, &charge.key, charge.limit, 0, &|| self.clock.wall());
        let parts = format!("{}\0parts", charge.quota);
        let ask = match way {
            Way::Tokens => ask,
            // What is reported at once passed over a turn: so many windows are counted as one.
            Way::Rate => {
                let nanos = charge.limit.window.as_nanos().max(1);
                let windows = u32::try_from(SHORT.as_nanos().div_ceil(nanos)).unwrap_or(u32::MAX);
                Ask {
                    quota: &parts,
                    limit: mixer_adapter::Limit {
                        amount: charge.limit.amount.saturating_mul(windows.into()),
                        window: charge.limit.window.saturating_mul(windows),
                    },
                    algorithm: Counted::SlidingWindow,
                    ..ask
                }
            }
        };
        let ask = Ask {
            extra: wanted.min(ask.limit.amount),
            ..ask
        };
        let passing = self.last(quota, &[ask], left).await.ok()?.extra / tokens_of(charge);
        Some((
            charge.place,
            passing,
            usage.allowed - passing.min(usage.allowed),
        ))
    }
}
