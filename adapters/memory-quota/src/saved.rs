//! A store as bytes, and back.
//!
//! Times are the store's own and are written as they are; beside them stands what time it was by the store's clock and by the wall
//! clock when all of it had been read. Restored, the store's time goes on from there by what the wall clock says has passed, so that
//! every counter answers as if there had been no restart; a wall clock that went back lets no time pass. The bytes end with
//! their SHA-256, and what they say is checked all the same: a file may be anybody's.
//!
//! ```text
//! "mixer memory-quota\n", version; records; SHA-256 of all that
//! counter   1, length of the key, key (its family's number first), counted
//! overflow  2, number of the family, counted
//! family    3, number, kind, longest window, length of the name, name
//! end       4, the store's time, the wall clock's: nanoseconds
//! counted   1, number of slots, (time, tokens).. | 2, full at, per token | 3, since, tokens | 4, number, end, tokens
//! ```

mod fields;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mixer_runtime::Clock;
use sha2::{Digest, Sha256};

use self::fields::{Fields, Summed, put_counter, take_counter};
use crate::counter::{Counter, Kind};
use crate::families::Family;
use crate::shard::{Key, family_of};
use crate::store::{Store, idle, shard_of};

const MAGIC: &[u8] = b"mixer memory-quota\n";
const VERSION: u32 = 1;
/// Bytes of a snapshot at most.
pub(crate) const LARGEST: u64 = 2 << 30;
const SUM: usize = 32;

const COUNTER: u8 = 1;
const OVERFLOW: u8 = 2;
const FAMILY: u8 = 3;
const END: u8 = 4;

/// Why bytes are not restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// They do not begin as a snapshot does, or say what none says.
    #[error("it is no snapshot of a memory-quota")]
    Foreign,
    /// Another Mixer's, before or after this one.
    #[error("it is of version {0} of the format, this Mixer reads version {VERSION}")]
    Version(u32),
    /// A part is missing or was changed.
    #[error("it is torn or damaged: its checksum does not fit")]
    Torn,
    /// It remembers nothing that still counts.
    #[error("it is too old: everything it counted is forgotten by now")]
    TooOld,
}

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) keys: usize,
    /// Counters for which `max_keys` had no room.
    pub(crate) left_out: usize,
    /// The time since it was written, by the wall clock; zero where that went back.
    pub(crate) passed: Duration,
}

impl Store {
    /// Writes all that counts. One lock at a time is held, for as long as it takes to copy a shard: what is spent meanwhile may be in
    /// it or not.
    pub(crate) fn save(&self, clock: &Clock, out: impl Write) -> io::Result<()> {
        let mut out = Summed::new(out);
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        let mut record = Vec::new();
        for shard in &self.shards {
            record.clear();
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let is_idle = idle(&self.families, self.now(clock));
            for (key, counter) in shard.iter() {
                if !is_idle(family_of(key), counter) {
                    record.extend([COUNTER, key.len() as u8]);
                    record.extend(key);
                    put_counter(&mut record, counter);
                }
            }
            drop(shard);
            out.write_all(&record)?;
        }
        record.clear();
        let overflow = self.overflow.lock().unwrap_or_else(PoisonError::into_inner);
        for (family, counter) in overflow.iter() {
            record.push(OVERFLOW);
            record.extend(family.to_le_bytes());
            put_counter(&mut record, counter);
        }
        drop(overflow);
        // Last: of every counter written the family is known.
        for (kind, name, family) in self.families.all() {
            record.push(FAMILY);
            record.extend(family.number.to_le_bytes());
            record.push(kind as u8);
            record.extend(family.longest().to_le_bytes());
            record.extend((name.len() as u32).to_le_bytes());
            record.extend(name.as_bytes());
        }
        record.push(END);
        record.extend(self.now(clock).as_nanos().to_le_bytes());
        record.extend(since_1970(clock.wall()).to_le_bytes());
        out.write_all(&record)?;
        out.finish()
    }

    /// Takes over what bytes say. The store must be new; if they are refused it stays so.
    pub(crate) fn restore(
        &self,
        bytes: &[u8],
        most: usize,
        clock: &Clock,
    ) -> Result<Restored, Refused> {
        let saved = Saved::read(bytes)?;
        let passed = since_1970(clock.wall()).saturating_sub(saved.wall);
        let now = saved.time.saturating_add(passed).min(u64::MAX / 2);
        let is_live =
            |family: &SavedFamily<'_>, counter: &Counter| !counter.is_idle(family.longest, now);
        let all = || saved.all();
        let counts = |(family, counter)| is_live(&saved.families[&family], counter);
        if all().next().is_some() && !all().any(counts) {
            return Err(Refused::TooOld);
        }
        let ahead = now.wrapping_sub(clock.now().as_nanos());
        self.ahead.store(ahead, Ordering::Relaxed);
        let adopt = |family: &SavedFamily<'_>| {
            self.families
                .adopt(family.kind, family.name, family.longest)
        };
        let families: HashMap<u32, Arc<Family>> = saved
            .families
            .iter()
            .map(|(number, family)| (*number, adopt(family)))
            .collect();
        let mut restored = Restored {
            keys: 0,
            left_out: 0,
            passed: Duration::from_nanos(passed),
        };
        for (encoded, counter) in saved.counters {
            let family = family_of(encoded);
            let key = Key::parse(encoded).expect("it was parsed when it was read");
            if !is_live(&saved.families[&family], &counter) {
                continue;
            }
            if restored.keys >= most {
                restored.left_out += 1;
                continue;
            }
            let key = key.of(families[&family].number);
            let hash = self.hash(key.encoded());
            let shard = &self.shards[shard_of(hash)];
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if shard.find(hash, &key).is_none() {
                shard.insert(hash, &key, counter, |key| self.hash(key), |_, _| false);
                restored.keys += 1;
            }
        }
        self.keys.store(restored.keys, Ordering::Relaxed);
        let mut overflow = self.overflow.lock().unwrap_or_else(PoisonError::into_inner);
        for (family, counter) in saved.overflow {
            overflow.insert(families[&family].number, counter);
        }
        Ok(restored)
    }
}

fn since_1970(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What bytes say, checked.
struct Saved<'b> {
    families: HashMap<u32, SavedFamily<'b>>,
    /// By encoded keys, which were checked.
    counters: Vec<(&'b [u8], Counter)>,
    overflow: Vec<(u32, Counter)>,
    time: u64,
    wall: u64,
}

struct SavedFamily<'b> {
    kind: Kind,
    name: &'b str,
    longest: u64,
}

impl<'b> Saved<'b> {
    fn read(bytes: &'b [u8]) -> Result<Self, Refused> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Refused::Foreign)?;
        let (version, _) = rest.split_first_chunk().ok_or(Refused::Torn)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        let (body, sum) = bytes.split_last_chunk::<SUM>().ok_or(Refused::Torn)?;
        if Sha256::digest(body)[..] != sum[..] {
            return Err(Refused::Torn);
        }
        let records = body.get(MAGIC.len() + size_of::<u32>()..);
        let saved = records.and_then(Self::records).ok_or(Refused::Foreign)?;
        let fits = |family: &u32, counter: &Counter| {
            let family = saved.families.get(family);
            family.is_some_and(|family| counter.is_of(family.kind))
        };
        let all_fit = saved.all().all(|(family, counter)| fits(&family, counter));
        if all_fit {
            Ok(saved)
        } else {
            Err(Refused::Foreign)
        }
    }

    /// Every counter with its family.
    fn all(&self) -> impl Iterator<Item = (u32, &Counter)> {
        let counters = self.counters.iter();
        let counters = counters.map(|(encoded, counter)| (family_of(encoded), counter));
        let overflow = self.overflow.iter();
        counters.chain(overflow.map(|(family, counter)| (*family, counter)))
    }

    fn records(bytes: &'b [u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let mut saved = Self {
            families: HashMap::new(),
            counters: Vec::new(),
            overflow: Vec::new(),
            time: 0,
            wall: 0,
        };
        loop {
            match fields.byte()? {
                COUNTER => {
                    let length = fields.byte()?;
                    let encoded = fields.bytes(length.into())?;
                    Key::parse(encoded)?;
                    saved.counters.push((encoded, take_counter(&mut fields)?));
                }
                OVERFLOW => {
                    let family = fields.short()?;
                    saved.overflow.push((family, take_counter(&mut fields)?));
                }
                FAMILY => {
                    let number = fields.short()?;
                    let kind = Kind::parse(fields.byte()?)?;
                    let longest = fields.long()?;
                    let length = fields.short()?;
                    let name = fields.bytes(length as usize)?;
                    let name = std::str::from_utf8(name).ok()?;
                    let family = SavedFamily {
                        kind,
                        name,
                        longest,
                    };
                    saved.families.insert(number, family);
                }
                END => {
                    (saved.time, saved.wall) = (fields.long()?, fields.long()?);
                    return fields.is_over().then_some(saved);
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
