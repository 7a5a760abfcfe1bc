//! All counters, and how a request takes from several of them at once.
//!
//! Locks are taken in one order, so that requests cannot wait for each other in a circle: the part that remembers the
//! request's id, then the shards of its keys by number, then the overflow counters. Time is read once all are held: no
//! counter sees it run backwards.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mixer_adapter::{Algorithm, Ask, Grant, Outcome};
use mixer_runtime::{Clock, Instant};

use crate::config::Full;
use crate::counter::{Counter, Refusal, Terms};
use crate::dedup::{LONGEST_ID, Remembered};
use crate::families::{Families, Family};
use crate::shard::{Key, Shard};

/// Locks that requests contend for.
const SHARDS: usize = 64;

/// When a key that found no room may ask again.
const NO_ROOM: Duration = Duration::from_secs(1);

/// All counters; what survives a reload.
#[derive(Debug)]
pub(crate) struct Store {
    shards: [Mutex<Shard>; SHARDS],
    /// By family: what new keys share when there is no room for counters of their own.
    overflow: Mutex<HashMap<u32, Counter>>,
    families: Families,
    remembered: Remembered,
    hasher: foldhash::fast::RandomState,
    keys: AtomicUsize,
    overflows: AtomicU64,
}

/// What is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) keys: usize,
    pub(crate) full: Full,
}

/// An ask, on its way to a grant.
#[derive(Debug)]
struct Asked {
    cost: i64,
    extra: u64,
    terms: Terms,
    family: Arc<Family>,
    key: Key,
    hash: u64,
    home: Home,
}

/// Where an ask's counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// In its shard.
    Shard,
    /// Nowhere yet; room is reserved for it in its shard.
    Reserved,
    /// Nowhere yet, and the ask does not need it to be.
    Unneeded,
    /// It shares the overflow counter of its family.
    Overflow,
    /// There is no room, and that is a refusal.
    Nowhere,
}

/// The locks of one request.
struct Held<'a> {
    store: &'a Store,
    /// By number.
    shards: Vec<(usize, MutexGuard<'a, Shard>)>,
    overflow: Option<MutexGuard<'a, HashMap<u32, Counter>>>,
    now: Instant,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            overflow: Mutex::default(),
            families: Families::default(),
            remembered: Remembered::new(),
            hasher: foldhash::fast::RandomState::default(),
            keys: AtomicUsize::new(0),
            overflows: AtomicU64::new(0),
        }
    }

    /// Takes all or nothing; see [`mixer_adapter::Quota::allocate`].
    pub(crate) fn allocate(
        &self,
        asks: &[Ask<'_>],
        dedup_id: &str,
        bounds: Bounds,
        clock: &Clock,
    ) -> Vec<Grant> {
        if dedup_id.is_empty() || dedup_id.len() > LONGEST_ID {
            return self.take(asks, bounds, clock);
        }
        let digest = self.digest(asks);
        let mut part = self.remembered.part(self.hasher.hash_one(dedup_id));
        if let Some(grants) = part.recall(dedup_id, digest, clock.now()) {
            return grants;
        }
        let grants = self.take(asks, bounds, clock);
        part.remember(dedup_id, digest, &grants);
        grants
    }

    /// How many counters there are.
    pub(crate) fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// How often a new key found no room.
    pub(crate) fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// Removes the idle keys of part `part` of `parts`.
    pub(crate) fn sweep(&self, part: usize, parts: usize, now: Instant) {
        for shard in self.shards.iter().skip(part).step_by(parts) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let gone = shard.sweep(|key| self.hash(key), idle(&self.families, now));
            self.keys.fetch_sub(gone, Ordering::Relaxed);
        }
    }

    fn take(&self, asks: &[Ask<'_>], bounds: Bounds, clock: &Clock) -> Vec<Grant> {
        let mut asked: Vec<Asked> = asks.iter().map(|ask| self.asked(ask)).collect();
        let mut held = self.hold(&asked, clock);
        for ask in &mut asked {
            ask.home = held.settle(ask, bounds);
        }
        // Giving back is never refused, and what it frees may be taken by the same request.
        for ask in asked.iter().filter(|ask| ask.cost < 0) {
            held.give_back(ask);
        }
        let refusals: Vec<_> = (0..asked.len())
            .map(|at| held.refusal(&asked, at))
            .collect();
        let grants = if refusals.iter().any(Option::is_some) {
            let refused = asked.iter().zip(refusals);
            refused
                .map(|(ask, refusal)| held.refused(ask, refusal))
                .collect()
        } else {
            for ask in &mut asked {
                held.spend(ask, ask.needs());
            }
            let extras: Vec<u64> = asked.iter_mut().map(|ask| held.spend_extra(ask)).collect();
            let granted = asked.iter().zip(extras);
            granted
                .map(|(ask, extra)| held.granted(ask, extra))
                .collect()
        };
        held.release(&asked);
        grants
    }

    fn asked(&self, ask: &Ask<'_>) -> Asked {
        let terms = Terms::of(ask);
        let family = self.families.of(ask, &terms);
        let key = Key::new(family.number, ask.key);
        let hash = self.hash(key.encoded());
        Asked {
            cost: ask.cost,
            extra: ask.extra,
            terms,
            family,
            key,
            hash,
            home: Home::Shard,
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Locks the shards of a request.
    fn hold(&self, asked: &[Asked], clock: &Clock) -> Held<'_> {
        let mut numbers: Vec<usize> = asked.iter().map(Asked::shard).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let lock = |number: usize| {
            (
                number,
                self.shards[number]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            )
        };
        let shards = numbers.into_iter().map(lock).collect();
        Held {
            store: self,
            shards,
            overflow: None,
            now: clock.now(),
        }
    }

    /// What was asked, to tell a retry from another request under the same id.
    fn digest(&self, asks: &[Ask<'_>]) -> u64 {
        let mut digest = self.hasher.build_hasher();
        for ask in asks {
            (ask.quota, ask.key, ask.cost, ask.extra).hash(&mut digest);
            matches!(ask.algorithm, Algorithm::SlidingWindow).hash(&mut digest);
        }
        digest.finish()
    }
}

impl Asked {
    fn shard(&self) -> usize {
        // The table within the shard uses the lowest and the highest seven bits.
        (self.hash >> 32) as usize % SHARDS
    }

    /// Tokens it must get.
    fn needs(&self) -> u64 {
        u64::try_from(self.cost).unwrap_or(0)
    }
}

impl Held<'_> {
    fn shard(&mut self, ask: &Asked) -> &mut Shard {
        let at = self
            .shards
            .binary_search_by_key(&ask.shard(), |(number, _)| *number);
        &mut self.shards[at.expect("every shard of the request is locked")].1
    }

    /// Decides where the ask's counter is, and reserves room for a new one.
    fn settle(&mut self, ask: &Asked, bounds: Bounds) -> Home {
        if self.shard(ask).find(ask.hash, &ask.key).is_some() {
            return Home::Shard;
        }
        if ask.needs() == 0 && ask.extra == 0 {
            return Home::Unneeded;
        }
        if self.reserve(bounds) {
            return Home::Reserved;
        }
        let (now, store) = (self.now, self.store);
        let gone = self.shard(ask).make_room(now, idle(&store.families, now));
        store.keys.fetch_sub(gone, Ordering::Relaxed);
        if self.reserve(bounds) {
            return Home::Reserved;
        }
        store.overflows.fetch_add(1, Ordering::Relaxed);
        match bounds.full {
            Full::Deny => Home::Nowhere,
            Full::Share => {
                let overflow = &store.overflow;
                self.overflow
                    .get_or_insert_with(|| overflow.lock().unwrap_or_else(PoisonError::into_inner));
                Home::Overflow
            }
        }
    }

    fn reserve(&self, bounds: Bounds) -> bool {
        let one_more = |keys: usize| (keys < bounds.keys).then_some(keys + 1);
        self.store
            .keys
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Gives back the room that was reserved and not used.
    fn release(&mut self, asked: &[Asked]) {
        let unused = asked
            .iter()
            .filter(|ask| ask.home == Home::Reserved)
            .count();
        self.store.keys.fetch_sub(unused, Ordering::Relaxed);
    }

    fn counter(&mut self, ask: &Asked) -> Option<&mut Counter> {
        match ask.home {
            Home::Shard | Home::Reserved | Home::Unneeded => {
                self.shard(ask).find_mut(ask.hash, &ask.key)
            }
            Home::Overflow => self.overflow.as_mut()?.get_mut(&ask.family.number),
            Home::Nowhere => None,
        }
    }

    fn give_back(&mut self, ask: &Asked) {
        let now = self.now.as_nanos();
        if let Some(counter) = self.counter(ask) {
            counter.give_back(ask.cost.unsigned_abs(), &ask.terms, now);
        }
    }

    /// Why the ask cannot be granted together with those before it that ask the same counter.
    fn refusal(&mut self, asked: &[Asked], at: usize) -> Option<Refusal> {
        let ask = &asked[at];
        if ask.needs() == 0 {
            return None;
        }
        if ask.home == Home::Nowhere {
            let early = Refusal::Early(NO_ROOM.as_nanos() as u64);
            return Some(if ask.terms.offers_ever(ask.needs()) {
                early
            } else {
                Refusal::Never
            });
        }
        let same = asked[..at].iter().filter(|other| other.counts_with(ask));
        let before = same.fold(0u64, |sum, other| sum.saturating_add(other.needs()));
        let (tokens, now) = (ask.needs().saturating_add(before), self.now.as_nanos());
        match self.counter(ask) {
            Some(counter) => counter.offers(tokens, &ask.terms, now).err(),
            None => ask
                .terms
                .new_counter()
                .offers(tokens, &ask.terms, now)
                .err(),
        }
    }

    /// Takes what was found to be there.
    fn spend(&mut self, ask: &mut Asked, tokens: u64) {
        let now = self.now.as_nanos();
        if tokens == 0 {
            return;
        }
        let longest = ask.family.longest();
        if let Some(counter) = self.counter(ask) {
            counter.take(tokens, &ask.terms, longest, now);
            return;
        }
        let mut counter = ask.terms.new_counter();
        counter.take(tokens, &ask.terms, longest, now);
        if ask.home == Home::Overflow {
            let overflow = self
                .overflow
                .as_mut()
                .expect("locked when the ask was sent there");
            overflow.insert(ask.family.number, counter);
            return;
        }
        let store = self.store;
        if ask.home != Home::Reserved {
            // It was idle when it was found, and went to make room for another key of the request.
            store.keys.fetch_add(1, Ordering::Relaxed);
        }
        let (rehash, now) = (|key: &[u8]| store.hash(key), self.now);
        let gone = self.shard(ask).insert(
            ask.hash,
            &ask.key,
            counter,
            rehash,
            idle(&store.families, now),
        );
        store.keys.fetch_sub(gone, Ordering::Relaxed);
        ask.home = Home::Shard;
    }

    /// Takes as many of the tokens beyond the cost as are free.
    fn spend_extra(&mut self, ask: &mut Asked) -> u64 {
        let extra = ask.extra.min(self.free(ask));
        self.spend(ask, extra);
        extra
    }

    fn free(&mut self, ask: &Asked) -> u64 {
        let now = self.now.as_nanos();
        match self.counter(ask) {
            Some(counter) => counter.free(&ask.terms, now),
            None if ask.home == Home::Nowhere => 0,
            None => ask.terms.new_counter().free(&ask.terms, now),
        }
    }

    fn granted(&mut self, ask: &Asked, extra: u64) -> Grant {
        let remaining = self.free(ask);
        Grant {
            outcome: Outcome::Granted,
            extra,
            remaining,
            retry_after: Some(Duration::ZERO),
        }
    }

    fn refused(&mut self, ask: &Asked, refusal: Option<Refusal>) -> Grant {
        let mut grant = self.granted(ask, 0);
        if let Some(refusal) = refusal {
            grant.outcome = Outcome::Refused;
            grant.retry_after = match refusal {
                // Never zero: that would be to ask again at once.
                Refusal::Early(nanos) => Some(Duration::from_nanos(nanos.max(1))),
                Refusal::Never => None,
            };
        }
        grant
    }
}

impl Asked {
    /// Whether both ask the same counter.
    fn counts_with(&self, other: &Asked) -> bool {
        let shares = self.home == Home::Overflow && other.home == Home::Overflow;
        let same_key = self.hash == other.hash && self.key.encoded() == other.key.encoded();
        same_key || (shares && self.family.number == other.family.number)
    }
}

/// Whether a counter has nothing to remember.
fn idle(families: &Families, now: Instant) -> impl Fn(u32, &Counter) -> bool {
    let families = families.snapshot();
    move |family, counter| counter.is_idle(families.longest(family), now.as_nanos())
}

#[cfg(test)]
mod tests;
