//! Bounded queues that count what they drop: a producer on the request path never waits for a consumer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

/// A queue of at most `capacity` items.
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let dropped = Arc::new(AtomicU64::new(0));
    (
        Sender {
            sender,
            dropped: dropped.clone(),
        },
        Receiver { receiver, dropped },
    )
}

/// The end that puts in.
#[derive(Debug)]
pub struct Sender<T> {
    sender: mpsc::Sender<T>,
    dropped: Arc<AtomicU64>,
}

/// The end that takes out.
#[derive(Debug)]
pub struct Receiver<T> {
    receiver: mpsc::Receiver<T>,
    dropped: Arc<AtomicU64>,
}

impl<T> Sender<T> {
    /// Queues the item, or drops and counts it when the queue is full or nobody reads it any more. Never waits.
    pub fn offer(&self, item: T) -> bool {
        let queued = self.sender.try_send(item).is_ok();
        if !queued {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// How many items were dropped since the queue was made.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            dropped: self.dropped.clone(),
        }
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` when every sender is gone and the queue is empty.
    pub async fn recv(&mut self) -> Option<T> {
        self.receiver.recv().await
    }

    /// The next item if one is there now.
    pub fn try_recv(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Waits for an item, then takes up to `most` that are there; empty when every sender is gone.
    pub async fn recv_many(&mut self, most: usize) -> Vec<T> {
        let mut items = Vec::new();
        self.receiver.recv_many(&mut items, most).await;
        items
    }

    /// How many items were dropped since the queue was made.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let (sender, mut receiver) = bounded(2);
        assert!(sender.offer(1) && sender.offer(2) && !sender.offer(3));
        assert_eq!((sender.dropped(), receiver.dropped()), (1, 1));
        assert_eq!(receiver.recv_many(10).await, [1, 2]);
        drop(sender);
        assert_eq!(receiver.recv().await, None);
    }
}
