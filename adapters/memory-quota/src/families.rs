//! Families of counters: one per quota and algorithm.
//!
//! A counter's key holds its family's number instead of the quota's name, and what all counters of a quota have in common is
//! held once. Quotas come from documents, so families are few and are never forgotten; looking one up takes no lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use mixer_adapter::Ask;

use crate::counter::{Kind, Terms};

/// What the counters of a quota have in common.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) number: u32,
    longest: AtomicU64,
}

/// All families.
#[derive(Debug, Default)]
pub(crate) struct Families(ArcSwap<Known>);

/// The families as they were at one moment.
pub(crate) struct Snapshot(Guard<Arc<Known>>);

#[derive(Clone, Debug, Default)]
struct Known {
    /// By kind: a quota that changes its algorithm counts anew.
    by_name: [HashMap<Box<str>, Arc<Family>>; Kind::ALL],
    all: Vec<Arc<Family>>,
}

impl Families {
    /// The family that counts for `ask`, which is told of the ask's window.
    pub(crate) fn of(&self, ask: &Ask<'_>, terms: &Terms) -> Arc<Family> {
        let kind = Kind::of(ask.algorithm);
        let known = self.find(ask.quota, kind);
        let family = known.unwrap_or_else(|| self.add(ask.quota, kind));
        if family.longest.load(Ordering::Relaxed) < terms.window() {
            family.longest.fetch_max(terms.window(), Ordering::Relaxed);
        }
        family
    }

    /// The family of that quota and kind, if it ever counted.
    pub(crate) fn find(&self, quota: &str, kind: Kind) -> Option<Arc<Family>> {
        self.0.load().by_name[kind as usize].get(quota).cloned()
    }

    /// All of them: kind, quota, and what is held once.
    pub(crate) fn all(&self) -> Vec<(Kind, Box<str>, Arc<Family>)> {
        let known = self.0.load();
        let kinds = Kind::EACH.iter().zip(&known.by_name);
        let each = kinds.flat_map(|(kind, named)| named.iter().map(move |it| (*kind, it)));
        each.map(|(kind, (name, family))| (kind, name.clone(), family.clone()))
            .collect()
    }

    /// The family of that quota and kind, whose spending is remembered at least so long.
    pub(crate) fn adopt(&self, kind: Kind, quota: &str, longest: u64) -> Arc<Family> {
        let family = self.add(quota, kind);
        family.longest.fetch_max(longest, Ordering::Relaxed);
        family
    }

    /// The families as they are now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.load())
    }

    fn add(&self, quota: &str, kind: Kind) -> Arc<Family> {
        let kind = kind as usize;
        let mut added = None;
        self.0.rcu(|known| {
            let mut known = Known::clone(known);
            if let Some(there) = known.by_name[kind].get(quota) {
                added = Some(there.clone());
                return known;
            }
            let number =
                u32::try_from(known.all.len()).expect("documents have fewer quotas than 4 billion");
            let family = Arc::new(Family {
                number,
                longest: AtomicU64::new(0),
            });
            known.all.push(family.clone());
            known.by_name[kind].insert(quota.into(), family.clone());
            added = Some(family);
            known
        });
        added.expect("the closure ran at least once")
    }
}

impl Snapshot {
    /// How long the spending of a family is remembered; for ever if it was added since.
    pub(crate) fn longest(&self, number: u32) -> u64 {
        self.0
            .all
            .get(number as usize)
            .map_or(u64::MAX, |family| family.longest())
    }
}

impl Family {
    /// The longest window that was ever asked about, in nanoseconds: how long spending is remembered.
    pub(crate) fn longest(&self) -> u64 {
        self.longest.load(Ordering::Relaxed)
    }
}
