//! Mutual TLS between proxies: who the other end is, and what is spoken inside.
//!
//! The protocol name [`OURS`] is the first that a proxy offers. A peer that takes it is another proxy of this kind: it finds out by
//! the first bytes what is spoken inside, as on any connection, and requests of HTTP/1 may be carried to it over HTTP/2. Another
//! mesh's peer takes `h2` or `http/1.1`, or says nothing.
//!
//! A connection lasts as long as its peer is trusted ([`Trusted`]): a rotation does not touch it, the removal of the authority
//! that vouched for the peer ends it.

mod accept;
mod dial;
mod hello;
mod originate;
mod plain;
mod stream;
mod trusted;

use std::sync::Arc;

use mixer_identity::{Source, SpiffeId, server_config};
use tokio_rustls::TlsAcceptor;

pub(crate) use accept::{Begun, begin};
pub(crate) use dial::{DialError, Dialed, Dialer, Dialing, Purpose, Speaks, Undialed};
pub(crate) use hello::offers_ours;
pub(crate) use originate::Originating;
pub(crate) use plain::PlainCallers;
pub(crate) use stream::{Secure, Stream};
pub(crate) use trusted::{Registry, Trusted, review};

/// The protocol of this proxy, as TLS names it (ALPN, RFC 7301).
pub(crate) const OURS: &[u8] = b"mixer/1";
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// This proxy's own identity, and how it is shown to callers.
pub(crate) struct Own {
    pub(crate) source: Source,
    acceptor: TlsAcceptor,
}

impl Own {
    pub(crate) fn new(source: Source) -> Self {
        let config = server_config(&source, &[OURS, HTTP2, HTTP1]);
        Self {
            source,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Own").field(&self.source).finish()
    }
}

/// What is known of a caller that proved its identity.
#[derive(Debug)]
pub(crate) struct Secured {
    pub(crate) trusted: Arc<Trusted>,
    /// Who we were to it.
    pub(crate) own: SpiffeId,
    /// The name it asked for.
    pub(crate) server_name: Option<String>,
    /// It is another of our proxies.
    pub(crate) ours: bool,
}
