//! What Watch told.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Which proxy asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// The destination's.
    Inbound,
    /// The caller's.
    Outbound,
}

/// What applies to one destination; see `mixer.v1.Scope`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Scope {
    pub revision: Arc<str>,
    pub rules: bool,
    pub quotas: bool,
    pub fail_open: bool,
    pub reads_path: bool,
    pub records: bool,
    pub trace_sample: f64,
    pub standard_metrics: bool,
    pub shadow: bool,
    pub reads_claims: bool,
}

/// The public keys of an issuer of tokens; see `mixer.v1.IssuerKeys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// A set (RFC 7517), and its name.
    #[allow(missing_docs)]
    Known { jwks: Arc<str>, digest: Arc<str> },
    /// Mixer has not fetched them yet.
    Pending,
    /// They could not be fetched for longer than they may be used.
    Lost,
}

/// The newest state, kept when Mixer is lost.
#[derive(Clone, Debug)]
pub struct State {
    /// Rises with every state.
    pub version: u64,
    /// Requests to the proxy's own service.
    pub inbound: Arc<Scope>,
    /// Requests to other services, by name.
    pub outbound: std::collections::HashMap<Arc<str>, Arc<Scope>>,
    /// Requests to any other destination.
    pub outbound_default: Arc<Scope>,
    /// mesh, service, route and jwt documents, as canonical JSON.
    pub documents: Arc<[String]>,
    /// By the name of the jwt document, of those that apply to the proxy's own service.
    pub keys: Arc<BTreeMap<String, Keys>>,
}

impl State {
    /// What applies to requests to `destination` (`None`: no service of the mesh).
    pub fn scope(&self, at: At, destination: Option<&str>) -> &Arc<Scope> {
        match (at, destination) {
            (At::Inbound, _) => &self.inbound,
            (At::Outbound, Some(name)) => self.outbound.get(name).unwrap_or(&self.outbound_default),
            (At::Outbound, None) => &self.outbound_default,
        }
    }
}
