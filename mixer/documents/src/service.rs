//! Services: names, and where their endpoints are.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::Span;

/// A checked `service`.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name: what `destination.service` says.
    pub name: Arc<str>,
    /// What follows the first dot of the name, unless `namespace:` says otherwise.
    pub namespace: Option<String>,
    /// Other authorities that mean it: lower case, no port, no trailing dot.
    pub hosts: Vec<String>,
    /// What it speaks; `None`: detect.
    pub protocol: Option<Protocol>,
    /// Where its inbound proxies (or it) listen.
    pub endpoints: Vec<Endpoint>,
    /// `paths: {encoded_slash: keep}`: an encoded slash stays encoded instead of being refused.
    pub keep_encoded_slash: bool,
    /// Outside the mesh.
    pub external: bool,
    /// Its name in the file.
    pub span: Span,
}

/// What a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Protocol {
    Http,
    Http2,
    Grpc,
    Tcp,
}

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An address and port.
    Address(SocketAddr),
    /// A name to resolve, and a port.
    Dns(String, u16),
}

impl Protocol {
    pub(crate) const WORDS: [(&'static str, Protocol); 4] = [
        ("http", Protocol::Http),
        ("http2", Protocol::Http2),
        ("grpc", Protocol::Grpc),
        ("tcp", Protocol::Tcp),
    ];

    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, protocol)| *protocol == self)
            .map_or("", |(word, _)| word)
    }
}

/// As documents write it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Address(address) => address.fmt(f),
            Endpoint::Dns(host, port) => write!(f, "dns:{host}:{port}"),
        }
    }
}

impl Service {
    /// The document as canonical JSON, as Watch carries it; [`crate::load`] reads it back to the same value (but for the span).
    pub fn canonical(&self) -> String {
        let mut document = serde_json::json!({ "service": &*self.name });
        if let Some(namespace) = &self.namespace {
            document["namespace"] = namespace.as_str().into();
        }
        if !self.hosts.is_empty() {
            document["hosts"] = serde_json::json!(self.hosts);
        }
        if let Some(protocol) = self.protocol {
            document["protocol"] = protocol.word().into();
        }
        if !self.endpoints.is_empty() {
            document["endpoints"] = self
                .endpoints
                .iter()
                .map(|endpoint| endpoint.to_string())
                .collect();
        }
        if self.keep_encoded_slash {
            document["paths"] = serde_json::json!({ "encoded_slash": "keep" });
        }
        if self.external {
            document["external"] = true.into();
        }
        document.to_string()
    }
}
