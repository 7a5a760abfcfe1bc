//! Requests of those who watch over the service: passed on without a check, where its document says so.
//!
//! This is a door in every policy, so only what has one reading goes through it. The path is compared byte by byte as it came, not
//! as it is read: what is spelled in another way is a request like others, and is decided. Nothing that a request says of itself
//! opens it; who it is from is the peer of the connection.

use http::Method;
use http::request::Parts;
use mixer_client::At;
use mixer_documents::{ClientIp, Service};

use crate::exchange::{Exchange, Protocol};

/// Whether a request without body and upgrade is a probe of the own `service`. What a trusted proxy passed on for somebody is nobody's.
pub(crate) fn is_probe(
    exchange: &Exchange,
    service: Option<&Service>,
    parts: &Parts,
    forwarding: Option<&ClientIp>,
) -> bool {
    let connection = &exchange.connection;
    let Some(probes) = service.and_then(|service| service.probes.as_ref()) else {
        return false;
    };
    connection.at == At::Inbound
        && exchange.protocol == Protocol::Http
        && matches!(parts.method, Method::GET | Method::HEAD)
        && parts.uri.query().is_none()
        && forwarding.is_none_or(|rule| !parts.headers.contains_key(&rule.header))
        && probes.admit(parts.uri.path(), connection.peer.ip())
}
