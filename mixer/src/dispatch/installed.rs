//! An adapter as dispatch asks it: under a deadline, behind a breaker and a bulkhead, its panics contained, all of it counted,
//! the same for every adapter.
//!
//! What an input can cause must not harm others: a panic, and a deadline that was short because the caller was late, are this
//! caller's misfortune and leave the breaker alone. What comes back is an answer or [`Unavailable`]; nothing here decides what
//! that means.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use mixer_adapter::{
    Answer, Ask, Batch, Env, Exposition, Grant, Handler, Instance, Outcome, Unavailable,
};
use mixer_runtime::Instant;

use super::breaker::{Breaker, PAUSE};
use crate::latency::Latency;

/// Calls that one adapter may have in flight.
pub(super) const CONCURRENT: usize = 256;
/// The longest an adapter is waited for.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);
/// A call that had less time than this tells nothing about the backend.
const FAIR: Duration = Duration::from_millis(20);

/// One adapter of a snapshot.
#[derive(Debug)]
pub struct Installed {
    handler: Handler,
    env: Env,
    breaker: Breaker,
    in_flight: AtomicUsize,
    counters: Arc<Counters>,
}

/// What became of the calls to one adapter, since Mixer started.
#[derive(Debug, Default)]
struct Counters {
    answered: AtomicU64,
    matched: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
    timed_out: AtomicU64,
    panicked: AtomicU64,
    breaker_open: AtomicU64,
    bulkhead_full: AtomicU64,
    /// Of calls to count that were answered.
    allocations: Latency,
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were answered in time.
    pub answered: u64,
    /// Of these, checks that matched.
    pub matched: u64,
    /// Of these, allocations that were refused.
    pub refused: u64,
    /// Calls whose answer was that the backend cannot be asked.
    pub unavailable: u64,
    /// Calls given up at their deadline.
    pub timed_out: u64,
    /// Calls that ended in a panic.
    pub panicked: u64,
    /// Calls not made because earlier ones failed.
    pub breaker_open: u64,
    /// Calls not made because too many were in flight.
    pub bulkhead_full: u64,
}

/// Why an adapter could not be asked, and when trying again may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotAsked {
    pub(crate) reason: Cow<'static, str>,
    pub(crate) retry_after: Duration,
    /// The inputs are at fault, not the adapter.
    pub(crate) refused: bool,
}

impl Installed {
    /// Around a handler that was built with `env`.
    pub fn new(handler: Handler, env: Env) -> Self {
        let counters = env.keep(Counters::default);
        Self {
            handler,
            env,
            breaker: Breaker::default(),
            in_flight: AtomicUsize::new(0),
            counters,
        }
    }

    /// The adapter document's name.
    pub fn name(&self) -> &Arc<str> {
        &self.env.name
    }

    /// The adapter itself, unguarded.
    pub fn handler(&self) -> &Handler {
        &self.handler
    }

    /// Whether calls are refused at the moment because earlier ones failed.
    pub fn breaker_is_open(&self) -> bool {
        self.breaker.is_open(self.env.clock.now())
    }

    /// What became of its calls.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            answered: read(&self.counters.answered),
            matched: read(&self.counters.matched),
            refused: read(&self.counters.refused),
            unavailable: read(&self.counters.unavailable),
            timed_out: read(&self.counters.timed_out),
            panicked: read(&self.counters.panicked),
            breaker_open: read(&self.counters.breaker_open),
            bulkhead_full: read(&self.counters.bulkhead_full),
        }
    }

    /// Writes how long it takes to count.
    pub(crate) fn expose_latency(&self, page: &mut Exposition) {
        let help = "Time of calls to stores that were answered";
        let labels = [("adapter", &**self.name())];
        let name = "mixer_quota_store_seconds";
        self.counters.allocations.expose(page, name, help, &labels);
    }

    /// Begins its background work; once, when its set comes into force.
    pub(crate) fn start(&mut self) {
        self.handler.start(&self.env);
    }

    /// Sends what it buffered and ends its background work.
    pub(crate) async fn stop(&self, deadline: Duration) {
        let clock = &self.env.clock;
        let flushed = clock
            .within(deadline, contained(self.handler.flush()))
            .await;
        if !matches!(flushed, Some(Ok(()))) {
            tracing::warn!(adapter = %self.name(), "what it buffered could not be sent before it ended");
        }
        if let Err(unfinished) = self.env.tasks.shutdown(clock, deadline).await {
            tracing::warn!(adapter = %self.name(), ?unfinished, "background work had to be aborted");
        }
    }

    /// Asks for match or no match.
    pub(crate) async fn check(
        &self,
        instance: &Instance<'_>,
        within: Duration,
    ) -> Result<Answer, NotAsked> {
        let answer = self
            .guarded(self.env.clock.now(), within, self.handler.check(instance))
            .await?;
        if answer.matched {
            count(&self.counters.matched);
        }
        Ok(answer)
    }

    /// Takes from counters, waiting at most `until` then; as many grants as asks.
    pub(crate) async fn allocate(
        &self,
        asks: &[Ask<'_>],
        dedup_id: &str,
        until: Instant,
    ) -> Result<Vec<Grant>, NotAsked> {
        let begun = self.env.clock.now();
        let call = self.handler.allocate(asks, dedup_id);
        let grants = self.guarded(begun, until.since(begun), call).await?;
        let took = self.env.clock.now().since(begun);
        self.counters.allocations.observe(took);
        if grants.len() != asks.len() {
            return Err(NotAsked {
                reason: "it answered another number of asks".into(),
                retry_after: PAUSE,
                refused: false,
            });
        }
        if grants.iter().any(|grant| grant.outcome == Outcome::Refused) {
            count(&self.counters.refused);
        }
        Ok(grants)
    }

    /// Tells it what happened. Not on the way of any request: `within` may be long.
    pub async fn report(&self, batch: Batch<'_>, within: Duration) -> Result<(), Unavailable> {
        let now = self.env.clock.now();
        let told = self.guarded(now, within, self.handler.report(batch)).await;
        told.map_err(|NotAsked { reason, .. }| Unavailable {
            reason,
            retry: true,
        })
    }

    async fn guarded<T>(
        &self,
        now: Instant,
        within: Duration,
        call: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, NotAsked> {
        let clock = &self.env.clock;
        if let Err(wait) = self.breaker.admit(now) {
            count(&self.counters.breaker_open);
            return Err(NotAsked {
                reason: "it failed too often and is left alone".into(),
                retry_after: wait,
                refused: false,
            });
        }
        let Some(_place) = Place::take(&self.in_flight) else {
            count(&self.counters.bulkhead_full);
            return Err(NotAsked {
                reason: "too many calls to it are in flight".into(),
                retry_after: PAUSE,
                refused: false,
            });
        };
        match clock.within(within, contained(call)).await {
            Some(Ok(Ok(answer))) => {
                count(&self.counters.answered);
                self.breaker.succeeded();
                Ok(answer)
            }
            Some(Ok(Err(unavailable))) => {
                count(&self.counters.unavailable);
                if unavailable.retry {
                    self.breaker.failed(clock.now());
                }
                Err(NotAsked {
                    reason: unavailable.reason,
                    retry_after: PAUSE,
                    refused: !unavailable.retry,
                })
            }
            Some(Err(Panicked)) => {
                count(&self.counters.panicked);
                Err(NotAsked {
                    reason: "it panicked".into(),
                    retry_after: PAUSE,
                    refused: false,
                })
            }
            None => {
                count(&self.counters.timed_out);
                if within >= FAIR {
                    self.breaker.failed(clock.now());
                }
                let reason = format!("no answer within {} ms", within.as_millis());
                Err(NotAsked {
                    reason: reason.into(),
                    retry_after: PAUSE,
                    refused: false,
                })
            }
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A place in the bulkhead, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(in_flight: &'a AtomicUsize) -> Option<Self> {
        let place = Place(in_flight);
        if in_flight.fetch_add(1, Ordering::AcqRel) < CONCURRENT {
            Some(place)
        } else {
            None
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The work panicked; the panic hook has told the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Runs `work` and turns a panic in it into a value. It is dropped where it panicked, so no state of it is seen again.
pub(crate) async fn contained<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}
