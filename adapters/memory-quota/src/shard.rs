//! A part of the counters, under one lock.
//!
//! Keys are compared in full, never by hash alone; a key of more than [`LONG`] bytes is held as its SHA-256 digest, since
//! keys come from requests and a million of them must not be a million times what a header may hold. An entry is 32 bytes in
//! the table; the keys stand elsewhere (`keys.rs`).

mod keys;

use hashbrown::HashTable;
use mixer_adapter::CounterKey;
use mixer_runtime::Instant;
use sha2::{Digest, Sha256};

use self::keys::{At, Keys};
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
    keys: Keys,
    /// When idle keys were last looked for because there was no room.
    searched: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    key: At,
    counter: Counter,
}

const _: () = assert!(size_of::<Entry>() == 32, "every slot of the table has one");

impl Shard {
    pub(crate) fn find(&self, hash: u64, key: &Key) -> Option<&Counter> {
        let is_it = |entry: &Entry| self.keys.get(entry.key) == key.encoded();
        self.entries.find(hash, is_it).map(|entry| &entry.counter)
    }

    pub(crate) fn find_mut(&mut self, hash: u64, key: &Key) -> Option<&mut Counter> {
        let is_it = |entry: &Entry| self.keys.get(entry.key) == key.encoded();
        self.entries
            .find_mut(hash, is_it)
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
            key: self.keys.push(key.encoded()),
            counter,
        };
        let keys = &self.keys;
        self.entries
            .insert_unique(hash, entry, |entry| rehash(keys.get(entry.key)));
        gone
    }

    /// All of it: encoded keys and their counters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Counter)> {
        self.entries
            .iter()
            .map(|entry| (self.keys.get(entry.key), &entry.counter))
    }

    /// Removes the counter of a key; whether there was one.
    pub(crate) fn remove(&mut self, hash: u64, key: &Key) -> bool {
        let is_it = |entry: &Entry| self.keys.get(entry.key) == key.encoded();
        let Ok(found) = self.entries.find_entry(hash, is_it) else {
            return false;
        };
        let (entry, _) = found.remove();
        self.keys.went(entry.key);
        self.compact_if_worn();
        true
    }

    /// Removes the counters whose encoded keys are meant; how many went.
    pub(crate) fn remove_all(&mut self, is_meant: impl Fn(&[u8]) -> bool) -> usize {
        self.retain(|key, _| !is_meant(key))
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
            let keys = &self.keys;
            self.entries
                .shrink_to(self.entries.len() * 2, |entry| rehash(keys.get(entry.key)));
        }
        gone
    }

    fn remove_idle(&mut self, is_idle: impl Fn(u32, &Counter) -> bool) -> usize {
        self.retain(|key, counter| !is_idle(family_of(key), counter))
    }

    /// Removes what is not to stay; how many went.
    fn retain(&mut self, stays: impl Fn(&[u8], &Counter) -> bool) -> usize {
        let before = self.entries.len();
        let keys = &mut self.keys;
        self.entries.retain(|entry| {
            let stays = stays(keys.get(entry.key), &entry.counter);
            if !stays {
                keys.went(entry.key);
            }
            stays
        });
        self.compact_if_worn();
        before - self.entries.len()
    }

    fn compact_if_worn(&mut self) {
        if self.keys.is_worn() {
            let needed = self.entries.iter_mut().map(|entry| &mut entry.key);
            self.keys.compact(needed);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.entries.allocation_size() + self.keys.allocation_size()
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

#[cfg(test)]
mod tests;
