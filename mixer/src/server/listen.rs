//! The gRPC listener: HTTP/2 connections, each limit explicit, an end that drains.
//!
//! Connections are served by hyper itself rather than by tonic's transport: its router and layers box every request twice more
//! than the generated service does, and its shutdown cannot be told how long to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_service_server::RateLimitQuotaServiceServer;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mixer_identity::{Peer, Source};
use mixer_proto::v1::mixer_server::MixerServer;
use mixer_runtime::{Clock, Drain, DrainGuard, Tasks};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use super::clients::{self, Caller};
use super::mixer::Service;

/// Connections at once: a proxy has one or two.
const CONNECTIONS: usize = 16_384;
/// Calls at once on one connection.
const STREAMS: u32 = 1_024;
/// Bytes of a message, in either direction.
const MESSAGE: usize = 4 << 20;
/// Bytes of a request's headers.
const HEADERS: u32 = 16 << 10;
/// Bytes that a connection may have sent and Mixer not read.
const WINDOW: u32 = 4 << 20;
/// Bytes that one call may have sent and Mixer not read.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes of one frame.
const FRAME: u32 = 64 << 10;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The rest after an accept that failed, above all for want of file descriptors.
const REST: Duration = Duration::from_millis(100);

/// How paths of the rate limit services begin.
const RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/";
const RATE_LIMIT_QUOTA: &str = "/envoy.service.rate_limit_quota.v3.RateLimitQuotaService/";

/// Accepts until `drain` begins. Connections hold guards of it: its end waits for calls that are being answered. With an
/// identity callers must prove theirs; without, everybody is heard in plaintext.
pub(crate) fn serve(
    listener: TcpListener,
    identity: Option<&Source>,
    service: Arc<Service>,
    drain: Drain,
    clock: Clock,
    tasks: &Tasks,
) {
    let grpc = Services {
        rate_limit_quota: RateLimitQuotaServiceServer::from_arc(service.clone())
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE),
        rate_limit: RateLimitServiceServer::from_arc(service.clone())
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE),
        mixer: MixerServer::from_arc(service.clone())
            .max_decoding_message_size(MESSAGE)
            .max_encoding_message_size(MESSAGE),
        service,
        caller: None,
    };
    let tls = identity.map(|source| Tls {
        acceptor: TlsAcceptor::from(Arc::new(mixer_identity::server_config(source, &[b"h2"]))),
        source: source.clone(),
    });
    let (open, connections) = (Arc::new(AtomicUsize::new(0)), tasks.clone());
    tasks.spawn_until_stop("accept", async move {
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.begun() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    clock.sleep(REST).await;
                    continue;
                }
            };
            match Open::take(&open) {
                Some(place) => {
                    let (grpc, guard) = (grpc.clone(), drain.guard());
                    match &tls {
                        None => connections
                            .spawn_until_stop("connection", connection(stream, grpc, guard, place)),
                        Some(tls) => connections.spawn_until_stop(
                            "connection",
                            secured(stream, tls.clone(), grpc, guard, clock.clone(), place),
                        ),
                    }
                }
                None => tracing::debug!("refused a connection: {CONNECTIONS} are open"),
            }
        }
    });
}

/// Every protocol of the port, by the path that a call names. Each service refuses what it does not know itself, so one of
/// them takes what is nobody's.
#[derive(Clone)]
struct Services {
    mixer: MixerServer<Service>,
    rate_limit: RateLimitServiceServer<Service>,
    rate_limit_quota: RateLimitQuotaServiceServer<Service>,
    service: Arc<Service>,
    /// Who is at the other end; `None`: it was not asked.
    caller: Option<Caller>,
}

impl hyper::service::Service<Request<Incoming>> for Services {
    type Response = <MixerServer<Service> as tower::Service<Request<Incoming>>>::Response;
    type Error = std::convert::Infallible;
    type Future = <MixerServer<Service> as tower::Service<Request<Incoming>>>::Future;

    /// All are ready at any time, so that nothing but the one that is called is cloned.
    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(caller) = &self.caller {
            let current = self.service.live.current();
            let set = &current.snapshot().set;
            if let Err(refused) = clients::may_call(&caller.id, request.uri().path(), set) {
                return Box::pin(std::future::ready(Ok(refused.into_http())));
            }
            request.extensions_mut().insert(caller.clone());
        }
        if request.uri().path().starts_with(RATE_LIMIT) {
            self.rate_limit.clone().call(request)
        } else if request.uri().path().starts_with(RATE_LIMIT_QUOTA) {
            self.rate_limit_quota.clone().call(request)
        } else {
            self.mixer.clone().call(request)
        }
    }
}

/// How callers prove who they are.
#[derive(Clone)]
struct Tls {
    acceptor: TlsAcceptor,
    source: Source,
}

impl Tls {
    /// Comes to an end when the authority that vouched for a caller is trusted no longer.
    async fn distrusts(&self, caller: &Peer, clock: &Clock) {
        let mut updates = self.source.updates();
        loop {
            // At once too: the bundle may have changed since the handshake began.
            if let Some(identity) = self.source.current()
                && let Err(untrusted) = caller.still_trusted(identity.bundles(), clock.wall())
            {
                tracing::info!(caller = %caller.id, "its connection is cut: {untrusted}");
                return;
            }
            if !updates.changed().await {
                break;
            }
        }
        std::future::pending().await
    }
}

/// A connection whose caller proves who it is.
async fn secured(
    stream: TcpStream,
    tls: Tls,
    mut grpc: Services,
    drain: DrainGuard,
    clock: Clock,
    _place: Open,
) {
    prepare(&stream);
    let stream = match clock.within(HANDSHAKE, tls.acceptor.accept(stream)).await {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => return tracing::debug!("no handshake: {error}"),
        None => return tracing::debug!("no handshake in {} s", HANDSHAKE.as_secs()),
    };
    let Some(caller) = mixer_identity::peer(stream.get_ref().1) else {
        return tracing::debug!("a caller showed no certificate");
    };
    let caller = Arc::new(caller);
    grpc.caller = Some(caller.clone());
    tokio::select! {
        biased;
        () = tls.distrusts(&caller, &clock) => {}
        () = answer(stream, grpc, drain) => {}
    }
}

async fn connection(stream: TcpStream, grpc: Services, drain: DrainGuard, _place: Open) {
    prepare(&stream);
    answer(stream, grpc, drain).await;
}

fn prepare(stream: &TcpStream) {
    // Without it a small answer may wait for the peer's acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot set TCP_NODELAY: {error}");
    }
    // The kernel finds out about peers that are gone, in 70 seconds: HTTP/2's own pings take a lock and the time for every frame.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(4);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!("cannot set TCP keepalive: {error}");
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    grpc: Services,
    drain: DrainGuard,
) {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .max_frame_size(FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW);
    let served = http.serve_connection(TokioIo::new(stream), grpc);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = drain.begun() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// A place among the connections, given back when dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(open.clone());
        (open.fetch_add(1, Ordering::AcqRel) < CONNECTIONS).then_some(place)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
