//! Decisions by what they read.
//!
//! An answer of Mixer says what its decision read: the *references*. For one revision the decision is a function of the
//! request, and whoever decides again for a request that is equal on those references reads the same values in the same
//! order and ends the same way. So an answer is kept under its *shape* (its references, sorted) and the values the request
//! had there, and serves every request that has the same values there.
//!
//! Why the order in which shapes are tried does not matter: each kept answer is right, by itself, for every request it is
//! found for. Two answers found for one request under two shapes of one revision are both equal to the fresh decision, and
//! so to each other. This holds because an answer is kept under exactly the shape it came with; a cache that files an
//! answer under another shape that happens to fit, or that compares hashes instead of values, gives away that argument.
//!
//! Finding allocates nothing: the request's values are hashed where they lie, with a key nobody outside knows, and compared
//! in full with what is kept. (A whole map that was read is walked by its entries, which costs one list.) The price of
//! shapes is one lookup per shape tried, so a destination keeps 32 of them, the newest; what the request has is read and
//! hashed once for all of them.
//!
//! What is not kept: answers that were not about the announced revision, that read something this release has no number
//! for, whose presence bits differ from the request's (Mixer saw another request than we hold), that are good for one use or
//! no time, and denials for spent quota or for what could not be asked, which are no function of the request.

mod held;
mod shape;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use foldhash::quality::RandomState;
use mixer_attributes::AttributeBag;
use mixer_runtime::{Clock, Instant};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use crate::wire::{Charge, Decided};
use crate::{Answer, Because};
use held::Held;
use shape::{Listed, Shape};
pub(crate) use shape::{Reference, Shapes};

/// A kept answer takes at least this many bytes of the budget of [`CheckCache::new`].
const ENTRY_BYTES: u64 = 1_024;

/// Answers to Check, shared by all threads of a proxy.
#[derive(Debug)]
pub(crate) struct CheckCache {
    entries: Cache<Key, Arc<Entry>, Weight, RandomState, DefaultLifecycle<Key, Arc<Entry>>>,
    /// Its key is new for every process, so that nobody can prepare values that collide.
    hasher: RandomState,
    shapes_forgotten: AtomicU64,
}

/// A kept answer.
#[derive(Debug)]
pub(crate) struct Entry {
    /// With `cached` set.
    pub(crate) answer: Answer,
    pub(crate) charges: Arc<[Charge]>,
    until: Option<Instant>,
    uses: Option<AtomicU32>,
}

#[derive(Debug)]
struct Key {
    /// Stands for the revision of one destination; see [`crate::place::Place`].
    place: u64,
    shape: Arc<Shape>,
    values: Box<[Held]>,
    hash: u64,
}

struct Probe<'a> {
    place: u64,
    shape: &'a Arc<Shape>,
    bag: &'a AttributeBag<'a>,
    hash: u64,
}

#[derive(Clone, Debug)]
struct Weight;

impl CheckCache {
    /// Keeps up to `entries` answers; fewer when their values are large, so that memory stays below `entries` KiB.
    pub(crate) fn new(entries: usize) -> Self {
        let hasher = RandomState::default();
        let entries = Cache::with(
            entries,
            entries as u64 * ENTRY_BYTES,
            Weight,
            hasher.clone(),
            Default::default(),
        );
        Self {
            entries,
            hasher,
            shapes_forgotten: AtomicU64::new(0),
        }
    }

    /// The answer kept for a request like `bag`, which counts as one use of it.
    pub(crate) fn find(
        &self,
        place: u64,
        shapes: &Shapes,
        bag: &AttributeBag<'_>,
        clock: &Clock,
    ) -> Option<Arc<Entry>> {
        self.probe_each(place, shapes, bag, |probe| {
            self.entries.get(&probe).filter(|entry| entry.used(clock))
        })
    }

    /// Keeps an answer about the announced revision, asked at `asked`, if it may be used again.
    pub(crate) fn keep(
        &self,
        place: u64,
        shapes: &Shapes,
        bag: &AttributeBag<'_>,
        decided: &Decided,
        asked: Instant,
    ) -> Option<Arc<Entry>> {
        let uses = match decided.valid_uses {
            0 => None,
            1 => return None,
            bound => Some(AtomicU32::new(bound - 1)),
        };
        let until = match decided.valid_for {
            None => None,
            Some(none) if none.is_zero() => return None,
            Some(span) => Some(asked + span),
        };
        if matches!(
            decided.answer.because,
            Because::Quota | Because::Unavailable
        ) {
            return None;
        }
        let read = decided.read.as_deref()?;
        if read
            .iter()
            .any(|(reference, present)| reference.find(bag).is_present() != *present)
        {
            return None;
        }
        let (shape, forgot) = shapes.with(read.iter().map(|(reference, _)| reference.clone()));
        self.shapes_forgotten
            .fetch_add(u64::from(forgot), Ordering::Relaxed);
        let values: Box<[Held]> = shape
            .references()
            .map(|reference| reference.find(bag).hold())
            .collect();
        let hash = self.hash(
            place,
            &shape,
            shape
                .references()
                .map(|reference| self.digest(reference, bag)),
        );
        let answer = Answer {
            cached: true,
            ..decided.answer.clone()
        };
        let entry = Arc::new(Entry {
            answer,
            charges: decided.charges.clone(),
            until,
            uses,
        });
        self.entries.insert(
            Key {
                place,
                shape,
                values,
                hash,
            },
            entry.clone(),
        );
        Some(entry)
    }

    /// Forgets the answer a request like `bag` gets, so that Mixer is asked again.
    pub(crate) fn forget(&self, place: u64, shapes: &Shapes, bag: &AttributeBag<'_>) {
        self.probe_each(place, shapes, bag, |probe| {
            self.entries.remove(&probe);
            None::<()>
        });
    }

    /// Answers kept, those that will not be found any more included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Shapes that had to give way to newer ones.
    pub(crate) fn shapes_forgotten(&self) -> u64 {
        self.shapes_forgotten.load(Ordering::Relaxed)
    }

    /// What `visit` finds first for a request, the newest shape first.
    fn probe_each<T>(
        &self,
        place: u64,
        shapes: &Shapes,
        bag: &AttributeBag<'_>,
        mut visit: impl FnMut(Probe<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut digests = Digests::default();
        shapes.newest_first(|Listed { shape, positions }| {
            let references = shape.references().zip(positions);
            let digests =
                references.map(|(reference, at)| digests.at(*at, || self.digest(reference, bag)));
            let hash = self.hash(place, shape, digests);
            visit(Probe {
                place,
                shape,
                bag,
                hash,
            })
        })
    }

    fn digest(&self, reference: &Reference, bag: &AttributeBag<'_>) -> u64 {
        self.hasher.hash_one(reference.find(bag))
    }

    fn hash(&self, place: u64, shape: &Shape, digests: impl Iterator<Item = u64>) -> u64 {
        let mut state = self.hasher.build_hasher();
        state.write_u64(place);
        state.write_u64(shape.id());
        digests.for_each(|digest| state.write_u64(digest));
        state.finish()
    }
}

/// Digests of what a request has, by position; made when they are first needed.
#[derive(Default)]
struct Digests {
    held: [u64; 32],
    known: u32,
}

impl Digests {
    #[inline]
    fn at(&mut self, position: usize, make: impl FnOnce() -> u64) -> u64 {
        let Some(held) = self.held.get_mut(position) else {
            return make();
        };
        if self.known & (1 << position) == 0 {
            *held = make();
            self.known |= 1 << position;
        }
        *held
    }
}

impl Entry {
    /// Takes one use; false when there is none left.
    fn used(&self, clock: &Clock) -> bool {
        if self.until.is_some_and(|until| clock.now() >= until) {
            return false;
        }
        match &self.uses {
            None => true,
            Some(left) => left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok(),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for Probe<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && self.shape == other.shape && self.values == other.values
    }
}

impl Eq for Key {}

impl Equivalent<Key> for Probe<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.place == key.place
            && *self.shape == key.shape
            && self
                .shape
                .references()
                .zip(&key.values)
                .all(|(reference, held)| reference.find(self.bag).is(held))
    }
}

impl Weighter<Key, Arc<Entry>> for Weight {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        let held: usize = key.values.iter().map(Held::bytes).sum();
        let body =
            |body: &Option<Arc<crate::Body>>| body.as_ref().map_or(0, |body| body.text.len());
        let charges = entry.charges.iter();
        let refusals = charges.map(|charge| 512 + body(&charge.refusal.body));
        let said = entry.answer.message.len()
            + body(&entry.answer.body)
            + 256 * entry.answer.headers.len()
            + refusals.sum::<usize>();
        ENTRY_BYTES.max((held + said) as u64)
    }
}
