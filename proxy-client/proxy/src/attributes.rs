//! Attributes of a request, seen where they lie.
//!
//! Headers, query and cookies are views over the request: nothing is copied to be asked about, and a name given twice where once
//! is meant is ambiguous. `destination.service` comes from configuration, never from the Host header; nothing under `source.` is
//! set but what the transport shows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderValue};
use mixer_attributes::vocabulary as name;
use mixer_attributes::{AttributeBag, Entry, StringMap, Timestamp, Value};
use mixer_client::At;
use mixer_documents::ClientIp;
use percent_encoding::percent_decode;

use crate::exchange::Protocol;
use crate::headers::X_REQUEST_ID;
use crate::tls::Secured;
use crate::token::Verified;

/// Headers by lower-case name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeaderView<'a>(pub(crate) &'a HeaderMap);

impl StringMap for HeaderView<'_> {
    fn lookup(&self, key: &str) -> Entry<'_> {
        // A HeaderMap finds names of any case; maps of attributes do not.
        if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Entry::Absent;
        }
        let mut values = self.0.get_all(key).iter();
        match (values.next(), values.next()) {
            (None, _) => Entry::Absent,
            (Some(value), None) => text(value.as_bytes()),
            (Some(first), Some(second)) => {
                let separator: &[u8] = if key == "cookie" { b"; " } else { b", " };
                let mut joined = first.as_bytes().to_vec();
                for value in std::iter::once(second).chain(values) {
                    joined.extend_from_slice(separator);
                    joined.extend_from_slice(value.as_bytes());
                }
                String::from_utf8(joined)
                    .map_or(Entry::Ambiguous, |joined| Entry::Value(joined.into()))
            }
        }
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)> {
        let mut names: Vec<&str> = self.0.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        names
            .into_iter()
            .map(|name| (name.into(), self.lookup(name)))
            .collect()
    }
}

/// Query parameters, decoded as forms are (`+` is a space).
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryView<'a>(pub(crate) &'a str);

impl StringMap for QueryView<'_> {
    fn lookup(&self, key: &str) -> Entry<'_> {
        let mut values = self
            .pairs()
            .filter(|(name, _)| form(name).is_ok_and(|name| name == key))
            .map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Entry::Absent,
            (Some(value), None) => form(value).map_or(Entry::Ambiguous, Entry::Value),
            (Some(_), Some(_)) => Entry::Ambiguous,
        }
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)> {
        once_each(self.pairs().filter_map(|(name, value)| {
            Some((
                form(name).ok()?,
                form(value).map_or(Entry::Ambiguous, Entry::Value),
            ))
        }))
    }
}

impl<'a> QueryView<'a> {
    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }
}

/// Cookies of every `cookie` header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CookieView<'a>(pub(crate) &'a HeaderMap);

impl StringMap for CookieView<'_> {
    fn lookup(&self, key: &str) -> Entry<'_> {
        let mut values = self
            .pairs()
            .filter(|(name, _)| *name == key.as_bytes())
            .map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Entry::Absent,
            (Some(value), None) => text(value),
            (Some(_), Some(_)) => Entry::Ambiguous,
        }
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)> {
        once_each(self.pairs().filter_map(|(name, value)| {
            Some((std::str::from_utf8(name).ok()?.into(), text(value)))
        }))
    }
}

impl<'a> CookieView<'a> {
    fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let all = self
            .0
            .get_all(header::COOKIE)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        all.map(<[u8]>::trim_ascii)
            .filter(|pair| !pair.is_empty())
            .map(|pair| match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (
                    pair[..at].trim_ascii_end(),
                    pair[at + 1..].trim_ascii_start(),
                ),
                None => (pair, &b""[..]),
            })
    }
}

fn text(bytes: &[u8]) -> Entry<'_> {
    std::str::from_utf8(bytes).map_or(Entry::Ambiguous, |text| Entry::Value(text.into()))
}

fn form(text: &str) -> Result<Cow<'_, str>, std::str::Utf8Error> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return percent_decode(spaced.as_bytes())
            .decode_utf8()
            .map(|text| text.into_owned().into());
    }
    percent_decode(text.as_bytes()).decode_utf8()
}

fn once_each<'a>(
    pairs: impl Iterator<Item = (Cow<'a, str>, Entry<'a>)>,
) -> Vec<(Cow<'a, str>, Entry<'a>)> {
    let mut map = BTreeMap::new();
    for (key, entry) in pairs {
        map.entry(key)
            .and_modify(|held| *held = Entry::Ambiguous)
            .or_insert(entry);
    }
    map.into_iter().collect()
}

/// What is known about a request's connection and destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) at: At,
    pub(crate) peer: SocketAddr,
    /// Where the caller connected to.
    pub(crate) meant: SocketAddr,
    pub(crate) connection_id: &'a str,
    pub(crate) service: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) labels: Option<&'a BTreeMap<String, String>>,
    pub(crate) protocol: Protocol,
    /// What the caller proved, if it proved anything.
    pub(crate) secured: Option<&'a Secured>,
    /// Whether namespaces of its trust domain are ours, or as good as ours.
    pub(crate) namespaces_count: bool,
    /// The id of the service that is asked for, where it proves it.
    pub(crate) principal: Option<&'a str>,
}

/// A request's head, and what was read out of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    pub(crate) raw_path: &'a str,
    /// `None` when it is ambiguous.
    pub(crate) path: Option<&'a str>,
    pub(crate) host: Option<&'a str>,
    pub(crate) headers: HeaderView<'a>,
    pub(crate) query: QueryView<'a>,
    pub(crate) cookies: CookieView<'a>,
    pub(crate) client_ip: Option<IpAddr>,
    pub(crate) time: SystemTime,
    /// What its token says.
    pub(crate) token: Option<&'a Verified>,
}

impl<'a> Facts<'a> {
    /// Sets what is known of the connection.
    pub(crate) fn fill(&self, bag: &mut AttributeBag<'a>) {
        bag.set(name::SOURCE_IP, Value::Ip(self.peer.ip().to_canonical()));
        bag.set(name::SOURCE_PORT, Value::Int(self.peer.port().into()));
        bag.set(
            name::DESTINATION_IP,
            Value::Ip(self.meant.ip().to_canonical()),
        );
        bag.set(name::DESTINATION_PORT, Value::Int(self.meant.port().into()));
        if let Some(service) = self.service {
            bag.set(name::DESTINATION_SERVICE, Value::String(service));
        }
        if let Some(namespace) = self.namespace {
            bag.set(name::DESTINATION_NAMESPACE, Value::String(namespace));
        }
        if let Some(labels) = self.labels {
            bag.set(name::DESTINATION_LABELS, Value::Map(labels));
        }
        if let Some(principal) = self.principal {
            bag.set(name::DESTINATION_PRINCIPAL, Value::String(principal));
        }
        bag.set(name::CONNECTION_MTLS, Value::Bool(self.secured.is_some()));
        if let Some(secured) = self.secured {
            self.fill_source(secured, bag);
        }
        bag.set(name::CONNECTION_ID, Value::String(self.connection_id));
        bag.set(name::API_PROTOCOL, Value::String(self.protocol.name()));
        bag.set(name::CONTEXT_REPORTER, Value::String(reporter(self.at)));
    }
}

impl<'a> Facts<'a> {
    /// Sets who the caller is, out of its certificate and nothing else.
    fn fill_source(&self, secured: &'a Secured, bag: &mut AttributeBag<'a>) {
        let id = &secured.trusted.peer.id;
        bag.set(name::SOURCE_PRINCIPAL, Value::String(id.as_str()));
        let trust_domain = id.trust_domain().as_str();
        bag.set(name::SOURCE_TRUST_DOMAIN, Value::String(trust_domain));
        // Elsewhere the same words mean something else.
        if self.namespaces_count {
            if let Some(namespace) = id.namespace() {
                bag.set(name::SOURCE_NAMESPACE, Value::String(namespace));
            }
            if let Some(account) = id.service_account() {
                bag.set(name::SOURCE_SERVICE_ACCOUNT, Value::String(account));
            }
        }
        if let Some(server_name) = &secured.server_name {
            let server_name = Value::String(server_name);
            bag.set(name::CONNECTION_REQUESTED_SERVER_NAME, server_name);
        }
    }
}

/// `context.reporter` and the label of the standard metrics.
pub(crate) fn reporter(at: At) -> &'static str {
    match at {
        At::Inbound => "destination",
        At::Outbound => "source",
    }
}

impl<'a> Head<'a> {
    /// Sets what is known of the request.
    pub(crate) fn fill(&'a self, protocol: Protocol, bag: &mut AttributeBag<'a>) {
        bag.set(name::REQUEST_METHOD, Value::String(self.method));
        bag.set(name::REQUEST_RAW_PATH, Value::String(self.raw_path));
        if let Some(path) = self.path {
            bag.set(name::REQUEST_PATH, Value::String(path));
        }
        if let Some(host) = self.host {
            bag.set(name::REQUEST_HOST, Value::String(host));
        }
        bag.set(name::REQUEST_SCHEME, Value::String("http"));
        bag.set(name::REQUEST_HEADERS, Value::Map(&self.headers));
        bag.set(name::REQUEST_QUERY, Value::Map(&self.query));
        bag.set(name::REQUEST_COOKIES, Value::Map(&self.cookies));
        if let Some(client) = self.client_ip {
            bag.set(name::REQUEST_CLIENT_IP, Value::Ip(client));
        }
        if let Some(token) = self.token {
            token.fill(bag);
        }
        bag.set(
            name::REQUEST_TIME,
            Value::Timestamp(Timestamp::from(self.time)),
        );
        let plain = |header| {
            self.headers
                .0
                .get(header)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        if let Some(size) = plain(header::CONTENT_LENGTH).and_then(|size| size.parse().ok()) {
            bag.set(name::REQUEST_SIZE, Value::Int(size));
        }
        // Given twice, each server reads another one: who asks for it finds nothing, and the headers have both.
        let once = |header: &header::HeaderName| {
            let mut values = self.headers.0.get_all(header).iter();
            values
                .next()
                .filter(|_| values.next().is_none())?
                .to_str()
                .ok()
        };
        if let Some(id) = once(&X_REQUEST_ID) {
            bag.set(name::REQUEST_ID, Value::String(id));
        }
        if let Some(agent) = once(&header::USER_AGENT) {
            bag.set(name::REQUEST_USERAGENT, Value::String(agent));
        }
        if protocol == Protocol::Grpc
            && let Some((service, operation)) = self
                .path
                .and_then(|path| path.strip_prefix('/'))
                .and_then(|path| path.split_once('/'))
        {
            bag.set(name::API_SERVICE, Value::String(service));
            bag.set(name::API_OPERATION, Value::String(operation));
        }
    }
}

/// The client behind the proxies that `rule` trusts; the peer, where there is no rule.
pub(crate) fn client_ip(
    peer: IpAddr,
    headers: &HeaderMap,
    rule: Option<&ClientIp>,
) -> Option<IpAddr> {
    let Some(rule) = rule else {
        return Some(peer.to_canonical());
    };
    let values = headers.get_all(&*rule.header).iter();
    rule.client(peer, values.map(HeaderValue::as_bytes))
}

#[cfg(test)]
mod tests;
