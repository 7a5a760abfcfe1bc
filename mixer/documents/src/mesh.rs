//! What holds for the whole mesh.

use std::net::IpAddr;
use std::time::Duration;

use mixer_attributes::host;

use crate::scalar::span_text;
use crate::{Clients, Tls};

/// The `mesh` document; every key has a default, so none is needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    /// When no policy decides: allow unless set.
    pub default_allow: bool,
    /// Whether requests to hosts no service names may leave: allow unless set.
    pub outbound_allow: bool,
    /// Own trust domain.
    pub trust_domain: String,
    /// Other trust domains whose namespaces and service accounts are believed.
    pub federated: Vec<String>,
    /// Where `request.client_ip` comes from.
    pub client_ip: Option<ClientIp>,
    /// Who is told why a request was denied.
    pub denials: Denials,
    /// When no Mixer can be asked.
    pub fail: MeshFail,
    /// Ports whose traffic is carried unread.
    pub opaque_ports: Vec<u16>,
    /// What services say that do not say themselves whether they take plaintext.
    pub tls: Tls,
    /// Who may ask Mixer.
    pub clients: Clients,
}

/// The header that names the client behind trusted proxies.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientIp {
    /// Header name, lower case.
    pub header: String,
    /// Networks whose word is taken, as `address/length`.
    pub trusted: Vec<(IpAddr, u8)>,
}

/// Who sees a denial's sentence; others get a plain status and the decision's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denials {
    /// Callers with a verified identity of this mesh (the default).
    Mesh,
    /// Every caller.
    Everyone,
    /// Nobody.
    Nobody,
}

/// What proxies do when no Mixer can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshFail {
    /// How long answers of a revision that may be out of date are used.
    pub stale: Duration,
    /// Whether a proxy that never heard of Mixer refuses requests until it does (`wait`, the default and the only value so far).
    pub cold_wait: bool,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            default_allow: true,
            outbound_allow: true,
            trust_domain: "cluster.local".to_owned(),
            federated: Vec::new(),
            client_ip: None,
            denials: Denials::Mesh,
            fail: MeshFail {
                stale: Duration::from_secs(600),
                cold_wait: true,
            },
            opaque_ports: Vec::new(),
            tls: Tls::Permissive,
            clients: Clients::default(),
        }
    }
}

impl ClientIp {
    /// Whether the word of the proxy at `address` is taken.
    pub fn trusts(&self, address: IpAddr) -> bool {
        host::is_within(&self.trusted, address)
    }

    /// The client behind trusted proxies: from the peer backwards through the entries of the header, whose `values` stand in
    /// their order, as long as the one that vouches is trusted. `None` where a trusted proxy wrote what is no address: then
    /// nobody knows.
    pub fn client<'h>(
        &self,
        peer: IpAddr,
        values: impl DoubleEndedIterator<Item = &'h [u8]>,
    ) -> Option<IpAddr> {
        let values = values.rev();
        let mut entries = values.flat_map(|value| value.rsplit(|byte| *byte == b','));
        let mut client = peer.to_canonical();
        while self.trusts(client) {
            let Some(entry) = entries.next() else { break };
            let entry = std::str::from_utf8(entry).ok()?;
            (client, _) = host::address(entry.trim())?;
        }
        Some(client)
    }
}

impl Denials {
    pub(crate) const WORDS: [(&'static str, Denials); 3] = [
        ("mesh", Denials::Mesh),
        ("everyone", Denials::Everyone),
        ("nobody", Denials::Nobody),
    ];

    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, denials)| *denials == self)
            .map_or("", |(word, _)| word)
    }
}

impl Mesh {
    /// The document as canonical JSON, as Watch carries it; [`crate::load`] reads it back to the same value.
    pub fn canonical(&self) -> String {
        let word = |allow: bool| if allow { "allow" } else { "deny" };
        let mut body = serde_json::json!({
            "default": word(self.default_allow),
            "outbound": word(self.outbound_allow),
            "trust_domain": self.trust_domain,
            "federated": self.federated,
            "denials": { "show": self.denials.word() },
            "fail": { "stale": span_text(self.fail.stale), "cold": "wait" },
            "opaque_ports": self.opaque_ports,
            "tls": self.tls.word(),
        });
        if let Some(client) = &self.client_ip {
            let trusted: Vec<String> = client
                .trusted
                .iter()
                .map(|(address, length)| format!("{address}/{length}"))
                .collect();
            body["client_ip"] = serde_json::json!({ "header": client.header, "trusted": trusted });
        }
        if self.clients != Clients::default() {
            body["clients"] = self.clients.canonical();
        }
        serde_json::json!({ "mesh": body }).to_string()
    }
}
