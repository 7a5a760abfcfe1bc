//! Connections to servers, kept per thread: taking one wakes no other thread and takes no lock.
//!
//! HTTP/1 connections are kept idle up to a number and an age, the most recently used first. HTTP/2 connections are shared by
//! requests; when the streams of all are taken another is opened, by one request while the others wait for it. A server that is
//! dialed with TLS says itself which of the two it takes; until it has, requests wait for the first to find out. (hyper-util's
//! client was refused: it keeps one HTTP/2 connection per server, boxes every request and shares its pool between threads.)

mod connect;
mod http1;
mod http2;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use mixer_runtime::{Clock, Instant};

use crate::body::RequestBody;
use crate::config::Limits;
use crate::headers::Malformed;
use crate::intercept::Loops;
use crate::metrics::Counters;
use crate::target::{carried, restored, secured};
use crate::tls::{Dialer, Purpose, Registry, Speaks};
use crate::upstream::Circuit;

use connect::Opened;
pub(crate) use connect::Place;

/// How the connections of a pool leave.
#[derive(Clone, Debug)]
pub(crate) enum Leaving {
    /// As any other of this process.
    AsUsual,
    /// The host's rules could send them back to this proxy.
    Watched(Arc<Loops>),
    /// As the host's rules let pass what is for the application.
    Unredirected,
}

/// Connections of one thread, by server.
#[derive(Debug)]
pub(crate) struct Pool {
    leaving: Leaving,
    limits: Limits,
    clock: Clock,
    counters: Arc<Counters>,
    /// The peers of connections over TLS.
    trusted: Rc<Registry>,
    servers: RefCell<HashMap<Key, Rc<Server>>>,
}

/// Where a connection leads, and how it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) address: SocketAddr,
    /// `None`: in plaintext.
    pub(crate) dialer: Option<&'a Arc<Dialer>>,
}

/// A way as the pool knows it: the dialer by its place in memory, which the server's entry keeps from being another's.
type Key = (SocketAddr, usize);

/// The version of HTTP that a request is to be sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Http1,
    Http2,
    /// HTTP/1, or HTTP/2 where the server of the mesh takes it: the request is made for HTTP/1.
    Either,
}

/// Connections that lead one way.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    dialer: Option<Arc<Dialer>>,
    /// What the server took last; `None`: it was not asked yet.
    speaks: Cell<Option<Speaks>>,
    http1: http1::Idle,
    http2: http2::Shared,
}

/// A connection lent to one request.
#[derive(Debug)]
pub(crate) enum Lease {
    Http1(http1::Lent),
    Http2(http2::Stream),
}

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot connect to {0}: {1}")]
    Refused(SocketAddr, std::io::ErrorKind),
    #[error("{0} did not accept a connection in time")]
    TimedOut(SocketAddr),
    #[error("{0} ended the connection at once")]
    Handshake(SocketAddr),
    #[error("{0} is not the service: {1}")]
    Untrusted(SocketAddr, String),
    #[error("no TLS with {0}: {1}")]
    Tls(SocketAddr, String),
    #[error(
        "a connection to {0} comes back to the proxy: it must be the user that the host's rules let pass"
    )]
    Loop(SocketAddr),
    /// The service has as many connections as it may have.
    #[error("there are too many connections")]
    Overflow,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) error: hyper::Error,
    /// The request, when nothing of it was written.
    pub(crate) unsent: Option<http::Request<RequestBody>>,
}

impl Pool {
    pub(crate) fn new(
        limits: Limits,
        clock: Clock,
        counters: Arc<Counters>,
        leaving: Leaving,
        trusted: Rc<Registry>,
    ) -> Self {
        Self {
            leaving,
            limits,
            clock,
            counters,
            trusted,
            servers: RefCell::new(HashMap::new()),
        }
    }

    /// A connection that leads `way`, is there and can carry another request.
    pub(crate) fn kept(self: &Rc<Self>, way: Way<'_>, want: Want) -> Option<Lease> {
        let servers = self.servers.borrow();
        let server = servers.get(&way.key())?;
        if server.over_http2(want)? {
            http2::kept(self, server).map(Lease::Http2)
        } else {
            http1::kept(self, server).map(Lease::Http1)
        }
    }

    /// A new connection that leads `way`, counted by `circuit`; of HTTP/2, where there may be none, a stream of one that is there.
    pub(crate) async fn open(
        self: &Rc<Self>,
        way: Way<'_>,
        want: Want,
        circuit: Option<&Arc<Circuit>>,
    ) -> Result<Lease, ConnectError> {
        let server = self
            .servers
            .borrow_mut()
            .entry(way.key())
            .or_insert_with(|| Rc::new(Server::new(way)))
            .clone();
        // Seldom, hence not part of every request's future.
        match server.over_http2(want) {
            Some(false) => {
                let opened = Box::pin(http1::open(self, &server, circuit));
                opened.await.map(Lease::Http1)
            }
            Some(true) | None => Box::pin(http2::open(self, &server, want, circuit)).await,
        }
    }

    /// Closes what was unused too long, and forgets servers without connections.
    pub(crate) fn sweep(&self, now: Instant) {
        let age = self.limits.upstream_idle_for;
        self.servers.borrow_mut().retain(|_, server| {
            let kept = server.http1.sweep(now, age) + server.http2.sweep(now, age);
            kept > 0 || Rc::strong_count(server) > 1
        });
    }
}

impl Way<'_> {
    fn key(&self) -> Key {
        let dialer = self.dialer.map_or(0, |dialer| Arc::as_ptr(dialer).addr());
        (self.address, dialer)
    }
}

impl Server {
    fn new(way: Way<'_>) -> Self {
        Self {
            address: way.address,
            dialer: way.dialer.cloned(),
            speaks: Cell::new(None),
            http1: http1::Idle::default(),
            http2: http2::Shared::default(),
        }
    }

    fn way(&self) -> Way<'_> {
        Way {
            address: self.address,
            dialer: self.dialer.as_ref(),
        }
    }

    /// Whether a request is sent over HTTP/2; `None`: the server has to be asked.
    fn over_http2(&self, want: Want) -> Option<bool> {
        match (want, &self.dialer) {
            (Want::Http2, _) => Some(true),
            (Want::Http1, _) | (Want::Either, None) => Some(false),
            (Want::Either, Some(_)) => {
                let speaks = self.speaks.get()?;
                Some(speaks != Speaks::Http1)
            }
        }
    }

    /// A new connection; what the server speaks is remembered, and forgotten when there is none.
    async fn dial(
        &self,
        pool: &Pool,
        purpose: Purpose,
        circuit: Option<&Arc<Circuit>>,
    ) -> Result<Opened, ConnectError> {
        let opened = pool.dial(self.way(), purpose, circuit).await;
        match &opened {
            // Who was offered one thing only has not chosen.
            Ok(opened) if purpose == Purpose::Requests => self.speaks.set(opened.speaks),
            Ok(_) => {}
            Err(_) if self.http2.is_empty() => self.speaks.set(None),
            Err(_) => {}
        }
        opened
    }
}

impl Lease {
    /// Gives a request the form that the connection's version of HTTP has for it.
    pub(crate) fn fit(&self, request: &mut http::Request<RequestBody>) -> Result<(), Malformed> {
        match self {
            Lease::Http1(_) if request.version() == http::Version::HTTP_2 => restored(request),
            Lease::Http2(stream) if request.version() != http::Version::HTTP_2 => {
                carried(request, stream.authority())
            }
            Lease::Http2(stream) if stream.is_outside() => secured(request),
            Lease::Http1(_) | Lease::Http2(_) => Ok(()),
        }
    }

    /// Whether it is a stream of HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Lease::Http2(_))
    }

    /// The server takes no more requests over the connection: it gets none.
    pub(crate) fn retire(&self) {
        if let Lease::Http2(stream) = self {
            stream.retire();
        }
    }

    /// Whether the connection carried a request before, so that the server may have closed it meanwhile.
    pub(crate) fn reused(&self) -> bool {
        match self {
            Lease::Http1(lent) => lent.reused,
            Lease::Http2(stream) => stream.reused,
        }
    }

    /// Sends a request and waits for the head of its response.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<Incoming>, SendError> {
        let failed = |mut error: TrySendError<http::Request<RequestBody>>| {
            let unsent = error.take_message();
            SendError {
                unsent,
                error: error.into_error(),
            }
        };
        match self {
            Lease::Http1(lent) => lent.sender.try_send_request(request).await.map_err(failed),
            Lease::Http2(stream) => stream
                .sender()
                .try_send_request(request)
                .await
                .map_err(failed),
        }
    }

    /// The response is over: the connection may carry another.
    pub(crate) fn give_back(self) {
        match self {
            Lease::Http1(lent) => lent.give_back(),
            Lease::Http2(_) => {}
        }
    }
}
