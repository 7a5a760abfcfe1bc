//! The way to a server of the mesh that has an identity.
//!
//! A service that says its `identity` is dialed with mutual TLS and must prove it, whatever went wrong before: there is no second
//! try without. Only a proxy that has no identity itself sends plaintext, and only where the service says that it takes that.

use std::io;
use std::sync::Arc;

use mixer_identity::{Expected, Identity, Peer, Source, SpiffeId, client_config, peer, untrusted};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{HTTP1, HTTP2, OURS};

/// How one service is dialed.
#[derive(Debug)]
pub(crate) struct Dialing {
    /// `None`: this proxy has no identity to show.
    dialer: Option<Arc<Dialer>>,
    /// Plaintext is never sent.
    strict: bool,
}

/// This proxy has no identity, and the service takes mutual TLS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service takes mutual TLS only, and this proxy has no identity")]
pub(crate) struct NoIdentity;

/// Dials one identity.
pub(crate) struct Dialer {
    source: Source,
    id: SpiffeId,
    name: ServerName<'static>,
    /// By [`Purpose`].
    connectors: [TlsConnector; 4],
}

/// What a connection is for, which decides what is offered to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests, over either version of HTTP.
    Requests,
    /// Requests over HTTP/1.
    Http1,
    /// Requests over HTTP/2.
    Http2,
    /// Bytes that nobody reads.
    Bytes,
}

/// What the server took of what it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// It is another of our proxies.
    Ours,
    Http2,
    /// Or it did not say.
    Http1,
}

/// A connection whose server proved its identity.
#[derive(Debug)]
pub(crate) struct Dialed {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) peer: Peer,
    pub(crate) speaks: Speaks,
    /// Our identity when the handshake began.
    pub(crate) before: Arc<Identity>,
}

/// Why there is no such connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0}")]
    Untrusted(String),
    #[error("the TLS handshake failed: {0}")]
    Failed(String),
}

impl Dialing {
    pub(crate) fn new(dialer: Option<Arc<Dialer>>, strict: bool) -> Self {
        Self { dialer, strict }
    }

    /// What to dial with now; `None`: plaintext.
    pub(crate) fn now(&self) -> Result<Option<&Arc<Dialer>>, NoIdentity> {
        match &self.dialer {
            Some(dialer) if dialer.source.is_ready() => Ok(Some(dialer)),
            _ if self.strict => Err(NoIdentity),
            _ => Ok(None),
        }
    }

    /// What dials, with an identity or before there is one.
    pub(crate) fn dialer(&self) -> Option<&Arc<Dialer>> {
        self.dialer.as_ref()
    }
}

impl Dialer {
    /// For the service `name` whose proxies are `id`.
    pub(crate) fn new(source: &Source, id: SpiffeId, name: &str) -> Self {
        // What no host can be called is not asked for by name: the id is what counts.
        let known = ServerName::try_from(name.to_owned()).ok();
        let connector = |alpn: &[&[u8]]| {
            let mut config: ClientConfig = client_config(source, Expected::Id(id.clone()), alpn);
            config.enable_sni = known.is_some();
            TlsConnector::from(Arc::new(config))
        };
        let connectors = [
            connector(&[OURS, HTTP2, HTTP1]),
            connector(&[OURS, HTTP1]),
            connector(&[OURS, HTTP2]),
            connector(&[OURS]),
        ];
        let nameless = || ServerName::try_from("unnamed.invalid").expect("a host's name");
        Self {
            source: source.clone(),
            id,
            name: known.clone().unwrap_or_else(nameless),
            connectors,
        }
    }

    /// Whether it dials `id` for `name`.
    pub(crate) fn is_for(&self, source: &Source, id: &SpiffeId, name: &str) -> bool {
        self.id == *id && self.source.is(source) && self.name.to_str() == name
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Shakes hands over a connection that is open.
    pub(crate) async fn secure(
        &self,
        stream: TcpStream,
        purpose: Purpose,
    ) -> Result<Dialed, DialError> {
        let failed = |why: &str| DialError::Failed(why.to_owned());
        let before = self
            .source
            .current()
            .ok_or_else(|| failed("there is no identity yet"))?;
        let connector = &self.connectors[purpose as usize];
        let stream =
            connector
                .connect(self.name.clone(), stream)
                .await
                .map_err(|error: io::Error| match untrusted(&error) {
                    Some(why) => DialError::Untrusted(why.to_string()),
                    None => failed(&error.to_string()),
                })?;
        let session = stream.get_ref().1;
        let speaks = match session.alpn_protocol() {
            Some(OURS) => Speaks::Ours,
            Some(HTTP2) => Speaks::Http2,
            _ => Speaks::Http1,
        };
        let peer = peer(session).ok_or_else(|| failed("the server showed no certificate"))?;
        Ok(Dialed {
            peer,
            speaks,
            before,
            stream,
        })
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
