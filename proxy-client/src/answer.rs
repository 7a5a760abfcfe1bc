//! What a proxy does with a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::InFlight;

/// Whether a request passes, and what is said if not. Every way of asking ends in one of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Whether it passes.
    pub verdict: Verdict,
    /// Why.
    pub because: Because,
    /// The policy that decided; empty when none did.
    pub policy: Arc<str>,
    /// The rule's sentence; empty when none decided.
    pub rule: Arc<str>,
    /// The rule's name in metrics.
    pub rule_id: Arc<str>,
    /// Status for HTTP callers when denied.
    pub http_status: u16,
    /// grpc-status for gRPC callers when denied.
    pub grpc_status: u8,
    /// What a denied caller is told.
    pub message: Arc<str>,
    /// Target of a redirect.
    pub location: Option<Arc<str>>,
    /// When asking again may help.
    pub retry_after: Option<Duration>,
    /// Headers to change when it passes; of a denial, those on the response.
    pub headers: Arc<[HeaderOperation]>,
    /// What a denied HTTP caller reads; `None`: the message.
    pub body: Option<Arc<Body>>,
    /// What shadow rules would have done.
    pub shadow: Arc<[Shadow]>,
    /// Names the decision in logs.
    pub id: Arc<str>,
    /// It came from the check cache.
    pub cached: bool,
    /// There was no decision; the declared failure mode stood in for it.
    pub failure: Option<Failure>,
    /// The limits that callers are told of; `None`: none.
    pub limits: Option<Arc<[RateLimit]>>,
    /// What it holds of limits of how many at once: keep the answer, or this, until the request is over.
    pub in_flight: InFlight,
}

/// A limit that callers are told of, as far as this client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The quota's sentence.
    pub sentence: Arc<str>,
    /// At most `amount` in `window`.
    pub amount: u64,
    /// See `amount`.
    pub window: Duration,
    /// Left for callers of this client: what was left when Mixer last counted, and what the client holds in advance.
    pub remaining: u64,
    /// Until all of it is there again if nothing more is spent, at most; of a refused request, until asking again may help.
    pub reset: Duration,
    /// It refuses the request.
    pub refuses: bool,
    /// In which headers.
    pub tell: Tell,
}

/// Which headers tell callers of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// None.
    Nothing,
    /// `RateLimit-Policy` and `RateLimit`.
    RateLimit,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    XRateLimit,
    /// All of these.
    Both,
}

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
    /// A rule matched.
    Matched,
    /// A rule could not be decided, and was taken the safe way.
    Undetermined,
    /// The `otherwise` of a policy.
    Otherwise,
    /// The mesh's default.
    Default,
    /// A quota is spent.
    Quota,
    /// An adapter, or Mixer itself, could not be asked.
    Unavailable,
    /// Nothing applies to the destination: nobody was asked.
    Nothing,
}

/// Why there was no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No Mixer answered in time.
    Unreachable,
    /// Mixer refused for overload.
    Overloaded,
    /// Nothing was ever heard of Mixer.
    Cold,
    /// The answer made no sense (no verdict, or the proxy's request was refused as malformed).
    Malformed,
}

/// A body of a denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Its type, which is a header value.
    pub content_type: String,
    /// Its text, in UTF-8; shared by all who are told it.
    pub text: Bytes,
}

/// A header to set (`Some`) or remove (`None`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HeaderOperation {
    pub on_response: bool,
    pub name: Arc<str>,
    pub value: Option<Arc<str>>,
}

/// What a shadow rule or policy would have done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Shadow {
    pub policy: Arc<str>,
    pub rule: Arc<str>,
    pub would: Verdict,
    pub because: Because,
}
