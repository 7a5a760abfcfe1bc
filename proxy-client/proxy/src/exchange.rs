//! One request from its head to the end of its response, for telemetry: what is reported when it is over, however it ends.
//!
//! An [`Exchange`] is made when the head was read and moves into the response's body. Dropping it reports it, so that a caller
//! who goes away, a panic and a broken server are all counted.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use mixer_attributes::vocabulary as name;
use mixer_attributes::{AttributeBag, Value, standard};
use mixer_client::{Answer, At, Failure, InFlight, StandardSample, TraceContext, Verdict};
use mixer_documents::{Protocol as Declared, Service};
use mixer_runtime::Instant;

use crate::access_log::{Entry, Line};
use crate::attributes::{CookieView, Facts, Head, HeaderView, QueryView, reporter};
use crate::config::Config;
use crate::connection::Connection;
use crate::flag::Flag;
use crate::token::Verified;
use crate::upstream::Upstream;

/// `api.protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
    Tcp,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
            Protocol::Tcp => "tcp",
        }
    }
}

/// Where a request goes, for attributes and labels.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    /// The service this proxy stands before, with its document, if there is one.
    Own(Option<Arc<Service>>),
    /// Another service of the mesh.
    Service(Arc<Upstream>),
    /// A host no service names.
    Outside,
}

impl Destination {
    /// `destination.service`.
    pub(crate) fn name<'a>(&'a self, config: &'a Config) -> Option<&'a str> {
        match self {
            Destination::Own(_) => config.service.as_deref(),
            Destination::Service(upstream) => Some(&upstream.service.name),
            Destination::Outside => None,
        }
    }

    /// What its document says it speaks.
    pub(crate) fn protocol(&self) -> Option<Declared> {
        match self {
            Destination::Own(document) => document.as_ref()?.protocol,
            Destination::Service(upstream) => upstream.service.protocol,
            Destination::Outside => None,
        }
    }
}

/// One request.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) connection: Rc<Connection>,
    pub(crate) destination: Destination,
    pub(crate) protocol: Protocol,
    pub(crate) started: Instant,
    /// HTTP status; 0: none was sent.
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<u16>,
    pub(crate) flag: Flag,
    /// The request's method is HEAD: what the proxy answers has no body.
    pub(crate) head_only: bool,
    /// The caller speaks HTTP/1: what it sends after a malformed request is not read.
    pub(crate) http1: bool,
    pub(crate) request_bytes: Rc<Cell<u64>>,
    pub(crate) response_bytes: u64,
    /// `Scope::standard_metrics`.
    pub(crate) standard: bool,
    pub(crate) record: Option<Box<Record>>,
    /// What the access log needs, if there is one.
    pub(crate) entry: Option<Box<Entry>>,
    /// The name of the route that was taken.
    pub(crate) route: Option<Arc<str>>,
    /// What it holds of limits of how many at once; freed with it.
    pub(crate) in_flight: InFlight,
}

/// What a record needs beyond the standard metrics; only kept when a record was asked for.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) method: Method,
    pub(crate) target: Option<PathAndQuery>,
    pub(crate) path: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) client_ip: Option<IpAddr>,
    pub(crate) time: SystemTime,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) answer: Option<Answer>,
    pub(crate) response_headers: HeaderMap,
    /// What the request's token says; without its claims where nobody reads them.
    pub(crate) token: Option<Arc<Verified>>,
    pub(crate) claims: bool,
}

impl Exchange {
    pub(crate) fn begin(
        connection: &Rc<Connection>,
        destination: Destination,
        protocol: Protocol,
        started: Instant,
    ) -> Self {
        connection.request_begins();
        Self {
            connection: connection.clone(),
            destination,
            protocol,
            started,
            status: 0,
            grpc_status: None,
            flag: Flag::None,
            head_only: false,
            http1: false,
            request_bytes: connection.worker.no_bytes.clone(),
            response_bytes: 0,
            standard: true,
            record: None,
            entry: None,
            route: None,
            in_flight: InFlight::default(),
        }
    }

    /// What is known of its connection and destination.
    pub(crate) fn facts(&self) -> Facts<'_> {
        let connection = &*self.connection;
        let shared = &connection.worker.shared;
        let (namespace, labels) = match &self.destination {
            Destination::Own(document) => (
                document
                    .as_ref()
                    .and_then(|document| document.namespace.as_deref())
                    .or_else(|| shared.config.own_namespace()),
                Some(&shared.config.labels),
            ),
            Destination::Service(upstream) => (upstream.service.namespace.as_deref(), None),
            Destination::Outside => (None, None),
        };
        let secured = connection.secured();
        let namespaces_count = secured.is_some_and(|secured| {
            let routing = connection.worker.routing();
            let trust_domain = secured.trusted.peer.id.trust_domain();
            routing
                .as_ref()
                .is_some_and(|routing| routing.is_own(trust_domain))
        });
        let principal = match &self.destination {
            Destination::Own(_) => secured.map(|secured| secured.own.as_str()),
            Destination::Service(upstream) => upstream.principal(),
            Destination::Outside => None,
        };
        Facts {
            at: connection.at,
            peer: connection.peer,
            meant: connection.meant(),
            connection_id: &connection.id,
            service: self.destination.name(&shared.config),
            namespace,
            labels: labels.filter(|labels| !labels.is_empty()),
            protocol: self.protocol,
            secured,
            namespaces_count,
            principal,
        }
    }

    /// Bytes were carried unread, in both directions.
    pub(crate) fn carried(&mut self, sent: u64, received: u64) {
        self.request_bytes = Rc::new(sent.into());
        self.response_bytes = received;
    }

    /// It ended before its time.
    pub(crate) fn cut(&mut self, flag: Flag) {
        self.flag = flag;
    }

    /// Notes where the request was sent the last time, and how long a response took.
    pub(crate) fn sent_to(&mut self, upstream: Option<SocketAddr>, took: Option<Duration>) {
        if let Some(entry) = &mut self.entry {
            (entry.upstream, entry.service_time) = (upstream, took);
        }
    }

    /// Writes its line into the access log.
    fn log(&self, duration: Duration) {
        let worker = &self.connection.worker;
        let (Some(entry), Some(lines)) = (&self.entry, &worker.access_log) else {
            return;
        };
        let head = entry.head.as_ref();
        fn bytes(value: &Option<HeaderValue>) -> Option<&[u8]> {
            value.as_ref().map(HeaderValue::as_bytes)
        }
        let line = Line {
            time: entry.time,
            reporter: reporter(self.connection.at),
            method: head.map(|head| head.method.as_str()),
            path: head.map(|head| head.uri.path()),
            protocol: head.map(|head| head.protocol()),
            status: self.status,
            grpc_status: self.grpc_status,
            flags: self.flag.letters(),
            received: self.request_bytes.get(),
            sent: self.response_bytes,
            duration,
            service_time: entry.service_time,
            forwarded_for: head.and_then(|head| bytes(&head.forwarded_for)),
            user_agent: head.and_then(|head| bytes(&head.user_agent)),
            request_id: head.and_then(|head| bytes(&head.request_id)),
            authority: head.and_then(|head| head.authority()),
            upstream: entry.upstream,
            service: self.destination.name(&worker.shared.config),
            route: self.route.as_deref(),
            local: self.connection.meant(),
            peer: self.connection.peer,
        };
        lines.add(&line, worker.is_stopped());
    }

    fn report(&mut self, duration: Duration) {
        let worker = &self.connection.worker;
        worker
            .counters
            .finished(self.connection.at, self.status, self.flag, duration);
        self.log(duration);
        let Some(client) = &worker.shared.client else {
            return;
        };
        if self.standard {
            let facts = self.facts();
            let own = &worker.shared.own_workload;
            let principal = facts
                .secured
                .map_or(standard::UNKNOWN, |peer| peer.trusted.peer.id.as_str());
            let (workload, workload_namespace, security) = match facts.at {
                At::Inbound if facts.secured.is_some() => {
                    (standard::UNKNOWN, standard::UNKNOWN, "mutual_tls")
                }
                At::Inbound => (standard::UNKNOWN, standard::UNKNOWN, "none"),
                At::Outbound => (
                    &**own,
                    worker
                        .shared
                        .config
                        .own_namespace()
                        .unwrap_or(standard::UNKNOWN),
                    standard::UNKNOWN,
                ),
            };
            let service = facts.service.unwrap_or(standard::UNKNOWN);
            let status = StatusCode::from_u16(self.status);
            client.reporter().standard(&StandardSample {
                labels: [
                    reporter(facts.at),
                    workload,
                    workload_namespace,
                    principal,
                    service,
                    facts.service.map_or("PassthroughCluster", workload_of),
                    facts.namespace.unwrap_or(standard::UNKNOWN),
                    facts.protocol.name(),
                    status.as_ref().map_or("0", |status| status.as_str()),
                    grpc_label(self.grpc_status),
                    self.flag.letters(),
                    security,
                ],
                duration,
                request_bytes: self.request_bytes.get(),
                response_bytes: self.response_bytes,
            });
        }
        if let Some(record) = &self.record {
            let query = record
                .target
                .as_ref()
                .and_then(|target| target.query())
                .unwrap_or_default();
            let head = Head {
                method: record.method.as_str(),
                raw_path: record.target.as_ref().map_or("", |target| target.path()),
                path: record.path.as_deref(),
                host: record.host.as_deref(),
                headers: HeaderView(&record.headers),
                query: QueryView(query),
                cookies: CookieView(&record.headers),
                client_ip: record.client_ip,
                time: record.time,
                token: record.token.as_deref(),
            };
            let response_headers = HeaderView(&record.response_headers);
            let mut bag = AttributeBag::new();
            self.facts().fill(&mut bag);
            if self.protocol != Protocol::Tcp {
                head.fill(self.protocol, &mut bag);
                if !record.claims {
                    bag.unset(name::AUTH_CLAIMS);
                }
                bag.set(name::RESPONSE_CODE, Value::Int(self.status.into()));
                bag.set(name::RESPONSE_HEADERS, Value::Map(&response_headers));
            }
            bag.set(name::REQUEST_TIME, Value::Timestamp(record.time.into()));
            bag.set(name::REQUEST_SIZE, int(self.request_bytes.get()));
            bag.set(name::RESPONSE_SIZE, int(self.response_bytes));
            bag.set(name::RESPONSE_DURATION, Value::Duration(duration.into()));
            bag.set(name::RESPONSE_FLAGS, Value::String(self.flag.letters()));
            if let Some(route) = &self.route {
                bag.set(name::CONTEXT_ROUTE, Value::String(route));
            }
            if let Some(status) = self.grpc_status {
                bag.set(name::RESPONSE_GRPC_STATUS, Value::Int(status.into()));
            }
            if let Some(answer) = &record.answer {
                bag.set(name::CHECK_DECISION, Value::String(decision(answer)));
                bag.set(name::CHECK_CACHED, Value::Bool(answer.cached));
                if !answer.policy.is_empty() {
                    bag.set(name::CHECK_POLICY, Value::String(&answer.policy));
                    bag.set(name::CHECK_RULE, Value::String(&answer.rule));
                }
            }
            client
                .reporter()
                .record(self.connection.at, &bag, record.trace);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.status == 0 && self.flag == Flag::None && self.protocol != Protocol::Tcp {
            self.flag = self.connection.broken_off();
        }
        let now = self.connection.worker.shared.clock.now();
        self.report(now.since(self.started));
        self.connection.request_ends(now);
    }
}

/// `check.decision`.
fn decision(answer: &Answer) -> &'static str {
    match (answer.failure, answer.verdict) {
        (Some(Failure::Unreachable), _) => "unreachable",
        (Some(Failure::Overloaded), _) => "overloaded",
        (Some(Failure::Cold), _) => "cold",
        (Some(Failure::Malformed), _) => "malformed",
        (None, Verdict::Allow) => "allow",
        (None, Verdict::Deny) => "deny",
    }
}

/// The first label of a service's name.
pub(crate) fn workload_of(service: &str) -> &str {
    service.split_once('.').map_or(service, |(first, _)| first)
}

fn int(count: u64) -> Value<'static> {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn grpc_label(status: Option<u16>) -> &'static str {
    const NAMES: [&str; 17] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
    ];
    // Codes that do not exist are an attacker's way to new time series.
    status.map_or("", |status| {
        NAMES.get(usize::from(status)).copied().unwrap_or("2")
    })
}
