//! What proxies must know before they ask: sent whole, whenever anything in it changed.
//!
//! What is the same for every proxy (outbound scopes, documents) is made once per change and shared; only the inbound scope is
//! each one's own. A change that does not concern a proxy sends it nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_documents::{At, Scope, Service};
use mixer_proto::v1;
use sha2::{Digest, Sha256};
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};

use super::clients::{self, Caller};
use super::metrics::Metrics;
use super::wire::{self, Arena, Malformed};
use crate::keys::Keys;
use crate::live::{Current, Live};
use crate::snapshot::Snapshot;

/// News for every proxy.
#[derive(Debug)]
pub(crate) struct Announcement {
    current: Arc<Current>,
    common: Arc<Common>,
    /// Of each jwt document, in order.
    keys: Vec<v1::IssuerKeys>,
}

/// What is the same for every proxy.
#[derive(Debug, PartialEq)]
struct Common {
    outbound: Vec<v1::Scope>,
    outbound_default: v1::Scope,
    documents: Vec<String>,
}

/// Who watches.
#[derive(Debug)]
pub(crate) struct Subscribers {
    most: usize,
    next: AtomicU64,
    watching: Mutex<ById>,
    metrics: Arc<Metrics>,
}

/// Who watches, by stream; and whose proxy each client is, also for a while after its stream ended: its last reports come then.
#[derive(Debug, Default)]
struct ById {
    streams: BTreeMap<u64, Watching>,
    services: HashMap<String, Arc<str>>,
}

/// Clients whose service is remembered beyond those that watch.
const REMEMBERED: usize = 16_384;

/// One proxy that watches, as `/config_dump` shows it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub(crate) struct Watching {
    pub(crate) client: String,
    pub(crate) service: Option<Arc<str>>,
    pub(crate) version: u64,
    pub(crate) revision: String,
}

/// Why somebody may not watch.
#[derive(Debug)]
pub(crate) enum NotTold {
    /// As many watch as may.
    TooMany,
    /// It is not the proxy of the service it says.
    Refused(Box<tonic::Status>),
}

/// States for one proxy.
pub(crate) type States =
    Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, tonic::Status>> + Send>>;

impl Announcement {
    /// What `current` means for proxies; `before` is what they were told last.
    pub(crate) fn of(current: &Arc<Current>, keys: &Keys, before: Option<&Announcement>) -> Self {
        let snapshot = current.snapshot();
        let documents = snapshot.set.jwts.iter().zip(&snapshot.keys);
        let keys = documents.map(|(jwt, checked)| keys.told(&jwt.name, checked));
        let common = Common::of(current.snapshot());
        let common = match before {
            Some(before) if *before.common == common => before.common.clone(),
            _ => Arc::new(common),
        };
        Self {
            current: current.clone(),
            common,
            keys: keys.collect(),
        }
    }
}

impl Common {
    fn of(snapshot: &Snapshot) -> Self {
        let (outbound, rest) = snapshot.outbound_scopes();
        let mesh = std::iter::once(snapshot.set.mesh.canonical());
        Self {
            outbound: outbound
                .iter()
                .map(|(service, scope)| wire::scope(service, scope))
                .collect(),
            outbound_default: wire::scope("", &rest),
            documents: mesh
                .chain(
                    snapshot
                        .set
                        .services
                        .iter()
                        .map(|service| service.canonical()),
                )
                .chain(snapshot.set.routes.iter().map(|route| route.canonical()))
                .chain(snapshot.set.jwts.iter().map(|jwt| jwt.canonical()))
                .collect(),
        }
    }
}

impl Subscribers {
    /// At most `most` at once.
    pub(crate) fn new(most: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            most,
            next: AtomicU64::new(0),
            watching: Mutex::default(),
            metrics,
        }
    }

    /// The states of a proxy whose own service `request` describes; they end when Mixer does.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        live: &Live,
        request: v1::WatchRequest,
        caller: Option<&Caller>,
    ) -> Result<Result<States, NotTold>, Malformed> {
        let current = live.current();
        let service = own_service(&request, &current)?;
        if let Some(service) = &service
            && let Err(status) = clients::may_speak_for(caller, service, &current.snapshot().set)
        {
            return Ok(Err(NotTold::Refused(Box::new(status))));
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(place) = Place::take(self, id, &request.client, service) else {
            return Ok(Err(NotTold::TooMany));
        };
        let mut sent = Sent {
            inbound: request.inbound,
            last: None,
            version: 0,
            place,
        };
        let news = WatchStream::new(live.news()).map_while(|news| news);
        let metrics = self.metrics.clone();
        let states = news.filter_map(move |news| {
            let state = sent.next(&news)?;
            metrics.states.add(1);
            Some(Ok(state))
        });
        Ok(Ok(Box::pin(states)))
    }

    /// Everybody who watches.
    pub(crate) fn list(&self) -> Vec<Watching> {
        self.watching
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .streams
            .values()
            .cloned()
            .collect()
    }

    /// The service whose proxy `client` is, if it watches here or did lately.
    pub(crate) fn service_of(&self, client: &str) -> Option<Arc<str>> {
        let watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        watching.services.get(client).cloned()
    }
}

impl ById {
    fn remember(&mut self, client: &str, service: &Arc<str>) {
        if self.services.len() >= self.streams.len() + REMEMBERED {
            let watching: HashSet<&str> = self
                .streams
                .values()
                .map(|one| one.client.as_str())
                .collect();
            self.services
                .retain(|client, _| watching.contains(client.as_str()));
        }
        self.services.insert(client.to_owned(), service.clone());
    }
}

/// What one proxy was sent.
struct Sent {
    inbound: Vec<v1::Attribute>,
    last: Option<(v1::Scope, Arc<Common>, Vec<v1::IssuerKeys>)>,
    version: u64,
    place: Place,
}

impl Sent {
    /// The state to send, if it differs from the last.
    fn next(&mut self, news: &Announcement) -> Option<v1::WatchResponse> {
        let (inbound, keys) = match inbound(&self.inbound, news) {
            Ok(inbound) => inbound,
            Err(malformed) => {
                // It was in order when the stream began; new documents can only have changed what a custom attribute is.
                tracing::warn!("a proxy's own service cannot be read any more: {malformed}");
                return None;
            }
        };
        if let Some((scope, common, told)) = &self.last
            && *scope == inbound
            && *told == keys
            && (Arc::ptr_eq(common, &news.common) || **common == *news.common)
        {
            return None;
        }
        self.version += 1;
        self.place.sent(self.version, &inbound.revision);
        self.last = Some((inbound.clone(), news.common.clone(), keys.clone()));
        Some(v1::WatchResponse {
            version: self.version,
            inbound: Some(inbound),
            outbound: news.common.outbound.clone(),
            outbound_default: Some(news.common.outbound_default.clone()),
            documents: news.common.documents.clone(),
            keys,
        })
    }
}

/// A place among the subscribers, given back when the stream is dropped.
struct Place {
    subscribers: Arc<Subscribers>,
    id: u64,
}

impl Place {
    fn take(
        subscribers: &Arc<Subscribers>,
        id: u64,
        client: &str,
        service: Option<Arc<str>>,
    ) -> Option<Self> {
        let mut watching = subscribers
            .watching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if watching.streams.len() >= subscribers.most {
            return None;
        }
        if let Some(service) = &service {
            watching.remember(client, service);
        }
        watching.streams.insert(
            id,
            Watching {
                client: client.to_owned(),
                service,
                version: 0,
                revision: String::new(),
            },
        );
        subscribers.metrics.subscribers.add(1);
        Some(Self {
            subscribers: subscribers.clone(),
            id,
        })
    }

    fn sent(&self, version: u64, revision: &str) {
        let mut watching = self
            .subscribers
            .watching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(watching) = watching.streams.get_mut(&self.id) {
            watching.version = version;
            watching.revision.replace_range(.., revision);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut watching = self
            .subscribers
            .watching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        watching.streams.remove(&self.id);
        self.subscribers.metrics.subscribers.add(-1);
    }
}

fn own_service(
    request: &v1::WatchRequest,
    current: &Current,
) -> Result<Option<Arc<str>>, Malformed> {
    let arena = Arena::new("inbound", &request.inbound)?;
    let bag = arena.bag("inbound", &current.snapshot().set.vocabulary)?;
    Ok(match bag.value(vocabulary::DESTINATION_SERVICE) {
        Some(Value::String(service)) => Some(service.into()),
        _ => None,
    })
}

/// What applies to requests that the proxy of this service receives, and the keys of those whose tokens they may carry.
fn inbound(
    inbound: &[v1::Attribute],
    news: &Announcement,
) -> Result<(v1::Scope, Vec<v1::IssuerKeys>), Malformed> {
    let current = &news.current;
    let arena = Arena::new("inbound", inbound)?;
    let mut bag = arena.bag("inbound", &current.snapshot().set.vocabulary)?;
    bag.set(vocabulary::CONTEXT_REPORTER, Value::String("destination"));
    current.snapshot().set.locate(&mut bag);
    let service = match bag.value(vocabulary::DESTINATION_SERVICE) {
        Some(Value::String(service)) => service,
        _ => "",
    };
    let scope = wire::scope(service, &current.snapshot().scope(At::Inbound, &bag));
    let jwts = current.snapshot().set.jwts.iter().zip(&news.keys);
    let keys = jwts.filter(|(jwt, _)| jwt.applies(&bag));
    Ok((scope, keys.map(|(_, keys)| keys.clone()).collect()))
}

/// What applies to requests that a declared service receives.
pub(crate) fn service_scope(snapshot: &Snapshot, service: &Service) -> Scope {
    let mut bag = AttributeBag::new();
    bag.set(
        vocabulary::DESTINATION_SERVICE,
        Value::String(&service.name),
    );
    if let Some(namespace) = &service.namespace {
        bag.set(vocabulary::DESTINATION_NAMESPACE, Value::String(namespace));
    }
    bag.set(vocabulary::CONTEXT_REPORTER, Value::String("destination"));
    snapshot.scope(At::Inbound, &bag)
}

/// Digest of the revisions of all known destinations and of what is told to every proxy, 16 hex digits.
pub(crate) fn whole_revision(snapshot: &Snapshot) -> Arc<str> {
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    let common = Common::of(snapshot);
    for scope in common.outbound.iter().chain([&common.outbound_default]) {
        add(&scope.destination);
        add(&scope.revision);
    }
    common.documents.iter().for_each(|document| add(document));
    for service in &snapshot.set.services {
        add(&service_scope(snapshot, service).revision);
    }
    // Policies may be about services that no document declares.
    add(&snapshot.set.revision());
    for policy in &snapshot.set.policies {
        add(&policy.name);
        add(&policy.selector.canonical());
    }
    add(&snapshot.scope(At::Inbound, &AttributeBag::new()).revision);
    digest
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}
