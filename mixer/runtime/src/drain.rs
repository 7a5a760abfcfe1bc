//! Ending without losing what is in flight: everyone who works holds a guard, and the end waits for the guards.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::Clock;

/// Says that the end has begun, and waits for those still working.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    begun: CancellationToken,
    working: TaskTracker,
}

/// Held by one piece of work; the drain waits until it is dropped.
#[derive(Debug)]
pub struct DrainGuard {
    begun: CancellationToken,
    _working: TaskTrackerToken,
}

impl Drain {
    /// Nothing in flight.
    pub fn new() -> Self {
        Self::default()
    }

    /// A guard for one piece of work.
    pub fn guard(&self) -> DrainGuard {
        DrainGuard {
            begun: self.begun.clone(),
            _working: self.working.token(),
        }
    }

    /// Whether the end has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits until the end begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// How many guards are held.
    pub fn in_flight(&self) -> usize {
        self.working.len()
    }

    /// Begins the end and waits for the guards, at most `deadline`; how many were still held then.
    pub async fn finish(&self, clock: &Clock, deadline: Duration) -> usize {
        self.begun.cancel();
        self.working.close();
        let _ = clock.within(deadline, self.working.wait()).await;
        self.working.len()
    }
}

impl DrainGuard {
    /// Whether the end has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits until the end begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_guards_but_not_for_ever() {
        let (clock, _hand) = Clock::manual();
        let drain = Drain::new();
        let guard = drain.guard();
        assert!(!guard.has_begun());
        assert_eq!(drain.finish(&clock, Duration::ZERO).await, 1);
        assert!(guard.has_begun());
        drop(guard);
        assert_eq!(drain.finish(&clock, Duration::ZERO).await, 0);
    }
}
