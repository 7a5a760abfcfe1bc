//! A bounded buffer between a request that is over and a backend that may be slow: spans, log lines.
//!
//! The producer never waits: what does not fit is dropped and counted. One task takes batches out and hands them to a
//! [`Sink`]; when its set of documents is replaced it sends what is left and ends. [`Buffer::flush`] waits until everything
//! that was taken in before it is settled (sent or given up).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mixer_runtime::{Clock, queue};
use tokio::sync::{Notify, watch};

use crate::Env;

/// Where batches go.
pub trait Sink<T>: Send + 'static {
    /// Sends a batch or gives it up (and counts that); returns when it is settled.
    fn send(&mut self, batch: Vec<T>) -> impl Future<Output = ()> + Send;
}

/// The end that takes in.
#[derive(Debug)]
pub struct Buffer<T> {
    sender: queue::Sender<T>,
    progress: Arc<Progress>,
    clock: Clock,
}

/// The end that takes out; [`Outlet::run`] is its task.
#[derive(Debug)]
pub struct Outlet<T> {
    receiver: queue::Receiver<T>,
    progress: Arc<Progress>,
    filling: Vec<T>,
}

#[derive(Debug)]
struct Progress {
    taken_in: AtomicU64,
    settled: watch::Sender<u64>,
    hurry: Notify,
    running: AtomicBool,
}

/// How many items make a batch, and how long the first of them waits for the others.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Batching {
    pub most: usize,
    pub wait: Duration,
}

impl<T: Send + 'static> Buffer<T> {
    /// A buffer of `capacity` items.
    pub fn new(clock: Clock, capacity: usize) -> (Self, Outlet<T>) {
        let (sender, receiver) = queue::bounded(capacity);
        let progress = Arc::new(Progress {
            taken_in: AtomicU64::new(0),
            settled: watch::Sender::new(0),
            hurry: Notify::new(),
            running: AtomicBool::new(false),
        });
        let outlet = Outlet {
            receiver,
            progress: progress.clone(),
            filling: Vec::new(),
        };
        (
            Self {
                sender,
                progress,
                clock,
            },
            outlet,
        )
    }

    /// Takes the item in; false when it was dropped because the buffer is full or its task has ended.
    pub fn offer(&self, item: T) -> bool {
        let queued = self.sender.offer(item);
        if queued {
            self.progress.taken_in.fetch_add(1, Ordering::SeqCst);
        }
        queued
    }

    /// How many items were dropped.
    pub fn dropped(&self) -> u64 {
        self.sender.dropped()
    }

    /// How many items wait or are being sent.
    pub fn waiting(&self) -> u64 {
        let settled = *self.progress.settled.borrow();
        self.progress
            .taken_in
            .load(Ordering::SeqCst)
            .saturating_sub(settled)
    }

    /// Sends what is buffered now rather than later, and waits until it is settled, at most `deadline`. Returns at once when
    /// no task is there to send it.
    pub async fn flush(&self, deadline: Duration) {
        let until = self.progress.taken_in.load(Ordering::SeqCst);
        let mut settled = self.progress.settled.subscribe();
        self.progress.hurry.notify_one();
        let progress = &self.progress;
        let done = settled
            .wait_for(|settled| *settled >= until || !progress.running.load(Ordering::SeqCst));
        let _ = self.clock.within(deadline, done).await;
    }
}

impl<T: Send + 'static> Outlet<T> {
    /// Starts the task that hands batches to `sink` until the environment's tasks are told to stop; then what is left.
    pub fn run(
        mut self,
        env: &Env,
        name: &'static str,
        batching: Batching,
        mut sink: impl Sink<T>,
    ) {
        let (clock, stop) = (env.clock.clone(), env.tasks.stop());
        self.progress.running.store(true, Ordering::SeqCst);
        env.tasks.spawn(name, async move {
            while !stop.is_cancelled() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = self.fill(&clock, batching) => self.settle(&mut sink).await,
                }
            }
            self.take_ready(batching.most);
            while !self.filling.is_empty() {
                self.settle(&mut sink).await;
                self.take_ready(batching.most);
            }
        });
    }

    /// Fills the next batch; what is filled stays in `self` when this is dropped.
    async fn fill(&mut self, clock: &Clock, batching: Batching) {
        if self.filling.is_empty() {
            match self.receiver.recv().await {
                Some(first) => self.filling.push(first),
                // No buffer is left, so nothing will ever come: wait to be told to stop.
                None => std::future::pending().await,
            }
        }
        let time_is_up = clock.sleep(batching.wait);
        tokio::pin!(time_is_up);
        while self.filling.len() < batching.most {
            tokio::select! {
                biased;
                item = self.receiver.recv() => match item {
                    Some(item) => self.filling.push(item),
                    None => return,
                },
                () = self.progress.hurry.notified() => return,
                () = &mut time_is_up => return,
            }
        }
    }

    fn take_ready(&mut self, most: usize) {
        while self.filling.len() < most
            && let Some(item) = self.receiver.try_recv()
        {
            self.filling.push(item);
        }
    }

    async fn settle(&mut self, sink: &mut impl Sink<T>) {
        let batch = std::mem::take(&mut self.filling);
        let items = batch.len() as u64;
        sink.send(batch).await;
        self.progress
            .settled
            .send_modify(|settled| *settled += items);
    }
}

/// Whoever waits for a flush is let go when the task ends.
impl<T> Drop for Outlet<T> {
    fn drop(&mut self) {
        self.progress.running.store(false, Ordering::SeqCst);
        self.progress.settled.send_modify(|_| {});
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    struct Forward(tokio::sync::mpsc::UnboundedSender<Vec<u32>>);

    impl Sink<u32> for Forward {
        async fn send(&mut self, batch: Vec<u32>) {
            let _ = self.0.send(batch);
        }
    }

    const BATCHING: Batching = Batching {
        most: 3,
        wait: Duration::from_secs(1),
    };
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_full_batch_goes_at_once_and_a_short_one_when_its_time_is_up() {
        let (env, hand) = conformance::manual_env("buffer");
        let (buffer, outlet) = Buffer::new(env.clock.clone(), 10);
        let (sent, mut got) = tokio::sync::mpsc::unbounded_channel();
        outlet.run(&env, "test", BATCHING, Forward(sent));
        for item in 1..=4 {
            assert!(buffer.offer(item));
        }
        assert_eq!(got.recv().await.unwrap(), [1, 2, 3]);
        while got.is_empty() {
            hand.advance(BATCHING.wait);
            tokio::task::yield_now().await;
        }
        assert_eq!(got.recv().await.unwrap(), [4]);
    }

    #[tokio::test]
    async fn a_flush_waits_for_what_is_buffered_and_not_for_the_batch_to_fill() {
        let (env, _hand) = conformance::manual_env("buffer");
        let (buffer, outlet) = Buffer::new(env.clock.clone(), 10);
        let (sent, mut got) = tokio::sync::mpsc::unbounded_channel();
        outlet.run(&env, "test", BATCHING, Forward(sent));
        buffer.offer(1);
        buffer.flush(LONG).await;
        assert_eq!(got.try_recv().unwrap(), [1]);
        assert_eq!(buffer.waiting(), 0);
    }

    #[tokio::test]
    async fn a_flush_returns_when_nobody_sends() {
        let (env, _hand) = conformance::manual_env("buffer");
        let (buffer, outlet) = Buffer::new(env.clock.clone(), 1);
        buffer.offer(1);
        buffer.flush(LONG).await;
        drop(outlet);
        buffer.flush(LONG).await;
        assert!(!buffer.offer(2));
        assert_eq!(buffer.dropped(), 1);
    }

    #[tokio::test]
    async fn what_is_left_is_sent_when_the_tasks_are_told_to_stop() {
        let (env, _hand) = conformance::manual_env("buffer");
        let (buffer, outlet) = Buffer::new(env.clock.clone(), 10);
        let (sent, mut got) = tokio::sync::mpsc::unbounded_channel();
        outlet.run(&env, "test", BATCHING, Forward(sent));
        for item in 1..=5 {
            buffer.offer(item);
        }
        env.tasks.shutdown(&Clock::system(), LONG).await.unwrap();
        let mut all = Vec::new();
        while let Ok(batch) = got.try_recv() {
            all.extend(batch);
        }
        assert_eq!(all, [1, 2, 3, 4, 5]);
    }
}
