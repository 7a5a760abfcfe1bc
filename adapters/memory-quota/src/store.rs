//! All counters, and how a request takes from several of them at once.
//!
//! Locks are taken in one order, so that requests cannot wait for each other in a circle: the part that remembers the
//! request's id, then the shards of its keys by number, then the overflow counters. Time is read once all are held: no
//! counter sees it run backwards.

mod counters;
mod request;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use mixer_adapter::{Ask, Grant};
use mixer_runtime::{Clock, Instant};

use crate::config::Full;
use crate::counter::{Counter, Kind};
use crate::dedup::{LONGEST_ID, Remembered};
use crate::families::Families;
use crate::shard::Shard;

/// Locks that requests contend for.
const SHARDS: usize = 128;

/// All counters; what survives a reload.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) shards: [Mutex<Shard>; SHARDS],
    /// By family: what new keys share when there is no room for counters of their own.
    pub(crate) overflow: Mutex<HashMap<u32, Counter>>,
    pub(crate) families: Families,
    remembered: Remembered,
    hasher: foldhash::fast::RandomState,
    pub(crate) keys: AtomicUsize,
    overflows: AtomicU64,
    /// Whether it was in force before.
    pub(crate) started: AtomicBool,
    /// By how much its time is ahead of the clock, in nanoseconds, around the end of the numbers if it is behind: a restored store's time goes on where it was.
    pub(crate) ahead: AtomicU64,
}

/// What is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) keys: usize,
    pub(crate) full: Full,
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
            started: AtomicBool::new(false),
            ahead: AtomicU64::new(0),
        }
    }

    /// Now, by the store's own time, which every counter is in.
    pub(crate) fn now(&self, clock: &Clock) -> Instant {
        let ahead = self.ahead.load(Ordering::Relaxed);
        Instant::from_nanos(clock.now().as_nanos().wrapping_add(ahead))
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
            return request::take(self, asks, bounds, clock);
        }
        let digest = self.digest(asks);
        let mut part = self.remembered.part(self.hasher.hash_one(dedup_id));
        if let Some(grants) = part.recall(dedup_id, digest, self.now(clock)) {
            return grants;
        }
        let grants = request::take(self, asks, bounds, clock);
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
    pub(crate) fn sweep(&self, part: usize, parts: usize, clock: &Clock) {
        let now = self.now(clock);
        for shard in self.shards.iter().skip(part).step_by(parts) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let gone = shard.sweep(|key| self.hash(key), idle(&self.families, now));
            self.keys.fetch_sub(gone, Ordering::Relaxed);
        }
    }

    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// What was asked, to tell a retry from another request under the same id.
    fn digest(&self, asks: &[Ask<'_>]) -> u64 {
        let mut digest = self.hasher.build_hasher();
        for ask in asks {
            (ask.quota, ask.key, ask.cost, ask.extra, ask.over).hash(&mut digest);
            Kind::of(ask.algorithm).hash(&mut digest);
        }
        digest.finish()
    }
}

/// The shard of a key.
///
/// A table doubles when it is full, and is half empty then. Shards of one size would all double at the same time, and a key take
/// half as much memory again after as on average. So they are of unlike sizes, from one to two: the shard at `u` of 0..1 has
/// `2 / (2 - u)`. Then, whatever the number of keys, those that have doubled and those that have not make the same whole.
pub(crate) fn shard_of(hash: u64) -> usize {
    // The table within the shard uses the lowest and the highest seven bits.
    let share = f64::from((hash >> 24) as u32) / (f64::from(u32::MAX) + 1.0);
    // The shards up to `u` have this share of the keys: 1 - log2(2 - u).
    let at = 2.0 - (1.0 - share).exp2();
    ((at * SHARDS as f64) as usize).min(SHARDS - 1)
}

/// Whether a counter has nothing to remember.
pub(crate) fn idle(families: &Families, now: Instant) -> impl Fn(u32, &Counter) -> bool {
    let families = families.snapshot();
    move |family, counter| counter.is_idle(families.longest(family), now.as_nanos())
}

#[cfg(test)]
mod tests;
