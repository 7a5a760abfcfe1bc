//! A part of the counters, under one lock.
//!
//! Keys are compared in full, never by hash alone; a key of more than [`LONG`] bytes is held as its SHA-256 digest, since
//! keys come from requests and a million of them must not be a million times what a header may hold. An entry is 40 bytes in
//! the table and its key one small allocation.

use hashbrown::HashTable;
use mixer_adapter::CounterKey;
use mixer_runtime::Instant;
use sha2::{Digest, Sha256};

use crate::counter::Counter;

/// Bytes from which on a key is held as its digest.
pub(crate) const LONG: usize = 128;

/// Names a counter: its family and the values of its key, encoded; no two keys are encoded alike.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    bytes: [u8; LONG],
    length: u8,
}

/// A part of the counters.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    entries: HashTable<Entry>,
    /// When idle keys were last looked for because there was no room.
    searched: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    key: Box<[u8]>,
    counter: Counter,
}

impl Shard {
    pub(crate) fn find(&self, hash: u64, key: &Key) -> Option<&Counter> {
        self.entries
            .find(hash, |entry| *entry.key == *key.encoded())
            .map(|entry| &entry.counter)
    }

    pub(crate) fn find_mut(&mut self, hash: u64, key: &Key) -> Option<&mut Counter> {
        self.entries
            .find_mut(hash, |entry| *entry.key == *key.encoded())
            .map(|entry| &mut entry.counter)
    }

    /// Adds a counter whose key is not there. Before the table grows, idle keys go; how many went is returned.
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        key: &Key,
        counter: Counter,
        rehash: impl Fn(&[u8]) -> u64,
        is_idle: impl Fn(u32, &Counter) -> bool,
    ) -> usize {
        let mut gone = 0;
        if self.entries.len() == self.entries.capacity() {
            gone = self.remove_idle(is_idle);
        }
        let entry = Entry {
            key: key.encoded().into(),
            counter,
        };
        self.entries
            .insert_unique(hash, entry, |entry| rehash(&entry.key));
        gone
    }

    /// All of it: encoded keys and their counters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Counter)> {
        self.entries
            .iter()
            .map(|entry| (&*entry.key, &entry.counter))
    }

    /// Removes the counter of a key; whether there was one.
    pub(crate) fn remove(&mut self, hash: u64, key: &Key) -> bool {
        let found = self
            .entries
            .find_entry(hash, |entry| *entry.key == *key.encoded());
        found.map(|entry| entry.remove()).is_ok()
    }

    /// Removes the counters whose encoded keys are meant; how many went.
    pub(crate) fn remove_all(&mut self, is_meant: impl Fn(&[u8]) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| !is_meant(&entry.key));
        before - self.entries.len()
    }

    /// Looks for idle keys because there is no room, unless that was done within the last second; how many went.
    pub(crate) fn make_room(
        &mut self,
        now: Instant,
        is_idle: impl Fn(u32, &Counter) -> bool,
    ) -> usize {
        let recently = |at: Instant| now.since(at) < std::time::Duration::from_secs(1);
        if self.searched.is_some_and(recently) {
            return 0;
        }
        self.searched = Some(now);
        self.remove_idle(is_idle)
    }

    /// Removes idle keys and gives memory back; how many went.
    pub(crate) fn sweep(
        &mut self,
        rehash: impl Fn(&[u8]) -> u64,
        is_idle: impl Fn(u32, &Counter) -> bool,
    ) -> usize {
        let gone = self.remove_idle(is_idle);
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries
                .shrink_to(self.entries.len() * 2, |entry| rehash(&entry.key));
        }
        gone
    }

    fn remove_idle(&mut self, is_idle: impl Fn(u32, &Counter) -> bool) -> usize {
        let before = self.entries.len();
        self.entries
            .retain(|entry| !is_idle(family_of(&entry.key), &entry.counter));
        before - self.entries.len()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        // What malloc gives for a key: at least 24 usable bytes and 8 of its own, in steps of 16.
        let key = |entry: &Entry| (entry.key.len() + 8).max(32).next_multiple_of(16);
        self.entries.allocation_size() + self.entries.iter().map(key).sum::<usize>()
    }
}

impl Key {
    /// Family, then each value after its length, or a mark that is no length and the digest of the values.
    pub(crate) fn new(family: u32, parts: &[String]) -> Self {
        let length = parts
            .iter()
            .fold(4, |sum: usize, part| sum.saturating_add(1 + part.len()));
        let mut key = Self {
            bytes: [0; LONG],
            length: 0,
        };
        key.push(&family.to_le_bytes());
        if length <= LONG {
            for part in parts {
                key.push(&[part.len() as u8]);
                key.push(part.as_bytes());
            }
        } else {
            let mut digest = Sha256::new();
            for part in parts {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
            key.push(&[u8::MAX]);
            key.push(&digest.finalize());
        }
        key
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// An encoded key that may be anything.
    pub(crate) fn parse(encoded: &[u8]) -> Option<Self> {
        let mut rest = encoded.get(4..).filter(|_| encoded.len() <= LONG)?;
        let is_digest = rest.first() == Some(&u8::MAX) && rest.len() == 1 + 32;
        while let Some((&length, after)) = rest.split_first().filter(|_| !is_digest) {
            let (value, after) = after.split_at_checked(length.into())?;
            std::str::from_utf8(value).ok()?;
            rest = after;
        }
        let mut key = Self {
            bytes: [0; LONG],
            length: 0,
        };
        key.push(encoded);
        Some(key)
    }

    /// The same key of another family.
    pub(crate) fn of(mut self, family: u32) -> Self {
        self.bytes[..4].copy_from_slice(&family.to_le_bytes());
        self
    }

    /// What an encoded key says of itself.
    pub(crate) fn read(encoded: &[u8]) -> CounterKey {
        let mut rest = &encoded[4..];
        if let Some((&u8::MAX, digest)) = rest.split_first() {
            let hex = digest.iter().map(|byte| format!("{byte:02x}"));
            return CounterKey::Digest(hex.collect());
        }
        let mut values = Vec::new();
        while let Some((&length, after)) = rest.split_first() {
            let (value, after) = after.split_at(length.into());
            values.push(String::from_utf8_lossy(value).into_owned());
            rest = after;
        }
        CounterKey::Values(values)
    }

    /// Whether an encoded key's first value begins so. Of a digest nobody can tell: it begins with nothing.
    pub(crate) fn begins(encoded: &[u8], prefix: &str) -> bool {
        let first = match encoded.get(4) {
            None | Some(&u8::MAX) => &[],
            Some(&length) => &encoded[5..5 + usize::from(length)],
        };
        first.starts_with(prefix.as_bytes())
    }

    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.length);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len() as u8;
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.encoded().escape_ascii())
    }
}

pub(crate) fn family_of(encoded: &[u8]) -> u32 {
    let number = encoded
        .first_chunk()
        .expect("an encoded key begins with its family");
    u32::from_le_bytes(*number)
}
