//! Time as a parameter.
//!
//! Everything that waits, expires or measures takes a [`Clock`], so that a test moves an hour in a microsecond. This module is
//! the only place that asks the operating system what time it is.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

/// A point of monotonic time: nanoseconds since the clock was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// From nanoseconds since the clock was made.
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock was made.
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this; zero if that is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, span: Duration) -> Instant {
        Instant(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// The system's time, or a test's.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(std::time::Instant),
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    elapsed: Mutex<Duration>,
    start: SystemTime,
    moved: Notify,
}

/// Moves the time of the [`Clock`] it was made with.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Manual>);

impl Clock {
    /// The system's time.
    #[allow(clippy::disallowed_methods)]
    pub fn system() -> Self {
        Self(Source::System(std::time::Instant::now()))
    }

    /// A clock that stands still until it is moved, and what moves it. It starts at 2026-01-01T00:00:00Z.
    pub fn manual() -> (Self, ManualClock) {
        Self::manual_from(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))
    }

    /// The same, made at that time of day: another process's, such as one after a restart.
    pub fn manual_from(start: SystemTime) -> (Self, ManualClock) {
        let manual = Arc::new(Manual {
            elapsed: Mutex::new(Duration::ZERO),
            start,
            moved: Notify::new(),
        });
        (Self(Source::Manual(manual.clone())), ManualClock(manual))
    }

    /// Monotonic time.
    pub fn now(&self) -> Instant {
        let elapsed = match &self.0 {
            Source::System(start) => start.elapsed(),
            Source::Manual(manual) => manual.elapsed(),
        };
        Instant(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The time of day.
    #[allow(clippy::disallowed_methods)]
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System(_) => SystemTime::now(),
            Source::Manual(manual) => manual.start + manual.elapsed(),
        }
    }

    /// Waits until `span` has passed on this clock.
    pub async fn sleep(&self, span: Duration) {
        match &self.0 {
            Source::System(_) => tokio::time::sleep(span).await,
            Source::Manual(manual) => {
                let until = manual.elapsed() + span;
                loop {
                    let moved = manual.moved.notified();
                    tokio::pin!(moved);
                    moved.as_mut().enable();
                    if manual.elapsed() >= until {
                        return;
                    }
                    moved.await;
                }
            }
        }
    }

    /// Runs `work` for at most `span`; `None` when the time was up first.
    pub async fn within<F: Future>(&self, span: Duration, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        // What is done at once needs no timer.
        let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context)));
        if let Poll::Ready(done) = first.await {
            return Some(done);
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.sleep(span) => None,
        }
    }
}

impl ManualClock {
    /// Lets `span` pass, and wakes what waited for it.
    pub fn advance(&self, span: Duration) {
        *self
            .0
            .elapsed
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += span;
        self.0.moved.notify_waiters();
    }
}

impl Manual {
    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_when_it_is_moved() {
        let (clock, hand) = Clock::manual();
        let sleeper = clock.sleep(Duration::from_secs(60));
        tokio::pin!(sleeper);
        assert!(futures_poll(sleeper.as_mut()).await.is_pending());
        hand.advance(Duration::from_secs(59));
        assert!(futures_poll(sleeper.as_mut()).await.is_pending());
        hand.advance(Duration::from_secs(1));
        sleeper.await;
        assert_eq!(clock.now(), Instant::from_nanos(60_000_000_000));
    }

    async fn futures_poll<F: Future>(
        mut future: std::pin::Pin<&mut F>,
    ) -> std::task::Poll<F::Output> {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await
    }

    #[tokio::test]
    async fn work_that_is_done_in_time_wins() {
        let (clock, _hand) = Clock::manual();
        assert_eq!(clock.within(Duration::ZERO, async { 7 }).await, Some(7));
        assert_eq!(
            clock
                .within(Duration::ZERO, std::future::pending::<()>())
                .await,
            None
        );
    }
}
