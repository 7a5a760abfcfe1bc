//! What can apply to one destination.

use std::sync::Arc;

use crate::{Fail, Plan};

/// The policies whose `for` selects a destination, ready to be decided. Computed once per destination and kept: destinations
/// are configured, hence few.
#[derive(Debug)]
pub struct Applicable {
    /// Enforced guards: indices into [`crate::PolicySet::policies`], in decision order.
    pub guards: Vec<usize>,
    /// Other enforced policies.
    pub pool: Vec<usize>,
    /// Shadow policies, guards included.
    pub shadow: Vec<usize>,
    /// Telemetry documents that apply: indices into [`crate::PolicySet::telemetry`].
    pub telemetry: Vec<usize>,
    /// The destination is a service declared `protocol: tcp`: rules and quotas that read `request.*` do not apply to it
    /// ([`crate::Rule::reads_request`]).
    pub declared_tcp: bool,
    /// What proxies are told.
    pub scope: Scope,
    /// Their rules, in the order in which they are decided.
    pub plan: Plan,
}

/// What a proxy must know before it asks about a destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// Digest of what can apply: the compiled policies (not their comments, formatting or tests), their adapters, custom
    /// attributes they read, telemetry, and `mesh`. 16 hex digits.
    pub revision: Arc<str>,
    /// Some rule can apply, shadow ones and `otherwise` included; or `mesh.default` denies.
    pub rules: bool,
    /// Some quota can apply, shadow ones included.
    pub quotas: bool,
    /// When no Mixer can be asked: open only if every enforced policy that can apply says so (or there is none, and
    /// `mesh.default` allows).
    pub fail: Fail,
    /// Some enforced rule or quota reads `request.path`.
    pub reads_path: bool,
    /// Something reads `auth.claims`, shadow rules, replies and telemetry included: they are part of what is asked and reported.
    pub reads_claims: bool,
    /// Telemetry needs a record of every request.
    pub records: bool,
    /// Share of new traces to sample, the largest asked for.
    pub trace_sample: f64,
    /// Keep the standard metrics.
    pub standard_metrics: bool,
    /// Something is in shadow: a rule, a policy or a quota.
    pub shadow: bool,
}
