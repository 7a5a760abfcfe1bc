//! The keys of a shard, one behind the other.
//!
//! An allocation of its own would cost every key 16 bytes in the table, for its address and length, and 8 to 24 around its bytes.
//! Here a key is its bytes and their number, and the table has four bytes to find it. What keys that went leave behind is
//! cleared away when it is half of all, so that the whole is moved once for every key that goes, at most.

use super::LONG;

const _: () = assert!(LONG <= u8::MAX as usize, "a byte says how long a key is");

/// Keys, each after its length.
#[derive(Debug, Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    /// Bytes of keys that went.
    gone: usize,
}

/// Where a key is.
#[derive(Clone, Copy, Debug)]
pub(super) struct At(u32);

impl Keys {
    pub(super) fn get(&self, at: At) -> &[u8] {
        let rest = &self.bytes[at.0 as usize..];
        &rest[1..1 + usize::from(rest[0])]
    }

    /// Adds a key, of at most [`LONG`] bytes. Panics behind 4 GiB, which the bound of keys keeps a shard from.
    pub(super) fn push(&mut self, key: &[u8]) -> At {
        let more = 1 + key.len();
        if self.bytes.capacity() - self.bytes.len() < more {
            // A vector doubles: an eighth of room is a sixteenth unused on average.
            self.bytes.reserve_exact(more.max(self.bytes.len() / 8));
        }
        let at = u32::try_from(self.bytes.len()).expect("shards hold fewer bytes of keys");
        self.bytes.push(key.len() as u8);
        self.bytes.extend_from_slice(key);
        At(at)
    }

    /// A key is no longer needed.
    pub(super) fn went(&mut self, key: At) {
        self.gone += 1 + self.get(key).len();
    }

    /// Whether enough keys went to clear away what they left.
    pub(super) fn is_worn(&self) -> bool {
        self.gone * 2 > self.bytes.len()
    }

    /// Keeps `needed` alone, which then are where they say.
    pub(super) fn compact<'a>(&mut self, needed: impl Iterator<Item = &'a mut At>) {
        let size = self.bytes.len() - self.gone;
        let old = std::mem::take(self);
        self.bytes.reserve_exact(size);
        for at in needed {
            *at = self.push(old.get(*at));
        }
    }

    #[cfg(test)]
    pub(super) fn allocation_size(&self) -> usize {
        self.bytes.capacity()
    }
}
