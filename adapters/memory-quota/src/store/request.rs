//! One request: its asks, the locks it needs, and what it takes.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use mixer_adapter::{Ask, Grant, Outcome, Over};
use mixer_runtime::{Clock, Instant};
use smallvec::SmallVec;

use super::{Bounds, Store, idle, shard_of};
use crate::config::Full;
use crate::counter::{Counter, Refusal, Terms};
use crate::families::Family;
use crate::shard::{Key, Shard};

/// When a key that found no room may ask again.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Something for each ask of a request, which seldom has more than two.
type Each<T> = SmallVec<[T; 2]>;

/// Takes all or nothing; what is given back is given back in any case.
pub(super) fn take(store: &Store, asks: &[Ask<'_>], bounds: Bounds, clock: &Clock) -> Vec<Grant> {
    let mut asked: Each<Asked> = asks.iter().map(|ask| Asked::new(store, ask)).collect();
    let mut held = Held::lock(store, &asked, clock);
    for ask in &mut asked {
        ask.home = held.settle(ask, bounds);
    }
    // Giving back is never refused, and what it frees may be taken by the same request.
    for ask in asked.iter().filter(|ask| ask.cost < 0) {
        held.give_back(ask);
    }
    let refusals: Each<_> = (0..asked.len())
        .map(|at| held.refusal(&asked, at))
        .collect();
    let grants = if refusals.iter().any(Option::is_some) {
        let refusals = held.count_refused(&mut asked, refusals);
        let refused = asked.iter().zip(refusals);
        refused
            .map(|(ask, refusal)| held.refused(ask, refusal))
            .collect()
    } else {
        for ask in &mut asked {
            held.spend(ask, ask.needs());
        }
        let extras: Each<u64> = asked.iter_mut().map(|ask| held.spend_extra(ask)).collect();
        let granted = asked.iter().zip(extras);
        granted
            .map(|(ask, extra)| held.granted(ask, extra))
            .collect()
    };
    held.release(&asked);
    grants
}

/// An ask, on its way to a grant.
#[derive(Debug)]
struct Asked {
    cost: i64,
    extra: u64,
    over: Over,
    age: Duration,
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
#[derive(Debug)]
struct Held<'a> {
    store: &'a Store,
    /// By number.
    shards: Each<(usize, MutexGuard<'a, Shard>)>,
    overflow: Option<MutexGuard<'a, HashMap<u32, Counter>>>,
    now: Instant,
}

impl Asked {
    fn new(store: &Store, ask: &Ask<'_>) -> Self {
        let terms = Terms::of(ask);
        let family = store.families.of(ask, &terms);
        let key = Key::new(family.number, ask.key);
        let hash = store.hash(key.encoded());
        Self {
            cost: ask.cost,
            extra: ask.extra,
            over: ask.over,
            age: ask.age,
            terms,
            family,
            key,
            hash,
            home: Home::Shard,
        }
    }

    fn shard(&self) -> usize {
        shard_of(self.hash)
    }

    /// Tokens it must get.
    fn needs(&self) -> u64 {
        u64::try_from(self.cost).unwrap_or(0)
    }

    /// Whether both ask the same counter.
    fn counts_with(&self, other: &Asked) -> bool {
        let shares = self.home == Home::Overflow && other.home == Home::Overflow;
        let same_key = self.hash == other.hash && self.key.encoded() == other.key.encoded();
        same_key || (shares && self.family.number == other.family.number)
    }
}

impl<'a> Held<'a> {
    /// Locks the shards of a request.
    fn lock(store: &'a Store, asked: &[Asked], clock: &Clock) -> Self {
        let mut numbers: Each<usize> = asked.iter().map(Asked::shard).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let lock = |number: usize| {
            (
                number,
                store.shards[number]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            )
        };
        let shards = numbers.into_iter().map(lock).collect();
        Self {
            store,
            shards,
            overflow: None,
            now: store.now(clock),
        }
    }

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
            counter.give_back(ask.cost.unsigned_abs(), ask.age, &ask.terms, now);
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
        if ask.over == Over::Owe {
            return None;
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

    /// Counts what is counted though the request is refused; why each ask is refused after that.
    fn count_refused(
        &mut self,
        asked: &mut [Asked],
        refusals: Each<Option<Refusal>>,
    ) -> Each<Option<Refusal>> {
        let counts = |ask: &Asked| ask.over == Over::Count && ask.home != Home::Nowhere;
        for ask in asked.iter_mut().filter(|ask| counts(ask)) {
            let tokens = ask.needs().min(self.countable(ask));
            self.spend(ask, tokens);
        }
        let after = refusals.into_iter().enumerate().map(|(at, before)| {
            // What was counted makes the wait longer.
            before.and_then(|before| self.refusal(asked, at).or(Some(before)))
        });
        after.collect()
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

    fn countable(&mut self, ask: &Asked) -> u64 {
        let now = self.now.as_nanos();
        match self.counter(ask) {
            Some(counter) => counter.countable(&ask.terms, now),
            None => ask.terms.new_counter().countable(&ask.terms, now),
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
