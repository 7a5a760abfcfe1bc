//! Counts quotas in Redis or Valkey, for any number of Mixers at once.
//!
//! One script per request takes from all of its counters or from none, on the server and by the server's clock, so that no
//! number of Mixers, and none of their clocks, can make a limit give more than it says. See README.md for what is promised with
//! one server, with Sentinel and with a Cluster, and for what happens when the server cannot be asked.

mod config;
mod connection;
mod keys;
mod link;
mod metrics;
mod store;
mod terms;

pub use config::{Cluster, Config, Sentinel, Tls};

use std::sync::{Arc, Mutex, PoisonError};

use mixer_adapter::{
    Adapter, Ask, Env, Expose, Exposition, Family, Forgotten, Grant, Handler, Inputs, Invalid,
    Listed, Quota, Unavailable, Which,
};

use crate::keys::Naming;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::store::Store;

/// The adapter `redis-quota`.
#[derive(Clone, Copy, Debug)]
pub struct RedisQuota;

/// What survives a reload: the connections in force, which a set that leaves the target as it was goes on with, and the metrics.
#[derive(Debug, Default)]
struct Kept {
    in_force: Mutex<Option<Arc<Link>>>,
    metrics: Arc<Metrics>,
}

impl Adapter for RedisQuota {
    const NAME: &'static str = "redis-quota";
    type Config = Config;

    fn build(config: Config, inputs: &Inputs, env: &Env) -> Result<Handler, Invalid> {
        inputs.allow_only(&[])?;
        let settings = config.settings(env)?;
        let kept = env.keep(Kept::default);
        let in_force = kept.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let same = in_force
            .as_ref()
            .filter(|link| link.target == settings.target)
            .cloned();
        drop(in_force);
        let link = same.unwrap_or_else(|| {
            let (clock, metrics) = (env.clock.clone(), kept.metrics.clone());
            Arc::new(Link::new(settings.target, clock, metrics))
        });
        let naming = Naming {
            prefix: settings.prefix,
            spread: settings.spread,
        };
        let counters = Arc::new(Counters {
            store: Store::new(link.clone(), naming, settings.timeout),
            metrics: kept.metrics.clone(),
            name: env.name.clone(),
        });
        Ok(Handler::new()
            .with_quota(counters.clone())
            .with_counters(counters.clone())
            .with_expose(counters)
            .on_start(move |env| {
                link.start(env);
                *kept.in_force.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
            }))
    }
}

#[derive(Debug)]
struct Counters {
    store: Store,
    metrics: Arc<Metrics>,
    name: Arc<str>,
}

impl Quota for Counters {
    async fn allocate(&self, asks: &[Ask<'_>], dedup_id: &str) -> Result<Vec<Grant>, Unavailable> {
        self.store.allocate(asks, dedup_id).await
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
        self.store.list(family, which, most, from).await
    }

    async fn forget(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        from: &str,
    ) -> Result<Forgotten, Unavailable> {
        self.store.forget(family, which, from).await
    }
}

impl Expose for Counters {
    fn expose(&self, page: &mut Exposition) {
        let connections = self.store.link().connections();
        self.metrics.expose(page, &self.name, connections);
    }
}
