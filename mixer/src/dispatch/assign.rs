//! Envoy's rate limit quota service: what an Envoy may let pass by itself until it reports again.
//!
//! An Envoy groups its requests into buckets, reports what it let pass of each every few seconds, and lets pass what it was
//! assigned. Every assignment is a lease of the quotas that apply to the bucket, by the rules of [`super::limits`]. There are two
//! ways to lease, since a report is late by seconds ([`lease::Way`]):
//!
//! - **Tokens**, where the window is long: a number of requests is taken from the store before it is assigned. A report charges
//!   what was spent, as of now, so that no request is counted for less than its window; what was not spent goes back in the same
//!   call as something new is taken. What is assigned is a bucket that does not refill.
//! - **A rate**, where the limit is whole again before an Envoy would have reported twice: shares of the limit are held like
//!   places under a concurrency limit, in the same store, and a share is a bucket that refills at its part of the rate.
//!
//! Either way the store has counted what is assigned before it is, so that any number of Mixers and Envoys together are assigned
//! no more than the limit. Counting each request instead would be exact and one question per request: that is the rate limit
//! service. Nothing here waits for time or knows messages: it is told what was reported, and says what to assign and when to
//! look again.

mod lease;
mod shares;
mod strategy;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::AttributeBag;
use mixer_documents::{Algorithm, Applicable, Quota, QuotaOnError};
use mixer_runtime::Instant;

use self::lease::{Lease, Offer, Way};
pub(crate) use self::shares::Shares;
pub(crate) use self::strategy::Strategy;
use super::ask::contained;
use super::installed::NotAsked;
use super::{Charge, Dispatcher, Why};

/// How often an Envoy reports. Its filter does so every five seconds, whatever `reporting_interval` says.
pub(crate) const TURN: Duration = Duration::from_secs(5);
/// How long an assignment is good; two reports may be lost.
pub(crate) const LIFE: Duration = Duration::from_secs(12);
/// A bucket without requests for so long is abandoned.
const IDLE: Duration = Duration::from_secs(60);
/// The soonest that a bucket which may pass nothing is looked at again.
const SOON: Duration = Duration::from_millis(250);

/// What one Envoy holds of one bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    shares: Arc<Shares>,
    leases: Vec<Lease>,
    strategy: Option<Strategy>,
    /// Tells one assignment of tokens from the next of the same size.
    serial: u32,
    /// Requests in a turn, passed or not.
    demand: f64,
    reported: Option<Instant>,
    used: Instant,
}

/// Requests since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) allowed: u64,
    pub(crate) denied: u64,
}

/// What becomes of a bucket.
#[derive(Debug)]
pub(crate) struct Assigned {
    /// `None`: it is abandoned.
    pub(crate) strategy: Option<Strategy>,
    /// Why nothing may pass, where nothing may.
    pub(crate) why: Option<Why>,
    /// When to look again, if no report comes before.
    pub(crate) again: Duration,
    /// Of each quota in shadow (policy and quota): how many of the requests that passed it would have let pass, and how many not.
    pub(crate) shadow: Vec<((usize, usize), u64, u64)>,
}

impl Usage {
    /// Both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            allowed: self.allowed.saturating_add(other.allowed),
            denied: self.denied.saturating_add(other.denied),
        }
    }

    fn total(self) -> u64 {
        self.allowed.saturating_add(self.denied)
    }
}

impl Bucket {
    /// One that nothing is known of, which shares counters with others by `shares`.
    pub(crate) fn new(shares: Arc<Shares>, now: Instant) -> Self {
        Self {
            shares,
            leases: Vec::new(),
            strategy: None,
            serial: 0,
            demand: 1.0,
            reported: None,
            used: now,
        }
    }

    /// Learns from a report. How long it is about is measured here: what the message says of it is not believed.
    fn learn(&mut self, usage: Usage, now: Instant) {
        let total = usage.total();
        let requests = total as f64;
        self.demand = match self.reported {
            None => requests.max(1.0),
            Some(before) => {
                let span = now.since(before).max(Duration::from_secs(1));
                let lately = requests * TURN.as_secs_f64() / span.as_secs_f64();
                // It rises at once and falls by halves.
                lately.max((self.demand + lately) / 2.0)
            }
        };
        self.reported = Some(now);
        if total > 0 {
            self.used = now;
        }
    }

    /// The lease of `charge`, held or new; and whether its terms are as they were.
    fn lease(&mut self, charge: &Charge, way: Way, algorithm: Algorithm) -> (Lease, bool) {
        let is_it = |lease: &Lease| lease.is_of(charge, way, &algorithm);
        match self.leases.iter().position(is_it) {
            Some(at) => {
                let mut lease = self.leases.swap_remove(at);
                let same = lease.adopt(charge, algorithm);
                (lease, same)
            }
            None => (Lease::new(charge, way, algorithm, &self.shares), false),
        }
    }
}

impl Dispatcher {
    /// Charges what `bucket` reported, if it did, and decides what it is assigned now. `bag` is what the bucket's id says.
    pub(crate) async fn assign(
        &self,
        applicable: &Applicable,
        bag: &AttributeBag<'_>,
        bucket: &mut Bucket,
        usage: Option<Usage>,
        left: Duration,
    ) -> Assigned {
        let now = self.clock.now();
        if let Some(usage) = usage {
            bucket.learn(usage, now);
        }
        let usage = usage.unwrap_or_default();
        let charges = match contained(|| self.charges_of(applicable, bag)) {
            Some(Ok(charges)) => charges,
            Some(Err(_)) | None => {
                self.release(std::mem::take(&mut bucket.leases), left).await;
                return self.deny(bucket, Why::Undetermined, None, Vec::new());
            }
        };
        let mut shadow = Vec::new();
        let mut changed = false;
        let mut leases = Vec::new();
        for charge in &charges {
            let Quota {
                algorithm, denied, ..
            } = *self.quota_of(charge);
            let way = Way::of(charge, &algorithm);
            if charge.shadow {
                shadow.extend(self.count_in_shadow(charge, way, usage, left).await);
            } else if charge.cost > 0 {
                let (mut lease, same) = bucket.lease(charge, way, algorithm);
                lease.spend(usage, denied);
                changed |= !same;
                leases.push((lease, charge));
            }
        }
        let gone = std::mem::take(&mut bucket.leases);
        changed |= !gone.is_empty();
        self.release(gone, left).await;
        if now.since(bucket.used) >= IDLE {
            let leases = leases.into_iter().map(|(lease, _)| lease).collect();
            self.release(leases, left).await;
            return Assigned {
                strategy: None,
                why: None,
                again: TURN,
                shadow,
            };
        }
        let offered = match changed || !self.keeps(bucket, &mut leases, left).await {
            true => Some(self.take_anew(bucket.demand, &mut leases, left).await),
            false => None,
        };
        bucket.leases = leases.into_iter().map(|(lease, _)| lease).collect();
        match offered {
            Some(Err(Nothing { why, retry_after })) => self.deny(bucket, why, retry_after, shadow),
            Some(Ok(offers)) => {
                bucket.serial = bucket.serial.wrapping_add(1);
                let strategy = Strategy::of(&offers, bucket.serial);
                bucket.assigned(strategy, shadow)
            }
            None => {
                let strategy = bucket.strategy.unwrap_or(Strategy::AllowAll);
                bucket.assigned(strategy, shadow)
            }
        }
    }

    fn deny(
        &self,
        bucket: &mut Bucket,
        why: Why,
        retry_after: Option<Duration>,
        shadow: Vec<((usize, usize), u64, u64)>,
    ) -> Assigned {
        let again = retry_after.unwrap_or(TURN).clamp(SOON, TURN);
        Assigned {
            why: Some(why),
            again,
            ..bucket.assigned(Strategy::DenyAll, shadow)
        }
    }

    /// Goes on with what is assigned, if that is enough for another turn and nobody else is short of it.
    async fn keeps(
        &self,
        bucket: &Bucket,
        leases: &mut [(Lease, &Charge)],
        left: Duration,
    ) -> bool {
        let tokens = matches!(bucket.strategy, Some(Strategy::Tokens { .. }));
        if leases.is_empty() {
            return bucket.strategy == Some(Strategy::AllowAll);
        }
        let enough = |(lease, _): &(Lease, &Charge)| lease.lasts(bucket.demand);
        if !tokens || !leases.iter().all(enough) {
            return false;
        }
        for (lease, charge) in leases.iter_mut() {
            if self.renew(lease, charge, left).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Settles what was held and takes anew, from all quotas or from none.
    async fn take_anew(
        &self,
        demand: f64,
        leases: &mut [(Lease, &Charge)],
        left: Duration,
    ) -> Result<Vec<Offer>, Nothing> {
        let mut offers = Vec::with_capacity(leases.len());
        let mut nothing = None;
        for (lease, charge) in leases.iter_mut() {
            match self.take_lease(lease, charge, demand, left).await {
                Ok(Ok(offer)) => offers.push(offer),
                // The others are settled all the same.
                Ok(Err(retry_after)) => {
                    nothing.get_or_insert(Nothing {
                        why: Why::Reached,
                        retry_after,
                    });
                }
                Err(NotAsked { retry_after, .. }) if charge.on_error == QuotaOnError::Deny => {
                    nothing.get_or_insert(Nothing {
                        why: Why::Unavailable,
                        retry_after: Some(retry_after),
                    });
                }
                Err(_) => {}
            }
        }
        if let Some(nothing) = nothing {
            for (lease, charge) in leases.iter_mut() {
                self.give_back_lease(lease, charge, u64::MAX, left).await;
            }
            return Err(nothing);
        }
        let most = offers.iter().filter_map(Offer::tokens).min();
        for (lease, charge) in leases.iter_mut() {
            // Beyond what the nearest quota lets pass nothing can be spent.
            if let Some(surplus) = lease.beyond(most) {
                self.give_back_lease(lease, charge, surplus, left).await;
            }
        }
        Ok(offers)
    }
}

/// Why a bucket may pass nothing.
struct Nothing {
    why: Why,
    retry_after: Option<Duration>,
}

impl Bucket {
    fn assigned(
        &mut self,
        strategy: Strategy,
        shadow: Vec<((usize, usize), u64, u64)>,
    ) -> Assigned {
        self.strategy = Some(strategy);
        Assigned {
            strategy: Some(strategy),
            why: None,
            // A report comes before, unless one is lost.
            again: TURN + TURN / 5,
            shadow,
        }
    }
}
