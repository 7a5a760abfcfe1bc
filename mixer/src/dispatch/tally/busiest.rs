//! The counters of a quota that are asked most, as far as a bounded memory can know.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError, TryLockError};

use mixer_runtime::Instant;
use sha2::{Digest, Sha256};

use crate::dispatch::charge::key_value;

/// Counters that are shown.
pub(super) const SHOWN: usize = 10;
/// Counters that are kept in mind for that.
const CANDIDATES: usize = 32;
/// Sightings after which all counts are halved.
const HALVED: u32 = 1 << 14;
/// Bytes of a key that is shown as it is.
const LONG: usize = 128;

/// What was last seen of a counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) remaining: u64,
    /// When nothing of what it had spent counts any more.
    pub(super) until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Busiest {
    hasher: RandomState,
    candidates: Mutex<Candidates>,
}

#[derive(Debug, Default)]
struct Candidates {
    sightings: u32,
    held: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    hash: u64,
    count: u32,
    seen: Seen,
    key: Box<[String]>,
}

impl Busiest {
    /// Notes a sighting, unless somebody else is noting one.
    pub(super) fn see(&self, key: &[String], seen: Seen) {
        let mut candidates = match self.candidates.try_lock() {
            Ok(candidates) => candidates,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        candidates.see(self.hasher.hash_one(key), key, seen);
    }

    /// The busiest keys, as labels, and what is left of their counters; of those that have spent something that still counts.
    pub(super) fn shown(&self, now: Instant) -> Vec<(String, u64)> {
        let candidates = self.candidates.lock();
        let candidates = candidates.unwrap_or_else(PoisonError::into_inner);
        let live = candidates.held.iter().filter(|it| it.seen.until > now);
        let mut live: Vec<&Candidate> = live.collect();
        live.sort_by_key(|candidate| std::cmp::Reverse(candidate.count));
        let mut labels = HashSet::new();
        let shown = live
            .iter()
            .map(|held| (label(&held.key), held.seen.remaining));
        shown
            .filter(|(label, _)| labels.insert(label.clone()))
            .take(SHOWN)
            .collect()
    }
}

impl Candidates {
    fn see(&mut self, hash: u64, key: &[String], seen: Seen) {
        self.sightings += 1;
        if self.sightings >= HALVED {
            self.sightings = 0;
            self.held.iter_mut().for_each(|held| held.count /= 2);
        }
        if let Some(held) = self.held.iter_mut().find(|held| held.hash == hash) {
            held.count += 1;
            held.seen = seen;
            return;
        }
        let candidate = |count| Candidate {
            hash,
            count,
            seen,
            key: key.into(),
        };
        if self.held.len() < CANDIDATES {
            self.held.push(candidate(1));
        } else if let Some(least) = self.held.iter_mut().min_by_key(|held| held.count) {
            *least = candidate(least.count + 1);
        }
    }
}

/// Values, with a comma between them; of a long key a digest, since every scrape carries it.
fn label(key: &[String]) -> String {
    let values = key.iter().map(|part| key_value(part).unwrap_or("(absent)"));
    let label = values.collect::<Vec<_>>().join(",");
    if label.len() <= LONG {
        return label;
    }
    let digest = Sha256::digest(label);
    let hex = digest[..8].iter().map(|byte| format!("{byte:02x}"));
    format!("#{}", hex.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        Instant::from_nanos(0)
    }

    fn seen(remaining: u64) -> Seen {
        Seen {
            remaining,
            until: Instant::from_nanos(1),
        }
    }

    fn keys(busiest: &Busiest) -> Vec<String> {
        let shown = busiest.shown(now());
        shown.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn the_busiest_are_found_among_many_that_come_once() {
        let busiest = Busiest::default();
        for round in 0..5_000u64 {
            for busy in 0..5 {
                busiest.see(&[format!("busy {busy}")], seen(round));
            }
            busiest.see(&[format!("once {round}")], seen(1));
        }
        let mut found = keys(&busiest)[..5].to_vec();
        found.sort();
        let expected: Vec<String> = (0..5).map(|busy| format!("busy {busy}")).collect();
        assert_eq!(found, expected);
        assert_eq!(busiest.shown(now())[0].1, 4_999, "what was seen last");
    }

    #[test]
    fn who_was_busy_once_goes() {
        let busiest = Busiest::default();
        for _ in 0..10_000 {
            busiest.see(&["yesterday".to_owned()], seen(1));
        }
        for at in 0..20 * HALVED {
            busiest.see(&[format!("today {}", at % CANDIDATES as u32)], seen(1));
        }
        assert!(!keys(&busiest).contains(&"yesterday".to_owned()));
    }

    #[test]
    fn a_key_is_a_label_of_bounded_length_and_no_two_labels_are_alike() {
        let busiest = Busiest::default();
        let long = "x".repeat(5000);
        let seen_keys: [&[&str]; 6] = [
            &[],
            &["a", "b"],
            &["a,b"],
            &["\0", "x"],
            &[&long],
            &["\"\n"],
        ];
        for key in seen_keys {
            let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
            busiest.see(&key, seen(1));
        }
        let shown = keys(&busiest);
        assert_eq!(shown.len(), 5, "{shown:?}");
        assert!(shown.iter().all(|label| label.len() <= LONG));
        assert!(shown.contains(&"(absent),x".to_owned()) && shown.contains(&String::new()));
    }
}
