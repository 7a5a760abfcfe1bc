//! A thread that carries traffic: its connections, its pool, its counts. Nothing here is shared with another thread; requests
//! are spawned on the thread's own runtime and never leave it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mixer_client::{At, Scope, State};
use mixer_identity::{Identity, Updates};
use mixer_runtime::{DrainGuard, Instant};
use tokio::net::TcpStream;
use tokio::runtime::LocalRuntime;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::access_log::Lines;
use crate::config::Limits;
use crate::connection::{self, Connection, Ending, Ends};
use crate::exchange::Destination;
use crate::intercept;
use crate::metrics::Counters;
use crate::pool::{Leaving, Pool};
use crate::routing::{Addresses, Routing};
use crate::shared::Shared;
use crate::tls::{Registry, review};

/// How often idle and late connections are looked for, unless a limit is shorter.
const SWEEP: Duration = Duration::from_secs(5);
/// How long a drain waits for the next request of a connection, to answer it with the news that it was the last.
const LINGER: Duration = Duration::from_millis(500);

/// A connection on its way from the listener to the worker that serves it.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) at: At,
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) guard: DrainGuard,
}

/// One thread's state.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) pool: Rc<Pool>,
    /// Connections to the application: kept apart, since the host's rules let them pass where others are redirected.
    pub(crate) to_application: Rc<Pool>,
    /// Counts the bytes of requests without a body: none.
    pub(crate) no_bytes: Rc<Cell<u64>>,
    /// The peers of connections over TLS.
    pub(crate) trusted: Rc<Registry>,
    /// TLS handshakes of callers under way.
    handshakes: Rc<Cell<usize>>,
    /// Where requests are logged, if they are.
    pub(crate) access_log: Option<Rc<Lines>>,
    /// Copies of requests in flight.
    pub(crate) mirrors: Rc<Cell<usize>>,
    /// Addresses of hosts no service names, for a while.
    pub(crate) outside: RefCell<HashMap<String, (Arc<Addresses>, Instant)>>,
    state: RefCell<Watched>,
    connections: RefCell<HashMap<usize, Rc<Connection>>>,
    draining: Cell<bool>,
    stopped: Cell<bool>,
    swept: Cell<Instant>,
}

#[derive(Debug)]
struct Watched {
    news: Option<watch::Receiver<Option<Arc<State>>>>,
    newest: Option<Arc<State>>,
}

impl Worker {
    fn new(shared: Arc<Shared>, counters: Arc<Counters>, lines: Option<Lines>) -> Rc<Self> {
        let news = shared.client.as_ref().map(|client| client.state());
        let newest = news.as_ref().and_then(|news| news.borrow().clone());
        let trusted: Rc<Registry> = Rc::default();
        let pool = |leaving| {
            let (limits, clock) = (shared.config.limits.clone(), shared.clock.clone());
            let pool = Pool::new(limits, clock, counters.clone(), leaving, trusted.clone());
            Rc::new(pool)
        };
        let (to_others, to_application) = match shared.config.transparent {
            true => (
                Leaving::Watched(shared.loops.clone()),
                Leaving::Unredirected,
            ),
            false => (Leaving::AsUsual, Leaving::AsUsual),
        };
        Rc::new(Self {
            pool: pool(to_others),
            to_application: pool(to_application),
            no_bytes: Rc::new(Cell::new(0)),
            access_log: lines.map(Rc::new),
            trusted: trusted.clone(),
            handshakes: Rc::default(),
            mirrors: Rc::default(),
            outside: RefCell::new(HashMap::new()),
            state: RefCell::new(Watched { news, newest }),
            connections: RefCell::new(HashMap::new()),
            draining: Cell::new(false),
            stopped: Cell::new(false),
            swept: Cell::new(shared.clock.now()),
            shared,
            counters,
        })
    }

    /// What applies to requests at this side to `service`; `None` before the first state, and without a Mixer.
    pub(crate) fn scope(&self, at: At, service: Option<&str>) -> Option<Arc<Scope>> {
        let mut watched = self.state.borrow_mut();
        if let Some(news) = &mut watched.news
            && news.has_changed().unwrap_or(false)
        {
            let newest = news.borrow_and_update().clone();
            watched.newest = newest;
        }
        watched
            .newest
            .as_ref()
            .map(|state| state.scope(at, service).clone())
    }

    /// Services and mesh; `None` before the first state.
    pub(crate) fn routing(&self) -> arc_swap::Guard<Option<Arc<Routing>>> {
        self.shared.routing.load()
    }

    /// A place among the handshakes under way; `None`: there are too many.
    pub(crate) fn handshake(&self) -> Option<Handshaking> {
        let most = self.shared.config.limits.handshakes;
        let count = self.handshakes.get();
        (count < most).then(|| {
            self.handshakes.set(count + 1);
            Handshaking(self.handshakes.clone())
        })
    }

    /// Told of each change of what applies; `None` without a Mixer.
    pub(crate) fn news(&self) -> Option<watch::Receiver<Option<Arc<State>>>> {
        self.shared.client.as_ref().map(|client| client.state())
    }

    /// The service this proxy stands before.
    pub(crate) fn own_destination(&self) -> Destination {
        let routing = self.routing();
        Destination::Own(routing.as_ref().and_then(|routing| routing.own.clone()))
    }

    /// When the last sweep was: the time, for what may be seconds off.
    pub(crate) fn swept(&self) -> Instant {
        self.swept.get()
    }

    /// Whether its runtime has ended: what is still in flight is cut.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    fn sweep(&self) {
        let now = self.shared.clock.now();
        self.swept.set(now);
        let limits = &self.shared.config.limits;
        let (idle, every) = (limits.idle, sweep_every(limits));
        for connection in self.connections.borrow().values() {
            if connection.pace.is_late(now, limits) {
                self.counters.cut();
                connection.end_late();
            }
            if let Some(since) = connection.idle_since()
                && now.since(since) > idle
            {
                // Twice the time: it did not end gracefully either.
                connection.end(if now.since(since) > idle + every {
                    Ending::Now
                } else {
                    Ending::Gracefully
                });
            }
        }
        self.pool.sweep(now);
        self.to_application.sweep(now);
        self.outside
            .borrow_mut()
            .retain(|_, (_, until)| *until > now);
    }

    fn drain(&self) {
        self.draining.set(true);
        self.end(Ending::Soon);
    }

    fn end(&self, ending: Ending) {
        for connection in self.connections.borrow().values() {
            connection.end(ending);
        }
    }

    fn take(self: &Rc<Self>, accepted: Accepted) {
        let Accepted {
            at,
            stream,
            peer,
            guard,
        } = accepted;
        let taken = stream.local_addr();
        let taken = taken.and_then(|local| Ok((local, TcpStream::from_std(stream)?)));
        let (local, stream) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!(%peer, "a connection cannot be served: {error}");
                // It was counted as open when it was handed over.
                return self.counters.closed();
            }
        };
        let original = match self.shared.config.transparent {
            true => intercept::original(&stream, at, local),
            false => None,
        };
        let ends = Ends {
            peer,
            local,
            original,
        };
        let connection = Connection::new(self.clone(), at, ends, guard);
        if self.draining.get() {
            connection.end(Ending::Soon);
        }
        let key = Rc::as_ptr(&connection).addr();
        self.connections
            .borrow_mut()
            .insert(key, connection.clone());
        let registered = Registered {
            worker: self.clone(),
            key,
        };
        spawn(async move {
            connection::serve(connection, stream).await;
            drop(registered);
        });
    }
}

fn sweep_every(limits: &Limits) -> Duration {
    SWEEP.min(limits.head).min(limits.idle).min(limits.stalled)
}

/// One handshake under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Handshaking(Rc<Cell<usize>>);

impl Drop for Handshaking {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A connection in the worker's books, until it is dropped.
struct Registered {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.key);
        self.worker.counters.closed();
        if std::thread::panicking() {
            self.worker.counters.panicked();
        }
    }
}

/// Runs a worker until `stop`: takes connections from `accepted`, ends them gracefully once the drain begins.
pub(crate) fn run(
    runtime: &LocalRuntime,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    mut accepted: mpsc::Receiver<Accepted>,
    lines: Option<Lines>,
    stop: CancellationToken,
) {
    let worker = Worker::new(shared, counters, lines);
    runtime.block_on(async {
        let clock = worker.shared.clock.clone();
        let drain = worker.shared.drain.clone();
        let mut begun = std::pin::pin!(drain.begun());
        let mut linger = std::pin::pin!(clock.sleep(LINGER));
        let every = sweep_every(&worker.shared.config.limits);
        let mut next_sweep = std::pin::pin!(clock.sleep(every));
        let source = worker.shared.own.as_ref().map(|own| own.source.clone());
        let mut identities = source.as_ref().map(|source| source.updates());
        let mut reviewed = source.as_ref().and_then(|source| source.current());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = &mut begun, if !worker.draining.get() => {
                    worker.drain();
                    linger.set(clock.sleep(LINGER));
                }
                () = &mut linger, if worker.draining.get() => {
                    worker.end(Ending::Gracefully);
                    linger.set(clock.sleep(LINGER));
                }
                () = &mut next_sweep => {
                    worker.sweep();
                    next_sweep.set(clock.sleep(every));
                }
                more = changed(&mut identities) => {
                    let now = source.as_ref().and_then(|source| source.current());
                    let bundles = |identity: &Option<Arc<Identity>>| {
                        identity.as_ref().map(|identity| identity.bundles().clone())
                    };
                    // A new certificate of ours is no news about others.
                    if bundles(&now) != bundles(&reviewed)
                        && let Some(now) = &now
                    {
                        spawn(review(worker.clone(), now.clone()));
                    }
                    reviewed = now;
                    if !more {
                        identities = None;
                    }
                }
                Some(connection) = accepted.recv() => worker.take(connection),
            }
        }
    });
    worker.stopped.set(true);
    // The books hold connections, which hold the worker.
    worker.connections.borrow_mut().clear();
}

/// Waits for another identity; for good, where none can come.
async fn changed(identities: &mut Option<Updates>) -> bool {
    match identities {
        Some(identities) => identities.changed().await,
        None => std::future::pending().await,
    }
}

/// Runs `work` on this worker's thread. It ends with the connection it serves, at the latest with the worker's runtime, and a
/// panic in it ends nothing else.
pub(crate) fn spawn(work: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(work);
}

/// Lets hyper do the same for the streams of an HTTP/2 connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Executor;

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, work: F) {
        tokio::task::spawn_local(work);
    }
}

#[cfg(test)]
mod tests {
    use mixer_runtime::{Clock, Random};
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;
    use crate::{Config, Control};

    #[test]
    fn a_connection_that_cannot_be_served_is_counted_as_closed() {
        let config = Config::new(Control::Documents(Vec::new()));
        let random = Arc::new(Random::from_seed(1));
        let shared = Shared::new(config, Clock::system(), random, None, None, None, 1);
        let (shared, counters) = (Arc::new(shared), Arc::new(Counters::default()));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .unwrap();
        let worker = Worker::new(shared.clone(), counters.clone(), None);
        // No socket at all.
        let file = std::os::fd::OwnedFd::from(tempfile::tempfile().unwrap());
        counters.opened();
        runtime.block_on(async {
            worker.take(Accepted {
                at: At::Inbound,
                stream: file.into(),
                peer: ([127, 0, 0, 1], 1).into(),
                guard: shared.drain.guard(),
            });
        });
        assert_eq!(counters.open(), 0);
        assert!(worker.connections.borrow().is_empty());
        assert_eq!(shared.drain.in_flight(), 0);
    }
}
