//! Connections: bounded, in all and for each caller, served over HTTP/2 (and HTTP/1.1 where a browser or `curl` may come), and
//! ended in order.
//!
//! Served by hyper itself, like the port of `mixer serve`, so that every limit is in view and who is at the other end reaches the
//! services as an extension of the request.

mod hosts;

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mixer_runtime::{Clock, Drain, DrainGuard, Tasks};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;

use crate::Caller;
use hosts::Hosts;

/// Calls at once on one connection.
const STREAMS: u32 = 16;
/// Bytes of a request's headers.
const HEADERS: u32 = 16 << 10;
/// How long a TLS handshake may take, and the head of an HTTP/1.1 request.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Silence after which a peer is asked whether it is there, and how long it has to say so.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// The rest after an accept that failed, above all for want of file descriptors.
const REST: Duration = Duration::from_millis(100);
/// Connections of one user of this host, and of all.
const LOCAL: (usize, usize) = (64, 1_024);
/// Connections of one address, and of all.
const REMOTE: (usize, usize) = (1_024, 16_384);

/// What every listener needs.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    pub(crate) drain: Drain,
    pub(crate) tasks: Tasks,
}

/// Who is at the other end of a TCP connection.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) address: IpAddr,
    /// Whose certificate was verified; `None`: it showed none.
    pub(crate) peer: Option<mixer_identity::Peer>,
}

/// What accepts connections.
trait Accept: Send + Sync + 'static {
    type Stream: Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Accept for TcpListener {
    type Stream = (TcpStream, IpAddr);

    async fn next(&self) -> io::Result<Self::Stream> {
        let (stream, address) = self.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, address.ip().to_canonical()))
    }
}

/// A service of requests that know who asks.
pub(crate) trait Serve:
    tower::Service<
        Request<Incoming>,
        Response = Response<Body>,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Serve for S where
    S: tower::Service<
            Request<Incoming>,
            Response = Response<Body>,
            Error = std::convert::Infallible,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// Serves processes of this host; each request carries its [`Caller`].
pub(crate) fn local(listener: UnixListener, service: impl Serve, around: &Surroundings) {
    let (open, clock) = (Places::new(LOCAL), around.clock.clone());
    let drain = around.drain.clone();
    accept("workload-api", listener, around, move |stream| {
        let caller = match Caller::of(&stream) {
            Ok(caller) => caller,
            Err(error) => {
                tracing::debug!("a caller cannot be recognised: {error}");
                return None;
            }
        };
        let place = open.take(caller.uid)?;
        let service = With {
            service: service.clone(),
            peer: caller,
        };
        let (guard, clock) = (drain.guard(), clock.clone());
        Some(async move {
            connection(Hosts::new(stream), service, guard, &clock).await;
            drop(place);
        })
    });
}

/// Serves callers over the network, with TLS if there is a configuration for it; each request carries its [`Remote`].
pub(crate) fn remote(
    name: &'static str,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    service: impl Serve,
    around: &Surroundings,
) {
    let (open, clock) = (Places::new(REMOTE), around.clock.clone());
    let drain = around.drain.clone();
    let acceptor = tls.map(TlsAcceptor::from);
    accept(name, listener, around, move |(stream, address)| {
        let place = open.take(address)?;
        let (service, acceptor) = (service.clone(), acceptor.clone());
        let (guard, clock) = (drain.guard(), clock.clone());
        Some(async move {
            let Some(acceptor) = acceptor else {
                let peer = Remote {
                    address,
                    peer: None,
                };
                connection(stream, With { service, peer }, guard, &clock).await;
                return drop(place);
            };
            match clock.within(HANDSHAKE, acceptor.accept(stream)).await {
                Some(Ok(stream)) => {
                    let peer = Remote {
                        address,
                        peer: mixer_identity::peer(stream.get_ref().1),
                    };
                    connection(stream, With { service, peer }, guard, &clock).await;
                }
                Some(Err(error)) => tracing::debug!(%address, "no handshake: {error}"),
                None => tracing::debug!(%address, "no handshake in time"),
            }
            drop(place);
        })
    });
}

fn accept<L: Accept, F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    listener: L,
    around: &Surroundings,
    serve: impl Fn(L::Stream) -> Option<F> + Send + 'static,
) {
    let Surroundings {
        clock,
        drain,
        tasks,
    } = around.clone();
    let connections = tasks.clone();
    tasks.spawn_until_stop(name, async move {
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.begun() => return,
                accepted = listener.next() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    if let Some(work) = serve(stream) {
                        connections.spawn_until_stop(name, work);
                    }
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    clock.sleep(REST).await;
                }
            }
        }
    });
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: impl Serve,
    drain: DrainGuard,
    clock: &Clock,
) {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .max_buf_size(HEADERS as usize);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = drain.begun() => {
            served.as_mut().graceful_shutdown();
            clock.within(HANDSHAKE, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// A service whose requests carry who asks.
#[derive(Clone)]
struct With<S, P> {
    service: S,
    peer: P,
}

impl<S: Serve, P: Clone + Send + Sync + 'static> tower::Service<Request<Incoming>> for With<S, P> {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.service.call(request)
    }
}

/// Places for connections, by caller and in all.
struct Places<K>(Arc<Taken<K>>);

struct Taken<K> {
    by: Mutex<(HashMap<K, usize>, usize)>,
    most: (usize, usize),
}

/// One of them, given back when dropped.
struct Place<K: Hash + Eq + Copy> {
    taken: Arc<Taken<K>>,
    caller: K,
}

impl<K: Hash + Eq + Copy + std::fmt::Debug> Places<K> {
    fn new(most: (usize, usize)) -> Self {
        let by = Mutex::default();
        Self(Arc::new(Taken { by, most }))
    }

    fn take(&self, caller: K) -> Option<Place<K>> {
        let mut taken = self.0.by.lock().unwrap_or_else(PoisonError::into_inner);
        let (by, all) = &mut *taken;
        let own = by.entry(caller).or_default();
        if *own >= self.0.most.0 || *all >= self.0.most.1 {
            if *own == 0 {
                by.remove(&caller);
            }
            tracing::debug!(?caller, "refused a connection: too many are open");
            return None;
        }
        *own += 1;
        *all += 1;
        Some(Place {
            taken: self.0.clone(),
            caller,
        })
    }
}

impl<K: Hash + Eq + Copy> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.by.lock().unwrap_or_else(PoisonError::into_inner);
        let (by, all) = &mut *taken;
        *all -= 1;
        if let Some(own) = by.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                by.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_cannot_take_the_places_of_all() {
        let places = Places::new((2, 3));
        let first: Vec<_> = (0..3).map(|_| places.take(1)).collect();
        assert_eq!(first.iter().flatten().count(), 2);
        let second = places.take(2);
        assert!(second.is_some());
        assert!(places.take(3).is_none(), "all are taken");
        drop(first);
        assert!(places.take(3).is_some());
        drop(second);
        assert!(places.0.by.lock().unwrap().0.is_empty());
    }
}
