//! One counter as this client sees it: what it holds, what it was refused, how fast it spends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mixer_runtime::Instant;

use super::alone::Alone;
use crate::wire::{Ask, Charge, CounterId, Grant, Outcome};

/// Tokens that are good until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lot {
    pub(super) tokens: u64,
    pub(super) until: Instant,
}

/// What became of a charge.
#[derive(Debug)]
pub(super) enum Taken {
    /// Paid from what is held; putting the lot back undoes it.
    Paid(Lot),
    /// Not enough is held.
    Short,
    /// It was refused not long ago and cannot be granted before this has passed.
    Refused(Option<Duration>),
}

#[derive(Debug)]
pub(super) struct Counter {
    pub(super) id: CounterId,
    tier: Arc<str>,
    /// A refusal holds until it says.
    remembers: bool,
    /// To spend; the oldest first.
    lots: VecDeque<Lot>,
    /// Not to spend: what refills brought beyond one lease.
    surplus: Option<Lot>,
    /// Tokens of the last lease.
    lease: u64,
    /// While one ask for a lease is on its way.
    asking_until: Option<Instant>,
    /// While tokens that are given back are on their way.
    returning_until: Option<Instant>,
    refused: Option<Refused>,
    left: Option<Left>,
    rate: Rate,
    alone: Option<Alone>,
    last_used: Instant,
}

/// A cost of at least `cost` is refused until then.
#[derive(Debug)]
struct Refused {
    cost: u64,
    until: Instant,
    /// Until when that is believed without asking again.
    believed_until: Instant,
    /// Mixer did not say when it may be granted.
    for_ever: bool,
}

/// What Mixer last said is left.
#[derive(Clone, Copy, Debug)]
struct Left {
    tokens: u64,
    /// When all of it is there again, at the latest, if nothing more is spent.
    whole: Instant,
}

/// How fast tokens are spent: this second and the one before, the latter weighed by how much of it is still within a second.
#[derive(Debug)]
struct Rate {
    start: Instant,
    current: u64,
    previous: u64,
}

const SECOND: Duration = Duration::from_secs(1);
/// How long a refusal is answered here at most: a counter may be reset by hand, or its limit raised, before it told it would be free.
const BELIEVED: Duration = Duration::from_secs(5);
/// Lots held apart; more are joined, and are good as long as the shortest.
const MOST_LOTS: usize = 8;

impl Counter {
    pub(super) fn new(charge: &Charge, now: Instant) -> Self {
        Self {
            id: charge.counter.clone(),
            tier: charge.tier.clone(),
            remembers: charge.remembers_refusals(),
            lots: VecDeque::new(),
            surplus: None,
            lease: 0,
            asking_until: None,
            returning_until: None,
            refused: None,
            left: None,
            rate: Rate {
                start: now,
                current: 0,
                previous: 0,
            },
            alone: None,
            last_used: now,
        }
    }

    /// What the newest charge says of the counter.
    pub(super) fn told(&mut self, charge: &Charge) {
        if self.tier != charge.tier {
            self.tier = charge.tier.clone();
        }
        self.remembers = charge.remembers_refusals();
    }

    pub(super) fn take(&mut self, charge: &Charge, now: Instant) -> Taken {
        self.expire(now);
        // A cost of nothing is a peek: whoever holds tokens knows that the limit is not reached.
        if self.tokens() >= charge.cost.max(1) {
            self.spent(charge.cost, now);
            return Taken::Paid(self.remove(charge.cost, now));
        }
        if let Some(refused) = &self.refused
            && charge.cost >= refused.cost
        {
            self.last_used = now;
            return Taken::Refused((!refused.for_ever).then(|| refused.until.since(now)));
        }
        Taken::Short
    }

    /// The ask for a charge that what is held does not cover.
    pub(super) fn ask_for(&mut self, charge: &Charge, timeout: Duration, now: Instant) -> Ask {
        self.spent(charge.cost, now);
        let lease = charge.leased && self.may_ask(now);
        self.ask(charge.cost, lease, timeout, now)
    }

    /// An ask for more, when less than half of a lease is left.
    pub(super) fn refill(
        &mut self,
        charge: &Charge,
        timeout: Duration,
        now: Instant,
    ) -> Option<Ask> {
        let wanted = self.lease > 1 && charge.leased && self.wants_lease(now);
        wanted.then(|| self.ask(0, true, timeout, now))
    }

    /// The rate to tell with a Check, so that its answer brings a lease: only when one is wanted.
    pub(super) fn rate_for_lease(&mut self, timeout: Duration, now: Instant) -> Option<f64> {
        self.expire(now);
        let rate = self.rate(now);
        let wanted = rate > 0.0 && self.wants_lease(now);
        wanted.then(|| {
            self.asking_until = Some(now + timeout);
            rate
        })
    }

    /// Gives the surplus back when it is more than a lease.
    pub(super) fn overflow(&mut self, now: Instant) -> Option<Ask> {
        let surplus = self
            .surplus
            .take_if(|surplus| surplus.tokens > self.lease)?;
        Some(Ask {
            unused: surplus.tokens,
            ..self.ask(0, false, Duration::ZERO, now)
        })
    }

    /// Counts tokens that this client spends.
    pub(super) fn spent(&mut self, cost: u64, now: Instant) {
        self.last_used = now;
        self.rate.count(cost, now);
    }

    pub(super) fn put_back(&mut self, lot: Lot) {
        if lot.tokens > 0 {
            self.lots.push_front(lot);
            self.join();
        }
    }

    pub(super) fn answered(
        &mut self,
        ask: &Ask,
        grant: &Grant,
        taken: bool,
        sent: Instant,
        now: Instant,
    ) {
        if ask.lease {
            self.asking_until = None;
        }
        self.enter(ask.cost, grant, taken, sent, now);
    }

    pub(super) fn enter(
        &mut self,
        cost: u64,
        grant: &Grant,
        taken: bool,
        sent: Instant,
        now: Instant,
    ) {
        if let Outcome::Granted | Outcome::Refused = grant.outcome {
            self.left = Some(Left {
                tokens: grant.remaining,
                whole: now + grant.reset,
            });
        }
        match grant.outcome {
            Outcome::Granted => {
                self.refused = None;
                // Counted from when it was asked for: Mixer cannot have granted it earlier.
                let until = sent + grant.lease_for;
                if taken && grant.lease > 0 && until > now {
                    self.asking_until = None;
                    self.expire(now);
                    // A small grant, as a store makes near its limit, takes nothing away from what is held.
                    let most = self.tokens().max(grant.lease);
                    self.lots.push_back(Lot {
                        tokens: grant.lease,
                        until,
                    });
                    self.lease = grant.lease;
                    self.join();
                    self.set_aside(most);
                } else if taken && grant.lease == 0 {
                    self.lease = 0;
                }
            }
            Outcome::Refused if !self.remembers => {}
            Outcome::Refused => {
                let for_ever = grant.retry_after.is_none();
                let until = now + grant.retry_after.unwrap_or(SECOND);
                let smaller = self
                    .refused
                    .as_ref()
                    .is_some_and(|refused| refused.believed_until > now && refused.cost < cost);
                if until > now && !smaller {
                    self.refused = Some(Refused {
                        cost,
                        until,
                        believed_until: until.min(now + BELIEVED),
                        for_ever,
                    });
                }
            }
            Outcome::Unavailable | Outcome::Unknown => {}
        }
    }

    pub(super) fn unanswered(&mut self, ask: &Ask) {
        if ask.lease {
            self.asking_until = None;
        }
    }

    /// What was given back has arrived, or is lost: what was refused before may be granted.
    pub(super) fn returned(&mut self) {
        self.returning_until = None;
        self.refused = None;
    }

    /// Whether what is refused now may be paid with tokens that this client has, or is sent, or sends back.
    pub(super) fn may_pay_soon(&mut self, cost: u64, now: Instant) -> bool {
        self.expire(now);
        self.tokens() >= cost.max(1) || self.is_in_transit(now)
    }

    /// Whether tokens of this client are on their way, to it or from it.
    pub(super) fn is_in_transit(&mut self, now: Instant) -> bool {
        self.expire(now);
        self.asking_until.is_some() || self.returning_until.is_some()
    }

    pub(super) fn fits_alone(&mut self, charge: &Charge, percent: u32, now: Instant) -> bool {
        let share = (u128::from(charge.amount) * u128::from(percent) / 100) as u64;
        let alone = self
            .alone
            .get_or_insert_with(|| Alone::new(charge.window, now));
        if alone.window() != charge.window {
            *alone = Alone::new(charge.window, now);
        }
        alone.fits(charge.cost, share, now)
    }

    pub(super) fn rate(&mut self, now: Instant) -> f64 {
        self.rate.per_second(now)
    }

    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        now.since(self.last_used)
    }

    /// An ask that gives back everything held, if anything is.
    pub(super) fn give_back(&mut self, timeout: Duration, now: Instant) -> Option<Ask> {
        self.expire(now);
        let unused = self.tokens() + self.surplus.take().map_or(0, |lot| lot.tokens);
        self.lots.clear();
        (unused > 0).then(|| {
            self.returning_until = Some(now + timeout);
            Ask {
                unused,
                ..self.ask(0, false, Duration::ZERO, now)
            }
        })
    }

    /// Whether forgetting it would lose something.
    pub(super) fn remembers(&mut self, now: Instant) -> bool {
        self.expire(now);
        let counts_alone = self.alone.as_mut().is_some_and(|alone| alone.used(now) > 0);
        !self.lots.is_empty()
            || self.surplus.is_some()
            || self.refused.is_some()
            || self.is_in_transit(now)
            || counts_alone
    }

    /// What is left for callers of this client, and until when all is there again; `None` where Mixer never said.
    pub(super) fn left(&mut self, amount: u64, now: Instant) -> Option<(u64, Duration)> {
        self.expire(now);
        let left = self.left?;
        if left.whole <= now && self.lots.is_empty() {
            return Some((amount, Duration::ZERO));
        }
        let held = self.tokens() + self.surplus.map_or(0, |lot| lot.tokens);
        Some((left.tokens.saturating_add(held), left.whole.since(now)))
    }

    fn tokens(&self) -> u64 {
        self.lots.iter().map(|lot| lot.tokens).sum()
    }

    fn wants_lease(&self, now: Instant) -> bool {
        let low = self.tokens() < self.lease.max(1).div_ceil(2);
        low && self.refused.is_none() && self.may_ask(now)
    }

    fn may_ask(&self, now: Instant) -> bool {
        self.asking_until.is_none_or(|until| now >= until)
    }

    fn ask(&mut self, cost: u64, lease: bool, timeout: Duration, now: Instant) -> Ask {
        if lease {
            // Ends by itself, since the request that asks may be dropped.
            self.asking_until = Some(now + timeout);
        }
        let unused = if lease {
            self.surplus.take().map_or(0, |lot| lot.tokens)
        } else {
            0
        };
        let (counter, tier) = (self.id.clone(), self.tier.clone());
        Ask {
            counter,
            tier,
            cost,
            lease,
            per_second: self.rate(now),
            unused,
            freed: None,
            reserve: false,
        }
    }

    /// Takes tokens that are there, the oldest first.
    fn remove(&mut self, cost: u64, now: Instant) -> Lot {
        let mut removed = Lot {
            tokens: 0,
            until: self.lots.front().map_or(now, |lot| lot.until),
        };
        while removed.tokens < cost {
            let Some(lot) = self.lots.front_mut() else {
                break;
            };
            let part = lot.tokens.min(cost - removed.tokens);
            lot.tokens -= part;
            removed.tokens += part;
            removed.until = removed.until.min(lot.until);
            if lot.tokens == 0 {
                self.lots.pop_front();
            }
        }
        removed
    }

    fn expire(&mut self, now: Instant) {
        self.lots.retain(|lot| lot.until > now);
        self.surplus = self.surplus.filter(|lot| lot.until > now);
        let believed = |refused: &Refused| refused.believed_until > now;
        self.refused = self.refused.take().filter(believed);
        self.asking_until = self.asking_until.filter(|until| *until > now);
        self.returning_until = self.returning_until.filter(|until| *until > now);
    }

    fn join(&mut self) {
        while self.lots.len() > MOST_LOTS {
            let (Some(last), Some(before)) = (self.lots.pop_back(), self.lots.back_mut()) else {
                return;
            };
            before.tokens += last.tokens;
            before.until = before.until.min(last.until);
        }
    }

    /// Moves what is held beyond `most` to the surplus, the newest first.
    fn set_aside(&mut self, most: u64) {
        let mut beyond = self.tokens().saturating_sub(most);
        while beyond > 0 {
            let Some(lot) = self.lots.back_mut() else {
                return;
            };
            let part = lot.tokens.min(beyond);
            lot.tokens -= part;
            beyond -= part;
            let aside = Lot {
                tokens: part,
                until: lot.until,
            };
            if lot.tokens == 0 {
                self.lots.pop_back();
            }
            self.surplus = Some(match self.surplus {
                None => aside,
                Some(held) => Lot {
                    tokens: held.tokens + part,
                    until: held.until.min(aside.until),
                },
            });
        }
    }
}

impl Rate {
    fn count(&mut self, tokens: u64, now: Instant) {
        self.roll(now);
        self.current += tokens;
    }

    fn per_second(&mut self, now: Instant) -> f64 {
        self.roll(now);
        let passed = now.since(self.start).as_secs_f64();
        self.previous as f64 * (1.0 - passed) + self.current as f64
    }

    fn roll(&mut self, now: Instant) {
        let passed = now.since(self.start);
        if passed >= 2 * SECOND {
            *self = Self {
                start: now,
                current: 0,
                previous: 0,
            };
        } else if passed >= SECOND {
            *self = Self {
                start: self.start + SECOND,
                current: 0,
                previous: self.current,
            };
        }
    }
}
