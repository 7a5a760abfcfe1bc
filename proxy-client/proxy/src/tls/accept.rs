//! The beginning of a caller's connection: plaintext, the proxy's TLS, or the application's.
//!
//! What the service says (`tls`) comes first. Under `strict` nothing is read but a ClientHello, and the requests of those who watch
//! over the service. Under `permissive` a ClientHello is
//! the proxy's, unless the service's bytes are opaque and the caller does not offer the proxy's protocol. Under `disable` TLS is
//! bytes like any others.

use std::rc::Rc;

use mixer_documents::Tls;
use mixer_identity::{peer, untrusted};
use rustls::server::ServerConnection;
use tokio_rustls::server::TlsStream;

use super::{OURS, Own, Secure, Secured, Stream, offers_ours};
use crate::connection::{Connection, Said};
use crate::detect::{Prefixed, Spoken, detect};
use crate::flag::Flag;

/// What a connection turned out to be.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The bytes to serve, and what they speak.
    Speaks(Prefixed, Spoken),
    /// It is closed for a reason that is told.
    Refused(Flag),
    /// There is nothing to serve.
    Nothing,
}

/// Finds out what an accepted connection speaks, and ends its TLS where that is the proxy's to end.
pub(crate) async fn begin(connection: &Rc<Connection>, mut io: Prefixed, said: Said) -> Begun {
    let worker = &connection.worker;
    let own = worker.shared.own.as_ref();
    match (connection.tls(), own) {
        (Tls::Disable, _) | (Tls::Permissive, None) => plainly(connection, io, said).await,
        (Tls::Strict, own) => match (first(connection, &mut io).await, own) {
            (Some(Spoken::Tls), Some(own)) => secured(connection, own, io, said).await,
            (Some(Spoken::Tls), None) => Begun::Refused(Flag::NoIdentity),
            (Some(spoken @ (Spoken::Http1 | Spoken::Http2)), _) if connection.may_probe() => {
                Begun::Speaks(io, spoken)
            }
            (Some(_), _) => {
                worker.counters.plaintext_refused();
                Begun::Refused(Flag::Plaintext)
            }
            (None, _) => Begun::Nothing,
        },
        (Tls::Permissive, Some(own)) if said == Said::Opaque => {
            let limits = &worker.shared.config.limits;
            let clock = &worker.shared.clock;
            // The server may be the one who speaks first: then the caller waits for it, in plaintext.
            let spoken = match clock.within(limits.first_word, detect(&mut io)).await {
                None => Some(Spoken::Opaque),
                Some(spoken) => spoken.unwrap_or(None),
            };
            let ours = spoken == Some(Spoken::Tls)
                && clock
                    .within(limits.detect, offers_ours(&mut io))
                    .await
                    .is_some_and(|offers| matches!(offers, Ok(true)));
            match spoken {
                None => Begun::Nothing,
                Some(_) if ours => secured(connection, own, io, said).await,
                Some(_) => Begun::Speaks(io, Spoken::Opaque),
            }
        }
        (Tls::Permissive, Some(own)) => match first(connection, &mut io).await {
            Some(Spoken::Tls) => secured(connection, own, io, said).await,
            Some(spoken) => Begun::Speaks(io, spoken),
            None => Begun::Nothing,
        },
    }
}

/// What the first bytes say, if they come in time. Who waits for the server's first word speaks no HTTP, and such a service is
/// declared: carried unread, what comes later could be HTTP that no rule has seen.
async fn first(connection: &Connection, io: &mut Prefixed) -> Option<Spoken> {
    let shared = &connection.worker.shared;
    let spoken = shared
        .clock
        .within(shared.config.limits.detect, detect(io))
        .await;
    spoken?.ok()?
}

async fn plainly(connection: &Connection, mut io: Prefixed, said: Said) -> Begun {
    if said == Said::Opaque {
        return Begun::Speaks(io, Spoken::Opaque);
    }
    match first(connection, &mut io).await {
        Some(Spoken::Tls) => Begun::Speaks(io, Spoken::Opaque),
        Some(spoken) => Begun::Speaks(io, spoken),
        None => Begun::Nothing,
    }
}

/// Ends the TLS of a caller that proves its identity, and finds out what is inside.
async fn secured(connection: &Rc<Connection>, own: &Own, io: Prefixed, said: Said) -> Begun {
    let worker = &connection.worker;
    let shared = &worker.shared;
    let limits = &shared.config.limits;
    let Some(place) = worker.handshake() else {
        worker.counters.handshake_failed();
        return Begun::Nothing;
    };
    let Some(before) = own.source.current() else {
        return Begun::Refused(Flag::NoIdentity);
    };
    let shaken = Box::pin(own.acceptor.accept(io));
    let stream = match shared.clock.within(limits.handshake, shaken).await {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => {
            match untrusted(&error) {
                Some(why) => {
                    tracing::debug!(peer = %connection.peer, "a caller is refused: {why}");
                    worker.counters.caller_untrusted();
                    return Begun::Refused(Flag::UntrustedCaller);
                }
                None => {
                    tracing::debug!(peer = %connection.peer, "a TLS handshake failed: {error}");
                    worker.counters.handshake_failed();
                }
            }
            return Begun::Nothing;
        }
        None => {
            worker.counters.handshake_failed();
            return Begun::Nothing;
        }
    };
    drop(place);
    let Some((stream, secured)) = enter(connection, own, stream, &before) else {
        worker.counters.caller_untrusted();
        return Begun::Refused(Flag::UntrustedCaller);
    };
    worker.counters.secured();
    connection.is_secured(secured);
    let mut io = Prefixed::new(stream);
    if said == Said::Opaque {
        return Begun::Speaks(io, Spoken::Opaque);
    }
    match first(connection, &mut io).await {
        Some(Spoken::Tls) => Begun::Speaks(io, Spoken::Opaque),
        Some(spoken) => Begun::Speaks(io, spoken),
        None => Begun::Nothing,
    }
}

/// Enters the peer in the thread's books.
fn enter(
    connection: &Connection,
    own: &Own,
    stream: TlsStream<Prefixed>,
    before: &mixer_identity::Identity,
) -> Option<(Stream, Secured)> {
    let worker = &connection.worker;
    let session: &ServerConnection = stream.get_ref().1;
    let peer = peer(session)?;
    let server_name = session.server_name().map(str::to_owned);
    let ours = session.alpn_protocol() == Some(OURS);
    let now = own.source.current()?;
    let wall = worker.shared.clock.wall();
    let trusted = worker.trusted.enter(peer, before, &now, wall)?;
    let stream = Stream::Accepted(Box::new(Secure::new(stream, trusted.clone())));
    let secured = Secured {
        trusted,
        own: before.id().clone(),
        server_name,
        ours,
    };
    Some((stream, secured))
}
