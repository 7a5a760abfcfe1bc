//! Services: names, and where their endpoints are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mixer_attributes::host;
use serde_json::json;

use crate::scalar::span_text;
use crate::{Balance, Circuit, Health, Mesh, Originate, Outlier, Probe, Span, Tls};

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
    /// Parts of it that routes send to, by name.
    pub subsets: Vec<Subset>,
    /// `paths: {encoded_slash: keep}`: an encoded slash stays encoded instead of being refused.
    pub keep_encoded_slash: bool,
    /// How requests are spread over its endpoints.
    pub balance: Balance,
    /// What a proxy carries to it at most.
    pub circuit: Circuit,
    /// When an endpoint that fails gets nothing for a while; `None`: it goes on getting its share.
    pub outlier: Option<Outlier>,
    /// Whether endpoints are asked if they are well.
    pub health: Option<Health>,
    /// What is answered before policy.
    pub probes: Option<Probes>,
    /// Outside the mesh.
    pub external: bool,
    /// The SPIFFE id of its proxies, which its callers' proxies verify.
    pub identity: Option<String>,
    /// Whether its proxies take plaintext; `None`: as the mesh says.
    pub tls: Option<Tls>,
    /// How TLS is spoken to it, outside the mesh, for applications that do not.
    pub originate: Option<Originate>,
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

/// A part of a service, such as a version: what `to` of a route names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
}

/// Requests that ask whether the service is well: the proxy before it passes them on without a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// Paths, whole and plain: each the only spelling of itself.
    pub paths: Vec<String>,
    /// Where they come from, as `address/length`.
    pub from: Vec<(IpAddr, u8)>,
}

impl Probes {
    /// Whether a request for `path`, byte by byte, of a peer at that address is one. (Its method and the rest are for who asks.)
    pub fn admit(&self, path: &str, peer: IpAddr) -> bool {
        self.paths.iter().any(|one| one == path) && host::is_within(&self.from, peer)
    }
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
    /// The subset of this name.
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| &*subset.name == name)
    }

    /// Whether its proxies take plaintext.
    pub fn tls(&self, mesh: &Mesh) -> Tls {
        self.tls.unwrap_or(mesh.tls)
    }

    /// The document as canonical JSON, as Watch carries it; [`crate::load`] reads it back to the same value (but for the span).
    pub fn canonical(&self) -> String {
        let mut document = json!({ "service": &*self.name });
        if let Some(namespace) = &self.namespace {
            document["namespace"] = namespace.as_str().into();
        }
        if !self.hosts.is_empty() {
            document["hosts"] = json!(self.hosts);
        }
        if let Some(protocol) = self.protocol {
            document["protocol"] = protocol.word().into();
        }
        if !self.endpoints.is_empty() {
            document["endpoints"] = texts(&self.endpoints);
        }
        for subset in &self.subsets {
            document["subsets"][&*subset.name] = json!({ "endpoints": texts(&subset.endpoints) });
        }
        if self.keep_encoded_slash {
            document["paths"] = json!({ "encoded_slash": "keep" });
        }
        if self.balance != Balance::default() {
            document["balance"] = self.balance.canonical();
        }
        if self.circuit != Circuit::default() {
            let Circuit {
                connections,
                pending,
                requests,
            } = self.circuit;
            document["circuit"] =
                json!({ "connections": connections, "pending": pending, "requests": requests });
        }
        if let Some(outlier) = &self.outlier {
            document["outlier"] = json!({
                "consecutive_errors": outlier.consecutive_errors,
                "eject": span_text(outlier.eject),
                "max_ejected": format!("{}%", outlier.max_ejected),
            });
        }
        if let Some(health) = &self.health {
            document["health"] = json!({
                "every": span_text(health.every),
                "timeout": span_text(health.timeout),
                "unhealthy": health.unhealthy,
                "healthy": health.healthy,
            });
            match &health.ask {
                Probe::Http(path) => document["health"]["http"] = path.as_str().into(),
                Probe::Tcp => document["health"]["tcp"] = true.into(),
            }
        }
        if let Some(probes) = &self.probes {
            let from = probes.from.iter();
            let from: Vec<String> = from
                .map(|(address, length)| format!("{address}/{length}"))
                .collect();
            document["probes"] = json!({ "paths": probes.paths, "from": from });
        }
        if self.external {
            document["external"] = true.into();
        }
        if let Some(identity) = &self.identity {
            document["identity"] = identity.as_str().into();
        }
        if let Some(tls) = self.tls {
            document["tls"] = tls.word().into();
        }
        if let Some(originate) = &self.originate {
            document["originate"] = originate.canonical();
        }
        document.to_string()
    }
}

fn texts(endpoints: &[Endpoint]) -> serde_json::Value {
    endpoints
        .iter()
        .map(|endpoint| endpoint.to_string())
        .collect()
}
