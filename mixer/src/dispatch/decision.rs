//! The one type that every answer is made from. Each protocol encodes from it in one place, so that none can allow by accident.

use std::sync::Arc;
use std::time::Duration;

use mixer_cel::Reference;
use mixer_documents::{Limit, QuotaOnError};

/// Pass or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Verdict {
    Allow,
    Deny,
}

/// Why the verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Because {
    /// A rule matched (or a require was not met).
    Matched,
    /// A rule could not be decided, and was taken the safe way.
    Undetermined,
    /// No rule decided; the `otherwise` of a policy did.
    Otherwise,
    /// No policy decided; the mesh's default did.
    Default,
    /// A quota is spent.
    Quota,
    /// An adapter that a rule or quota needs could not be asked.
    Unavailable,
}

/// An answer to Check.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Pass or not.
    pub verdict: Verdict,
    /// Why.
    pub because: Because,
    /// The policy that decided; empty for [`Because::Default`].
    pub policy: Arc<str>,
    /// The rule's (or quota's, or otherwise's) sentence; empty for [`Because::Default`].
    pub rule: Arc<str>,
    /// Its name in metrics.
    pub rule_id: Arc<str>,
    /// Status for HTTP callers when denied.
    pub http_status: u16,
    /// grpc-status for gRPC callers when denied.
    pub grpc_status: u8,
    /// What the caller is told when denied, `mesh.denials` applied.
    pub message: String,
    /// Why in full, for logs and `explain`: what could not be decided or asked.
    pub detail: Option<String>,
    /// Target of a redirect.
    pub location: Option<String>,
    /// When asking again may help.
    pub retry_after: Option<Duration>,
    /// Revision of what can apply to the destination.
    pub revision: Arc<str>,
    /// Something is in shadow for the destination: [`super::Dispatcher::shadow`] says what it would have done.
    pub in_shadow: bool,
    /// Headers to change when it passes.
    pub headers: Vec<HeaderOperation>,
    /// Headers of the response when it is denied.
    pub reply_headers: Vec<HeaderOperation>,
    /// Body of the response when it is denied; `None`: the message.
    pub body: Option<Body>,
    /// What it costs, when it passes.
    pub charges: Vec<Charge>,
    /// Everything that was read, and whether it was present.
    pub referenced: Vec<(Reference, bool)>,
    /// How long it may be reused; `None`: while its revision is in force.
    pub valid_for: Option<Duration>,
    /// How often it may be used, this time included; 0: no bound.
    pub valid_uses: u32,
    /// Names it in logs.
    pub id: String,
}

/// What a shadow rule, policy or quota would have done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowVerdict {
    /// The policy it is in, or that it is.
    pub policy: Arc<str>,
    /// The sentence of the rule or quota, or of what decided in a shadow policy; empty where nothing in it did.
    pub rule: Arc<str>,
    /// Its name in metrics.
    pub rule_id: Arc<str>,
    /// What it alone says; `None`: nothing.
    pub would: Option<(Verdict, Because)>,
    /// What would be different if it were enforced.
    pub outcome: ShadowOutcome,
}

/// What enforcing something in shadow would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ShadowOutcome {
    /// Nothing.
    Same,
    /// The request passed and would be denied.
    WouldDeny,
    /// The request was denied and would pass.
    WouldAllow,
}

/// A header to set (`Some`) or remove (`None`) on the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HeaderOperation {
    pub name: String,
    pub value: Option<String>,
}

/// The body of a denial, for HTTP callers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Body {
    pub content_type: Arc<str>,
    pub text: String,
}

/// What a caller is told who is denied, `mesh.denials` applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Status for HTTP callers.
    pub http_status: u16,
    /// grpc-status for gRPC callers.
    pub grpc_status: u8,
    /// `None`: that access is denied, and the decision's id.
    pub message: Option<String>,
    /// Target of a redirect.
    pub location: Option<String>,
    /// Headers of the response.
    pub headers: Vec<HeaderOperation>,
    /// Its body; `None`: the message.
    pub body: Option<Body>,
}

/// What a request costs one quota.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// Indices of the policy and of the quota in it.
    pub place: (usize, usize),
    /// The counter's name ([`mixer_documents::Quota::id`]).
    pub quota: Arc<str>,
    /// Values of the key, in order; an absent one (`absent: share`) is the empty string behind a NUL.
    pub key: Vec<String>,
    /// Tokens.
    pub cost: i64,
    /// The limit that applies.
    pub limit: Limit,
    /// The row of the table that gave it; empty: `otherwise`.
    pub tier: String,
    /// When it cannot be counted.
    pub on_error: QuotaOnError,
    /// It never refuses, only says so.
    pub shadow: bool,
    /// What the caller is told when it refuses; nothing of a rate limit descriptor's.
    pub told: Told,
}
