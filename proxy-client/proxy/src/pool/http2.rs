//! HTTP/2 connections: many requests at a time, as many as the server admits.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use mixer_runtime::{Clock, Instant};
use tokio::sync::Notify;

use super::{ConnectError, Lease, Opened, Pool, Server, Want, http1};
use crate::body::RequestBody;
use crate::tls::{self, Purpose, Speaks};
use crate::upstream::Circuit;
use crate::worker::{Executor, spawn};

/// Streams per connection until the server says how many.
const STREAMS: usize = 100;

/// Connections to one server.
#[derive(Debug, Default)]
pub(super) struct Shared {
    connections: RefCell<Vec<Rc<Connection>>>,
    connecting: Cell<bool>,
    /// Tells those who wait that connecting ended.
    connected: Notify,
    failure: RefCell<Option<ConnectError>>,
    failures: Cell<u64>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
    streams: Cell<usize>,
    most: Cell<usize>,
    /// The server takes no more requests over it.
    leaving: Cell<bool>,
    /// The server is outside the mesh, and TLS is its own.
    outside: bool,
    /// The last host that a request was carried for.
    authority: RefCell<Option<(HeaderValue, Authority)>>,
    used: Cell<bool>,
    since: Cell<Instant>,
    clock: Clock,
}

/// One stream of a connection.
#[derive(Debug)]
pub(crate) struct Stream {
    connection: Rc<Connection>,
    sender: SendRequest<RequestBody>,
    pub(super) reused: bool,
}

/// A stream of a connection that has one free.
pub(super) fn kept(pool: &Rc<Pool>, server: &Rc<Server>) -> Option<Stream> {
    server
        .http2
        .available(pool.limits.upstream_http2)
        .map(Stream::new)
}

/// A stream of a new connection; if another request is opening one, of that. Where either version of HTTP is wanted the server
/// decides, and what it decides is known from then on.
pub(super) async fn open(
    pool: &Rc<Pool>,
    server: &Rc<Server>,
    want: Want,
    circuit: Option<&Arc<Circuit>>,
) -> Result<Lease, ConnectError> {
    let shared = &server.http2;
    while shared.connecting.get() {
        let failures = shared.failures.get();
        shared.connected.notified().await;
        if server.over_http2(want) == Some(false) {
            return http1::open(pool, server, circuit).await.map(Lease::Http1);
        }
        if let Some(stream) = kept(pool, server) {
            return Ok(Lease::Http2(stream));
        }
        if shared.failures.get() != failures
            && let Some(failure) = shared.failure.borrow().clone()
        {
            return Err(failure);
        }
    }
    let connecting = Connecting::begin(shared);
    match connect(pool, server, want, circuit).await {
        Ok(Connected::Http2(connection)) => {
            shared.connections.borrow_mut().push(connection.clone());
            Ok(Lease::Http2(Stream::new(connection)))
        }
        Ok(Connected::Http1(lent)) => Ok(Lease::Http1(lent)),
        // All streams are taken and there may be no other connection: hyper lets the request wait for a stream.
        Err(ConnectError::Overflow) if shared.available(0).is_some() => {
            drop(connecting);
            let least = shared.available(0).ok_or(ConnectError::Overflow)?;
            Ok(Lease::Http2(Stream::new(least)))
        }
        Err(failure) => {
            shared.failures.set(shared.failures.get() + 1);
            *shared.failure.borrow_mut() = Some(failure.clone());
            drop(connecting);
            Err(failure)
        }
    }
}

/// A new connection, of the version that the server takes.
enum Connected {
    Http1(http1::Lent),
    Http2(Rc<Connection>),
}

async fn connect(
    pool: &Rc<Pool>,
    server: &Rc<Server>,
    want: Want,
    circuit: Option<&Arc<Circuit>>,
) -> Result<Connected, ConnectError> {
    let purpose = match want {
        Want::Either => Purpose::Requests,
        Want::Http1 | Want::Http2 => Purpose::Http2,
    };
    let opened = server.dial(pool, purpose, circuit).await?;
    if want == Want::Either && opened.speaks == Some(Speaks::Http1) {
        let lent = http1::begin(pool, server, opened).await?;
        return Ok(Connected::Http1(lent));
    }
    let address = server.address;
    let ours = opened.speaks == Some(Speaks::Ours);
    let Opened { stream, place, .. } = opened;
    let outside = matches!(stream, tls::Stream::Outside(_));
    let window = u32::try_from(pool.limits.buffer_bytes).unwrap_or(u32::MAX);
    let (connection_window, streams) = match ours {
        // It takes as many at once as we do, or says so with its first bytes; what came too early it refuses unread.
        true => (pool.limits.carried_window(), pool.limits.carried as usize),
        false => (pool.limits.window_bytes, STREAMS),
    };
    let connection_window = u32::try_from(connection_window).unwrap_or(u32::MAX);
    let (sender, http) = Builder::new(Executor)
        .max_header_list_size(u32::try_from(pool.limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(pool.limits.buffer_bytes)
        .initial_stream_window_size(window)
        .initial_connection_window_size(connection_window)
        .initial_max_send_streams(streams)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| ConnectError::Handshake(address))?;
    let connection = Rc::new(Connection {
        sender,
        streams: Cell::new(0),
        most: Cell::new(streams),
        leaving: Cell::new(false),
        outside,
        authority: RefCell::default(),
        used: Cell::new(false),
        since: Cell::new(pool.clock.now()),
        clock: pool.clock.clone(),
    });
    let (server, held): (Weak<Server>, Weak<Connection>) =
        (Rc::downgrade(server), Rc::downgrade(&connection));
    spawn(async move {
        let _place = place;
        let mut http = pin!(http);
        let result = poll_fn(|context| {
            let done = http.as_mut().poll(context);
            if let Some(connection) = held.upgrade() {
                connection
                    .most
                    .set(Pin::get_mut(http.as_mut()).current_max_send_streams());
            }
            done
        });
        if let Err(error) = result.await {
            tracing::debug!(%address, "connection to server ended: {error}");
        }
        if let Some(server) = server.upgrade() {
            server
                .http2
                .connections
                .borrow_mut()
                .retain(|other| !std::ptr::eq(Rc::as_ptr(other), held.as_ptr()));
        }
    });
    Ok(Connected::Http2(connection))
}

impl Shared {
    pub(super) fn is_empty(&self) -> bool {
        self.connections.borrow().is_empty()
    }

    /// A connection with a free stream; with `most` connections open, the one with the fewest streams.
    fn available(&self, most: usize) -> Option<Rc<Connection>> {
        let connections = self.connections.borrow();
        let open = || {
            connections
                .iter()
                .filter(|connection| !connection.sender.is_closed() && !connection.leaving.get())
        };
        let free = open().find(|connection| connection.streams.get() < connection.most.get());
        free.or_else(|| {
            if connections.len() >= most {
                open().min_by_key(|connection| connection.streams.get())
            } else {
                None
            }
        })
        .cloned()
    }

    /// Closes what was unused longer than `age`; how many are left.
    pub(super) fn sweep(&self, now: Instant, age: Duration) -> usize {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| {
            !connection.sender.is_closed()
                && (connection.streams.get() > 0 || now.since(connection.since.get()) <= age)
        });
        connections.len()
    }
}

/// While it lives, others wait.
struct Connecting<'a>(&'a Shared);

impl<'a> Connecting<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.connecting.set(true);
        Self(shared)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        self.0.connected.notify_waiters();
    }
}

impl Stream {
    fn new(connection: Rc<Connection>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        let (sender, reused) = (connection.sender.clone(), connection.used.replace(true));
        Self {
            connection,
            sender,
            reused,
        }
    }

    /// No other request gets a stream of its connection.
    pub(super) fn retire(&self) {
        self.connection.leaving.set(true);
    }

    /// Whether the server expects to be told that TLS is spoken to it.
    pub(super) fn is_outside(&self) -> bool {
        self.connection.outside
    }

    /// The last host that a request of its connection was carried for.
    pub(super) fn authority(&self) -> &RefCell<Option<(HeaderValue, Authority)>> {
        &self.connection.authority
    }

    pub(super) fn sender(&mut self) -> &mut SendRequest<RequestBody> {
        &mut self.sender
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection
            .streams
            .set(self.connection.streams.get() - 1);
        self.connection.since.set(self.connection.clock.now());
    }
}
