//! Headers that concern one connection only, and headers a caller may not set.
//!
//! RFC 9110 section 7.6.1: what `Connection` lists, and what is known to be about one hop, stays behind. This is done before
//! attributes are read, so that rules see what the server will see.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use mixer_client::HeaderOperation;

/// What a malformed head is refused with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the Connection header lists {0}, which is not about the connection")]
    ConnectionLists(&'static str),
    #[error("the only transfer coding is chunked")]
    TransferCoding,
    #[error("the request has more than one Host header")]
    SeveralHosts,
    #[error("the request says no host")]
    NoHost,
    #[error("the request's host is malformed")]
    BadHost,
    #[error("the request's target is neither a path nor a URL")]
    Target,
    #[error("CONNECT is not supported")]
    Connect,
    #[error("TRACE is not supported")]
    Trace,
    #[error("methods are written in capitals")]
    MethodCase,
    #[error("only OPTIONS is about the server as a whole")]
    Asterisk,
    #[error("the target's scheme is neither http nor https")]
    Scheme,
    #[error("the target's host and the Host header differ")]
    HostsDiffer,
    #[error("the request has more headers than it may have")]
    TooManyHeaders,
    #[error("Content-Length is not one number")]
    Length,
    #[error("a header is named like one that frames the request, but for an underscore")]
    Disguised,
    #[error("a header's value begins or ends with a space")]
    Padded,
    #[error("the request's framing is malformed")]
    Framing,
}

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Takes hop-by-hop headers off a request; gives the protocol it asks to upgrade to, if it does. (An upgrade to HTTP/2 is not
/// passed on: nobody reads the requests inside.)
pub(crate) fn strip_request(
    headers: &mut HeaderMap,
    http1: bool,
) -> Result<Option<HeaderValue>, Malformed> {
    if let Some(coding) = headers.get(header::TRANSFER_ENCODING) {
        let single = headers.get_all(header::TRANSFER_ENCODING).iter().count() == 1;
        if !single || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Malformed::TransferCoding);
        }
        headers.remove(header::TRANSFER_ENCODING);
    }
    let mut upgrade = None;
    if headers.contains_key(header::CONNECTION) {
        for name in ["host", "content-length"] {
            if lists(headers, name) {
                return Err(Malformed::ConnectionLists(name));
            }
        }
        if http1 && headers.contains_key(header::UPGRADE) && lists(headers, "upgrade") {
            // HTTP/2 within an upgrade would carry requests that nobody checks.
            upgrade = headers.remove(header::UPGRADE).filter(|to| {
                !list(to).any(|protocol| {
                    let name = protocol.split(|byte| *byte == b'/').next();
                    let name = name.unwrap_or_default().trim_ascii();
                    ["h2", "h2c", "http"]
                        .iter()
                        .any(|http| name.eq_ignore_ascii_case(http.as_bytes()))
                })
            });
        }
        strip_connection(headers);
    }
    if headers.contains_key(header::TE) {
        let trailers = headers
            .get_all(header::TE)
            .iter()
            .any(|value| list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers")));
        headers.remove(header::TE);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
    for name in [
        header::UPGRADE,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        HTTP2_SETTINGS,
        header::EXPECT,
    ] {
        headers.remove(name);
    }
    Ok(upgrade)
}

/// Takes hop-by-hop headers off a response.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        strip_connection(headers);
    }
    for name in [
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        header::TE,
    ] {
        headers.remove(name);
    }
}

/// Takes off what only the mesh may say about a caller, headers or trailers.
pub(crate) fn strip_identity(headers: &mut HeaderMap) {
    strip(headers, is_identity);
}

/// Takes off what only a proxy that `mesh.client_ip` trusts may say: where a request came from, and how to treat it.
pub(crate) fn strip_forwarded(headers: &mut HeaderMap, client_ip: Option<&str>) {
    strip(headers, is_forwarded);
    if let Some(name) = client_ip {
        headers.remove(name);
    }
}

fn strip(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    // They all begin like this, and few others do.
    let may_be = |name: &&HeaderName| name.as_str().starts_with(['x', 'f']) && unwanted(name);
    while let Some(name) = headers.keys().find(may_be).cloned() {
        headers.remove(name);
    }
}

/// Whether a name claims an identity.
fn is_identity(name: &HeaderName) -> bool {
    is_same(name, "x-forwarded-client-cert") || begins(name, "x-mixer-")
}

/// Whether a name claims where a request came from, or instructs an Envoy.
fn is_forwarded(name: &HeaderName) -> bool {
    is_same(name, "forwarded")
        || is_same(name, "x-real-ip")
        || begins(name, "x-forwarded-")
        || begins(name, "x-envoy-")
}

fn begins(name: &HeaderName, family: &str) -> bool {
    let start = name.as_str().as_bytes().get(..family.len());
    start.is_some_and(|start| alike(start, family))
}

fn is_same(name: &HeaderName, other: &str) -> bool {
    alike(name.as_str().as_bytes(), other)
}

/// `_` is as good as `-`: to applications that get headers as variables (CGI, WSGI) both are the same name.
fn alike(name: &[u8], other: &str) -> bool {
    name.len() == other.len()
        && name
            .iter()
            .zip(other.as_bytes())
            .all(|(byte, wanted)| byte == wanted || (*byte == b'_' && *wanted == b'-'))
}

/// Changes headers as an answer says, those of one way.
pub(crate) fn apply(operations: &[HeaderOperation], on_response: bool, headers: &mut HeaderMap) {
    for operation in operations
        .iter()
        .filter(|operation| operation.on_response == on_response)
    {
        let Ok(name) = HeaderName::from_bytes(operation.name.as_bytes()) else {
            continue;
        };
        match operation.value.as_deref().map(HeaderValue::from_str) {
            Some(Ok(value)) => drop(headers.insert(name, value)),
            Some(Err(_)) => {}
            None => drop(headers.remove(name)),
        }
    }
}

/// RFC 9113 section 8.2.3: cookies may come in several fields, and leave HTTP/2 in one.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if let (Some(first), Some(_)) = (cookies.next(), cookies.next()) {
        let mut joined = first.as_bytes().to_vec();
        for value in headers.get_all(header::COOKIE).iter().skip(1) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(value.as_bytes());
        }
        let joined = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined))
            .expect("header values joined by a semicolon");
        headers.insert(header::COOKIE, joined);
    }
}

/// Whether `Connection` lists `option`.
fn lists(headers: &HeaderMap, option: &str) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .any(|value| list(value).any(|item| item.eq_ignore_ascii_case(option.as_bytes())))
}

fn strip_connection(headers: &mut HeaderMap) {
    // Nearly always one of these two, which name no header.
    let plain = |value: &HeaderValue| {
        value.as_bytes().eq_ignore_ascii_case(b"keep-alive")
            || value.as_bytes().eq_ignore_ascii_case(b"close")
    };
    let listed: Vec<HeaderName> = if headers.get_all(header::CONNECTION).iter().all(plain) {
        Vec::new()
    } else {
        let values = headers.get_all(header::CONNECTION).iter();
        values
            .flat_map(list)
            .filter_map(|item| HeaderName::from_bytes(item).ok())
            .collect()
    };
    headers.remove(header::CONNECTION);
    for name in listed {
        // TE is read after this; that it is listed is only proper.
        if name != header::TE {
            headers.remove(name);
        }
    }
}

/// The items of a comma-separated value.
pub(crate) fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_connection_lists_stays_behind() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("x-kept", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, trailers;q=1, trailers"),
            ("expect", "100-continue"),
        ]);
        assert_eq!(strip_request(&mut headers, true), Ok(None));
        assert_eq!(headers, map(&[("x-kept", "3"), ("te", "trailers")]));
    }

    #[test]
    fn an_upgrade_is_passed_only_when_connection_says_so_and_never_to_http2() {
        let ask = |to, connection| {
            let mut headers = map(&[
                ("upgrade", to),
                ("connection", connection),
                ("http2-settings", "AAMAAABk"),
            ]);
            let asked = strip_request(&mut headers, true);
            assert!(headers.is_empty(), "{headers:?}");
            asked
        };
        assert_eq!(ask("websocket", "Upgrade").unwrap().unwrap(), "websocket");
        assert_eq!(ask("websocket", "keep-alive"), Ok(None));
        assert_eq!(ask("h2c", "Upgrade, HTTP2-Settings"), Ok(None));
        for hidden in [
            "H2C",
            "foo, h2c",
            ", h2c",
            "h2c/1",
            "HTTP/2.0",
            "websocket, h2",
        ] {
            assert_eq!(ask(hidden, "upgrade"), Ok(None), "{hidden}");
        }
    }

    #[test]
    fn a_caller_cannot_strip_what_frames_or_routes_the_request() {
        for name in ["Host", "content-length"] {
            let mut headers = map(&[("host", "a"), ("content-length", "3")]);
            headers.insert("connection", HeaderValue::from_static(name));
            assert!(
                matches!(
                    strip_request(&mut headers, true),
                    Err(Malformed::ConnectionLists(_))
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn transfer_codings_but_chunked_are_refused() {
        for coding in ["gzip, chunked", "chunked, chunked", "identity", "xchunked"] {
            assert_eq!(
                strip_request(&mut map(&[("transfer-encoding", coding)]), true),
                Err(Malformed::TransferCoding),
                "{coding}"
            );
        }
        let mut twice = map(&[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ]);
        assert_eq!(
            strip_request(&mut twice, true),
            Err(Malformed::TransferCoding)
        );
        assert_eq!(
            strip_request(&mut map(&[("transfer-encoding", "Chunked")]), true),
            Ok(None)
        );
    }

    #[test]
    fn claims_of_identity_are_taken_off() {
        let mut headers = map(&[
            ("x-mixer-principal", "a"),
            ("x-mixer-b", "c"),
            ("x_mixer_principal", "a"),
            ("x_mixer-b", "a"),
            ("x-forwarded-client-cert", "By=x"),
            ("x-forwarded_client_cert", "By=x"),
            ("x-mixed", "d"),
            ("x_mixed_b", "d"),
            ("x-mixer", "d"),
            ("x-forwarded-client-certs", "d"),
            ("x", "d"),
        ]);
        strip_identity(&mut headers);
        let kept = map(&[
            ("x-mixed", "d"),
            ("x_mixed_b", "d"),
            ("x-mixer", "d"),
            ("x-forwarded-client-certs", "d"),
            ("x", "d"),
        ]);
        assert_eq!(headers, kept);
    }

    #[test]
    fn what_only_trusted_proxies_say_is_taken_off() {
        let claims = [
            ("x-forwarded-for", "a"),
            ("x-forwarded-host", "a"),
            ("x-forwarded-proto", "https"),
            ("x_forwarded_port", "1"),
            ("forwarded", "for=a"),
            ("x-real-ip", "a"),
            ("x-real_ip", "a"),
            ("x-envoy-external-address", "a"),
            ("true-client-ip", "a"),
        ];
        let kept = map(&[("x-forwarded", "b"), ("x-real", "b"), ("x-envoys", "b")]);
        let mut headers = map(&claims);
        headers.extend(kept.clone());
        strip_forwarded(&mut headers, Some("true-client-ip"));
        assert_eq!(headers, kept);
    }

    #[test]
    fn cookies_leave_in_one_field() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2")]));
    }
}
