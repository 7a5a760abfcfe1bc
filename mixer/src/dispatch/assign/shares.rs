//! Who shares a counter on this Mixer, and what is whose part.
//!
//! Parts follow what buckets were seen to want, passed or not. Like the ledger of proxies' leases this is a hint and not the
//! count: the store keeps the limit, also against other Mixers, whose buckets are not known here.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// All counters that buckets hold leases on.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    hasher: RandomState,
    next: AtomicU64,
    counters: Mutex<HashMap<u64, BTreeMap<u64, Wish>>>,
}

/// What one bucket holds, and would hold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wish {
    /// Tokens it spends in a turn.
    pub(super) demand: f64,
    /// Tokens it holds.
    pub(super) held: u64,
    /// It got less than it spends.
    pub(super) short: bool,
}

/// A bucket's place among those that share a counter, given up when dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    counter: u64,
    id: u64,
}

impl Shares {
    /// A place at the counter of `quota` for `key`.
    pub(super) fn join(self: &Arc<Self>, quota: &str, key: &[String]) -> Share {
        Share {
            shares: self.clone(),
            counter: self.hasher.hash_one((quota, key)),
            id: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Share {
    /// Says what the bucket holds and wants now.
    pub(super) fn set(&self, wish: Wish) {
        let mut counters = self.shares.lock();
        counters
            .entry(self.counter)
            .or_default()
            .insert(self.id, wish);
    }

    /// The others together.
    pub(super) fn others(&self) -> Wish {
        let counters = self.shares.lock();
        let wishes = counters.get(&self.counter).into_iter().flatten();
        let others = wishes.filter(|(id, _)| **id != self.id);
        others.fold(Wish::default(), |sum, (_, wish)| Wish {
            demand: sum.demand + wish.demand,
            held: sum.held.saturating_add(wish.held),
            short: sum.short || wish.short,
        })
    }
}

impl Shares {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, BTreeMap<u64, Wish>>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counters = self.shares.lock();
        if let Some(wishes) = counters.get_mut(&self.counter) {
            wishes.remove(&self.id);
            if wishes.is_empty() {
                counters.remove(&self.counter);
            }
        }
    }
}

/// How many of the tokens that are there a bucket gets: its part by demand of `free` and of what the others hold. Of that it
/// gets two turns' demand, and half in any case: what nobody wants is best held where a burst may come, and half of it is left
/// for who comes next. `slice` bounds that half.
pub(super) fn part(demand: f64, others: Wish, free: u64, slice: u64) -> u64 {
    let whole = free.saturating_add(others.held) as f64;
    let fair = whole * demand / (demand + others.demand);
    let wanted = (fair / 2.0).min(slice as f64).max(2.0 * demand);
    // Casts of floats saturate.
    (fair.min(wanted).ceil() as u64).min(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(demand: f64, held: u64) -> Wish {
        Wish {
            demand,
            held,
            short: false,
        }
    }

    #[test]
    fn a_part_is_fair_by_demand_and_at_least_half_of_it() {
        let alone = others(0.0, 0);
        for (demand, others, free, slice, expected) in [
            (1.0, alone, 20, 100, 10),
            (30.0, alone, 20, 100, 20),
            (7.0, alone, 20, 100, 14),
            (1.0, alone, 1, 100, 1),
            (1.0, alone, 0, 100, 0),
            (1.0, alone, 10_000, 100, 100),
            (90.0, alone, 10_000, 100, 180),
            (30.0, others(10.0, 0), 20, 100, 15),
            (10.0, others(30.0, 20), 20, 100, 10),
            // More than is there nobody gets.
            (10.0, others(10.0, 40), 4, 100, 4),
            (1e300, alone, u64::MAX, u64::MAX, u64::MAX),
        ] {
            assert_eq!(
                part(demand, others, free, slice),
                expected,
                "{demand} beside {others:?} of {free}"
            );
        }
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let shares = Arc::new(Shares::default());
        let (a, b) = (shares.join("q", &[]), shares.join("q", &[]));
        let other = shares.join("q", &["k".to_owned()]);
        for (share, held) in [(&a, 3), (&b, 4), (&other, 5)] {
            share.set(others(1.0, held));
        }
        assert_eq!((a.others().held, b.others().held), (4, 3));
        drop(b);
        assert_eq!(a.others().held, 0);
        drop((a, other));
        assert!(shares.lock().is_empty());
    }
}
