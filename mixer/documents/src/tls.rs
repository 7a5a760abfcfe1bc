//! Who services are, and how the connections to them are protected.

use serde_json::{Value, json};

/// Whether a service's proxies take plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Mutual TLS only.
    Strict,
    /// Both (the default).
    Permissive,
    /// TLS is the application's own affair: its bytes are carried unread.
    Disable,
}

/// How callers' proxies speak TLS to a service outside the mesh for their applications, which speak plaintext to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Originate {
    /// Who may have signed its certificate.
    pub roots: Roots,
    /// The name that is asked for and that its certificate must have; `None`: the authority of the request.
    pub sni: Option<String>,
}

/// Certificates of authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those of the proxy's machine.
    System,
    /// A PEM file on the proxy's machine.
    File(String),
}

/// SPIFFE ids that may ask Mixer: each an id, or what ids begin with, ending in `/*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// May Check and take Quota. `None`: every id of the own trust domain, here and below.
    pub check: Option<Vec<String>>,
    /// May Report.
    pub report: Option<Vec<String>>,
    /// May Watch.
    pub watch: Option<Vec<String>>,
}

impl Tls {
    pub(crate) const WORDS: [(&'static str, Tls); 3] = [
        ("strict", Tls::Strict),
        ("permissive", Tls::Permissive),
        ("disable", Tls::Disable),
    ];

    /// As documents write it.
    pub fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, tls)| *tls == self)
            .map_or("", |(word, _)| word)
    }
}

impl Originate {
    pub(crate) fn canonical(&self) -> Value {
        let roots = match &self.roots {
            Roots::System => json!("system"),
            Roots::File(path) => json!({ "file": path }),
        };
        let mut originate = json!({ "roots": roots });
        if let Some(sni) = &self.sni {
            originate["sni"] = sni.as_str().into();
        }
        originate
    }
}

impl Clients {
    pub(crate) fn canonical(&self) -> Value {
        let mut clients = json!({});
        for (key, ids) in [
            ("check", &self.check),
            ("report", &self.report),
            ("watch", &self.watch),
        ] {
            if let Some(ids) = ids {
                clients[key] = json!(ids);
            }
        }
        clients
    }
}
