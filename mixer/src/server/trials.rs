//! What is in shadow, tried after requests were answered.
//!
//! A request that reached Mixer and was decided is handed over with its answer; one that a proxy answered from its cache comes
//! in a call of its own, of which proxies send a sample. Either way nobody waits: what does not fit into the queue is not
//! tried, and counted. Outcomes are counted per rule; what would be denied is logged, ten lines a second at most.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mixer_adapter::exposition::rendered;
use mixer_adapter::{Exposition, FamilyKind};
use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_documents::PolicySet;
use mixer_proto::v1;
use mixer_runtime::{Clock, Instant, Tasks, queue};
use prost::Message;
use tokio::task::JoinSet;

use super::metrics::Metrics;
use super::wire::Arena;
use crate::dispatch::{Decision, Enforced, Outcome, ShadowOutcome, ShadowVerdict, Taken};
use crate::live::Current;

/// Requests that wait to be tried.
const WAITING: usize = 256;
/// A larger request is not tried.
const MOST_BYTES: usize = 64 * 1024;
/// Requests tried at once, which adapters may take their time for.
const AT_ONCE: usize = 64;
/// For the adapters of what is in shadow.
const PATIENCE: Duration = Duration::from_secs(1);
/// Series counted.
const MOST_SERIES: usize = 10_000;
/// Lines logged in a second.
const LINES: u64 = 10;

/// Tries what is in shadow.
#[derive(Debug)]
pub(crate) struct Trials {
    queue: queue::Sender<Trial>,
    metrics: Arc<Metrics>,
}

/// One request that was answered.
#[derive(Debug)]
struct Trial {
    request: v1::CheckRequest,
    enforced: Enforced,
    current: Arc<Current>,
}

/// How often what is in shadow would have changed something.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    counts: Mutex<BTreeMap<Series, u64>>,
    untried: AtomicU64,
}

/// Destination, policy, rule.
type Series = ([Arc<str>; 3], ShadowOutcome);

impl Trials {
    pub(crate) fn start(clock: Clock, metrics: Arc<Metrics>, tasks: &Tasks) -> Self {
        let (queue, mut waiting) = queue::bounded::<Trial>(WAITING);
        let log = Arc::new(Log {
            since: Mutex::new((clock.now(), 0)),
            clock,
        });
        let counted = metrics.clone();
        tasks.spawn_until_stop("shadow", async move {
            let mut trying = JoinSet::new();
            loop {
                tokio::select! {
                    waiting = waiting.recv(), if trying.len() < AT_ONCE => match waiting {
                        Some(trial) => drop(trying.spawn(trial.run(counted.clone(), log.clone()))),
                        None => return,
                    },
                    Some(_) = trying.join_next() => {}
                }
            }
        });
        Self { queue, metrics }
    }

    /// Tries what is in shadow on a request that `current` answered, or a proxy did, with `enforced`.
    pub(crate) fn after(
        &self,
        request: v1::CheckRequest,
        enforced: Enforced,
        current: Arc<Current>,
    ) {
        let trial = Trial {
            enforced,
            current,
            request,
        };
        if trial.request.encoded_len() > MOST_BYTES || !self.queue.offer(trial) {
            self.metrics.shadow.untried.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Trials {
    /// Counts what shadow quotas would have refused of a request whose charges were taken.
    pub(crate) fn taken(
        &self,
        bag: &AttributeBag<'_>,
        decision: &Decision,
        taken: &[Taken],
        set: &PolicySet,
    ) {
        let charges = decision.charges.iter().zip(taken);
        for (charge, taken) in charges.filter(|(charge, _)| charge.shadow) {
            let outcome = match taken.outcome {
                Outcome::Refused => ShadowOutcome::WouldDeny,
                _ => ShadowOutcome::Same,
            };
            let policy = set.policies[charge.place.0].name.clone();
            let quota = [destination(bag), policy, charge.quota.clone()];
            self.metrics.shadow.count(quota, outcome, 1);
        }
    }
}

fn destination(bag: &AttributeBag<'_>) -> Arc<str> {
    match bag.value(vocabulary::DESTINATION_SERVICE) {
        Some(Value::String(service)) => service.into(),
        _ => "".into(),
    }
}

impl Trial {
    async fn run(self, metrics: Arc<Metrics>, log: Arc<Log>) {
        let dispatcher = &self.current.dispatcher;
        let names = &dispatcher.snapshot().set.vocabulary;
        // What is malformed was answered as that.
        let Ok(arena) = Arena::new("attributes", &self.request.attributes) else {
            return;
        };
        let Ok(bag) = arena.bag("attributes", names) else {
            return;
        };
        let destination = destination(&bag);
        for verdict in dispatcher.shadow(&bag, self.enforced, PATIENCE).await {
            if verdict.outcome == ShadowOutcome::WouldDeny {
                log.would_deny(&destination, &verdict);
            }
            let rule = [destination.clone(), verdict.policy, verdict.rule_id];
            metrics.shadow.count(rule, verdict.outcome, 1);
        }
    }
}

impl Outcomes {
    /// Counts outcomes of a rule, quota or policy, named by destination, policy and rule.
    pub(crate) fn count(&self, rule: [Arc<str>; 3], outcome: ShadowOutcome, count: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let series = (rule, outcome);
        if let Some(held) = counts.get_mut(&series) {
            *held += count;
        } else if counts.len() < MOST_SERIES {
            counts.insert(series, count);
        } else {
            self.untried.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Writes them.
    pub(crate) fn expose(&self, page: &mut Exposition) {
        let help = "What is in shadow, by what enforcing it would change";
        if let Some(mut written) = page.family("mixer_shadow_decisions", help, FamilyKind::Counter)
        {
            let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (([destination, policy, rule], outcome), count) in &*counts {
                let labels = rendered(&[
                    ("destination_service", destination),
                    ("policy", policy),
                    ("rule", rule),
                    ("outcome", word(*outcome)),
                ]);
                written.value(&labels, *count as f64);
            }
        }
        page.counter(
            "mixer_shadow_untried",
            "Answered requests on which what is in shadow was not tried",
            &[],
            self.untried.load(Ordering::Relaxed) as f64,
        );
    }
}

fn word(outcome: ShadowOutcome) -> &'static str {
    match outcome {
        ShadowOutcome::Same => "same",
        ShadowOutcome::WouldDeny => "would_deny",
        ShadowOutcome::WouldAllow => "would_allow",
    }
}

/// Lines, a few a second.
#[derive(Debug)]
struct Log {
    clock: Clock,
    /// When the current second began, and how many lines there were in it.
    since: Mutex<(Instant, u64)>,
}

impl Log {
    fn would_deny(&self, destination: &str, verdict: &ShadowVerdict) {
        let now = self.clock.now();
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(since.0) >= Duration::from_secs(1) {
            let unsaid = since.1.saturating_sub(LINES);
            if unsaid > 0 {
                tracing::info!("{unsaid} more requests would be denied by what is in shadow");
            }
            *since = (now, 0);
        }
        since.1 += 1;
        if since.1 <= LINES {
            tracing::info!(
                destination,
                policy = %verdict.policy,
                rule = %verdict.rule,
                "in shadow: a request that passed would be denied"
            );
        }
    }
}
