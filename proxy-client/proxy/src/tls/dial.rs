//! TLS to servers: mutual with services of the mesh, ordinary with those outside.
//!
//! A service that says its `identity` is dialed with mutual TLS and must prove it, whatever went wrong before: there is no second
//! try without. Only a proxy that has no identity itself sends plaintext, and only where the service says that it takes that. A
//! service outside the mesh that says `originate` is dialed as any browser would, for an application that speaks plaintext.

use std::io;
use std::sync::Arc;

use mixer_identity::{Expected, Identity, Peer, Source, SpiffeId, client_config, peer, untrusted};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::originate::{Originating, web_config};
use super::{HTTP1, HTTP2, OURS};

/// How one service is dialed.
#[derive(Debug)]
pub(crate) enum Dialing {
    /// As a service of the mesh that has an identity.
    Mesh {
        /// `None`: this proxy has no identity to show.
        dialer: Option<Arc<Dialer>>,
        /// Plaintext is never sent.
        strict: bool,
    },
    /// As a server outside the mesh.
    Outside(Originating),
}

/// Why a service cannot be dialed now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undialed {
    #[error("the service takes mutual TLS only, and this proxy has no identity")]
    NoIdentity,
    #[error("whom to trust for the service is not known: {0}")]
    NoRoots(String),
}

/// Dials one server name.
pub(crate) struct Dialer {
    /// Whom it must be, where it is of the mesh.
    proof: Option<(Source, SpiffeId)>,
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

/// A connection whose server proved who it is.
#[derive(Debug)]
pub(crate) struct Dialed {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) speaks: Speaks,
    /// Who it is, and our identity when the handshake began; `None` outside the mesh.
    pub(crate) peer: Option<(Peer, Arc<Identity>)>,
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
    /// What to dial with now for the host that `host` tells if it is asked; `None`: plaintext.
    pub(crate) fn now<'h>(
        &self,
        host: impl FnOnce() -> Option<&'h str>,
    ) -> Result<Option<&Arc<Dialer>>, Undialed> {
        match self {
            Dialing::Mesh {
                dialer: Some(dialer),
                ..
            } if dialer.is_ready() => Ok(Some(dialer)),
            Dialing::Mesh { strict: true, .. } => Err(Undialed::NoIdentity),
            Dialing::Mesh { .. } => Ok(None),
            Dialing::Outside(outside) => outside.dialer(host()).map(Some),
        }
    }
}

impl Dialer {
    /// For the service `name` whose proxies are `id`.
    pub(crate) fn mesh(source: &Source, id: SpiffeId, name: &str) -> Self {
        // What no host can be called is not asked for by name: the id is what counts.
        let known = ServerName::try_from(name.to_owned()).ok();
        let config = |alpn: &[&[u8]]| {
            let mut config = client_config(source, Expected::Id(id.clone()), alpn);
            config.enable_sni = known.is_some();
            config
        };
        let unnamed = || ServerName::try_from("unnamed.invalid").expect("a host's name");
        Self {
            name: known.clone().unwrap_or_else(unnamed),
            connectors: [
                connector(config(&[OURS, HTTP2, HTTP1])),
                connector(config(&[OURS, HTTP1])),
                connector(config(&[OURS, HTTP2])),
                connector(config(&[OURS])),
            ],
            proof: Some((source.clone(), id)),
        }
    }

    /// For a server outside the mesh. Requests go over HTTP/1 unless the service says otherwise: so the server gets them as the
    /// application wrote them.
    pub(super) fn web(roots: &Arc<rustls::RootCertStore>, name: ServerName<'static>) -> Self {
        let config = |alpn: &[&[u8]]| connector(web_config(roots, alpn));
        Self {
            proof: None,
            name,
            connectors: [
                config(&[HTTP1]),
                config(&[HTTP1]),
                config(&[HTTP2]),
                config(&[]),
            ],
        }
    }

    /// Whether it dials `id` for `name`, as `source`.
    pub(crate) fn is_for(&self, source: &Source, id: &SpiffeId, name: &str) -> bool {
        self.proof
            .as_ref()
            .is_some_and(|(of, known)| of.is(source) && known == id)
            && self.name.to_str() == name
    }

    /// Who we are to its servers; `None` outside the mesh.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.proof.as_ref().map(|(source, _)| source)
    }

    /// Whom it dials; `None` outside the mesh.
    pub(crate) fn id(&self) -> Option<&str> {
        self.proof.as_ref().map(|(_, id)| id.as_str())
    }

    fn is_ready(&self) -> bool {
        self.source().is_none_or(Source::is_ready)
    }

    /// Shakes hands over a connection that is open.
    pub(crate) async fn secure(
        &self,
        stream: TcpStream,
        purpose: Purpose,
    ) -> Result<Dialed, DialError> {
        let failed = |why: &str| DialError::Failed(why.to_owned());
        let before = match self.source().map(Source::current) {
            Some(None) => return Err(failed("there is no identity yet")),
            Some(before) => before,
            None => None,
        };
        let connector = &self.connectors[purpose as usize];
        let stream = connector
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| refusal(&error))?;
        let session = stream.get_ref().1;
        let speaks = match session.alpn_protocol() {
            Some(OURS) => Speaks::Ours,
            Some(HTTP2) => Speaks::Http2,
            _ => Speaks::Http1,
        };
        let peer = match before {
            None => None,
            Some(before) => {
                let peer = peer(session);
                Some((
                    peer.ok_or_else(|| failed("the server showed no certificate"))?,
                    before,
                ))
            }
        };
        Ok(Dialed {
            peer,
            speaks,
            stream,
        })
    }
}

fn connector(config: ClientConfig) -> TlsConnector {
    TlsConnector::from(Arc::new(config))
}

fn refusal(error: &io::Error) -> DialError {
    if let Some(why) = untrusted(error) {
        return DialError::Untrusted(why.to_string());
    }
    let tls = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>());
    match tls {
        Some(why @ rustls::Error::InvalidCertificate(_)) => DialError::Untrusted(why.to_string()),
        _ => DialError::Failed(error.to_string()),
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer")
            .field("id", &self.proof.as_ref().map(|(_, id)| id))
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
