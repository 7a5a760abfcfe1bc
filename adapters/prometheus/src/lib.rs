//! Holds the metrics that Mixer shows to Prometheus.
//!
//! Metrics are declared by documents, so neither their names nor their labels are known when this is compiled, and anybody on
//! the network can make up label values: series are bounded in number and in time. A series is held under its labels as they
//! are written on the page, rendered once. `prometheus-client` is not used here: its families cannot take in counts per bucket
//! that a proxy has already made, nor be read for expiry, and it writes OpenMetrics only.

mod config;
mod definition;
mod family;
mod registry;

pub use config::Config;

use std::sync::Arc;

use mixer_adapter::{
    Adapter, Batch, Env, Expose, Exposition, Handler, Inputs, Invalid, MetricDefinition, Report,
    Unavailable,
};
use mixer_runtime::Clock;

use crate::registry::{Bounds, Kept, Registry};

/// The adapter `prometheus`.
#[derive(Clone, Copy, Debug)]
pub struct Prometheus;

impl Adapter for Prometheus {
    const NAME: &'static str = "prometheus";
    type Config = Config;

    fn build(config: Config, inputs: &Inputs, env: &Env) -> Result<Handler, Invalid> {
        inputs.allow_only(&[])?;
        config.check()?;
        let kept = env.keep(Kept::default);
        let bounds = Bounds {
            series: config.max_series,
            expire: config.expire.0,
        };
        let metrics = Arc::new(Metrics {
            registry: Arc::new(Registry::after(&kept, bounds)),
            clock: env.clock.clone(),
            name: env.name.clone(),
        });
        let registry = metrics.registry.clone();
        Ok(Handler::new()
            .with_report(metrics.clone())
            .with_expose(metrics)
            // Only now: a set of documents that is refused must not take the metrics away from the one in force.
            .on_start(move |_| kept.succeed(registry)))
    }
}

#[derive(Debug)]
struct Metrics {
    registry: Arc<Registry>,
    clock: Clock,
    name: Arc<str>,
}

impl Report for Metrics {
    fn declare(&self, metrics: &[MetricDefinition]) -> Result<(), Invalid> {
        self.registry.declare(metrics)
    }

    async fn report(&self, batch: Batch<'_>) -> Result<(), Unavailable> {
        match batch {
            Batch::Metrics(samples) => {
                self.registry.record(samples, self.clock.now());
                Ok(())
            }
            Batch::Logs(_) | Batch::Spans(_) => Err(Unavailable {
                reason: "prometheus takes metrics only".into(),
                retry: false,
            }),
        }
    }

    async fn flush(&self) {}
}

impl Expose for Metrics {
    fn expose(&self, page: &mut Exposition) {
        self.registry.expose(page, &self.name, self.clock.now());
    }
}

#[cfg(test)]
mod tests;
