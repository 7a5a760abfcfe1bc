//! One caller's connection: accepted, its protocol found out, its requests served.
//!
//! Time limits cost nothing per request: a connection notes when it became idle and how its caller keeps pace (`pace.rs`), and
//! the worker's sweep closes what is idle or late too long. The drain is told the same way, so that no request waits on
//! anything shared between threads.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::HeaderValue;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mixer_attributes::host;
use mixer_client::At;
use mixer_documents::{Protocol as Declared, Tls};
use mixer_runtime::{DrainGuard, Instant};
use tokio::net::TcpStream;

use crate::detect::{Prefixed, Spoken};
use crate::flag::Flag;
use crate::guard::Guarded;
use crate::pace::Pace;
use crate::tls::{Begun, Secured, Stream, begin};
use crate::worker::{Executor, Worker};
use crate::{intercept, opaque, request};

/// Bytes of an HTTP/2 frame, the least that RFC 9113 section 4.2 lets a caller rely on.
const FRAME: u32 = 16 << 10;
/// Bytes of an HTTP/2 connection's table of headers: RFC 9113 section 6.5.2's own value.
const HEADER_TABLE: u32 = 4 << 10;

/// One caller's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) at: At,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Where it was going, if it was redirected here.
    pub(crate) original: Option<SocketAddr>,
    /// Where the application is, if the connection is inbound: as configured, else where it was going.
    pub(crate) application: Option<SocketAddr>,
    pub(crate) id: String,
    pub(crate) pace: Arc<Pace>,
    secured: OnceCell<Secured>,
    peer_value: OnceCell<HeaderValue>,
    in_flight: Cell<u32>,
    idle_since: Cell<Instant>,
    ending: Cell<Ending>,
    late: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    _guard: DrainGuard,
}

/// Where a connection comes from, where it came to, and where it was going if it was redirected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) original: Option<SocketAddr>,
}

/// What the documents say about the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    Http,
    /// They are not to be read.
    Opaque,
}

/// How soon a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// Not at all.
    No,
    /// With the next request, which is answered with the news: a caller between two requests may be sending one already.
    Soon,
    /// After the requests in flight.
    Gracefully,
    /// Now.
    Now,
}

impl Connection {
    pub(crate) fn new(worker: Rc<Worker>, at: At, ends: Ends, guard: DrainGuard) -> Rc<Self> {
        let id = format!("{:012x}", worker.shared.random.next() >> 16);
        let now = worker.shared.clock.now();
        let limits = &worker.shared.config.limits;
        let pace = Arc::new(Pace::new(worker.shared.clock.clone(), limits));
        let Ends {
            peer,
            local,
            original,
        } = ends;
        let application = match at {
            At::Inbound => intercept::application(&worker.shared, original),
            At::Outbound => None,
        };
        Rc::new(Self {
            worker,
            at,
            peer,
            local,
            original,
            application,
            id,
            pace,
            secured: OnceCell::new(),
            peer_value: OnceCell::new(),
            in_flight: Cell::new(0),
            idle_since: Cell::new(now),
            ending: Cell::new(Ending::No),
            late: Cell::new(false),
            waker: RefCell::new(None),
            _guard: guard,
        })
    }

    /// The peer's address as a header value.
    pub(crate) fn peer_value(&self) -> HeaderValue {
        let value = self.peer_value.get_or_init(|| {
            let address = self.peer.ip().to_canonical().to_string();
            HeaderValue::from_str(&address).expect("an address is visible ASCII")
        });
        value.clone()
    }

    /// Where the caller connected to.
    pub(crate) fn meant(&self) -> SocketAddr {
        self.original.unwrap_or(self.local)
    }

    /// What its caller proved, if it proved anything.
    pub(crate) fn secured(&self) -> Option<&Secured> {
        self.secured.get()
    }

    /// Its caller proved who it is.
    pub(crate) fn is_secured(&self, secured: Secured) {
        let _once = self.secured.set(secured);
    }

    /// Whether it takes TLS and plaintext. Before the first state both: neither is served then.
    pub(crate) fn tls(&self) -> Tls {
        match (self.at, self.worker.routing().as_ref()) {
            (At::Outbound, _) => Tls::Disable,
            (At::Inbound, Some(routing)) => routing.own_tls,
            (At::Inbound, None) => Tls::Permissive,
        }
    }

    /// Whether its caller would have to prove who it is, and did not: what the documents say may have changed since it came.
    pub(crate) fn is_too_plain(&self) -> bool {
        self.secured.get().is_none() && self.tls() == Tls::Strict
    }

    /// Whether its caller may be one who watches over the service, and speaks plaintext because it is none of the mesh.
    pub(crate) fn may_probe(&self) -> bool {
        let routing = self.worker.routing();
        let own = routing.as_ref().and_then(|routing| routing.own.as_ref());
        own.and_then(|own| own.probes.as_ref())
            .is_some_and(|probes| host::is_within(&probes.from, self.peer.ip()))
    }

    /// Waits until it [is too plain](Self::is_too_plain).
    pub(crate) async fn until_too_plain(&self) {
        let mut routed = self.worker.shared.routed.subscribe();
        while !self.is_too_plain() {
            if routed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
        self.worker.counters.plaintext_refused();
    }

    /// What the documents say it speaks. A service's own word comes before what is said of a port.
    fn said(&self) -> Said {
        let routing = self.worker.routing();
        let Some(routing) = routing.as_ref() else {
            return Said::Nothing;
        };
        let (protocol, port) = match self.at {
            At::Inbound => (
                routing.own.as_ref().and_then(|own| own.protocol),
                self.original.or(self.application),
            ),
            At::Outbound => (
                self.original
                    .and_then(|original| routing.at(original)?.whole.service.protocol),
                self.original,
            ),
        };
        match (protocol, port) {
            (Some(Declared::Tcp), _) => Said::Opaque,
            (Some(Declared::Http | Declared::Http2 | Declared::Grpc), _) => Said::Http,
            (None, Some(address)) if routing.mesh.opaque_ports.contains(&address.port()) => {
                Said::Opaque
            }
            (None, _) => Said::Nothing,
        }
    }

    /// Remembers a caller that `tls: strict` would refuse.
    fn note_if_plain(&self) {
        let inbound = self.at == At::Inbound;
        if inbound && self.tls() == Tls::Permissive && self.secured().is_none() {
            let shared = &self.worker.shared;
            let from = self.peer.ip().to_canonical();
            shared.plain_callers.came(from, shared.clock.wall());
        }
    }

    pub(crate) fn request_begins(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    pub(crate) fn request_ends(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.idle_since.set(now);
    }

    /// Since when no request is in flight.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.in_flight.get() == 0).then(|| self.idle_since.get())
    }

    /// Ends the connection, as soon as `ending` says or sooner.
    pub(crate) fn end(&self, ending: Ending) {
        if ending > self.ending.get() {
            self.ending.set(ending);
            if let Some(waker) = self.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    /// Ends it because its caller is too slow.
    pub(crate) fn end_late(&self) {
        self.late.set(true);
        self.end(Ending::Now);
    }

    /// Why a response was not taken to its end.
    pub(crate) fn broken_off(&self) -> Flag {
        match (self.worker.is_stopped(), self.late.get()) {
            (true, _) => Flag::LocalReset,
            (false, true) => Flag::StreamIdle,
            (false, false) => Flag::DownstreamTermination,
        }
    }

    fn ending(&self, context: &mut Context<'_>) -> Ending {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|held| held.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        self.ending.get()
    }

    /// Runs `http` to its end, or as far as the connection's ending allows.
    async fn drive<F: Future<Output = hyper::Result<()>>>(
        &self,
        http: F,
        graceful: impl Fn(Pin<&mut F>),
    ) {
        let mut http = pin!(http);
        let mut told = false;
        let result = poll_fn(|context| {
            let ending = self.ending(context);
            if ending == Ending::Now {
                return Poll::Ready(Ok(()));
            }
            let due = |told: bool| {
                let now = ending == Ending::Gracefully
                    || (ending == Ending::Soon && self.in_flight.get() > 0);
                now && !told
            };
            if due(told) {
                told = true;
                graceful(http.as_mut());
            }
            let polled = http.as_mut().poll(context);
            // A request may have begun, whose response is to say it.
            if polled.is_pending() && due(told) {
                told = true;
                graceful(http.as_mut());
                return http.as_mut().poll(context);
            }
            polled
        });
        if let Err(error) = result.await {
            tracing::debug!(peer = %self.peer, "connection ended: {error}");
        }
    }
}

/// Serves one accepted connection to its end.
pub(crate) async fn serve(connection: Rc<Connection>, stream: TcpStream) {
    let worker = connection.worker.clone();
    let limits = &worker.shared.config.limits;
    if connection.at == At::Inbound && connection.application.is_none() {
        tracing::debug!(peer = %connection.peer, "it was for the proxy itself, or not redirected and there is no --app");
        return opaque::refuse(&connection, Flag::NoRoute);
    }
    // Known for as long as the connection is served.
    let _noted = match intercept::note(&connection) {
        Ok(noted) => noted,
        Err(intercept::Loop) => return opaque::refuse(&connection, Flag::NoRoute),
    };
    let said = connection.said();
    let io = Prefixed::new(Stream::Plain(stream));
    // Seldom, hence not part of every connection's future.
    let (io, spoken) = match Box::pin(begin(&connection, io, said)).await {
        Begun::Speaks(io, spoken) => {
            connection.note_if_plain();
            (io, spoken)
        }
        Begun::Refused(flag) => return opaque::refuse(&connection, flag),
        Begun::Nothing => return,
    };
    match spoken {
        Spoken::Opaque | Spoken::Tls if said != Said::Http => opaque::carry(connection, io).await,
        Spoken::Http2 => {
            // Another proxy carries the requests of many callers, who come and go.
            let ours = connection.secured().is_some_and(|peer| peer.ours);
            let (streams, resets, window) = match ours {
                true => (
                    limits.carried,
                    limits.early_resets.max(limits.carried as usize),
                    limits.carried_window(),
                ),
                false => (limits.streams, limits.early_resets, limits.window_bytes),
            };
            let mut server = hyper::server::conn::http2::Builder::new(Executor);
            server
                .max_concurrent_streams(streams)
                .max_pending_accept_reset_streams(resets)
                .max_local_error_reset_streams(limits.error_resets)
                .max_frame_size(FRAME)
                .header_table_size(HEADER_TABLE)
                .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
                .max_send_buf_size(limits.buffer_bytes)
                .initial_stream_window_size(u32::try_from(limits.buffer_bytes).unwrap_or(u32::MAX))
                .initial_connection_window_size(u32::try_from(window).unwrap_or(u32::MAX));
            let service = service_fn(|request: http::Request<Incoming>| {
                request::handle(connection.clone(), request)
            });
            let io = Guarded::http2(io, connection.pace.clone(), worker.counters.clone());
            let http = server.serve_connection(TokioIo::new(io), service);
            connection
                .drive(http, |http| http.graceful_shutdown())
                .await;
        }
        Spoken::Http1 | Spoken::Opaque | Spoken::Tls => {
            let mut server = hyper::server::conn::http1::Builder::new();
            server
                .half_close(false)
                // The worker's sweep does it, without a timer per request.
                .header_read_timeout(None)
                .max_headers(limits.headers)
                .max_header_size(limits.head_bytes)
                .max_buf_size(limits.buffer_bytes.max(limits.head_bytes));
            let service = service_fn(|request: http::Request<Incoming>| {
                request::handle(connection.clone(), request)
            });
            let io = Guarded::http1(io, connection.pace.clone(), limits.head_bytes);
            let http = server
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades();
            connection
                .drive(http, |http| http.graceful_shutdown())
                .await;
        }
    }
}
