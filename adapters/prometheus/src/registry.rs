//! Every metric that was declared, and what of it outlives a reload.
//!
//! Each set of documents declares its metrics anew, into a registry of its own: a set that turns out to be refused must not
//! change what is shown. A metric that is declared as before goes on counting in the family it had.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use mixer_adapter::{Exposition, Invalid, MetricDefinition, Problem, Sample};
use mixer_runtime::Instant;

use crate::definition;
use crate::family::Family;

/// What is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) series: usize,
    pub(crate) expire: Duration,
}

/// What survives a reload.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    in_force: Mutex<HashMap<String, Arc<Family>>>,
    misfits: Arc<AtomicU64>,
}

/// The metrics of one set of documents.
#[derive(Debug)]
pub(crate) struct Registry {
    bounds: Bounds,
    declared: RwLock<HashMap<String, Declared>>,
    before: HashMap<String, Arc<Family>>,
    misfits: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Declared {
    help: String,
    family: Arc<Family>,
}

impl Kept {
    /// `registry` is in force now.
    pub(crate) fn succeed(&self, registry: Arc<Registry>) {
        let families = registry.families();
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = families;
    }
}

impl Registry {
    /// Nothing declared; what is will go on from what `kept` has.
    pub(crate) fn after(kept: &Kept, bounds: Bounds) -> Self {
        let before = kept
            .in_force
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Self {
            bounds,
            declared: RwLock::default(),
            before,
            misfits: kept.misfits.clone(),
        }
    }

    /// Declares metrics: all, or none when there is a problem.
    pub(crate) fn declare(&self, metrics: &[MetricDefinition]) -> Result<(), Invalid> {
        let mut declared = self
            .declared
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut fresh: HashMap<String, Declared> = HashMap::new();
        let mut problems = Vec::new();
        for metric in metrics {
            problems.extend(definition::problems(metric));
            match fresh
                .get(&metric.name)
                .or_else(|| declared.get(&metric.name))
            {
                Some(there) if there.family.fits(metric) => {}
                Some(_) => problems.push(Problem {
                    field: metric.name.clone(),
                    message: format!(
                        "`{}` is declared already, as another kind or with other labels or buckets",
                        metric.name
                    ),
                }),
                None => {
                    let before = self
                        .before
                        .get(&metric.name)
                        .filter(|family| family.fits(metric));
                    let family = before
                        .cloned()
                        .unwrap_or_else(|| Arc::new(Family::new(metric)));
                    fresh.insert(
                        metric.name.clone(),
                        Declared {
                            help: metric.help.clone(),
                            family,
                        },
                    );
                }
            }
        }
        if !problems.is_empty() {
            return Err(Invalid { problems });
        }
        declared.extend(fresh);
        Ok(())
    }

    /// Adds samples. One that does not fit its metric is counted and changes nothing.
    pub(crate) fn record(&self, samples: &[Sample<'_>], now: Instant) {
        let declared = self.declared.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for sample in samples {
            let added = declared.get(&sample.metric.name).is_some_and(|metric| {
                let added =
                    metric
                        .family
                        .add(&sample.labels, sample.value, self.bounds, now, &mut text);
                added.is_ok()
            });
            if !added {
                self.misfits.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes all metrics, and those about the metrics themselves.
    pub(crate) fn expose(&self, page: &mut Exposition, adapter: &str, now: Instant) {
        let declared = self.declared.read().unwrap_or_else(PoisonError::into_inner);
        for (name, metric) in declared.iter() {
            metric
                .family
                .expose(name, &metric.help, page, self.bounds, now);
        }
        page.counter(
            "mixer_prometheus_misfit_samples",
            "Samples dropped because they did not fit their metric.",
            &[("adapter", adapter)],
            self.misfits.load(Ordering::Relaxed) as f64,
        );
        let mut sorted: Vec<_> = declared.iter().collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        for (name, metric) in sorted {
            let labels = [("adapter", adapter), ("metric", name)];
            let help = "Series of a metric.";
            page.gauge(
                "mixer_prometheus_series",
                help,
                &labels,
                metric.family.len() as f64,
            );
            let help =
                "Samples added to the series `other` because their metric has too many series.";
            page.counter(
                "mixer_prometheus_folded_samples",
                help,
                &labels,
                metric.family.folded() as f64,
            );
        }
    }

    fn families(&self) -> HashMap<String, Arc<Family>> {
        let declared = self.declared.read().unwrap_or_else(PoisonError::into_inner);
        declared
            .iter()
            .map(|(name, metric)| (name.clone(), metric.family.clone()))
            .collect()
    }
}
