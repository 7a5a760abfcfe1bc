//! Connections that are not HTTP: checked once when they open, then carried unread.
//!
//! Where rules or quotas apply, only a service that is declared `protocol: tcp` gets them: a rule that looks whether a request
//! has something (`has(..)`, `[?..]`) would pass what it was never shown. On the way out nothing in the bytes says where they are
//! to go: the destination of a redirected connection does, and a connection that was not redirected is closed.

use std::rc::Rc;
use std::sync::Arc;

use mixer_attributes::vocabulary::REQUEST_TIME;
use mixer_attributes::{AttributeBag, Value};
use mixer_client::{At, Because, DecisionSample, InFlight, Verdict};
use mixer_documents::Protocol as Declared;
use tokio::io::copy_bidirectional;

use crate::access_log::Entry;
use crate::connection::Connection;
use crate::detect::Prefixed;
use crate::exchange::{Destination, Exchange, Protocol};
use crate::flag::Flag;
use crate::pool::{ConnectError, Place, Way};
use crate::reply::Reply;
use crate::tls::Stream;
use crate::upstream::{Attempt, Kind, Outcome, Upstream, Wanted};
use crate::{intercept, route};

/// Where the bytes go.
enum Target {
    Application(std::net::SocketAddr),
    Service(Arc<Upstream>),
    /// No service has this address.
    Outside(std::net::SocketAddr),
}

/// A connection to the server, and its place among what is carried to the service.
struct Server {
    stream: Stream,
    _place: Place,
    _attempt: Option<Attempt>,
}

/// Carries `io` to where it was going, if policy lets it.
pub(crate) async fn carry(connection: Rc<Connection>, mut io: Prefixed) {
    let mut exchange = begin(&connection);
    match open(&mut exchange).await {
        Ok(mut server) => {
            let copied = tokio::select! {
                copied = copy_bidirectional(&mut io, &mut server.stream) => Ok(copied),
                flag = until_denied(&mut exchange) => Err(flag),
                () = connection.until_too_plain() => Err(Flag::Plaintext),
            };
            match copied {
                Ok(Ok((sent, received))) => exchange.carried(sent, received),
                Ok(Err(_)) => {}
                Err(flag) => exchange.flag = flag,
            }
        }
        Err(flag) => exchange.flag = flag,
    }
}

/// Asks again whenever what applies has changed: a connection lasts as long as it would be let in. What a new connection would be
/// charged it is charged again.
async fn until_denied(exchange: &mut Exchange) -> Flag {
    let connection = exchange.connection.clone();
    let worker = &connection.worker;
    let revision = |exchange: &Exchange| {
        let service = exchange.destination.name(&worker.shared.config);
        let scope = worker.scope(connection.at, service);
        scope.map(|scope| scope.revision.clone())
    };
    let Some(mut news) = worker.news() else {
        return std::future::pending().await;
    };
    let mut asked = revision(exchange);
    loop {
        if news.changed().await.is_err() {
            return std::future::pending().await;
        }
        let now = revision(exchange);
        if now != asked {
            // What it holds of limits is free for it to take again.
            exchange.in_flight = InFlight::default();
            if let Err(flag) = check(exchange).await {
                return flag;
            }
            asked = now;
        }
    }
}

/// Counts a connection that is closed unread.
pub(crate) fn refuse(connection: &Rc<Connection>, flag: Flag) {
    begin(connection).flag = flag;
}

fn begin(connection: &Rc<Connection>) -> Exchange {
    let destination = match connection.at {
        At::Inbound => connection.worker.own_destination(),
        At::Outbound => Destination::Outside,
    };
    let worker = &connection.worker;
    let now = worker.shared.clock.now();
    let mut exchange = Exchange::begin(connection, destination, Protocol::Tcp, now);
    if worker.access_log.is_some() {
        let time = worker.shared.clock.wall();
        exchange.entry = Some(Box::new(Entry::opaque(time)));
    }
    exchange
}

async fn open(exchange: &mut Exchange) -> Result<Server, Flag> {
    let target = target(exchange)?;
    check(exchange).await?;
    let connection = exchange.connection.clone();
    let worker = &connection.worker;
    let (pool, address) = match target {
        Target::Application(app) => (&worker.to_application, app),
        Target::Outside(address) => (&worker.pool, address),
        Target::Service(upstream) => return balanced(exchange, &upstream).await,
    };
    exchange.sent_to(Some(address), None);
    let connected = pool.connect(address, None).await;
    let (stream, _place) = connected.map_err(|error| failed(&error))?;
    Ok(Server {
        stream: Stream::Plain(stream),
        _place,
        _attempt: None,
    })
}

/// Where the connection goes; its exchange learns what that is.
fn target(exchange: &mut Exchange) -> Result<Target, Flag> {
    let connection = exchange.connection.clone();
    let shared = &connection.worker.shared;
    if connection.at == At::Inbound {
        return connection
            .application
            .map(Target::Application)
            .ok_or(Flag::NoRoute);
    }
    let original = connection.original.ok_or(Flag::NoRoute)?;
    let routing = connection.worker.routing();
    let routing = routing.as_ref().ok_or(Flag::MixerCold)?;
    if let Some(routed) = routing.at(original) {
        exchange.destination = Destination::Service(routed.whole.clone());
        let facts = exchange.facts();
        let (target, route) =
            route::choose_for_connection(routed, &facts, &routing.references, &shared.random);
        exchange.route = route;
        return Ok(Target::Service(target));
    }
    if !routing.mesh.outbound_allow || intercept::is_own(shared, original) {
        return Err(Flag::NoRoute);
    }
    Ok(Target::Outside(original))
}

/// Asks whether the connection may be, where anything says that it might not.
async fn check(exchange: &mut Exchange) -> Result<(), Flag> {
    let connection = exchange.connection.clone();
    let (worker, at) = (&connection.worker, connection.at);
    let destination = exchange.destination.clone();
    let service = destination.name(&worker.shared.config);
    let scope = worker.scope(at, service);
    exchange.standard = scope.as_ref().is_none_or(|scope| scope.standard_metrics);
    // What is no HTTP shows no token.
    if at == At::Inbound
        && destination.protocol() != Some(Declared::Tcp)
        && worker.shared.tokens.load().demanded()
    {
        return Err(Flag::Unauthenticated);
    }
    let Some(client) = &worker.shared.client else {
        return Ok(());
    };
    let applies = scope.is_none_or(|scope| scope.rules || scope.quotas);
    if applies && destination.protocol() != Some(Declared::Tcp) {
        tracing::debug!(peer = %connection.peer, service, "bytes that are no HTTP, for what has rules and is not declared tcp");
        return Err(Flag::Denied);
    }
    if at == At::Outbound && !applies {
        return Ok(());
    }
    let mut bag = AttributeBag::new();
    exchange.facts().fill(&mut bag);
    bag.set(
        REQUEST_TIME,
        Value::Timestamp(worker.shared.clock.wall().into()),
    );
    let answer = client.check(at, service, &bag).await;
    if answer.because != Because::Nothing {
        client.reporter().decision(&DecisionSample {
            destination: service.unwrap_or_default(),
            answer: &answer,
        });
    }
    drop(bag);
    exchange.in_flight = answer.in_flight.clone();
    match answer.verdict {
        Verdict::Deny => Err(Reply::denied(&answer).flag),
        Verdict::Allow => Ok(()),
    }
}

/// A connection to one of the service's endpoints; to another where the first takes none.
async fn balanced(exchange: &mut Exchange, upstream: &Arc<Upstream>) -> Result<Server, Flag> {
    let connection = exchange.connection.clone();
    let worker = &connection.worker;
    let shared = &worker.shared;
    let dialer = upstream.dialer(|| None).map_err(|why| Flag::of(&why))?;
    let _pending = upstream
        .circuit
        .take(Kind::Pending)
        .ok_or(Flag::UpstreamOverflow)?;
    let routing = worker.routing().clone();
    let hash = routing.as_ref().and_then(|routing| {
        upstream.hash_for(&routing.references, |bag| exchange.facts().fill(bag))
    });
    let mut tried = Vec::new();
    loop {
        let wanted = Wanted {
            hash,
            tried: &tried,
        };
        let attempt = upstream
            .pick(wanted, shared.clock.now(), &shared.random)
            .ok_or(Flag::NoUpstream)?;
        let address = attempt.endpoint.address;
        exchange.sent_to(Some(address), None);
        let way = Way { address, dialer };
        match worker.pool.carry(way, Some(&upstream.circuit)).await {
            Ok((stream, _place)) => {
                attempt.ended(Outcome::Answered, shared.clock.now());
                let _attempt = Some(attempt);
                return Ok(Server {
                    stream,
                    _place,
                    _attempt,
                });
            }
            Err(error @ ConnectError::Overflow) => return Err(failed(&error)),
            Err(error) => {
                attempt.ended(Outcome::NoAnswer, shared.clock.now());
                tried.push(address);
                if tried.len() >= upstream.len().min(shared.config.limits.connect_tries) {
                    return Err(failed(&error));
                }
            }
        }
    }
}

fn failed(error: &ConnectError) -> Flag {
    tracing::debug!("{error}");
    match error {
        ConnectError::Overflow => Flag::UpstreamOverflow,
        ConnectError::Untrusted(..) => Flag::UntrustedUpstream,
        _ => Flag::UpstreamFailure,
    }
}
