//! What the threads of a proxy share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use mixer_client::Client;
use mixer_runtime::{Clock, Drain, Random};
use tokio::sync::watch;

use crate::access_log::Tally;
use crate::config::Config;
use crate::exchange::workload_of;
use crate::intercept::Loops;
use crate::metrics::Counters;
use crate::routing::Routing;
use crate::tls::{Own, PlainCallers};
use crate::upstream::Resolver;

/// One proxy's shared state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) random: Arc<Random>,
    /// `None` with `--documents`.
    pub(crate) client: Option<Client>,
    /// This proxy's own identity; `None`: it has none and gets none.
    pub(crate) own: Option<Own>,
    /// Who calls the own service in plaintext, where it takes both.
    pub(crate) plain_callers: PlainCallers,
    /// Services and mesh; empty before the first state.
    pub(crate) routing: ArcSwapOption<Routing>,
    /// Whether there is a routing.
    pub(crate) routed: watch::Sender<bool>,
    /// Why the newest documents could not be used, if they could not.
    pub(crate) routing_problem: ArcSwapOption<String>,
    /// One per worker.
    pub(crate) counters: Vec<Arc<Counters>>,
    /// Of the access log, if there is one.
    pub(crate) logged: Option<Arc<Tally>>,
    pub(crate) drain: Drain,
    refused: AtomicU64,
    /// The name of the own service's workload.
    pub(crate) own_workload: String,
    /// Where this proxy listens, for not calling itself.
    pub(crate) bound: OnceLock<Vec<SocketAddr>>,
    /// The proxy's own connections that come back to it.
    pub(crate) loops: Arc<Loops>,
    /// Asks for names; made on the control thread.
    pub(crate) resolver: OnceLock<Resolver>,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        random: Arc<Random>,
        client: Option<Client>,
        own: Option<Own>,
        logged: Option<Arc<Tally>>,
        workers: usize,
    ) -> Self {
        let own_workload = config
            .service
            .as_deref()
            .map_or("unknown", workload_of)
            .to_owned();
        Self {
            plain_callers: PlainCallers::new(clock.wall()),
            config,
            clock,
            random,
            client,
            own,
            routing: ArcSwapOption::empty(),
            routed: watch::Sender::new(false),
            routing_problem: ArcSwapOption::empty(),
            counters: (0..workers).map(|_| Arc::default()).collect(),
            logged,
            drain: Drain::new(),
            refused: AtomicU64::new(0),
            own_workload,
            bound: OnceLock::new(),
            loops: Arc::default(),
            resolver: OnceLock::new(),
        }
    }

    /// Counts a connection closed because there are too many.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether a request can be decided and routed: the first state came, and its documents were understood.
    pub(crate) fn ready(&self) -> bool {
        self.routing.load().is_some()
            && self.client.as_ref().is_none_or(Client::ready)
            && !self.drain.has_begun()
    }
}
