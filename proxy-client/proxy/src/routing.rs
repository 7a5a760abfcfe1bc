//! From authorities to addresses.
//!
//! A [`Routing`] is made from the services of one state and never changes, but for the addresses behind `dns:` endpoints, which
//! are resolved again in the background. Round robin counts are kept when a new state has the same service, and belong to the
//! proxy, not to a thread.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use mixer_client::State;
use mixer_documents::{Directory, Endpoint, Mesh, PolicySet, Service, Sources};
use mixer_runtime::Clock;
use tokio::net::lookup_host;

use crate::shared::Shared;

/// How often names are resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(10);
/// For one name.
const RESOLVE_FOR: Duration = Duration::from_secs(2);

/// Services and mesh of one state.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) mesh: Mesh,
    /// The document of the proxy's own service, if there is one.
    pub(crate) own: Option<Arc<Service>>,
    directory: Directory,
    upstreams: HashMap<Arc<str>, Arc<Upstream>>,
}

/// One service and where it can be reached.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) service: Arc<Service>,
    pub(crate) addresses: Addresses,
    resolved: ArcSwap<HashMap<String, Vec<SocketAddr>>>,
}

/// Addresses taken in turn.
#[derive(Debug)]
pub(crate) struct Addresses {
    list: ArcSwap<Vec<SocketAddr>>,
    next: AtomicUsize,
}

impl Routing {
    /// The routing of `set`, with names resolved as far as they can be now.
    async fn new(
        set: &PolicySet,
        own: Option<&str>,
        before: Option<&Routing>,
        clock: &Clock,
    ) -> Self {
        let mut upstreams = HashMap::new();
        for service in &set.services {
            let known = before.and_then(|before| before.upstreams.get(&service.name));
            let upstream = match known {
                Some(known) if known.service.endpoints == service.endpoints => Upstream {
                    service: service.clone(),
                    resolved: ArcSwap::new(known.resolved.load_full()),
                    addresses: known.addresses.continued(),
                },
                _ => {
                    let upstream = Upstream {
                        service: service.clone(),
                        resolved: ArcSwap::default(),
                        addresses: Addresses::new(Vec::new()),
                    };
                    upstream.resolve(clock).await;
                    upstream
                }
            };
            upstreams.insert(service.name.clone(), Arc::new(upstream));
        }
        let own = own
            .and_then(|name| set.services.iter().find(|service| &*service.name == name))
            .cloned();
        Self {
            mesh: set.mesh.clone(),
            own,
            directory: Directory::new(set.services.iter().cloned()),
            upstreams,
        }
    }

    /// The service that `authority` means.
    pub(crate) fn resolve(&self, authority: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(&self.directory.resolve(authority)?.name)
    }

    /// Every service, for the configuration dump.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values()
    }
}

impl Upstream {
    /// Resolves the names among the endpoints. A name that cannot be resolved keeps the addresses it had.
    async fn resolve(&self, clock: &Clock) {
        let mut resolved = HashMap::clone(&self.resolved.load());
        let mut list = Vec::new();
        for endpoint in &self.service.endpoints {
            match endpoint {
                Endpoint::Address(address) => list.push(*address),
                Endpoint::Dns(name, port) => {
                    let key = format!("{name}:{port}");
                    match clock
                        .within(RESOLVE_FOR, lookup_host((name.as_str(), *port)))
                        .await
                    {
                        Some(Ok(found)) => {
                            let mut found: Vec<SocketAddr> = found.collect();
                            found.sort_unstable();
                            resolved.insert(key.clone(), found);
                        }
                        Some(Err(error)) => tracing::debug!(name, "cannot resolve: {error}"),
                        None => tracing::debug!(name, "cannot resolve in {RESOLVE_FOR:?}"),
                    }
                    list.extend(resolved.get(&key).into_iter().flatten());
                }
            }
        }
        if **self.addresses.list.load() != list {
            self.addresses.list.store(Arc::new(list));
        }
        self.resolved.store(Arc::new(resolved));
    }

    fn has_names(&self) -> bool {
        self.service
            .endpoints
            .iter()
            .any(|endpoint| matches!(endpoint, Endpoint::Dns(..)))
    }
}

impl Addresses {
    pub(crate) fn new(list: Vec<SocketAddr>) -> Self {
        Self {
            list: ArcSwap::from_pointee(list),
            next: AtomicUsize::new(0),
        }
    }

    /// The address whose turn it is, and how many there are.
    pub(crate) fn next(&self) -> Option<(SocketAddr, usize)> {
        let list = self.list.load();
        let address = match list.len() {
            0 => return None,
            1 => list[0],
            count => list[self.next.fetch_add(1, Ordering::Relaxed) % count],
        };
        Some((address, list.len()))
    }

    pub(crate) fn snapshot(&self) -> Arc<Vec<SocketAddr>> {
        self.list.load_full()
    }

    fn continued(&self) -> Self {
        Self {
            list: ArcSwap::new(self.list.load_full()),
            next: AtomicUsize::new(self.next.load(Ordering::Relaxed)),
        }
    }
}

/// Loads `documents` and puts their routing into force; on failure the one before stays, and the reason is kept.
async fn put_in_force(shared: &Shared, documents: &[String]) {
    let named = documents
        .iter()
        .enumerate()
        .map(|(at, text)| (format!("watch/{at}.yaml"), text.clone()))
        .collect::<Vec<_>>();
    // Compiling is quick, but not so quick that connections should wait for it.
    let loaded =
        tokio::task::spawn_blocking(move || mixer_documents::load(Sources::from_texts(named)))
            .await;
    match loaded {
        Ok(Ok(set)) => adopt(shared, &set).await,
        Ok(Err(problems)) => {
            let problem = problems.lines().join("\n");
            tracing::error!(
                "the documents Mixer sent cannot be used, the ones before stay in force:\n{problem}"
            );
            shared.routing_problem.store(Some(Arc::new(problem)));
        }
        Err(panic) => {
            tracing::error!("loading the documents Mixer sent failed: {panic}");
            shared
                .routing_problem
                .store(Some(Arc::new(panic.to_string())));
        }
    }
}

/// Puts the routing of `set` into force.
pub(crate) async fn adopt(shared: &Shared, set: &PolicySet) {
    let before = shared.routing.load_full();
    let routing = Routing::new(
        set,
        shared.config.service.as_deref(),
        before.as_deref(),
        &shared.clock,
    )
    .await;
    shared.routing.store(Some(Arc::new(routing)));
    shared.routing_problem.store(None);
    shared.routed.send_replace(true);
}

/// Follows the states of Watch.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let Some(client) = &shared.client else { return };
    let mut news = client.state();
    let mut documents: Option<Arc<[String]>> = None;
    loop {
        let state: Option<Arc<State>> = news.borrow_and_update().clone();
        if let Some(state) = state
            && documents.as_ref() != Some(&state.documents)
        {
            put_in_force(&shared, &state.documents).await;
            documents = Some(state.documents.clone());
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

/// Resolves names again and again.
pub(crate) async fn keep_resolving(shared: Arc<Shared>) {
    loop {
        shared.clock.sleep(RESOLVE_EVERY).await;
        let routing = shared.routing.load_full();
        for upstream in routing
            .iter()
            .flat_map(|routing| routing.upstreams())
            .filter(|upstream| upstream.has_names())
        {
            upstream.resolve(&shared.clock).await;
        }
    }
}
