//! Asking adapters: all that the verdict depends on, together, under one deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mixer_adapter::{Answer, Instance};
use mixer_attributes::OwnedValue;

use super::installed::{NotAsked, PATIENCE};
use super::settle::{Deciding, Pending};
use crate::snapshot::Snapshot;

/// What became of one asking.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) result: Result<Answer, Fault>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// An input has no value, or one the adapter cannot answer for.
    Undetermined(String),
    /// The adapter could not be asked.
    Unavailable { adapter: Arc<str>, why: NotAsked },
}

/// The inputs of one asking, in the adapter's order.
pub(super) type Inputs = Result<Vec<OwnedValue>, String>;

/// The time adapters have when the asker has `left`: enough stays to answer it.
pub(super) fn patience(left: Duration) -> Duration {
    PATIENCE.min(left.mul_f64(0.8))
}

impl Deciding<'_> {
    /// The inputs of everything pending.
    pub(super) fn inputs(&mut self) -> Vec<Inputs> {
        (0..self.pending.len())
            .map(|at| self.inputs_of(self.pending[at]))
            .collect()
    }

    fn inputs_of(&mut self, pending: Pending) -> Inputs {
        let ask = self.ask(pending);
        let mut values = Vec::with_capacity(ask.with.len());
        for expression in &ask.with {
            let value = expression
                .evaluate(&mut self.evaluation)
                .map_err(|error| error.to_string())?;
            let owned = value.to_owned_value();
            values.push(owned.ok_or_else(|| {
                format!("{} has no value an adapter can take", expression.source())
            })?);
        }
        Ok(values)
    }
}

/// Asks everything pending; one result each, in order.
pub(super) async fn ask(
    snapshot: &Snapshot,
    pending: &[Pending],
    inputs: Vec<Inputs>,
    within: Duration,
) -> Vec<Asked> {
    let one = |(pending, inputs): (&Pending, Inputs)| {
        let rule = &snapshot.set.policies[pending.policy].rules[pending.rule];
        let adapter = &snapshot.adapters[rule
            .ask
            .as_ref()
            .expect("only rules that ask are pending")
            .adapter];
        async move {
            let result = match inputs {
                Ok(values) => adapter.check(&Instance { values: &values }, within).await.map_err(|why| {
                    tracing::debug!(adapter = %adapter.name(), reason = %why.reason, "could not be asked");
                    match why.refused {
                        true => Fault::Undetermined(format!("{}: {}", adapter.name(), why.reason)),
                        false => Fault::Unavailable { adapter: adapter.name().clone(), why },
                    }
                }),
                Err(undetermined) => Err(Fault::Undetermined(undetermined)),
            };
            Asked { result }
        }
    };
    together(pending.iter().zip(inputs).map(one)).await
}

/// Runs all of `work` at once; the results in its order.
pub(crate) async fn together<F: Future>(work: impl Iterator<Item = F>) -> Vec<F::Output> {
    enum State<F: Future> {
        Running(Pin<Box<F>>),
        Done(Option<F::Output>),
    }
    impl<F: Future> Unpin for State<F> {}
    let mut states: Vec<State<F>> = work
        .map(|future| State::Running(Box::pin(future)))
        .collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for state in &mut states {
            if let State::Running(future) = state {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *state = State::Done(Some(output)),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            return Poll::Pending;
        }
        let take = |state: &mut State<F>| match state {
            State::Done(output) => output.take().expect("it is polled to its end once"),
            State::Running(_) => unreachable!("none is waited for any more"),
        };
        Poll::Ready(states.iter_mut().map(take).collect())
    })
    .await
}

/// Runs `work`, which must leave nothing half done that is used after a panic; `None` if it panicked.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_what_leaves_time_to_answer_and_at_most_fifty_milliseconds() {
        assert_eq!(patience(Duration::from_secs(1)), Duration::from_millis(50));
        assert_eq!(
            patience(Duration::from_millis(20)),
            Duration::from_millis(16)
        );
        assert_eq!(patience(Duration::ZERO), Duration::ZERO);
    }

    #[tokio::test]
    async fn results_come_in_the_order_of_the_work_whichever_ends_first() {
        let (first, second) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        let step = |at: usize| {
            let (first, second) = (&first, &second);
            async move {
                match at {
                    0 => first.notified().await,
                    1 => {
                        second.notified().await;
                        first.notify_one();
                    }
                    _ => second.notify_one(),
                }
                at
            }
        };
        assert_eq!(together((0..3).map(step)).await, [0, 1, 2]);
    }
}
