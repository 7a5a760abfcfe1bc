//! Counters shown and forgotten by hand.
//!
//! A call walks [`SHARDS_A_CALL`] shards at most, one lock at a time, so that requests wait for none longer than it takes to look
//! through one shard; where more is asked for, the answer says where to go on. The place is a shard, and the last key that was
//! answered of it: keys of a shard are answered in order.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use mixer_adapter::{
    Counted, CounterKey, Family, Forgotten, Listed, MOST_COUNTERS, Unavailable, Which,
};
use mixer_runtime::Clock;

use super::{SHARDS, Store, shard_of};
use crate::counter::{Counter, Kind, Refusal, Terms};
use crate::shard::{Key, Shard, family_of};

/// Shards that one call looks through.
const SHARDS_A_CALL: usize = 16;

impl Store {
    /// See [`mixer_adapter::Counters::list`].
    pub(crate) fn list(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        most: usize,
        from: &str,
        clock: &Clock,
    ) -> Result<Listed, Unavailable> {
        let mut place = Place::parse(from)?;
        let Some(held) = self.families.find(family.quota, Kind::of(family.algorithm)) else {
            return Ok(Listed::default());
        };
        let terms = Terms::new(family.limit, family.algorithm);
        let now = self.now(clock).as_nanos();
        let told = |key: &[u8], counter: &Counter| counted(Key::read(key), counter, &terms, now);
        let mut listed = Listed::default();
        let prefix = match which {
            Which::Key(key) => {
                let key = Key::new(held.number, key);
                let hash = self.hash(key.encoded());
                let shard = self.locked(shard_of(hash));
                let found = shard.find(hash, &key);
                let found = found.and_then(|counter| told(key.encoded(), counter));
                listed.counters.extend(found);
                return Ok(listed);
            }
            Which::Prefix(prefix) => prefix,
        };
        let mut room = most.clamp(1, MOST_COUNTERS);
        let end = (place.shard + SHARDS_A_CALL).min(SHARDS);
        while place.shard < end {
            let shard = self.locked(place.shard);
            let is_meant = |key: &[u8]| {
                family_of(key) == held.number && Key::begins(key, prefix) && place.is_before(key)
            };
            let meant = shard.iter().filter(|(key, _)| is_meant(key));
            let mut found: Vec<_> = meant
                .filter_map(|(key, counter)| Some((Box::from(key), told(key, counter)?)))
                .collect();
            drop(shard);
            found.sort_unstable_by(|(one, _): &(Box<[u8]>, _), (other, _)| one.cmp(other));
            let more = found.len() > room;
            found.truncate(room);
            room -= found.len();
            let last = found.last().map(|(key, _)| key.clone());
            listed
                .counters
                .extend(found.into_iter().map(|(_, counted)| counted));
            if let (true, Some(after)) = (more, last) {
                place.after = after;
                listed.next = Some(place.to_string());
                return Ok(listed);
            }
            place = Place::start_of(place.shard + 1);
            if room == 0 {
                break;
            }
        }
        if place.shard < SHARDS {
            listed.next = Some(place.to_string());
            return Ok(listed);
        }
        if prefix.is_empty() {
            let overflow = self.overflow();
            let shared = overflow.get(&held.number);
            let shared =
                shared.and_then(|counter| counted(CounterKey::Overflow, counter, &terms, now));
            listed.counters.extend(shared);
        }
        Ok(listed)
    }

    /// See [`mixer_adapter::Counters::forget`].
    pub(crate) fn forget(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        from: &str,
    ) -> Result<Forgotten, Unavailable> {
        let Place { shard: first, .. } = Place::parse(from)?;
        let Some(held) = self.families.find(family.quota, Kind::of(family.algorithm)) else {
            return Ok(Forgotten::default());
        };
        let mut gone = 0;
        let mut next = None;
        match which {
            Which::Key(key) => {
                let key = Key::new(held.number, key);
                let hash = self.hash(key.encoded());
                gone += usize::from(self.locked(shard_of(hash)).remove(hash, &key));
            }
            Which::Prefix(prefix) => {
                let end = (first + SHARDS_A_CALL).min(SHARDS);
                for shard in first..end {
                    let is_meant =
                        |key: &[u8]| family_of(key) == held.number && Key::begins(key, prefix);
                    gone += self.locked(shard).remove_all(is_meant);
                }
                next = (end < SHARDS).then(|| Place::start_of(end).to_string());
            }
        }
        self.keys.fetch_sub(gone, Ordering::Relaxed);
        if next.is_none() && which == Which::Prefix("") {
            gone += usize::from(self.overflow().remove(&held.number).is_some());
        }
        Ok(Forgotten {
            counters: gone as u64,
            unnamed: 0,
            next,
        })
    }

    fn locked(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn overflow(&self) -> MutexGuard<'_, HashMap<u32, Counter>> {
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counter as it is shown, if there is anything to show.
fn counted(key: CounterKey, counter: &Counter, terms: &Terms, now: u64) -> Option<Counted> {
    let spent = counter.spent(terms, now);
    (spent > 0).then(|| Counted {
        key,
        spent,
        left: counter.free(terms, now),
        next_in: match counter.offers(1, terms, now) {
            Ok(()) => Some(Duration::ZERO),
            Err(Refusal::Early(nanos)) => Some(Duration::from_nanos(nanos)),
            Err(Refusal::Never) => None,
        },
        free_in: Duration::from_nanos(counter.free_in(terms, now)),
    })
}

/// Where a walk goes on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    shard: usize,
    /// Behind this encoded key.
    after: Box<[u8]>,
}

impl Place {
    fn start_of(shard: usize) -> Self {
        Self {
            shard,
            after: Box::default(),
        }
    }

    fn is_before(&self, key: &[u8]) -> bool {
        *self.after < *key
    }

    fn parse(text: &str) -> Result<Self, Unavailable> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let (shard, after) = text.split_once('-').unwrap_or((text, ""));
        let bytes = after.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        let place = shard.parse().ok().zip(bytes.collect());
        let place = place.filter(|(shard, _)| *shard < SHARDS);
        place
            .map(|(shard, after)| Self { shard, after })
            .ok_or_else(|| Unavailable {
                reason: "no listing of this store goes on there".into(),
                retry: false,
            })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.shard)?;
        if !self.after.is_empty() {
            f.write_str("-")?;
        }
        self.after
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is() {
        for (shard, after) in [(0, &b""[..]), (127, b""), (5, b"\0\xffkey")] {
            let place = Place {
                shard,
                after: after.into(),
            };
            assert_eq!(Place::parse(&place.to_string()).unwrap(), place);
        }
        for text in ["128", "-00", "x", "1-0g", "1-\u{e9}0"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }
}
