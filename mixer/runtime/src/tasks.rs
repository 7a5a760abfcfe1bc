//! Tasks that somebody owns: named, told to stop, and joined. The only place that spawns.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// The tasks of one owner. Dropping the last handle tells them to stop and aborts those that do not.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    stop: CancellationToken,
    handle: Handle,
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
}

/// Tasks that did not end in time, by name; they were aborted.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfinished(pub Vec<&'static str>);

impl Tasks {
    /// No tasks yet; they will run on the runtime this is called in.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> Self {
        Self::on(Handle::current())
    }

    /// No tasks yet; they will run on `handle`.
    pub fn on(handle: Handle) -> Self {
        Self(Arc::new(Owned {
            stop: CancellationToken::new(),
            handle,
            running: Mutex::new(Vec::new()),
        }))
    }

    /// Told when the tasks should end.
    pub fn stop(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Runs `work` until it ends. A panic in it is logged under the task's name and ends that task only.
    #[allow(clippy::disallowed_methods)]
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let inner = self.0.handle.spawn(work);
        let watched = self.0.handle.spawn(async move {
            let abort = AbortOnDrop(inner.abort_handle());
            if let Err(error) = inner.await
                && error.is_panic()
            {
                tracing::error!(task = name, "task panicked: {error}");
            }
            drop(abort);
        });
        let mut running = self
            .0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        running.retain(|(_, task)| !task.is_finished());
        running.push((name, watched));
    }

    /// Runs `work` until it ends or the tasks are told to stop, whichever is first.
    pub fn spawn_until_stop(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = self.stop();
        self.spawn(name, async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// While the guard lives, what libraries bind to the current runtime (a lazily made connection) is bound to that of
    /// these tasks.
    pub fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.0.handle.enter()
    }

    /// How many tasks run.
    pub fn running(&self) -> usize {
        let running = self
            .0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        running
            .iter()
            .filter(|(_, task)| !task.is_finished())
            .count()
    }

    /// Tells every task to stop, joins them, and aborts what is left after `deadline`.
    pub async fn shutdown(&self, clock: &Clock, deadline: Duration) -> Result<(), Unfinished> {
        self.0.stop.cancel();
        let running = std::mem::take(
            &mut *self
                .0
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let until = clock.now() + deadline;
        let mut unfinished = Vec::new();
        for (name, mut task) in running {
            if clock
                .within(until.since(clock.now()), &mut task)
                .await
                .is_none()
            {
                task.abort();
                unfinished.push(name);
            }
        }
        if unfinished.is_empty() {
            Ok(())
        } else {
            Err(Unfinished(unfinished))
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.stop.cancel();
        for (_, task) in self
            .running
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            task.abort();
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_are_told_to_stop_and_joined() {
        let (clock, _hand) = Clock::manual();
        let tasks = Tasks::new();
        let stop = tasks.stop();
        tasks.spawn("polite", async move { stop.cancelled().await });
        tasks.spawn_until_stop("deaf", std::future::pending());
        assert_eq!(tasks.running(), 2);
        assert_eq!(tasks.shutdown(&clock, Duration::from_secs(1)).await, Ok(()));
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_is_named_and_aborted() {
        let (clock, _hand) = Clock::manual();
        let tasks = Tasks::new();
        tasks.spawn("stubborn", std::future::pending());
        assert_eq!(
            tasks.shutdown(&clock, Duration::ZERO).await,
            Err(Unfinished(vec!["stubborn"]))
        );
    }

    #[tokio::test]
    async fn a_panic_ends_only_its_own_task() {
        let (clock, _hand) = Clock::manual();
        let tasks = Tasks::new();
        tasks.spawn("broken", async { panic!("expected by the test") });
        let stop = tasks.stop();
        tasks.spawn("fine", async move { stop.cancelled().await });
        assert_eq!(tasks.shutdown(&clock, Duration::from_secs(1)).await, Ok(()));
    }
}
