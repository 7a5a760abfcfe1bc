//! Addresses behind `dns:` endpoints: asked for again when their time to live is over.
//!
//! A name that cannot be resolved keeps the addresses it had; one that resolves to others changes where new requests go, and
//! requests in flight end where they are. (The system's own look-up does not tell how long an answer holds, hence a resolver of our
//! own; it reads the system's configuration.)

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use mixer_documents::Endpoint;
use mixer_runtime::{Clock, Instant};
use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Upstream;

/// For one name.
const WITHIN: Duration = Duration::from_secs(2);
/// A name is asked for again at the earliest after the one, at the latest after the other, whatever its time to live.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(300);
/// After a failure, and where nobody says how long an answer holds.
const AGAIN: Duration = Duration::from_secs(5);

/// Names that are asked for at once; more wait for their turn.
const AT_ONCE: usize = 64;

/// Asks for names.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    /// `None`: the system's look-up.
    resolver: Option<TokioResolver>,
    turns: Arc<Semaphore>,
}

/// What is known of the names of one service.
#[derive(Debug, Default)]
pub(super) struct Names(ArcSwap<HashMap<String, Known>>);

#[derive(Clone, Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Resolver {
    /// Asks `server`, or those of the system's configuration. To be used on the runtime it is made on.
    pub(crate) fn new(server: Option<SocketAddr>) -> Self {
        let builder = match server {
            Some(server) => {
                let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
                for connection in &mut name_server.connections {
                    connection.port = server.port();
                }
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
                Ok(TokioResolver::builder_with_config(
                    config,
                    hickory_resolver::net::runtime::TokioRuntimeProvider::default(),
                ))
            }
            None => TokioResolver::builder_tokio(),
        };
        let resolver = builder.and_then(|mut builder| {
            // What is kept is kept here.
            builder.options_mut().cache_size = 0;
            builder.build()
        });
        if let Err(error) = &resolver {
            tracing::warn!(
                "names are asked for every {AGAIN:?}, whatever their time to live: {error}"
            );
        }
        Self {
            resolver: resolver.ok(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// The addresses of a name, and how long they hold.
    async fn ask(&self, name: &str, clock: &Clock) -> Result<(Vec<IpAddr>, Duration), String> {
        let _turn = self.turns.acquire().await;
        let Some(resolver) = &self.resolver else {
            let found = clock.within(WITHIN, lookup_host((name, 0))).await;
            let found = found
                .ok_or("no answer in time")?
                .map_err(|error| error.to_string())?;
            return Ok((found.map(|address| address.ip()).collect(), AGAIN));
        };
        let found = clock.within(WITHIN, resolver.lookup_ip(name)).await;
        let found = found
            .ok_or("no answer in time")?
            .map_err(|error| error.to_string())?;
        let ttl = found
            .as_lookup()
            .answers()
            .iter()
            .map(|record| record.ttl)
            .min();
        let ttl = ttl.map_or(AGAIN, |seconds| Duration::from_secs(seconds.into()));
        Ok((found.iter().collect(), ttl))
    }
}

impl Clone for Names {
    fn clone(&self) -> Self {
        Self(ArcSwap::new(self.0.load_full()))
    }
}

impl Upstream {
    /// Finds the addresses of its endpoints, and asks for the names among them whose time is over, all together.
    pub(crate) async fn resolve(&self, resolver: &Resolver, clock: &Clock) {
        let mut known = HashMap::clone(&self.names.0.load());
        let now = clock.now();
        let mut due: Vec<&str> = self.names().collect();
        due.retain(|name| known.get(*name).is_none_or(|known| known.until <= now));
        due.sort_unstable();
        due.dedup();
        let mut asked = JoinSet::new();
        for name in due {
            let (resolver, clock, name) = (resolver.clone(), clock.clone(), name.to_owned());
            asked.spawn(async move {
                let found = resolver.ask(&name, &clock).await;
                (name, found)
            });
        }
        while let Some(answered) = asked.join_next().await {
            if let Ok((name, found)) = answered {
                self.learn(name, found, &mut known, clock.now());
            }
        }
        let mut addresses = Vec::new();
        for endpoint in &self.service.endpoints {
            match endpoint {
                Endpoint::Address(address) => addresses.push(*address),
                Endpoint::Dns(name, port) => {
                    if let Some(known) = known.get(name) {
                        addresses
                            .extend(known.addresses.iter().map(|ip| SocketAddr::new(*ip, *port)));
                    }
                }
            }
        }
        known.retain(|name, _| self.names().any(|other| other == name));
        self.names.0.store(Arc::new(known));
        self.adopt(&addresses, clock.now());
    }

    /// Whether the time of one of its names is over.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let names = self.names.0.load();
        names.values().any(|known| known.until <= now)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let endpoints = self.service.endpoints.iter();
        endpoints.filter_map(|endpoint| match endpoint {
            Endpoint::Dns(name, _) => Some(&**name),
            Endpoint::Address(_) => None,
        })
    }

    fn learn(
        &self,
        name: String,
        found: Result<(Vec<IpAddr>, Duration), String>,
        known: &mut HashMap<String, Known>,
        now: Instant,
    ) {
        match found {
            Ok((mut addresses, holds)) => {
                addresses.sort_unstable();
                let until = now + holds.clamp(SOONEST, LATEST);
                known.insert(name, Known { addresses, until });
            }
            Err(error) => {
                tracing::warn!(service = %self.service.name, %name, "cannot be resolved: {error}");
                let until = now + AGAIN;
                known
                    .entry(name)
                    .and_modify(|known| known.until = until)
                    .or_insert(Known {
                        addresses: Vec::new(),
                        until,
                    });
            }
        }
    }
}
