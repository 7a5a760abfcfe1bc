//! Counts quotas in this Mixer's memory.
//!
//! Exact under any number of threads: a counter is read and written under its shard's lock, and all counters of one request
//! are locked together, in order, so that a request takes from all of them or from none. See README.md for what each
//! algorithm promises, what happens when memory is full, and what survives a reload.

mod config;
mod counter;
mod dedup;
mod families;
mod fixed;
mod gcra;
mod saved;
mod shard;
mod snapshot;
mod store;
mod window;

pub use config::{Config, Full, Snapshot};

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mixer_adapter::{
    Adapter, Ask, Env, Expose, Exposition, Family, Forgotten, Grant, Handler, Inputs, Invalid,
    Listed, Period, Quota, Unavailable, Which,
};
use mixer_runtime::Clock;

use crate::snapshot::{Outcomes, Place};
use crate::store::{Bounds, Store};

/// The adapter `memory-quota`.
#[derive(Clone, Copy, Debug)]
pub struct MemoryQuota;

/// How often a part of the idle keys is looked for, and into how many parts they are divided: an idle key is gone half a
/// minute after its spending is forgotten.
const SWEEP: (Duration, usize) = (Duration::from_secs(2), 16);

/// A shard finds the bytes of its keys by a number of 32 bits.
const MOST_KEYS: usize = 500_000_000;

impl Adapter for MemoryQuota {
    const NAME: &'static str = "memory-quota";
    type Config = Config;

    fn build(config: Config, inputs: &Inputs, env: &Env) -> Result<Handler, Invalid> {
        inputs.allow_only(&[])?;
        if config.max_keys == 0 {
            return Err(Invalid::one("max_keys", "must be at least 1"));
        }
        if config.max_keys > MOST_KEYS {
            return Err(Invalid::one("max_keys", "must be at most 500000000"));
        }
        let place = config.snapshot.map(|snapshot| place(snapshot, env));
        let place = place.transpose()?;
        let counters = Arc::new(Counters {
            store: env.keep(Store::new),
            snapshots: place.is_some().then(|| env.keep(Outcomes::default)),
            bounds: Bounds {
                keys: config.max_keys,
                full: config.full,
            },
            clock: env.clock.clone(),
            name: env.name.clone(),
        });
        let (swept, kept) = (counters.clone(), counters.clone());
        Ok(Handler::new()
            .with_quota(counters.clone())
            .with_counters(counters.clone())
            .with_expose(counters)
            .on_start(move |env| {
                kept.restore_and_keep(place, env);
                let clock = env.clock.clone();
                env.tasks
                    .spawn_until_stop("memory-quota sweep", async move {
                        let (every, parts) = SWEEP;
                        for part in (0..parts).cycle() {
                            clock.sleep(every).await;
                            swept.store.sweep(part, parts, &clock);
                        }
                    });
            }))
    }
}

/// Where snapshots go; the file is not touched.
fn place(snapshot: Snapshot, env: &Env) -> Result<Place, Invalid> {
    if snapshot.file.is_empty() {
        return Err(Invalid::one("snapshot.file", "names no file"));
    }
    let Period(every) = snapshot.every;
    if every < Duration::from_secs(1) {
        return Err(Invalid::one("snapshot.every", "must be at least 1s"));
    }
    let file = env.directory.join(snapshot.file);
    Ok(Place { file, every })
}

#[derive(Debug)]
struct Counters {
    store: Arc<Store>,
    snapshots: Option<Arc<Outcomes>>,
    bounds: Bounds,
    clock: Clock,
    name: Arc<str>,
}

impl Counters {
    /// Before anybody asks: what was counted before the restart, if this is one.
    fn restore_and_keep(&self, place: Option<Place>, env: &Env) {
        let is_new = !self.store.started.swap(true, Ordering::Relaxed);
        let (Some(place), Some(outcomes)) = (place, &self.snapshots) else {
            return;
        };
        if is_new {
            place.restore(&self.store, self.bounds.keys, outcomes, env);
        }
        place.keep(self.store.clone(), outcomes.clone(), env);
    }
}

impl Quota for Counters {
    async fn allocate(&self, asks: &[Ask<'_>], dedup_id: &str) -> Result<Vec<Grant>, Unavailable> {
        Ok(self
            .store
            .allocate(asks, dedup_id, self.bounds, &self.clock))
    }
}

impl mixer_adapter::Counters for Counters {
    async fn list(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        most: usize,
        from: &str,
    ) -> Result<Listed, Unavailable> {
        self.store.list(family, which, most, from, &self.clock)
    }

    async fn forget(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        from: &str,
    ) -> Result<Forgotten, Unavailable> {
        self.store.forget(family, which, from)
    }
}

impl Expose for Counters {
    fn expose(&self, page: &mut Exposition) {
        let labels = [("adapter", &*self.name)];
        page.gauge(
            "mixer_memory_quota_keys",
            "Live quota counters in memory.",
            &labels,
            self.store.keys() as f64,
        );
        page.counter(
            "mixer_memory_quota_overflows",
            "Asks of new keys that found max_keys reached.",
            &labels,
            self.store.overflows() as f64,
        );
        if let Some(snapshots) = &self.snapshots {
            snapshots.expose(page, &self.name);
        }
    }
}

#[cfg(test)]
mod tests;
