//! Counters by label set: standard metrics and decisions.
//!
//! A series owns its labels once and is found by borrowed ones, so that counting allocates only for a label set that was not
//! seen lately. Taking its increments leaves it with zeros; a series that stays at zero is forgotten. Shards keep threads
//! from waiting for each other.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use mixer_attributes::standard::{BYTES_BUCKETS, DURATION_MS_BUCKETS, LABELS, bucket};

use super::StandardSample;
use crate::wire::{AggregateRow, DecisionRow};
use crate::{Because, Verdict};

const SHARDS: usize = 16;
/// A series that counted nothing this many times is forgotten.
const FORGET: u8 = 60;

/// Series found by a borrowed key, at most `most` of them.
#[derive(Debug)]
struct Sharded<S> {
    shards: [Mutex<HashTable<(u64, S)>>; SHARDS],
    hasher: RandomState,
    series: AtomicUsize,
    most: usize,
}

impl<S> Sharded<S> {
    fn new(most: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self {
            shards,
            hasher: RandomState::default(),
            series: AtomicUsize::new(0),
            most,
        }
    }

    /// Adds to the series; false when it is new and there is no room for it.
    fn count(
        &self,
        key: &impl Hash,
        same: impl Fn(&S) -> bool,
        make: impl FnOnce() -> S,
        add: impl FnOnce(&mut S),
    ) -> bool {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shards[(hash >> 32) as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, series)) = shard.find_mut(hash, |(_, series)| same(series)) {
            add(series);
            return true;
        }
        if self.series.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.series.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let mut entry = shard.insert_unique(hash, (hash, make()), |(hash, _)| *hash);
        add(&mut entry.get_mut().1);
        true
    }

    /// Visits every series; those for which `keep` is false are forgotten.
    fn sweep(&self, mut keep: impl FnMut(&mut S) -> bool) {
        for shard in &self.shards {
            shard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|(_, series)| {
                    let kept = keep(series);
                    if !kept {
                        self.series.fetch_sub(1, Ordering::Relaxed);
                    }
                    kept
                });
        }
    }
}

// ---------------------------------------------------------------------------------------------------- standard metrics

/// The standard metrics.
#[derive(Debug)]
pub(super) struct Standard(Sharded<StandardSeries>);

#[derive(Debug)]
struct StandardSeries {
    labels: Arc<[Box<str>; LABELS.len()]>,
    counts: Counts,
    quiet: u8,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    requests: u64,
    duration_ms: ([u64; DURATION_MS_BUCKETS.len() + 1], f64),
    request_bytes: ([u64; BYTES_BUCKETS.len() + 1], f64),
    response_bytes: ([u64; BYTES_BUCKETS.len() + 1], f64),
}

/// Increments of one series, taken out of it.
#[derive(Debug)]
pub(super) struct StandardIncrement {
    labels: Arc<[Box<str>; LABELS.len()]>,
    counts: Counts,
}

impl Standard {
    pub(super) fn new(most: usize) -> Self {
        Self(Sharded::new(most))
    }

    pub(super) fn count(&self, sample: &StandardSample<'_>) -> bool {
        let StandardSample {
            labels,
            duration,
            request_bytes,
            response_bytes,
        } = sample;
        let duration = duration.as_secs_f64() * 1_000.0;
        self.0.count(
            labels,
            |series| {
                series
                    .labels
                    .iter()
                    .zip(labels)
                    .all(|(held, label)| **held == **label)
            },
            || StandardSeries {
                labels: Arc::new(labels.map(Into::into)),
                counts: Counts::default(),
                quiet: 0,
            },
            |StandardSeries { counts, .. }| {
                counts.requests += 1;
                observe(&mut counts.duration_ms, &DURATION_MS_BUCKETS, duration);
                observe(
                    &mut counts.request_bytes,
                    &BYTES_BUCKETS,
                    *request_bytes as f64,
                );
                observe(
                    &mut counts.response_bytes,
                    &BYTES_BUCKETS,
                    *response_bytes as f64,
                );
            },
        )
    }

    /// Takes the increments of all series.
    pub(super) fn take(&self) -> Vec<StandardIncrement> {
        let mut taken = Vec::new();
        self.0.sweep(|series| {
            if series.counts.requests == 0 {
                series.quiet += 1;
                return series.quiet < FORGET;
            }
            series.quiet = 0;
            let counts = std::mem::take(&mut series.counts);
            taken.push(StandardIncrement {
                labels: series.labels.clone(),
                counts,
            });
            true
        });
        taken
    }
}

impl StandardIncrement {
    pub(super) fn row(&self) -> AggregateRow<'_> {
        let Counts {
            requests,
            duration_ms,
            request_bytes,
            response_bytes,
        } = &self.counts;
        AggregateRow {
            labels: &self.labels,
            requests: *requests,
            duration_ms: (&duration_ms.0, duration_ms.1),
            request_bytes: (&request_bytes.0, request_bytes.1),
            response_bytes: (&response_bytes.0, response_bytes.1),
        }
    }
}

fn observe<const N: usize>((counts, sum): &mut ([u64; N], f64), bounds: &[f64], value: f64) {
    counts[bucket(bounds, value)] += 1;
    *sum += value;
}

// ----------------------------------------------------------------------------------------------------------- decisions

/// How often each decision was enforced.
#[derive(Debug)]
pub(super) struct Decisions(Sharded<DecisionSeries>);

/// What is no text of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) verdict: Verdict,
    pub(super) because: Because,
    pub(super) cached: bool,
    pub(super) shadow: bool,
}

#[derive(Debug)]
struct DecisionSeries {
    /// Destination, policy, rule, failure.
    texts: Arc<[Box<str>; 4]>,
    kind: Kind,
    count: u64,
    quiet: u8,
}

/// Increments of one decision's count.
#[derive(Debug)]
pub(super) struct DecisionIncrement {
    texts: Arc<[Box<str>; 4]>,
    kind: Kind,
    count: u64,
}

impl Decisions {
    pub(super) fn new(most: usize) -> Self {
        Self(Sharded::new(most))
    }

    pub(super) fn count(
        &self,
        destination: &str,
        policy: &str,
        rule: &str,
        failure: &str,
        kind: Kind,
    ) -> bool {
        let texts = [destination, policy, rule, failure];
        self.0.count(
            &(texts, kind),
            |series| {
                series.kind == kind
                    && series
                        .texts
                        .iter()
                        .zip(texts)
                        .all(|(held, text)| **held == *text)
            },
            || DecisionSeries {
                texts: Arc::new(texts.map(Into::into)),
                kind,
                count: 0,
                quiet: 0,
            },
            |series| series.count += 1,
        )
    }

    /// Takes the increments of all decisions.
    pub(super) fn take(&self) -> Vec<DecisionIncrement> {
        let mut taken = Vec::new();
        self.0.sweep(|series| {
            if series.count == 0 {
                series.quiet += 1;
                return series.quiet < FORGET;
            }
            series.quiet = 0;
            let count = std::mem::take(&mut series.count);
            taken.push(DecisionIncrement {
                texts: series.texts.clone(),
                kind: series.kind,
                count,
            });
            true
        });
        taken
    }
}

impl DecisionIncrement {
    pub(super) fn row(&self) -> DecisionRow<'_> {
        let [destination, policy, rule, failure] = &*self.texts;
        let Kind {
            verdict,
            because,
            cached,
            shadow,
        } = self.kind;
        DecisionRow {
            destination,
            policy,
            rule,
            failure,
            verdict,
            because,
            cached,
            shadow,
            count: self.count,
        }
    }
}
