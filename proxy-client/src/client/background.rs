//! What a client does without being asked: watch, refill and give back leases, report.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use mixer_proto::v1;
use mixer_runtime::{Backoff, queue};
use tokio::task::JoinSet;
use tonic::Status;

use super::Inner;
use crate::call;
use crate::in_flight::Ended;
use crate::lease::{SWEEP, Waiting};
use crate::place::Known;
use crate::report::Step;
use crate::stats::Counters;
use crate::wire::{self, Ask, Outcome};

/// The first state must come within this of opening a stream.
const FIRST_STATE: Duration = Duration::from_secs(10);
/// Refills on their way at once.
const MOST_REFILLS: usize = 64;
/// Counters in one message that gives back.
const MOST_GIVEN: usize = 256;
/// Between tries of the last reports.
const LAST_TRIES: Duration = Duration::from_millis(50);

impl Inner {
    /// Holds a Watch stream, and opens it again whenever it ends.
    pub(super) async fn watch(self: Arc<Self>, request: Bytes) {
        // However this ends, answers must not be taken for confirmed for ever.
        let _lost = LoseWatch(&self);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        let watching = async {
            loop {
                let ended = self.watch_once(request.clone(), &mut backoff).await;
                self.lose_watch();
                let wait = backoff.next(&self.random);
                tracing::debug!(?wait, "not watching: {}", ended.message());
                self.clock.sleep(wait).await;
            }
        };
        self.until_closing(watching).await;
    }

    /// Takes states until the stream ends; why it did.
    async fn watch_once(&self, request: Bytes, backoff: &mut Backoff) -> Status {
        let open = async {
            let mut stream = self.calls.watch::<v1::WatchResponse>(request).await?;
            let first = stream.message().await?;
            Ok((stream, first))
        };
        let (mut stream, mut next) = match self.clock.within(FIRST_STATE, open).await {
            None => return Status::deadline_exceeded("no state came"),
            Some(Err(status)) => return status,
            Some(Ok(opened)) => opened,
        };
        while let Some(state) = next {
            match wire::watch_response(state) {
                Ok(told) => self.take_state(told),
                Err(error) => return Status::internal(error.to_string()),
            }
            backoff.reset();
            next = match stream.message().await {
                Ok(next) => next,
                Err(status) => return status,
            };
        }
        Status::unavailable("the stream ended")
    }

    fn take_state(&self, told: wire::Told) {
        let known = Arc::new(Known::next(self.known.load().as_deref(), told));
        let state = known.state.clone();
        self.known.store(Some(known));
        self.counters.watching.store(true, Ordering::Release);
        Counters::count(&self.counters.watch_states);
        self.states.send_replace(Some(state));
    }

    fn lose_watch(&self) {
        if self.counters.watching.load(Ordering::Relaxed) {
            self.lost_at
                .store(self.clock.now().as_nanos(), Ordering::Release);
            self.counters.watching.store(false, Ordering::Release);
        }
    }

    /// Sends refills, and gives back what nobody used lately.
    pub(super) async fn hold_leases(self: Arc<Self>, mut waiting: queue::Receiver<Waiting>) {
        let holding = async {
            let mut on_their_way = JoinSet::new();
            let mut sweep = std::pin::pin!(self.clock.sleep(SWEEP));
            loop {
                tokio::select! {
                    Some(Waiting { ask }) = waiting.recv(), if on_their_way.len() < MOST_REFILLS => {
                        on_their_way.spawn(self.clone().refill(ask));
                    }
                    Some(_) = on_their_way.join_next() => {}
                    () = &mut sweep => {
                        let unused = self.leases.sweep(self.clock.now());
                        if !unused.is_empty() {
                            let inner = self.clone();
                            on_their_way.spawn(async move { inner.give_back(unused).await });
                        }
                        sweep.set(self.clock.sleep(SWEEP));
                    }
                }
            }
        };
        self.until_closing(holding).await;
    }

    /// Sends samples of what the cache answered, one after the other; nothing comes of the answers.
    pub(super) async fn send_samples(self: Arc<Self>, mut samples: queue::Receiver<Bytes>) {
        let sending = async {
            while let Some(request) = samples.recv().await {
                let until = self.clock.now() + self.calls.total_timeout();
                let sent = self
                    .calls
                    .ask::<v1::CheckResponse>(call::CHECK, request, until);
                if let Err(unanswered) = sent.await {
                    tracing::debug!(?unanswered, "a sample could not be sent");
                }
            }
        };
        self.until_closing(sending).await;
    }

    async fn refill(self: Arc<Self>, ask: Ask) {
        let sent = self.clock.now();
        let until = sent + self.calls.total_timeout();
        let answered = self.ask_quota(std::slice::from_ref(&ask), until).await;
        match answered.as_deref() {
            Ok([grant]) => {
                let taken = grant.outcome == Outcome::Granted;
                self.leases
                    .answered(&ask, grant, taken, sent, self.clock.now());
            }
            _ => self.leases.unanswered(&ask),
        }
    }

    /// Frees what requests held that are over: one call at a time, with all that ended since the one before.
    pub(super) async fn free_ended(self: Arc<Self>) {
        let freeing = async {
            let mut to_free = self.to_free.lock().await;
            loop {
                let ended = to_free.recv_many(MOST_GIVEN).await;
                if ended.is_empty() {
                    return;
                }
                self.free(ended).await;
            }
        };
        self.until_closing(freeing).await;
    }

    /// Frees what is left to free.
    pub(super) async fn free_rest(&self) {
        let mut to_free = self.to_free.lock().await;
        loop {
            let next = std::iter::from_fn(|| to_free.try_recv());
            let ended: Vec<Ended> = next.take(MOST_GIVEN).collect();
            if ended.is_empty() {
                return;
            }
            self.free(ended).await;
        }
    }

    async fn free(&self, ended: Vec<Ended>) {
        let (delay, now) = (self.calls.total_timeout(), self.clock.now());
        let asks = ended.into_iter().map(|ended| ended.ask(delay, now));
        self.give_back(asks.collect()).await;
    }

    /// Gives tokens back. If that fails they are lost until their lease ends: they may have been counted.
    pub(super) async fn give_back(&self, unused: Vec<Ask>) {
        for asks in unused.chunks(MOST_GIVEN) {
            let until = self.clock.now() + self.calls.total_timeout();
            if let Err(failure) = self.ask_quota(asks, until).await {
                tracing::debug!(
                    counters = asks.len(),
                    "leases could not be given back: {}",
                    failure.name()
                );
            }
            self.leases.returned(asks);
        }
    }

    /// Sends a batch each `interval`, or sooner when the queue of records fills.
    pub(super) async fn report(self: Arc<Self>, interval: Duration) {
        let reporting = async {
            loop {
                tokio::select! {
                    () = self.clock.sleep(interval) => {}
                    () = self.reporter.collected().filling() => {}
                }
                loop {
                    let step = self.pump.lock().await.step().await;
                    match step {
                        Step::Done | Step::Sent { more: false } => break,
                        Step::Sent { more: true } => {}
                        Step::Wait(wait) => self.clock.sleep(wait).await,
                    }
                }
            }
        };
        self.until_closing(reporting).await;
    }

    /// Sends everything there is.
    pub(super) async fn report_rest(&self) {
        let mut pump = self.pump.lock().await;
        loop {
            match pump.step().await {
                Step::Done => return,
                Step::Sent { .. } => {}
                Step::Wait(wait) => self.clock.sleep(wait.min(LAST_TRIES)).await,
            }
        }
    }

    async fn until_closing(&self, work: impl Future<Output = ()>) {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => {}
            () = work => {}
        }
    }
}

struct LoseWatch<'a>(&'a Inner);

impl Drop for LoseWatch<'_> {
    fn drop(&mut self) {
        self.0.lose_watch();
    }
}
