//! The revision of a decision: of the documents that can apply, the data of the adapters they ask, and what the service is
//! declared to speak.
//!
//! It is part of every cache key, so it must change whenever a fresh decision could, and be the same on every Mixer. On the way
//! out a proxy knows revisions by service only, so that there the adapters of all outbound policies count.

use std::fmt::Write;
use std::sync::Arc;

use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_documents::{Applicable, At};

use super::Snapshot;

pub(super) fn revision(
    snapshot: &Snapshot,
    at: At,
    applicable: &Applicable,
    bag: &AttributeBag<'_>,
) -> Arc<str> {
    let service = match bag.value(vocabulary::DESTINATION_SERVICE) {
        Some(Value::String(service)) => Some(service),
        _ => None,
    };
    let base = &applicable.scope.revision;
    if at == At::Outbound {
        return combined(snapshot, base, &snapshot.index.asked_outbound, service);
    }
    let policies = || {
        [&applicable.guards, &applicable.pool, &applicable.shadow]
            .into_iter()
            .flatten()
    };
    let mut asked: Vec<usize> = policies()
        .flat_map(|policy| &snapshot.index.facts[*policy].asks)
        .copied()
        .collect();
    asked.sort_unstable();
    asked.dedup();
    combined(snapshot, base, &asked, service)
}

/// `base` itself where neither an adapter's data nor the protocol matters.
pub(super) fn combined(
    snapshot: &Snapshot,
    base: &Arc<str>,
    asked: &[usize],
    service: Option<&str>,
) -> Arc<str> {
    let tcp = service.is_some_and(|service| snapshot.is_tcp(service));
    let mut digest = Fnv::of(base.as_bytes());
    let mut matters = tcp;
    if tcp {
        digest.add(b"tcp");
    }
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
