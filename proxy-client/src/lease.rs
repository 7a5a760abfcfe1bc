//! Quota held in advance, so that a request that is charged need not wait for Mixer.
//!
//! A *lease* is a number of tokens that a store has already counted as spent and that this client may hand out until the
//! lease ends. Mixer decides how many; it answers `max(1, min(2 % of the limit / clients, 100 ms of this client's rate))`,
//! and 1 is none at all. Two bounds follow for a counter, and both are what the design accepts for not asking each time:
//!
//! - **over**: tokens leave a store when they are leased and may be spent until the lease ends, so in one window requests
//!   may pass in excess of the limit by at most *clients x lease*. For this to hold a client never has more than one lease
//!   to spend: what a refill brings beyond that is *surplus*, which is not spent and goes back with the next refill.
//! - **under**: a request may be refused while others hold tokens they do not need: at most what the other clients hold,
//!   lease and surplus, and for at most a second of idleness, after which it is given back. What this client itself holds, is sent
//!   or sends back refuses nobody: a request that Mixer refuses meanwhile waits for it and tries once more.
//!
//! Tokens whose answer was lost (a try timed out, a client died) are spent as far as the store knows, until the lease ends.
//! That errs towards *under*.
//!
//! All threads share the counters. Taking is one hash lookup under one short lock; a request that is charged to several
//! counters takes from all or puts back. A refill starts when less than half is left, one at a time for each counter.

mod alone;
mod counter;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use mixer_runtime::{Clock, Instant, queue};
use tokio::sync::Notify;

use crate::wire::{Ask, Charge, CounterId, Grant, Outcome};
use counter::{Counter, Lot, Taken};

/// Counters of all quotas this client is charged for.
#[derive(Debug)]
pub(crate) struct Leases {
    shards: [Mutex<HashTable<Counter>>; SHARDS],
    hasher: RandomState,
    counters: AtomicUsize,
    most: usize,
    /// Asks for the background: refills, and charges of shadow quotas.
    background: queue::Sender<Waiting>,
    /// After this long without an answer a refill counts as lost.
    ask_timeout: Duration,
    /// Tokens arrived, here or at Mixer.
    arrived: Notify,
}

/// An ask that no request waits for.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) ask: Ask,
}

/// What a request still owes after what was held was taken.
#[derive(Debug)]
pub(crate) struct Bill {
    /// Charges paid from leases (index, and where the tokens came from); not kept when there is nothing to put back for.
    taken: Vec<(usize, Lot)>,
    /// Charges to ask Mixer for: index into the charges, and the ask.
    pub(crate) missing: Vec<(usize, Ask)>,
    /// Charges paid from leases.
    pub(crate) paid: u64,
}

/// A charge that cannot be paid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Index of the charge.
    pub(crate) at: usize,
    /// `None`: never, or nobody knows.
    pub(crate) retry_after: Option<Duration>,
}

/// What became of a charge to a shadow quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShadowCharge {
    /// It was counted, or is being counted.
    Passes,
    /// It would refuse.
    WouldRefuse,
}

const SHARDS: usize = 16;
/// A counter that is not charged for this long gives its tokens back; the sweep adds at most [`SWEEP`].
const IDLE: Duration = Duration::from_millis(500);
/// How often idle counters are looked for.
pub(crate) const SWEEP: Duration = Duration::from_millis(250);
/// A counter that holds nothing is forgotten after this long.
const FORGET: Duration = Duration::from_secs(10);

impl Leases {
    /// At most `most` counters; charges to others are asked for each time.
    pub(crate) fn new(
        most: usize,
        ask_timeout: Duration,
        background: queue::Sender<Waiting>,
    ) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
            counters: AtomicUsize::new(0),
            most,
            background,
            ask_timeout,
            arrived: Notify::new(),
        }
    }

    /// Takes what is held for the enforced ones of `charges`. All or nothing: on a refusal what was taken is put back.
    pub(crate) fn spend(&self, charges: &[Charge], now: Instant) -> Result<Bill, Refusal> {
        let mut bill = Bill {
            taken: Vec::new(),
            missing: Vec::new(),
            paid: 0,
        };
        let mut short = Vec::new();
        for (at, charge) in charges
            .iter()
            .enumerate()
            .filter(|(_, charge)| !charge.shadow)
        {
            match self.take(charge, now) {
                Taken::Paid(lot) => {
                    bill.paid += 1;
                    if charges.len() > 1 {
                        bill.taken.push((at, lot));
                    }
                }
                Taken::Short => short.push(at),
                Taken::Refused(retry_after) => {
                    self.put_back(bill, charges);
                    return Err(Refusal { at, retry_after });
                }
            }
        }
        // Only now: an ask takes surplus along, and must be sent.
        bill.missing = short
            .into_iter()
            .map(|at| (at, self.ask_for(&charges[at], now)))
            .collect();
        Ok(bill)
    }

    /// Charges a shadow quota without waiting: what is not held is asked for in the background, and the next request
    /// learns whether it was refused.
    pub(crate) fn spend_shadow(&self, charge: &Charge, now: Instant) -> ShadowCharge {
        match self.take(charge, now) {
            Taken::Paid(_) => ShadowCharge::Passes,
            Taken::Refused(_) => ShadowCharge::WouldRefuse,
            Taken::Short => {
                self.enqueue(self.ask_for(charge, now));
                ShadowCharge::Passes
            }
        }
    }

    /// Puts back what was taken for a request that does not pass.
    pub(crate) fn put_back(&self, bill: Bill, charges: &[Charge]) {
        for (at, lot) in bill.taken {
            let id = &charges[at].counter;
            if let Some(counter) = find(&mut self.shard(self.hash(id)), self.hash(id), id) {
                counter.put_back(lot);
            }
        }
    }

    /// Enters what Mixer answered to `ask`, sent at `sent`; `taken` is whether anything was taken at all (it is not when
    /// another ask of the request was refused).
    pub(crate) fn answered(
        &self,
        ask: &Ask,
        grant: &Grant,
        taken: bool,
        sent: Instant,
        now: Instant,
    ) {
        let hash = self.hash(&ask.counter);
        let mut shard = self.shard(hash);
        if grant.outcome == Outcome::Unknown {
            if let Ok(entry) = shard.find_entry(hash, |counter| counter.id == ask.counter) {
                entry.remove();
                self.counters.fetch_sub(1, Ordering::Relaxed);
            }
        } else if let Some(counter) = find(&mut shard, hash, &ask.counter) {
            counter.answered(ask, grant, taken, sent, now);
            let overflow = counter.overflow(now);
            drop(shard);
            self.arrived.notify_waiters();
            overflow.into_iter().for_each(|ask| self.enqueue(ask));
        }
    }

    /// Enters a grant that came with an answer to Check, asked at `sent`; `taken` as in [`Leases::answered`].
    pub(crate) fn granted(
        &self,
        charge: &Charge,
        grant: &Grant,
        taken: bool,
        sent: Instant,
        now: Instant,
    ) {
        let entered = self.with_counter(charge, now, |counter| {
            counter.spent(charge.cost, now);
            counter.enter(charge.cost, grant, taken, sent, now);
            counter.overflow(now)
        });
        let unused = || Ask {
            cost: 0,
            unused: grant.lease,
            ..Ask::plain(charge)
        };
        // What nobody can hold goes back.
        let back = entered.unwrap_or_else(|| (taken && grant.lease > 0).then(unused));
        back.into_iter().for_each(|ask| self.enqueue(ask));
    }

    /// What is left under the limit of `charge`, and until when all is there again; `None` where that is not known.
    pub(crate) fn left(&self, charge: &Charge, now: Instant) -> Option<(u64, Duration)> {
        let hash = self.hash(&charge.counter);
        find(&mut self.shard(hash), hash, &charge.counter)?.left(charge.amount, now)
    }

    /// `ask` has no answer.
    pub(crate) fn unanswered(&self, ask: &Ask) {
        let hash = self.hash(&ask.counter);
        if let Some(counter) = find(&mut self.shard(hash), hash, &ask.counter) {
            counter.unanswered(ask);
        }
        self.arrived.notify_waiters();
    }

    /// What `asks` gave back has arrived, or is lost.
    pub(crate) fn returned(&self, asks: &[Ask]) {
        for ask in asks {
            let hash = self.hash(&ask.counter);
            if let Some(counter) = find(&mut self.shard(hash), hash, &ask.counter) {
                counter.returned();
            }
        }
        self.arrived.notify_waiters();
    }

    /// Whether `refused`, which Mixer refused together with the other `charges`, may be paid soon with tokens that this client has, or
    /// that are on their way to it or from it: a store that counts them as spent refuses what asks beside them.
    pub(crate) fn may_pay_soon(&self, refused: &Charge, charges: &[Charge], now: Instant) -> bool {
        // What counts although it is refused is not sent twice.
        !charges.iter().any(|charge| charge.counts_denied)
            && self.is_so(refused, |counter| counter.may_pay_soon(refused.cost, now))
    }

    /// Waits until no tokens of `charge` are on their way. It ends soon: each such state does by itself.
    pub(crate) async fn settled(&self, charge: &Charge, clock: &Clock) {
        loop {
            let mut arrived = pin!(self.arrived.notified());
            arrived.as_mut().enable();
            let now = clock.now();
            if !self.is_so(charge, |counter| counter.is_in_transit(now)) {
                return;
            }
            // Who asked may be gone without a word.
            clock.within(self.ask_timeout, arrived).await;
        }
    }

    fn is_so(&self, charge: &Charge, of: impl FnOnce(&mut Counter) -> bool) -> bool {
        let hash = self.hash(&charge.counter);
        find(&mut self.shard(hash), hash, &charge.counter).is_some_and(of)
    }

    /// Whether `charge` fits in `percent` of its limit, counted by this client alone.
    pub(crate) fn fits_alone(&self, charge: &Charge, percent: u32, now: Instant) -> bool {
        self.with_counter(charge, now, |counter| {
            counter.fits_alone(charge, percent, now)
        })
        .unwrap_or(false)
    }

    /// The rates to tell with a Check: of those of `counters` that want a lease.
    pub(crate) fn rates(&self, counters: Vec<CounterId>, now: Instant) -> Vec<(CounterId, f64)> {
        let rate = |id: CounterId| {
            let hash = self.hash(&id);
            let rate =
                find(&mut self.shard(hash), hash, &id)?.rate_for_lease(self.ask_timeout, now)?;
            Some((id, rate))
        };
        counters.into_iter().filter_map(rate).collect()
    }

    /// What idle counters held, to be given back; forgets those that are of no more use.
    pub(crate) fn sweep(&self, now: Instant) -> Vec<Ask> {
        let mut unused = Vec::new();
        for shard in &self.shards {
            shard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|counter| {
                    let idle = counter.idle_for(now);
                    if idle >= IDLE {
                        unused.extend(counter.give_back(self.ask_timeout, now));
                    }
                    let keep = idle < FORGET || counter.remembers(now);
                    if !keep {
                        self.counters.fetch_sub(1, Ordering::Relaxed);
                    }
                    keep
                });
        }
        unused
    }

    /// Everything that is held, to be given back.
    pub(crate) fn drain(&self, now: Instant) -> Vec<Ask> {
        let mut unused = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            unused.extend(
                shard
                    .iter_mut()
                    .filter_map(|counter| counter.give_back(self.ask_timeout, now)),
            );
        }
        unused
    }

    fn take(&self, charge: &Charge, now: Instant) -> Taken {
        let taken = self.with_counter(charge, now, |counter| {
            let taken = counter.take(charge, now);
            let refill = matches!(taken, Taken::Paid(_))
                .then(|| counter.refill(charge, self.ask_timeout, now));
            (taken, refill.flatten())
        });
        let Some((taken, refill)) = taken else {
            return Taken::Short;
        };
        refill.into_iter().for_each(|ask| self.enqueue(ask));
        taken
    }

    fn ask_for(&self, charge: &Charge, now: Instant) -> Ask {
        self.with_counter(charge, now, |counter| {
            counter.ask_for(charge, self.ask_timeout, now)
        })
        .unwrap_or_else(|| Ask::plain(charge))
    }

    fn enqueue(&self, ask: Ask) {
        let again = ask.clone();
        if !self.background.offer(Waiting { ask }) {
            self.unanswered(&again);
        }
    }

    /// `None` when there is no room for another counter.
    fn with_counter<T>(
        &self,
        charge: &Charge,
        now: Instant,
        act: impl FnOnce(&mut Counter) -> T,
    ) -> Option<T> {
        let hash = self.hash(&charge.counter);
        let mut shard = self.shard(hash);
        if let Some(counter) = find(&mut shard, hash, &charge.counter) {
            counter.told(charge);
            return Some(act(counter));
        }
        if self.counters.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.counters.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let made = Counter::new(charge, now);
        let mut entry = shard.insert_unique(hash, made, |counter| self.hash(&counter.id));
        Some(act(entry.get_mut()))
    }

    fn hash(&self, id: &CounterId) -> u64 {
        self.hasher.hash_one(id)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<Counter>> {
        // The table inside uses the low bits and the top seven.
        self.shards[(hash >> 32) as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a>(
    shard: &'a mut HashTable<Counter>,
    hash: u64,
    id: &CounterId,
) -> Option<&'a mut Counter> {
    shard.find_mut(hash, |counter| counter.id == *id)
}
