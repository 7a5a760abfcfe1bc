//! HTTP/1 connections: one request at a time, kept between requests.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use mixer_runtime::Instant;

use super::{ConnectError, Opened, Pool, Server};
use crate::body::RequestBody;
use crate::tls::Purpose;
use crate::upstream::Circuit;
use crate::worker::spawn;

/// How long a connection whose response is over may take to be ready again.
const READY_IN: Duration = Duration::from_secs(1);

/// Connections between requests, the most recently used last.
#[derive(Debug, Default)]
pub(super) struct Idle(RefCell<Vec<(SendRequest<RequestBody>, Instant)>>);

/// A connection that carries a request.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) reused: bool,
    server: Rc<Server>,
    pool: Rc<Pool>,
}

/// The connection used last that is still good.
pub(super) fn kept(pool: &Rc<Pool>, server: &Rc<Server>) -> Option<Lent> {
    let mut idle = server.http1.0.borrow_mut();
    while let Some((sender, _)) = idle.pop() {
        if sender.is_ready() {
            return Some(Lent {
                sender,
                reused: true,
                server: server.clone(),
                pool: pool.clone(),
            });
        }
    }
    None
}

/// A new connection.
pub(super) async fn open(
    pool: &Rc<Pool>,
    server: &Rc<Server>,
    circuit: Option<&Arc<Circuit>>,
) -> Result<Lent, ConnectError> {
    let opened = server.dial(pool, Purpose::Http1, circuit).await?;
    begin(pool, server, opened).await
}

/// Speaks HTTP/1 over a connection that is open.
pub(super) async fn begin(
    pool: &Rc<Pool>,
    server: &Rc<Server>,
    opened: Opened,
) -> Result<Lent, ConnectError> {
    let Opened { stream, place, .. } = opened;
    let address = server.address;
    let (sender, connection) = Builder::new()
        .max_headers(pool.limits.headers)
        .max_header_size(pool.limits.head_bytes)
        .max_buf_size(pool.limits.buffer_bytes.max(pool.limits.head_bytes))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| ConnectError::Handshake(address))?;
    spawn(async move {
        let _place = place;
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%address, "connection to server ended: {error}");
        }
    });
    Ok(Lent {
        sender,
        reused: false,
        server: server.clone(),
        pool: pool.clone(),
    })
}

impl Idle {
    /// Closes what is older than `age`; how many are left.
    pub(super) fn sweep(&self, now: Instant, age: Duration) -> usize {
        let mut idle = self.0.borrow_mut();
        idle.retain(|(sender, since)| !sender.is_closed() && now.since(*since) <= age);
        idle.len()
    }
}

impl Lent {
    /// Keeps the connection for another request, once it is ready for one.
    pub(super) fn give_back(self) {
        if self.sender.is_ready() {
            self.keep();
        } else if !self.sender.is_closed() {
            spawn(async move {
                let mut lent = self;
                let clock = lent.pool.clock.clone();
                if let Some(Ok(())) = clock.within(READY_IN, lent.sender.ready()).await {
                    lent.keep();
                }
            });
        }
    }

    fn keep(self) {
        let mut idle = self.server.http1.0.borrow_mut();
        if idle.len() < self.pool.limits.upstream_idle {
            idle.push((self.sender, self.pool.clock.now()));
        }
    }
}
