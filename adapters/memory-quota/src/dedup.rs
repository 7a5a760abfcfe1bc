//! Answers remembered by the caller's id, so that a retry takes nothing again.
//!
//! Two generations: the younger takes new answers in and becomes the older after a minute (or earlier when it is full), so
//! that an answer is remembered for a minute at least as long as fewer than [`GENERATION`] times [`PARTS`] calls are made in
//! it. The caller holds the part's lock while it takes, so that of two calls with one id only one does.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mixer_adapter::Grant;
use mixer_runtime::Instant;

/// How long an answer is remembered.
const MEMORY: Duration = Duration::from_secs(60);

/// Parts with a lock of their own.
pub(crate) const PARTS: usize = 32;

/// Answers per part and generation.
pub(crate) const GENERATION: usize = 4096;

/// Longer ids are not remembered: an id is a client's, and takes memory.
pub(crate) const LONGEST_ID: usize = 128;

/// All remembered answers.
#[derive(Debug)]
pub(crate) struct Remembered([Mutex<Part>; PARTS]);

/// One part of them.
#[derive(Debug)]
pub(crate) struct Part {
    since: Instant,
    younger: HashMap<Box<str>, Answer>,
    older: HashMap<Box<str>, Answer>,
}

#[derive(Debug)]
struct Answer {
    asks: u64,
    grants: Vec<Grant>,
}

impl Remembered {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| {
            Mutex::new(Part {
                since: Instant::from_nanos(0),
                younger: HashMap::new(),
                older: HashMap::new(),
            })
        }))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let parts = self.0.iter().map(|part| part.lock().unwrap());
        parts
            .map(|part| part.younger.len() + part.older.len())
            .sum()
    }

    pub(crate) fn part(&self, hash: u64) -> MutexGuard<'_, Part> {
        // The upper bits: the lower ones choose the bucket within a map.
        let at = (hash >> 32) as usize % PARTS;
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// The answer that `id` got. The digest of what was asked must be the same: an id used for something else is no retry.
    pub(crate) fn recall(&mut self, id: &str, asks: u64, now: Instant) -> Option<Vec<Grant>> {
        self.age(now);
        let answer = self.younger.get(id).or_else(|| self.older.get(id))?;
        (answer.asks == asks).then(|| answer.grants.clone())
    }

    pub(crate) fn remember(&mut self, id: &str, asks: u64, grants: &[Grant]) {
        if self.younger.len() >= GENERATION {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(
            id.into(),
            Answer {
                asks,
                grants: grants.to_vec(),
            },
        );
    }

    fn age(&mut self, now: Instant) {
        let age = now.since(self.since);
        if age >= MEMORY {
            self.older = if age < 2 * MEMORY {
                std::mem::take(&mut self.younger)
            } else {
                HashMap::new()
            };
            self.younger.clear();
            self.since = now;
        }
    }
}
