//! Sending a request to a server, again where that is safe.
//!
//! A connection that fails has carried nothing: the next address is tried. A kept connection may have been closed by the server
//! at the very moment it was taken: then a request of which nothing was written, or one that is idempotent and has no body (RFC
//! 9110 section 9.2.2), is sent once more on a fresh connection. Nothing else is sent twice.

use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::{Body, Incoming};

use crate::body::RequestBody;
use crate::pool::{Lease, SendError};
use crate::reply::Reply;
use crate::routing::{Addresses, Upstream};
use crate::worker::Worker;

/// Where a request goes.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// The application.
    Address(SocketAddr),
    /// A service of the mesh.
    Service(Arc<Upstream>),
    /// A host no service names.
    Outside(Arc<Addresses>),
}

impl Target {
    fn next(&self) -> Option<(SocketAddr, usize)> {
        match self {
            Target::Address(address) => Some((*address, 1)),
            Target::Service(upstream) => upstream.addresses.next(),
            Target::Outside(addresses) => addresses.next(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Target::Address(_) => "the application",
            Target::Service(upstream) => &upstream.service.name,
            Target::Outside(_) => "the host",
        }
    }
}

/// The head of the server's response, and the connection that carries its body.
pub(crate) async fn forward(
    worker: &Rc<Worker>,
    target: &Target,
    http2: bool,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Reply> {
    let mut failed = 0;
    let mut again = false;
    loop {
        let Some((address, count)) = target.next() else {
            return Err(Reply::no_upstream(target.name()));
        };
        let mut lease = match worker.pool.lease(address, http2, again).await {
            Ok(lease) => lease,
            Err(error) => {
                failed += 1;
                if failed < count.min(worker.shared.config.limits.connect_tries) {
                    continue;
                }
                return Err(Reply::unreachable(error.to_string()));
            }
        };
        let replay = if lease.reused() && !again {
            replay(&request)
        } else {
            None
        };
        match lease.send(request).await {
            Ok(response) => return Ok((response, lease)),
            Err(SendError {
                unsent: Some(unsent),
                ..
            }) if !again => request = unsent,
            Err(SendError { error, .. }) => match replay {
                Some(replay) if is_lost(&error) => request = replay,
                _ if error.is_parse() => return Err(Reply::upstream_protocol()),
                _ => return Err(Reply::terminated()),
            },
        }
        again = true;
        worker.counters.retried();
    }
}

/// The same request again, if sending it twice does no harm.
fn replay(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut replay = Request::new(RequestBody::Empty);
    *replay.method_mut() = request.method().clone();
    *replay.uri_mut() = request.uri().clone();
    *replay.version_mut() = request.version();
    *replay.headers_mut() = request.headers().clone();
    Some(replay)
}

/// Whether the connection was lost, rather than answered wrongly.
fn is_lost(error: &hyper::Error) -> bool {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return true;
    }
    let source = error.source();
    if let Some(error) = source.and_then(|source| source.downcast_ref::<h2::Error>()) {
        return error.is_io()
            || error.is_go_away()
            || error.reason() == Some(h2::Reason::REFUSED_STREAM);
    }
    source.is_some_and(|source| source.is::<std::io::Error>())
}
