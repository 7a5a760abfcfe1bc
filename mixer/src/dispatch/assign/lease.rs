//! One quota as a bucket holds it: taken from the store before it is assigned, settled when a report says what was spent.

mod settle;

use std::sync::Arc;
use std::time::Duration;

use mixer_adapter::{Algorithm as Counted, Ask};
use mixer_documents::{Algorithm, Denied, Limit, Quota};
use mixer_runtime::Instant;

use super::shares::{self, Share, Shares, Wish};
use super::{LIFE, TURN, Usage};
use crate::dispatch::Charge;
use crate::dispatch::quota::ask_of;

/// A limit that is whole again sooner than this is leased as a rate.
const SHORT: Duration = Duration::from_secs(4 * TURN.as_secs());
/// Under a limit on a longer window, what is held beyond demand is at most a tenth of it: what is lost with a stream counts as
/// spent until its window is over.
const LONG: Duration = Duration::from_secs(600);

/// How a quota is leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Requests are taken from its counter.
    Tokens,
    /// Parts of its limit are held.
    Rate,
}

/// What a bucket holds of one quota.
#[derive(Debug)]
pub(super) struct Lease {
    quota: Arc<str>,
    /// Names the counter of parts that are held. No quota of a document is called so.
    parts: String,
    key: Vec<String>,
    way: Way,
    algorithm: Algorithm,
    limit: Limit,
    /// Tokens of a request.
    cost: u64,
    /// Tokens that the store counts for what is assigned; as a rate, tokens in a window.
    held: u64,
    /// Of these and beyond, what was spent and the store has not been told.
    spent: u64,
    /// What was refused and counts all the same, and the store has not been told.
    refused: u64,
    since: Instant,
    share: Share,
}

/// What passes under one quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// So many requests.
    Tokens(u64),
    /// `burst` requests at once, and `fill` in so many seconds.
    Rate { burst: u64, fill: u64, every: u64 },
}

impl Way {
    pub(super) fn of(charge: &Charge, algorithm: &Algorithm) -> Self {
        let Limit { amount, window } = charge.limit;
        let whole_again = match algorithm {
            Algorithm::Gcra { burst } => {
                window.as_secs_f64() * *burst as f64 / amount.max(1) as f64
            }
            _ => window.as_secs_f64(),
        };
        match whole_again < SHORT.as_secs_f64() {
            true => Way::Rate,
            false => Way::Tokens,
        }
    }
}

impl Offer {
    /// Requests, where they are counted.
    pub(super) fn tokens(&self) -> Option<u64> {
        match self {
            Offer::Tokens(requests) => Some(*requests),
            Offer::Rate { .. } => None,
        }
    }
}

impl Lease {
    /// One that holds nothing.
    pub(super) fn new(
        charge: &Charge,
        way: Way,
        algorithm: Algorithm,
        shares: &Arc<Shares>,
    ) -> Self {
        Self {
            quota: charge.quota.clone(),
            parts: format!("{}\0parts", charge.quota),
            key: charge.key.clone(),
            way,
            algorithm,
            limit: charge.limit,
            cost: tokens_of(charge),
            held: 0,
            spent: 0,
            refused: 0,
            since: Instant::from_nanos(0),
            share: shares.join(&charge.quota, &charge.key),
        }
    }

    /// Whether it is on that counter.
    pub(super) fn is_of(&self, charge: &Charge, way: Way, algorithm: &Algorithm) -> bool {
        let kind = std::mem::discriminant::<Algorithm>;
        self.quota == charge.quota
            && self.key == charge.key
            && self.way == way
            && kind(&self.algorithm) == kind(algorithm)
    }

    /// Goes on under the terms of `charge`; whether they are as before.
    pub(super) fn adopt(&mut self, charge: &Charge, algorithm: Algorithm) -> bool {
        let terms = (charge.limit, tokens_of(charge), algorithm);
        let same = (self.limit, self.cost, self.algorithm) == terms;
        (self.limit, self.cost, self.algorithm) = terms;
        same
    }

    /// Requests passed, or did not. What is said of more than was assigned and the whole limit is not believed: it would be owed
    /// for ever.
    pub(super) fn spend(&mut self, usage: Usage, denied: Denied) {
        if self.way == Way::Rate {
            return;
        }
        let most = self.held.saturating_add(self.limit.amount);
        let tokens = |requests: u64| requests.saturating_mul(self.cost);
        self.spent = self.spent.saturating_add(tokens(usage.allowed)).min(most);
        if denied == Denied::Counts {
            self.refused = tokens(usage.denied).min(self.limit.amount);
        }
    }

    /// A request costs more than there can be at once.
    fn never_passes(&self) -> bool {
        let most = match self.algorithm {
            Algorithm::Gcra { burst } => burst,
            _ => self.limit.amount,
        };
        self.cost > most
    }

    /// Whether what is left is enough for another turn, and nobody else is short.
    pub(super) fn lasts(&self, demand: f64) -> bool {
        let left = self.held.saturating_sub(self.spent);
        let turn = ((demand * self.cost as f64).ceil() as u64).max(self.cost);
        self.way == Way::Tokens && left >= turn && !self.share.others().short
    }

    /// Tokens held beyond what `most` requests cost.
    pub(super) fn beyond(&self, most: Option<u64>) -> Option<u64> {
        let surplus = self.held.saturating_sub(most?.saturating_mul(self.cost));
        (self.way == Way::Tokens && surplus > 0).then_some(surplus)
    }

    /// What is held, as requests.
    fn offer(&self) -> Offer {
        let requests = |tokens: u64| (tokens / self.cost).max(1);
        if self.way == Way::Tokens {
            return Offer::Tokens(self.held / self.cost);
        }
        let Limit { amount, window } = self.limit;
        let burst = match self.algorithm {
            Algorithm::Gcra { burst } => product(burst, self.held, amount.max(1)),
            _ => self.held,
        };
        let nanos = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX).max(1);
        let every = nanos.div_ceil(1_000_000_000);
        let per_request = nanos.saturating_mul(self.cost);
        let fill = product(self.held, every.saturating_mul(1_000_000_000), per_request);
        let (fill, every) = match fill {
            0 => (
                1,
                product(per_request, 1, self.held.max(1)).div_ceil(1_000_000_000),
            ),
            fill => (fill, every),
        };
        Offer::Rate {
            burst: requests(burst),
            fill,
            every: every.max(1),
        }
    }

    /// The part of the limit it should hold: where that is much as before, what it holds, since another part begins with a burst.
    fn part_of_limit(&self, demand: f64) -> u64 {
        let others = self.share.others();
        let whole = Wish { held: 0, ..others };
        let part = shares::part(demand, whole, self.limit.amount, u64::MAX).max(1);
        let much_as_before = part.abs_diff(self.held) <= self.held / 4;
        match much_as_before && !others.short {
            true => self.held,
            false => part,
        }
    }

    /// What is asked about its counter.
    fn ask<'a>(&'a self, quota: &'a Quota, cost: i64, at: std::time::SystemTime) -> Ask<'a> {
        let ask = ask_of(quota, &self.key, self.limit, cost, &|| at);
        match self.way {
            Way::Tokens => ask,
            Way::Rate => Ask {
                quota: &self.parts,
                limit: mixer_adapter::Limit {
                    amount: self.limit.amount,
                    window: LIFE,
                },
                algorithm: Counted::Concurrency { hold: LIFE },
                ..ask
            },
        }
    }

    fn wish(&self, demand: f64) {
        self.share.set(Wish {
            demand,
            held: self.held,
            short: (self.held as f64) < demand,
        });
    }
}

/// `a * b / c`, rounded down.
fn product(a: u64, b: u64, c: u64) -> u64 {
    u64::try_from(u128::from(a) * u128::from(b) / u128::from(c)).unwrap_or(u64::MAX)
}

fn tokens_of(charge: &Charge) -> u64 {
    charge.cost.unsigned_abs().max(1)
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
