//! Takes batches of Report: checks one as a whole, counts it once, acknowledges it, and works on it afterwards.
//!
//! The answer does not wait for adapters. A batch that is acknowledged is in a bounded queue; one that does not fit is refused,
//! so that the client keeps it and tries again, and says itself what it had to drop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mixer_proto::v1;
use mixer_runtime::{Clock, Drain, DrainGuard, Tasks, queue};
use prost::Message;

use self::seen::Seen;
use super::metrics::{Dropped, Metrics};
use super::wire::{Batch, Malformed};
use crate::dispatch::ShadowOutcome;
use crate::dispatch::report::{self, Account};
use crate::live::Current;

mod seen;

/// Batches that may wait.
const WAITING: usize = 1_024;
/// Records that are evaluated and told together.
const TOGETHER: usize = 256;

/// Where Report puts its batches.
#[derive(Debug)]
pub(crate) struct Reports {
    seen: Mutex<Seen>,
    queue: queue::Sender<Job>,
    bytes: Arc<AtomicUsize>,
    most_bytes: usize,
    clock: Clock,
    metrics: Arc<Metrics>,
    working: Drain,
}

/// Why a batch was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// Its sender must act.
    Malformed(Malformed),
    /// Later it may be.
    Full,
}

/// A batch that was acknowledged, and the documents it is worked on with.
#[derive(Debug)]
struct Job {
    batch: Batch,
    size: usize,
    service: Option<Arc<str>>,
    current: Arc<Current>,
    _working: DrainGuard,
}

impl Reports {
    /// Works in the background until `tasks` end. At most `most_bytes` of batches wait.
    pub(crate) fn start(
        most_bytes: usize,
        clock: Clock,
        metrics: Arc<Metrics>,
        tasks: &Tasks,
    ) -> Self {
        let (queue, mut jobs) = queue::bounded::<Job>(WAITING);
        let bytes = Arc::new(AtomicUsize::new(0));
        let reports = Self {
            seen: Mutex::default(),
            queue,
            bytes: bytes.clone(),
            most_bytes,
            clock: clock.clone(),
            metrics: metrics.clone(),
            working: Drain::new(),
        };
        tasks.spawn_until_stop("report", async move {
            while let Some(job) = jobs.recv().await {
                job.work(&clock, &metrics).await;
                bytes.fetch_sub(job.size, Ordering::AcqRel);
                metrics.batches_waiting.add(-1);
            }
        });
        reports
    }

    /// Takes a batch, or finds that it was taken before. `service` is the one whose proxy sends it, as far as is known.
    pub(crate) fn take(
        &self,
        request: v1::ReportRequest,
        current: Arc<Current>,
        service: Option<Arc<str>>,
    ) -> Result<(), NotTaken> {
        let size = request.encoded_len();
        let batch =
            Batch::new(request, &current.snapshot().set.vocabulary).map_err(NotTaken::Malformed)?;
        let (client, sequence, dropped) =
            (batch.client().to_owned(), batch.sequence(), batch.dropped());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.is_new(&client, sequence) {
            self.metrics.batches_repeated.add(1);
            return Ok(());
        }
        if self.bytes.fetch_add(size, Ordering::AcqRel) + size > self.most_bytes {
            self.bytes.fetch_sub(size, Ordering::AcqRel);
            return Err(NotTaken::Full);
        }
        self.metrics.batches_waiting.add(1);
        if !self.queue.offer(Job {
            batch,
            size,
            service,
            current,
            _working: self.working.guard(),
        }) {
            self.metrics.batches_waiting.add(-1);
            self.bytes.fetch_sub(size, Ordering::AcqRel);
            return Err(NotTaken::Full);
        }
        seen.note(client, sequence, self.clock.now());
        drop(seen);
        self.metrics.batches_counted.add(1);
        self.metrics.dropped(Dropped::Client, dropped);
        Ok(())
    }

    /// Waits until every batch that was taken is worked on, at most `deadline`; how many were not.
    pub(crate) async fn finish(&self, deadline: std::time::Duration) -> usize {
        self.working.finish(&self.clock, deadline).await
    }
}

impl Job {
    async fn work(&self, clock: &Clock, metrics: &Metrics) {
        let snapshot = &**self.current.snapshot();
        let mut account = Account::default();
        let (aggregates, decisions) = (self.batch.aggregates(), self.batch.decisions());
        // What shadow quotas would have refused of requests that a proxy charged to its leases.
        for refused in decisions.iter().filter(|count| count.shadow) {
            let quota = [refused.destination, refused.policy, refused.rule].map(Arc::from);
            metrics
                .shadow
                .count(quota, ShadowOutcome::WouldDeny, refused.count);
        }
        account.add(report::counted(snapshot, &aggregates, &decisions).await);
        for records in self.batch.records().chunks(TOGETHER) {
            let arenas = self.batch.arenas(records);
            let happened = self
                .batch
                .happened(records, &arenas, &snapshot.set.vocabulary);
            metrics.records.add(happened.len() as u64);
            // A record that does not say whose it is can be shown nowhere.
            metrics.dropped(Dropped::Client, (records.len() - happened.len()) as u64);
            account.add(
                report::recorded(snapshot, &happened, self.service.as_deref(), clock.wall()).await,
            );
        }
        metrics.spans.add(account.spans);
        metrics.dropped(Dropped::Adapter, account.lost);
        for (document, count) in account.unevaluated {
            metrics.unevaluated(&snapshot.set.telemetry[document].name, count);
        }
    }
}
