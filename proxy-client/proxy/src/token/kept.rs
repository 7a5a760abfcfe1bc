//! What was verified, remembered: a few thousand tokens, none of them readable here.
//!
//! Under a digest of the whole token stands what it said. A forged token has another digest, so nothing but what was verified is
//! ever found, and callers without a valid token cannot push others out. What is full is emptied by halves: what was not asked
//! for while the newer half filled is forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::Verified;

/// SHA-256.
pub(super) type Digest = [u8; 32];

/// Parts with a lock of their own.
const SHARDS: usize = 8;
/// Tokens in half of a part: 4,096 in all.
const MOST: usize = 256;
/// Bytes of tokens in half of a part: 4 MiB in all.
const MOST_BYTES: usize = 256 * 1024;

/// Tokens that were verified.
#[derive(Debug, Default)]
pub(super) struct Kept([Mutex<Halves>; SHARDS]);

#[derive(Default)]
struct Halves {
    newer: HashMap<Digest, (usize, Arc<Verified>)>,
    older: HashMap<Digest, (usize, Arc<Verified>)>,
    /// Of tokens in the newer half.
    bytes: usize,
}

/// The digest of a token.
pub(super) fn digest(token: &str) -> Digest {
    Sha256::digest(token).into()
}

impl Kept {
    /// What the token of this digest said.
    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Verified>> {
        let mut halves = self.halves(digest);
        if let Some((_, verified)) = halves.newer.get(digest) {
            return Some(verified.clone());
        }
        let (bytes, verified) = halves.older.remove(digest)?;
        halves.insert(*digest, bytes, verified.clone());
        Some(verified)
    }

    /// Remembers what a token of so many bytes said.
    pub(super) fn keep(&self, digest: Digest, bytes: usize, verified: &Arc<Verified>) {
        self.halves(&digest).insert(digest, bytes, verified.clone());
    }

    fn halves(&self, digest: &Digest) -> std::sync::MutexGuard<'_, Halves> {
        let shard = &self.0[usize::from(digest[0]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn insert(&mut self, digest: Digest, bytes: usize, verified: Arc<Verified>) {
        if self.newer.len() >= MOST || self.bytes + bytes > MOST_BYTES {
            self.older = std::mem::take(&mut self.newer);
            self.bytes = 0;
        }
        if self.newer.insert(digest, (bytes, verified)).is_none() {
            self.bytes += bytes;
        }
    }
}

impl std::fmt::Debug for Halves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.newer.len() + self.older.len())
    }
}

#[cfg(test)]
mod tests {
    use mixer_attributes::Dynamic;

    use super::*;

    fn verified() -> Arc<Verified> {
        Arc::new(Verified {
            issuer: 0,
            name: "a".into(),
            principal: None,
            audiences: Vec::new(),
            claims: Dynamic::Null,
            expires: 0,
            begins: None,
        })
    }

    #[test]
    fn what_is_asked_for_stays_and_what_is_kept_is_bounded() {
        let (kept, verified) = (Kept::default(), verified());
        let hot = digest("hot");
        kept.keep(hot, 100, &verified);
        for number in 0..50_000 {
            kept.keep(digest(&number.to_string()), 100, &verified);
            assert!(kept.find(&hot).is_some(), "{number}");
        }
        let count = |halves: &Mutex<Halves>| {
            let halves = halves.lock().unwrap();
            halves.newer.len() + halves.older.len()
        };
        let all: usize = kept.0.iter().map(count).sum();
        assert!(all <= 2 * MOST * SHARDS, "{all}");
        assert!(kept.find(&digest("0")).is_none());
        assert!(kept.find(&digest("49999")).is_some());
    }

    #[test]
    fn large_tokens_are_bounded_by_their_bytes() {
        let (kept, verified) = (Kept::default(), verified());
        for number in 0..10_000 {
            kept.keep(digest(&number.to_string()), 16 * 1024, &verified);
        }
        for halves in &kept.0 {
            let halves = halves.lock().unwrap();
            let bytes = |half: &HashMap<Digest, (usize, Arc<Verified>)>| {
                half.values().map(|(bytes, _)| bytes).sum::<usize>()
            };
            assert!(bytes(&halves.newer) <= MOST_BYTES && bytes(&halves.older) <= MOST_BYTES);
        }
    }
}
