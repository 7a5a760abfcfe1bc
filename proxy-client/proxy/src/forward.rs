//! Sending a request to a server once; again where that is safe whatever it asks. (What a route has tried again is in `route/carry.rs`.)
//!
//! A connection that fails has carried nothing: the next address is tried. A kept connection may have been closed by the server
//! at the very moment it was taken: then a request of which nothing was written, or one that is idempotent and has no body (RFC
//! 9110 section 9.2.2), is sent once more on a fresh connection. Over HTTP/2 a server that ends says which requests it did not look
//! at (RFC 9113 section 6.8): these are sent again whatever they ask, as far as their bodies are still there. Nothing else is sent
//! twice.

use std::cell::Cell;
mod spare;

use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use mixer_runtime::Instant;

use crate::body::{RequestBody, grpc_status};
use crate::pool::{ConnectError, Lease, Pool, SendError, Want, Way};
use crate::reply::Reply;
use crate::route::elapse;
use crate::routing::Addresses;
use crate::target::asked_host;
use crate::tls::Dialer;
use crate::upstream::{Attempt, Kind, Outcome, Permit, Upstream, Wanted};
use crate::worker::Worker;

use spare::{Spare, is_unseen};

/// Where a request goes.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// The application.
    Address(SocketAddr),
    /// A service of the mesh.
    Service(Arc<Upstream>),
    /// A service, for a copy of a request: nothing that happens to it counts.
    Mirror(Arc<Upstream>),
    /// A host no service names.
    Outside(Arc<Addresses>),
}

/// How a request is sent.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    /// Of the value the service is balanced by.
    pub(crate) hash: Option<u64>,
    pub(crate) want: Want,
    /// Where it was tried already; where it fails is added.
    pub(crate) tried: &'a mut Vec<SocketAddr>,
    /// Where it is sent is noted here.
    pub(crate) sent_to: &'a Cell<Option<SocketAddr>>,
    /// When its time is over.
    pub(crate) until: Option<Instant>,
}

/// How often a request is sent again that no server looked at.
const UNSEEN: u32 = 3;

/// One try: an address, and what is kept of it where a service is meant.
struct Try {
    address: SocketAddr,
    attempt: Option<Attempt>,
}

/// What carries a response: the connection, and its place among what is carried to the service.
#[derive(Debug)]
pub(crate) struct Carrying {
    lease: Lease,
    _held: Held,
}

/// A request's place at an endpoint and in the circuit, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    attempt: Option<Attempt>,
    _permit: Option<Permit>,
}

impl Target {
    fn pick(&self, worker: &Worker, wanted: Wanted<'_>) -> Option<Try> {
        let address = match self {
            Target::Address(address) => *address,
            Target::Outside(addresses) => addresses.next()?,
            Target::Service(upstream) | Target::Mirror(upstream) => {
                let shared = &worker.shared;
                let attempt = upstream.pick(wanted, shared.clock.now(), &shared.random)?;
                return Some(Try {
                    address: attempt.endpoint.address,
                    attempt: Some(attempt),
                });
            }
        };
        Some(Try {
            address,
            attempt: None,
        })
    }

    /// The connections that lead there.
    fn pool<'w>(&self, worker: &'w Worker) -> &'w Rc<Pool> {
        match self {
            Target::Address(_) => &worker.to_application,
            Target::Service(_) | Target::Mirror(_) | Target::Outside(_) => &worker.pool,
        }
    }

    /// What its connections are opened with; `None`: plaintext.
    fn dialer<B>(&self, request: &Request<B>) -> Result<Option<&Arc<Dialer>>, Reply> {
        match self {
            Target::Address(_) | Target::Outside(_) => Ok(None),
            Target::Service(upstream) | Target::Mirror(upstream) => {
                let host = || asked_host(request);
                upstream.dialer(host).map_err(|why| Reply::undialed(&why))
            }
        }
    }

    /// How many addresses there are.
    fn len(&self) -> usize {
        match self {
            Target::Address(_) => 1,
            Target::Service(upstream) | Target::Mirror(upstream) => upstream.len(),
            Target::Outside(addresses) => addresses.len(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Target::Address(_) => "the application",
            Target::Service(upstream) | Target::Mirror(upstream) => &upstream.service.name,
            Target::Outside(_) => "the host",
        }
    }

    /// A place among what is carried to a service; `None`: nobody counts.
    fn permit(&self, kind: Kind) -> Result<Option<Permit>, Reply> {
        let Target::Service(upstream) = self else {
            return Ok(None);
        };
        match upstream.circuit.take(kind) {
            Some(permit) => Ok(Some(permit)),
            None => Err(Reply::overflow(self.name(), kind)),
        }
    }
}

impl Try {
    fn ended(&self, target: &Target, outcome: Outcome, worker: &Worker) {
        if let (Some(attempt), Target::Service(_)) = (&self.attempt, target) {
            attempt.ended(outcome, worker.shared.clock.now());
        }
    }
}

impl Carrying {
    /// The response is over: the connection may carry another.
    pub(crate) fn give_back(self) {
        self.lease.give_back();
    }

    /// The endpoint of a service that carries it.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let attempt = self._held.attempt.as_ref()?;
        Some(attempt.endpoint.address)
    }

    /// The response goes on as another protocol: its place stays taken.
    pub(crate) fn held(self) -> Held {
        self._held
    }
}

/// The head of the server's response, and what carries its body.
pub(crate) async fn forward(
    worker: &Rc<Worker>,
    target: &Target,
    sending: Sending<'_>,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Carrying), Reply> {
    let Sending {
        hash,
        want,
        tried,
        sent_to,
        until,
    } = sending;
    let dialer = target.dialer(&request)?;
    let permit = target.permit(Kind::Requests)?;
    let mut connects = 0;
    let (mut again, mut fresh) = (0, false);
    loop {
        let wanted = Wanted { hash, tried };
        let Some(tried_now) = target.pick(worker, wanted) else {
            return Err(Reply::no_upstream(target.name()));
        };
        sent_to.set(Some(tried_now.address));
        let leased = tokio::select! {
            biased;
            leased = lease(worker, target, Way { address: tried_now.address, dialer }, want, fresh) => Some(leased),
            () = elapse(worker, until) => None,
        };
        let mut lease = match leased {
            Some(Ok(lease)) => lease,
            Some(Err(Unleased::Overflow(reply))) => return Err(reply),
            None => {
                tried_now.ended(target, Outcome::NoAnswer, worker);
                tried.push(tried_now.address);
                return Err(Reply::timed_out());
            }
            Some(Err(Unleased::Connect(error))) => {
                tried_now.ended(target, Outcome::NoAnswer, worker);
                tried.push(tried_now.address);
                connects += 1;
                if connects < target.len().min(worker.shared.config.limits.connect_tries) {
                    continue;
                }
                return Err(match error {
                    ConnectError::Untrusted(..) => Reply::untrusted(error.to_string()),
                    _ => Reply::unreachable(error.to_string()),
                });
            }
        };
        lease.fit(&mut request)?;
        let most = worker.shared.config.limits.retry_bytes;
        let mut spare = Spare::of(&mut request, target, &lease, again == 0, most);
        let sent = tokio::select! {
            biased;
            sent = lease.send(request) => sent,
            () = elapse(worker, until) => {
                tried_now.ended(target, Outcome::NoAnswer, worker);
                tried.push(tried_now.address);
                return Err(Reply::timed_out());
            }
        };
        match sent {
            Ok(response) => {
                tried_now.ended(target, outcome(&response), worker);
                if let Some(spare) = &mut spare {
                    spare.forget();
                }
                let held = Held {
                    attempt: tried_now.attempt,
                    _permit: permit,
                };
                let carrying = Carrying { lease, _held: held };
                return Ok((response, carrying));
            }
            Err(SendError { error, unsent }) => {
                let unseen = unsent.is_some() || is_unseen(&error);
                if unseen {
                    lease.retire();
                }
                // The server may have closed a connection that was kept: that says nothing about it.
                let once_more = match (unsent, spare) {
                    (unsent, _) if unsent.is_some() => unsent.filter(|_| again < UNSEEN),
                    (_, Some(spare)) if unseen && again < UNSEEN => spare.request(),
                    (_, Some(spare)) if spare.harmless && is_lost(&error) => spare.request(),
                    _ => None,
                };
                let Some(once_more) = once_more else {
                    tried_now.ended(target, Outcome::NoAnswer, worker);
                    tried.push(tried_now.address);
                    return Err(if error.is_parse() {
                        Reply::upstream_protocol()
                    } else if is_refused(&error) {
                        Reply::refused_stream()
                    } else {
                        Reply::terminated()
                    });
                };
                request = once_more;
                // Of HTTP/2 connections the one that ends is known.
                fresh = !lease.is_http2();
            }
        }
        again += 1;
        worker.counters.retried();
    }
}

/// Why a request has no connection.
enum Unleased {
    Overflow(Reply),
    Connect(ConnectError),
}

/// A connection that leads `way`. One that is kept costs nothing; for a new one the request waits, with a place among those that do.
async fn lease(
    worker: &Rc<Worker>,
    target: &Target,
    way: Way<'_>,
    want: Want,
    fresh: bool,
) -> Result<Lease, Unleased> {
    if !fresh && let Some(lease) = target.pool(worker).kept(way, want) {
        return Ok(lease);
    }
    let _pending = target.permit(Kind::Pending).map_err(Unleased::Overflow)?;
    let circuit = match target {
        Target::Service(upstream) => Some(&upstream.circuit),
        Target::Address(_) | Target::Mirror(_) | Target::Outside(_) => None,
    };
    match target.pool(worker).open(way, want, circuit).await {
        Ok(lease) => Ok(lease),
        Err(ConnectError::Overflow) => Err(Unleased::Overflow(Reply::overflow(
            target.name(),
            Kind::Connections,
        ))),
        Err(error) => Err(Unleased::Connect(error)),
    }
}

/// What a response says about its endpoint.
fn outcome(response: &Response<Incoming>) -> Outcome {
    // RFC 9110: 5xx is the server's own failure; 501 and 505 are about what was asked.
    let failed = response.status().is_server_error()
        && !matches!(response.status().as_u16(), 501 | 505)
        // gRPC: UNKNOWN, INTERNAL, UNAVAILABLE and DATA_LOSS, of a response that is nothing but trailers.
        || matches!(grpc_status(response.headers()), Some(2 | 13 | 14 | 15));
    if failed {
        Outcome::Failed
    } else {
        Outcome::Answered
    }
}

/// Whether the server refused the stream, of which it did nothing (RFC 9113 section 8.7).
fn is_refused(error: &hyper::Error) -> bool {
    let source = error.source();
    let source = source.and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| error.reason() == Some(h2::Reason::REFUSED_STREAM))
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
