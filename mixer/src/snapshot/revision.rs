//! The revision of a decision: of the documents that can apply, and of the data of the adapters they ask.
//!
//! It is part of every cache key, so it must change whenever a fresh decision could, and be the same on every Mixer. On the way
//! out a proxy knows revisions by service only, so that there the adapters of all outbound policies count.

use std::fmt::Write;
use std::sync::Arc;

use mixer_documents::{Applicable, At};

use super::Snapshot;

pub(super) fn revision(snapshot: &Snapshot, at: At, applicable: &Applicable) -> Arc<str> {
    let base = &applicable.scope.revision;
    if at == At::Outbound {
        return combined(snapshot, base, &snapshot.index.asked_outbound);
    }
    combined(snapshot, base, &applicable.plan.asked)
}

/// `base` itself where no adapter has data.
pub(super) fn combined(snapshot: &Snapshot, base: &Arc<str>, asked: &[usize]) -> Arc<str> {
    let mut digest = Fnv::of(base.as_bytes());
    let mut matters = false;
    for adapter in asked {
        let adapter = &snapshot.adapters[*adapter];
        let version = adapter.handler().version();
        if version != 0 {
            matters = true;
            digest.add(adapter.name().as_bytes());
            digest.add(&version.to_le_bytes());
        }
    }
    if !matters {
        return base.clone();
    }
    let mut text = String::with_capacity(16);
    write!(text, "{:016x}", digest.0).expect("a String takes all that is written");
    text.into()
}

/// FNV-1a: the same on every machine and release, and cheap enough to do per decision.
struct Fnv(u64);

impl Fnv {
    fn of(bytes: &[u8]) -> Self {
        let mut digest = Self(0xcbf2_9ce4_8422_2325);
        digest.add(bytes);
        digest
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
