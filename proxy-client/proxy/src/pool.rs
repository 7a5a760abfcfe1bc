//! Connections to servers, kept per thread: taking one wakes no other thread and takes no lock.
//!
//! HTTP/1 connections are kept idle up to a number and an age, the most recently used first. HTTP/2 connections are shared by
//! requests; when the streams of all are taken another is opened, by one request while the others wait for it. (hyper-util's
//! client was refused: it keeps one HTTP/2 connection per server, boxes every request and shares its pool between threads.)

mod http1;
mod http2;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use mixer_runtime::{Clock, Instant};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use crate::accept::keepalive;
use crate::body::RequestBody;
use crate::config::Limits;
use crate::intercept::{self, Loop, Loops, Noted};
use crate::metrics::Counters;
use crate::upstream::{Circuit, Kind, Permit};

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

/// What a connection holds while it is open.
#[derive(Debug, Default)]
pub(crate) struct Place {
    _permit: Option<Permit>,
    _noted: Option<Noted>,
}

/// Connections of one thread, by server.
#[derive(Debug)]
pub(crate) struct Pool {
    leaving: Leaving,
    limits: Limits,
    clock: Clock,
    counters: Arc<Counters>,
    servers: RefCell<HashMap<SocketAddr, Rc<Server>>>,
}

/// Connections to one address.
#[derive(Debug, Default)]
struct Server {
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
    ) -> Self {
        Self {
            leaving,
            limits,
            clock,
            counters,
            servers: RefCell::new(HashMap::new()),
        }
    }

    /// A connection to `address` that is there and can carry another request.
    pub(crate) fn kept(self: &Rc<Self>, address: SocketAddr, http2: bool) -> Option<Lease> {
        let servers = self.servers.borrow();
        let server = servers.get(&address)?;
        if http2 {
            http2::kept(self, server).map(Lease::Http2)
        } else {
            http1::kept(self, server).map(Lease::Http1)
        }
    }

    /// A new connection to `address`, counted by `circuit`; of HTTP/2, where there may be none, a stream of one that is there.
    pub(crate) async fn open(
        self: &Rc<Self>,
        address: SocketAddr,
        http2: bool,
        circuit: Option<&Arc<Circuit>>,
    ) -> Result<Lease, ConnectError> {
        let server = self
            .servers
            .borrow_mut()
            .entry(address)
            .or_default()
            .clone();
        // Seldom, hence not part of every request's future.
        if http2 {
            let opened = Box::pin(http2::open(self, &server, address, circuit));
            opened.await.map(Lease::Http2)
        } else {
            let opened = Box::pin(http1::open(self, &server, address, circuit));
            opened.await.map(Lease::Http1)
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

    /// A new TCP connection, and its place in `circuit`.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        circuit: Option<&Arc<Circuit>>,
    ) -> Result<(TcpStream, Place), ConnectError> {
        let permit = match circuit.map(|circuit| circuit.take(Kind::Connections)) {
            None => None,
            Some(Some(permit)) => Some(permit),
            Some(None) => return Err(ConnectError::Overflow),
        };
        self.counters.connected();
        let connected = match self
            .clock
            .within(self.limits.connect, self.leave(address))
            .await
        {
            Some(Ok(stream)) => stream
                .set_nodelay(true)
                .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive()))
                .map(|()| stream)
                .map_err(|error| ConnectError::Refused(address, error.kind())),
            Some(Err(error)) => Err(ConnectError::Refused(address, error.kind())),
            None => Err(ConnectError::TimedOut(address)),
        };
        if connected.is_err() {
            self.counters.connect_failed();
        }
        let stream = connected?;
        let noted = match (&self.leaving, stream.local_addr()) {
            (Leaving::Watched(loops), Ok(local)) => {
                let noted = loops.made(local, address);
                Some(noted.map_err(|Loop| ConnectError::Loop(address))?)
            }
            _ => None,
        };
        let place = Place {
            _permit: permit,
            _noted: noted,
        };
        Ok((stream, place))
    }
}

impl Pool {
    async fn leave(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let source = match self.leaving {
            Leaving::AsUsual | Leaving::Watched(_) => None,
            Leaving::Unredirected => intercept::source(address),
        };
        let Some(source) = source else {
            return TcpStream::connect(address).await;
        };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(source)?;
        socket.connect(address).await
    }
}

impl Lease {
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
