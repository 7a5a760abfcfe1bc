//! Why a response is not simply what the server said, in Envoy's letters where Envoy has them.

use crate::tls::Undialed;

/// A response flag; [`Flag::letters`] goes into `response.flags` and the standard metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// The server's own answer.
    None,
    /// Denied by policy.
    Denied,
    /// The token is missing, or cannot be verified.
    Unauthenticated,
    /// The keys of the token's issuer are not known.
    KeysUnavailable,
    /// A quota is spent.
    RateLimited,
    /// An adapter that the decision needs could not be asked.
    AdapterUnavailable,
    /// No Mixer answered in time.
    MixerUnreachable,
    /// Mixer refused for overload.
    MixerOverloaded,
    /// Nothing was heard of Mixer yet.
    MixerCold,
    /// Mixer's answer made no sense.
    MixerMalformed,
    /// No connection to the server could be made.
    UpstreamFailure,
    /// The server did not prove that it is the service.
    UntrustedUpstream,
    /// The service takes mutual TLS only, and this proxy has no identity.
    NoIdentity,
    /// The server ended the connection before its response was complete.
    UpstreamTermination,
    /// The server's response was no HTTP.
    UpstreamProtocol,
    /// As much is carried to the service as its circuit admits.
    UpstreamOverflow,
    /// The server ended the stream, of which it did nothing.
    UpstreamReset,
    /// No response came in the time that a route gives.
    UpstreamTimeout,
    /// It would have been tried again, but the tries or their budget are spent.
    RetriesSpent,
    /// A route had it wait.
    DelayInjected,
    /// A route had it fail.
    FaultInjected,
    /// The service has no endpoint.
    NoUpstream,
    /// No service is meant, and nothing else may be reached.
    NoRoute,
    /// The caller went away before the response was complete.
    DownstreamTermination,
    /// The caller was cut off, for neither the request's rest came nor was the response taken.
    StreamIdle,
    /// The proxy ended before the response was complete.
    LocalReset,
    /// The request was malformed or ambiguous.
    DownstreamProtocol,
    /// Plaintext came, and the service takes mutual TLS only.
    Plaintext,
    /// The caller's certificate is none to trust.
    UntrustedCaller,
}

impl Flag {
    /// Of a service that cannot be dialed.
    pub(crate) fn of(why: &Undialed) -> Self {
        match why {
            Undialed::NoIdentity => Flag::NoIdentity,
            Undialed::NoRoots(_) => Flag::UpstreamFailure,
        }
    }

    pub(crate) fn letters(self) -> &'static str {
        match self {
            Flag::None => "-",
            Flag::Denied => "UAEX",
            Flag::Unauthenticated => "MXT",
            Flag::KeysUnavailable => "MXK",
            Flag::RateLimited => "RL",
            Flag::AdapterUnavailable => "MXA",
            Flag::MixerUnreachable => "MXU",
            Flag::MixerOverloaded => "MXO",
            Flag::MixerCold => "MXC",
            Flag::MixerMalformed => "MXM",
            Flag::UpstreamFailure => "UF",
            Flag::UntrustedUpstream => "UTU",
            Flag::NoIdentity => "NI",
            Flag::UpstreamTermination => "UC",
            Flag::UpstreamProtocol => "UPE",
            Flag::UpstreamOverflow => "UO",
            Flag::UpstreamReset => "UR",
            Flag::UpstreamTimeout => "UT",
            Flag::RetriesSpent => "URX",
            Flag::DelayInjected => "DI",
            Flag::FaultInjected => "FI",
            Flag::NoUpstream => "UH",
            Flag::NoRoute => "NR",
            Flag::DownstreamTermination => "DC",
            Flag::StreamIdle => "SI",
            Flag::LocalReset => "LR",
            Flag::DownstreamProtocol => "DPE",
            Flag::Plaintext => "PT",
            Flag::UntrustedCaller => "UTD",
        }
    }
}
