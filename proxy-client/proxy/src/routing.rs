//! From authorities to services.
//!
//! A [`Routing`] is made from the services of one state and never changes. What is known of the services' endpoints is kept when a
//! new state has them too, and belongs to the proxy, not to a thread.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use mixer_attributes::vocabulary as name;
use mixer_attributes::{AttributeBag, Value};
use mixer_cel::References;
use mixer_client::State;
use mixer_documents::{Directory, Jwt, Mesh, PolicySet, Route, Service, Sources, Subset, Tls};
use mixer_identity::{SpiffeId, TrustDomain};
use mixer_runtime::Instant;
use tokio::task::{self, JoinError, JoinSet};

use crate::intercept;
use crate::route::Routed;
use crate::shared::Shared;
use crate::tls::{Dialer, Dialing, Originating};
use crate::token::Tokens;
use crate::upstream::{Checked, Turns, Upstream, check_health};

/// How often it is looked whether names are to be resolved, or endpoints to be checked, again.
const TICK: Duration = Duration::from_millis(250);

/// Services and mesh of one state.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) mesh: Mesh,
    /// The document of the proxy's own service, if there is one.
    pub(crate) own: Option<Arc<Service>>,
    /// Whether the own service takes TLS and plaintext.
    pub(crate) own_tls: Tls,
    /// The issuers whose tokens callers of the own service may have.
    pub(crate) jwts: Vec<Arc<Jwt>>,
    /// Every route, in document order.
    pub(crate) routes: Vec<Arc<Route>>,
    /// What the documents' expressions refer to.
    pub(crate) references: References,
    directory: Directory,
    services: HashMap<Arc<str>, Routed>,
    /// Services by the addresses of their endpoints; of several the first by name. Only for connections that were redirected.
    addresses: ArcSwap<HashMap<SocketAddr, Arc<str>>>,
}

/// Addresses of a host that no service names, taken in turn.
#[derive(Debug)]
pub(crate) struct Addresses {
    list: Vec<SocketAddr>,
    next: AtomicUsize,
}

impl Routing {
    /// The routing of `set`, with names resolved as far as they can be now: all are asked for together.
    async fn new(set: &PolicySet, before: Option<&Routing>, shared: &Shared) -> Self {
        let mut services = HashMap::new();
        let mut resolving = JoinSet::new();
        for service in &set.services {
            let known = before.and_then(|before| before.services.get(&service.name));
            let before = known.map(|known| &*known.whole);
            let dialing = dialing(service, &set.mesh, before, shared);
            let whole = Upstream::new(service.clone(), before).dialed(dialing);
            let part = |subset: &Subset| {
                let known = known.and_then(|known| known.subsets.get(&subset.name));
                Upstream::part(&whole, subset, known.map(|known| &**known))
            };
            let parts: Vec<_> = service.subsets.iter().map(part).map(Arc::new).collect();
            let whole = Arc::new(whole);
            if let Some(resolver) = shared.resolver.get() {
                for upstream in parts.iter().chain([&whole]) {
                    let upstream = upstream.clone();
                    let (resolver, clock) = (resolver.clone(), shared.clock.clone());
                    resolving.spawn(async move { upstream.resolve(&resolver, &clock).await });
                }
            }
            let named = service.subsets.iter().map(|subset| subset.name.clone());
            let routed = Routed {
                whole,
                subsets: named.zip(parts).collect(),
                table: set.route_table(&service.name, service.namespace.as_deref()),
                budget: known.map_or_else(Arc::default, |known| known.budget.clone()),
            };
            services.insert(service.name.clone(), routed);
        }
        while resolving.join_next().await.is_some() {}
        let own = shared.config.service.as_deref();
        let own = own
            .and_then(|name| set.services.iter().find(|service| &*service.name == name))
            .cloned();
        let own_tls = own.as_ref().map_or(set.mesh.tls, |own| own.tls(&set.mesh));
        if own_tls == Tls::Strict && shared.own.is_none() && shared.config.inbound.is_some() {
            tracing::error!(
                "the service takes mutual TLS only and this proxy has no identity: every caller is refused"
            );
        }
        let routing = Self {
            mesh: set.mesh.clone(),
            routes: set.routes.clone(),
            references: set.references.clone(),
            jwts: issuers(set, own.as_deref(), shared),
            own,
            own_tls,
            directory: Directory::new(set.services.iter().cloned()),
            services,
            addresses: ArcSwap::default(),
        };
        if shared.config.transparent {
            routing.index();
        }
        routing
    }

    /// Whether ids of `trust_domain` mean by a namespace what we mean by it.
    pub(crate) fn is_own(&self, trust_domain: &TrustDomain) -> bool {
        let name = trust_domain.as_str();
        self.mesh.trust_domain == name || self.mesh.federated.iter().any(|other| other == name)
    }

    /// The service that `authority` means.
    pub(crate) fn resolve(&self, authority: &str) -> Option<&Routed> {
        self.services.get(&self.directory.resolve(authority)?.name)
    }

    /// The service that has an endpoint at `address`.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<&Routed> {
        let addresses = self.addresses.load();
        self.services
            .get(addresses.get(&intercept::plain(address))?)
    }

    /// Learns the addresses that endpoints have now.
    fn index(&self) {
        let mut upstreams: Vec<&Arc<Upstream>> = self.upstreams().collect();
        upstreams.sort_unstable_by_key(|upstream| &upstream.service.name);
        let mut addresses = HashMap::new();
        for upstream in upstreams {
            for address in upstream.addresses() {
                addresses
                    .entry(intercept::plain(address))
                    .or_insert_with(|| upstream.service.name.clone());
            }
        }
        self.addresses.store(Arc::new(addresses));
    }

    /// Every service, by name.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&Arc<str>, &Routed)> {
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_unstable_by_key(|(name, _)| *name);
        services.into_iter()
    }

    /// Every service and every part of one.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let services = self.services.values();
        services.flat_map(|routed| routed.subsets.values().chain([&routed.whole]))
    }
}

/// How `service` is dialed; as before, where that is the same, so that connections are kept.
fn dialing(
    service: &Service,
    mesh: &Mesh,
    before: Option<&Upstream>,
    shared: &Shared,
) -> Option<Arc<Dialing>> {
    let before = before.and_then(Upstream::dialing);
    if let Some(originate) = &service.originate {
        return Some(Originating::dialing(service, originate, before));
    }
    let tls = service.tls(mesh);
    let id = service
        .identity
        .as_deref()
        .filter(|_| tls != Tls::Disable)?;
    let known = match before.map(|before| &**before) {
        Some(Dialing::Mesh { dialer, .. }) => dialer.as_ref(),
        _ => None,
    };
    // The documents were checked: what is no id here cannot be dialed either.
    let id = SpiffeId::parse(id).ok();
    let dialer = shared.own.as_ref().zip(id).map(|(own, id)| {
        let kept = known.filter(|known| known.is_for(&own.source, &id, &service.name));
        kept.cloned()
            .unwrap_or_else(|| Arc::new(Dialer::mesh(&own.source, id, &service.name)))
    });
    let strict = tls == Tls::Strict;
    Some(Arc::new(Dialing::Mesh { dialer, strict }))
}

impl Addresses {
    pub(crate) fn new(list: Vec<SocketAddr>) -> Self {
        Self {
            list,
            next: AtomicUsize::new(0),
        }
    }

    /// The address whose turn it is.
    pub(crate) fn next(&self) -> Option<SocketAddr> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(self.list.len())?;
        Some(self.list[index])
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
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
    let routing = Routing::new(set, before.as_deref(), shared).await;
    // Before the first routing nothing is served: no request is judged without them.
    take_keys(shared, &routing.jwts);
    shared.routing.store(Some(Arc::new(routing)));
    shared.routing_problem.store(None);
    shared.routed.send_replace(true);
}

/// Those whose tokens callers of the own service may have.
fn issuers(set: &PolicySet, own: Option<&Service>, shared: &Shared) -> Vec<Arc<Jwt>> {
    let config = &shared.config;
    let namespace = own.and_then(|own| own.namespace.as_deref());
    let mut bag = AttributeBag::new();
    if let Some(service) = &config.service {
        bag.set(name::DESTINATION_SERVICE, Value::String(service));
    }
    if let Some(namespace) = namespace.or_else(|| config.own_namespace()) {
        bag.set(name::DESTINATION_NAMESPACE, Value::String(namespace));
    }
    bag.set(name::DESTINATION_LABELS, Value::Map(&config.labels));
    let jwts = set.jwts.iter().filter(|jwt| jwt.applies(&bag));
    jwts.cloned().collect()
}

/// Puts the keys that Watch told last into force, where they are new.
fn take_keys(shared: &Shared, jwts: &[Arc<Jwt>]) {
    let Some(client) = &shared.client else { return };
    let state = client.state().borrow().clone();
    let keys = state.map(|state| state.keys.clone()).unwrap_or_default();
    let before = shared.tokens.load();
    if let Some(tokens) = Tokens::next(&before, jwts, &keys, shared.clock.now()) {
        shared.tokens.store(Arc::new(tokens));
        shared.tokens_changed.send_replace(());
    }
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
        } else if let Some(routing) = shared.routing.load_full() {
            take_keys(&shared, &routing.jwts);
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

/// Resolves names again when their time is over, and asks endpoints whether they are well. Each service is seen to by itself: one
/// whose servers say nothing holds up no other.
pub(crate) async fn keep_upstreams(shared: Arc<Shared>) {
    let turns = Turns::default();
    let mut kept: HashMap<String, Kept> = HashMap::new();
    let mut working = JoinSet::new();
    // Whom each task sees to: nobody twice at once.
    let mut busy: HashMap<task::Id, String> = HashMap::new();
    loop {
        let routing = shared.routing.load_full();
        let upstreams = routing.iter().flat_map(|routing| routing.upstreams());
        let upstreams: HashMap<String, &Arc<Upstream>> = upstreams
            .map(|upstream| (upstream.label(), upstream))
            .collect();
        kept.retain(|name, _| upstreams.contains_key(name));
        for (name, upstream) in upstreams {
            if busy.values().any(|busy| *busy == name) {
                continue;
            }
            let mut one = kept.remove(&name).unwrap_or_default();
            if !one.is_due(upstream, shared.clock.now()) {
                kept.insert(name, one);
                continue;
            }
            let (upstream, shared, turns) = (upstream.clone(), shared.clone(), turns.clone());
            let task = working.spawn(async move {
                let resolved = one.see_to(&upstream, &turns, &shared).await;
                (one, resolved)
            });
            busy.insert(task.id(), name);
        }
        drop(routing);
        let mut tick = pin!(shared.clock.sleep(TICK));
        loop {
            let done = tokio::select! {
                () = &mut tick => break,
                Some(done) = working.join_next_with_id() => done,
            };
            // One that panicked begins anew.
            let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            let name = busy.remove(&id);
            let (Some(name), Ok((_, (one, resolved)))) = (name, done) else {
                continue;
            };
            kept.insert(name, one);
            if resolved
                && shared.config.transparent
                && let Some(routing) = shared.routing.load().as_ref()
            {
                routing.index();
            }
        }
    }
}

/// What is kept of one service between looks.
#[derive(Default)]
struct Kept {
    checked: HashMap<SocketAddr, Checked>,
    checks: Option<(Arc<Service>, Option<Instant>)>,
}

impl Kept {
    fn is_due(&self, upstream: &Upstream, now: Instant) -> bool {
        upstream.is_due(now) || self.is_check_due(upstream, now)
    }

    /// Another document may have other checks: endpoints are asked at once.
    fn is_check_due(&self, upstream: &Upstream, now: Instant) -> bool {
        match &self.checks {
            Some((service, next)) if Arc::ptr_eq(service, &upstream.service) => {
                next.is_some_and(|next| next <= now)
            }
            _ => true,
        }
    }

    /// Whether names were asked for.
    async fn see_to(&mut self, upstream: &Arc<Upstream>, turns: &Turns, shared: &Shared) -> bool {
        let clock = &shared.clock;
        let resolver = shared.resolver.get();
        let resolver = resolver.filter(|_| upstream.is_due(clock.now()));
        if let Some(resolver) = resolver {
            upstream.resolve(resolver, clock).await;
        }
        if self.is_check_due(upstream, clock.now()) {
            let next = check_health(upstream, &mut self.checked, turns, clock).await;
            self.checks = Some((upstream.service.clone(), next));
        }
        resolver.is_some()
    }
}

#[cfg(test)]
mod tests {
    use mixer_runtime::Clock;

    use super::*;
    use crate::upstream::Resolver;

    const SERVICES: &str = r#"
service: mail.shop
endpoints: ["10.0.0.5:25", "10.0.0.6:25"]
---
service: archive.shop
endpoints: ["10.0.0.6:25", "dns:localhost:143", "[2001:db8::5]:25"]
"#;

    #[tokio::test]
    async fn an_address_is_a_services_while_an_endpoint_has_it_and_the_first_ones_of_several() {
        let set = mixer_documents::load(Sources::from_texts([(
            "s.yaml".to_owned(),
            SERVICES.to_owned(),
        )]));
        let set = set.unwrap();
        let (resolver, clock) = (Resolver::new(None), Clock::system());
        let services = set.services.iter().map(|service| {
            let routed = Routed {
                whole: Arc::new(Upstream::new(service.clone(), None)),
                subsets: HashMap::new(),
                table: None,
                budget: Arc::default(),
            };
            (service.name.clone(), routed)
        });
        let routing = Routing {
            mesh: set.mesh.clone(),
            own: None,
            own_tls: Tls::Permissive,
            jwts: Vec::new(),
            routes: Vec::new(),
            references: set.references.clone(),
            directory: Directory::new(set.services.iter().cloned()),
            services: services.collect(),
            addresses: ArcSwap::default(),
        };
        let at = |address: &str| {
            let routed = routing.at(address.parse().unwrap())?;
            Some(routed.whole.service.name.to_string())
        };
        routing.index();
        assert_eq!(at("10.0.0.5:25"), None);
        for upstream in routing.upstreams() {
            upstream.resolve(&resolver, &clock).await;
        }
        routing.index();
        assert_eq!(at("10.0.0.5:25").as_deref(), Some("mail.shop"));
        assert_eq!(at("10.0.0.6:25").as_deref(), Some("archive.shop"));
        assert_eq!(at("127.0.0.1:143").as_deref(), Some("archive.shop"));
        assert_eq!(at("[::ffff:10.0.0.5]:25").as_deref(), Some("mail.shop"));
        assert_eq!(at("[2001:db8::5]:25").as_deref(), Some("archive.shop"));
        assert_eq!(at("10.0.0.5:26"), None);
    }
}
