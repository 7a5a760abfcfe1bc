//! Listening. A port is bound once, without SO_REUSEPORT, so that a second proxy on it fails to start; connections are handed to
//! the worker with the fewest. (One socket per thread with SO_REUSEPORT would let a second proxy take half the connections, and
//! spreads few long connections badly.) The hand-over costs a wake-up per connection, none per request.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use mixer_client::At;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net;
use tokio::sync::mpsc;

use crate::shared::Shared;
use crate::worker::Accepted;

/// Connections the kernel holds before they are accepted.
const BACKLOG: i32 = 1_024;
/// After the process ran out of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Binds `address`; an error when anybody listens there.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    listen(address, false)
}

/// Binds what `address` is in IPv6, where that is plain: a redirected connection arrives at an address of its own family.
pub(crate) fn bind_beside(address: SocketAddr) -> Option<(SocketAddr, io::Result<TcpListener>)> {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Ipv6Addr::LOCALHOST,
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv6Addr::UNSPECIFIED,
        _ => return None,
    };
    let beside = SocketAddr::from((ip, address.port()));
    Some((beside, listen(beside, true)))
}

fn listen(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of a proxy that ended may linger; a listener that lives still conflicts.
    socket.set_reuse_address(true)?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Finds out about peers that are gone without a word, in about a minute and a half.
pub(crate) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(3)
}

/// Accepts connections and hands them to `workers` until it is dropped.
pub(crate) async fn run(
    listener: net::TcpListener,
    at: At,
    shared: Arc<Shared>,
    workers: Vec<mpsc::Sender<Accepted>>,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                shared.clock.sleep(PAUSE).await;
                continue;
            }
        };
        let open: u64 = shared.counters.iter().map(|worker| worker.open()).sum();
        if usize::try_from(open).unwrap_or(usize::MAX) >= shared.config.limits.connections {
            shared.refused();
            continue;
        }
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive()));
        // It leaves this runtime for the worker's.
        let Ok(stream) = prepared.and_then(|()| stream.into_std()) else {
            continue;
        };
        let least = shared
            .counters
            .iter()
            .zip(&workers)
            .min_by_key(|(counters, _)| counters.open());
        let Some((counters, worker)) = least else {
            return;
        };
        counters.opened();
        if worker
            .send(Accepted {
                at,
                stream,
                peer,
                guard: shared.drain.guard(),
            })
            .await
            .is_err()
        {
            return;
        }
    }
}
