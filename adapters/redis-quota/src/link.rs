//! The connections to the store, and the task that keeps each of them.
//!
//! A call never waits for a connection: where there is none it fails at once, so that the quota's `on_error` decides. The tasks
//! connect, with growing waits after failures, and look after what they have: a connection that broke under a call, or whose
//! server says that it may no longer write, is dropped by that call; one under which a call's time ran out, or that was idle for
//! a second, is asked for a sign of life.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use mixer_adapter::{Env, Unavailable};
use mixer_runtime::{Backoff, Clock};
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;

use crate::config::Target;
use crate::connection::Connection;
use crate::metrics::{Failure, Metrics};

/// How long connecting and logging in may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a sign of life may take.
const ALIVE: Duration = Duration::from_secs(1);
/// How often one is asked for without an occasion.
const EVERY: Duration = Duration::from_secs(1);
/// Waits between tries to connect: the first, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// All connections to one target.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) target: Target,
    lines: Box<[Line]>,
    next: AtomicUsize,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// Room for one connection.
#[derive(Debug, Default)]
struct Line {
    connection: ArcSwapOption<Connection>,
    /// There is reason to look at it.
    doubted: Notify,
}

/// What the server answered that was no answer.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It does not know the script.
    NoScript,
    /// It could not be asked, or said that it cannot.
    Unavailable(Unavailable),
}

impl Link {
    pub(crate) fn new(target: Target, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let lines = (0..target.connections).map(|_| Line::default()).collect();
        let next = AtomicUsize::new(0);
        Self {
            target,
            lines,
            next,
            clock,
            metrics,
        }
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        let there = |line: &&Line| line.connection.load().is_some();
        self.lines.iter().filter(there).count()
    }

    /// Keeps the connections until the tasks are told to stop. What is connected then stays so, for whoever follows.
    pub(crate) fn start(self: &Arc<Self>, env: &Env) {
        for number in 0..self.lines.len() {
            let (link, random, name) = (self.clone(), env.random.clone(), env.name.clone());
            env.tasks
                .spawn_until_stop("redis-quota connection", async move {
                    let backoff = Backoff::new(WAITS.0, WAITS.1);
                    link.keep(&link.lines[number], backoff, &random, &name)
                        .await;
                });
        }
    }

    async fn keep(
        &self,
        line: &Line,
        mut backoff: Backoff,
        random: &mixer_runtime::Random,
        name: &str,
    ) {
        let mut tried = false;
        loop {
            if self.is_sound(line).await {
                backoff.reset();
                tried = false;
                tokio::select! {
                    () = line.doubted.notified() => {}
                    () = self.clock.sleep(EVERY) => {}
                }
                continue;
            }
            if tried {
                self.clock.sleep(backoff.next(random)).await;
            }
            tried = true;
            let opened = self.clock.within(CONNECT, Connection::open(&self.target));
            let opened = opened
                .await
                .unwrap_or_else(|| Err(format!("no answer within {CONNECT:?}")));
            self.metrics.connected(opened.is_ok());
            match opened {
                Ok(connection) => line.connection.store(Some(Arc::new(connection))),
                Err(reason) => {
                    tracing::warn!(adapter = name, "the quota store is not connected: {reason}");
                }
            }
        }
    }

    /// Whether there is a connection that answers. One that does not is dropped, unless it heals by itself: that one is used
    /// until another takes its place.
    async fn is_sound(&self, line: &Line) -> bool {
        let Some(held) = line.connection.load_full() else {
            return false;
        };
        let (mut connection, ping) = (Connection::clone(&held), redis::cmd("PING"));
        let answered = self.clock.within(ALIVE, connection.send(&ping)).await;
        let sound = matches!(answered, Some(Ok(_)));
        if !sound && !held.heals() {
            line.drop_connection(&held);
        }
        sound
    }

    /// Sends a call and waits for its answer, for at most `timeout`.
    pub(crate) async fn call(&self, command: &Cmd, timeout: Duration) -> Result<Value, Refused> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut lines =
            (0..self.lines.len()).map(|at| &self.lines[(first + at) % self.lines.len()]);
        let connected = lines.find_map(|line| Some((line, line.connection.load_full()?)));
        let Some((line, held)) = connected else {
            return Err(self.failed(Failure::Disconnected, "the quota store is not connected"));
        };
        let mut connection = Connection::clone(&held);
        let begun = self.clock.now();
        let answered = self.clock.within(timeout, connection.send(command)).await;
        match answered {
            Some(Ok(value)) => {
                self.metrics.answered(self.clock.now().since(begun));
                Ok(value)
            }
            None => {
                line.doubted.notify_one();
                Err(self.failed(Failure::Timeout, "the quota store did not answer in time"))
            }
            Some(Err(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                Err(Refused::NoScript)
            }
            Some(Err(error)) => Err(self.refused(line, &held, &error)),
        }
    }

    fn refused(&self, line: &Line, held: &Arc<Connection>, error: &RedisError) -> Refused {
        let demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
        let broken = error.is_unrecoverable_error() || error.is_io_error();
        if (broken || demoted) && !held.heals() {
            line.drop_connection(held);
        }
        line.doubted.notify_one();
        let why = if broken {
            Failure::Broken
        } else {
            Failure::Refused
        };
        self.failed(why, format!("the quota store cannot count: {error}"))
    }

    fn failed(&self, why: Failure, reason: impl Into<std::borrow::Cow<'static, str>>) -> Refused {
        self.metrics.failed(why);
        Refused::Unavailable(Unavailable {
            reason: reason.into(),
            retry: true,
        })
    }
}

impl Line {
    /// Drops that connection, unless another has taken its place.
    fn drop_connection(&self, held: &Arc<Connection>) {
        self.connection.compare_and_swap(held, None);
    }
}
