//! What is counted of TLS: names and meanings.

use std::sync::atomic::AtomicU64;

use super::Counters;

/// One of a worker's counts.
pub(super) type Count = fn(&Counters) -> &AtomicU64;

/// Name, meaning, count.
pub(super) const COUNTS: &[(&str, &str, Count)] = &[
    (
        "mixer_proxy_tls_connections",
        "Connections of callers that proved who they are",
        |c| &c.secured,
    ),
    (
        "mixer_proxy_tls_plaintext_refused",
        "Connections and requests in plaintext to a service that takes mutual TLS only",
        |c| &c.plaintext_refused,
    ),
    (
        "mixer_proxy_tls_callers_untrusted",
        "Connections of callers whose certificate is none to trust",
        |c| &c.caller_untrusted,
    ),
    (
        "mixer_proxy_tls_handshakes_failed",
        "TLS handshakes of callers that failed otherwise",
        |c| &c.handshake_failed,
    ),
    (
        "mixer_proxy_tls_no_longer_trusted",
        "Connections closed because their peer is not trusted any more",
        |c| &c.no_longer_trusted,
    ),
    (
        "mixer_proxy_upstream_tls_connections",
        "Connections to servers that proved who they are",
        |c| &c.dialed,
    ),
    (
        "mixer_proxy_upstream_tls_untrusted",
        "Connections to servers that did not prove to be the service",
        |c| &c.upstream_untrusted,
    ),
    (
        "mixer_proxy_upstream_tls_failed",
        "TLS handshakes with servers that failed otherwise",
        |c| &c.dial_failed,
    ),
    (
        "mixer_proxy_tls_no_identity",
        "Requests and connections that need an identity this proxy does not have",
        |c| &c.no_identity,
    ),
];
