//! What a request's head may not be, whatever the library took it for: refused before anything is asked or sent.
//!
//! A head is refused when two readers could take it for two requests, or when it leaves HTTP/2 as something else than it was.
//! What the bytes of HTTP/1 framed is `guard`'s; here are both versions, after they were read.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Version};

use crate::headers::Malformed;

/// Methods with a meaning of their own, which applications recognise in lower case too.
const KNOWN: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT",
];

/// Refuses a head that is malformed, or has more than `most` header fields.
pub(crate) fn vet(parts: &Parts, most: usize) -> Result<(), Malformed> {
    method(&parts.method)?;
    target(parts)?;
    let headers = &parts.headers;
    if headers.len() > most {
        return Err(Malformed::TooManyHeaders);
    }
    length(headers)?;
    if headers.keys().any(|name| is_disguised(name.as_str())) {
        return Err(Malformed::Disguised);
    }
    if parts.version == Version::HTTP_2 {
        // RFC 9113 section 8.2.1.
        if headers.values().any(is_padded) {
            return Err(Malformed::Padded);
        }
        // RFC 9113 section 8.3.1. (Of HTTP/1, RFC 9112 section 3.2.2 says that the target's host replaces the header.)
        if let (Some(authority), Some(host)) = (parts.uri.authority(), headers.get(header::HOST))
            && !host
                .as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes())
        {
            return Err(Malformed::HostsDiffer);
        }
    }
    Ok(())
}

fn method(method: &Method) -> Result<(), Malformed> {
    let name = method.as_str();
    match name {
        "CONNECT" => Err(Malformed::Connect),
        // RFC 9110 section 9.3.8: it sends the request back, with what proxies added.
        "TRACE" => Err(Malformed::Trace),
        _ if KNOWN
            .iter()
            .any(|known| name != *known && name.eq_ignore_ascii_case(known)) =>
        {
            Err(Malformed::MethodCase)
        }
        _ => Ok(()),
    }
}

fn target(parts: &Parts) -> Result<(), Malformed> {
    if let Some(scheme) = parts.uri.scheme_str()
        && !matches!(scheme, "http" | "https")
    {
        return Err(Malformed::Scheme);
    }
    let path = parts.uri.path();
    let whole = path == "*" && parts.method == Method::OPTIONS;
    if path == "*" && !whole {
        return Err(Malformed::Asterisk);
    }
    if !whole && !path.starts_with('/') {
        return Err(Malformed::Target);
    }
    Ok(())
}

/// RFC 9110 section 8.6: one number. (A list of equal ones may be taken for one; that is a second way to read it.)
fn length(headers: &HeaderMap) -> Result<(), Malformed> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return Ok(());
    };
    let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.next().is_some() || !digits {
        return Err(Malformed::Length);
    }
    Ok(())
}

/// Whether a name is, to an application that gets headers as variables (CGI, WSGI), one that frames the request.
fn is_disguised(name: &str) -> bool {
    name.contains('_')
        && matches!(
            &*name.replace('_', "-"),
            "content-length" | "transfer-encoding"
        )
}

fn is_padded(value: &HeaderValue) -> bool {
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    space(value.as_bytes().first()) || space(value.as_bytes().last())
}

/// Takes off trailers what may only stand in a head (RFC 9110 section 6.5.1): what frames, routes, or vouches.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    for name in [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::HOST,
        header::EXPECT,
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
    ] {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vetted(
        version: Version,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> Option<Malformed> {
        let mut request = http::Request::builder()
            .version(version)
            .method(method)
            .uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        vet(&parts, 3).err()
    }

    #[test]
    fn methods_are_what_they_look_like() {
        for (method, refused) in [
            ("GET", None),
            ("PURGE", None),
            ("purge", None),
            ("get", Some(Malformed::MethodCase)),
            ("Delete", Some(Malformed::MethodCase)),
            ("TRACE", Some(Malformed::Trace)),
            ("CONNECT", Some(Malformed::Connect)),
        ] {
            assert_eq!(
                vetted(Version::HTTP_11, method, "/", &[]),
                refused,
                "{method}"
            );
        }
    }

    #[test]
    fn a_target_is_a_path_or_a_url_of_http() {
        for (uri, refused) in [
            ("/a?b", None),
            ("http://a/b", None),
            ("https://a", None),
            ("ftp://a/", Some(Malformed::Scheme)),
            ("*", Some(Malformed::Asterisk)),
        ] {
            assert_eq!(vetted(Version::HTTP_2, "GET", uri, &[]), refused, "{uri}");
        }
        assert_eq!(vetted(Version::HTTP_2, "OPTIONS", "*", &[]), None);
    }

    #[test]
    fn a_length_is_one_number() {
        for (lengths, refused) in [
            (&["1"][..], None),
            (&["1", "1"], Some(Malformed::Length)),
            (&["1, 1"], Some(Malformed::Length)),
            (&["+1"], Some(Malformed::Length)),
            (&[""], Some(Malformed::Length)),
        ] {
            let headers: Vec<_> = lengths
                .iter()
                .map(|value| ("content-length", *value))
                .collect();
            assert_eq!(
                vetted(Version::HTTP_2, "PUT", "/", &headers),
                refused,
                "{lengths:?}"
            );
        }
    }

    #[test]
    fn http2_has_one_host_and_no_padding() {
        for (headers, refused) in [
            (&[("host", "A")][..], None),
            (&[("host", "b")], Some(Malformed::HostsDiffer)),
            (&[("x", " b")], Some(Malformed::Padded)),
            (&[("x", "b\t")], Some(Malformed::Padded)),
            (&[("x", "")], None),
            (&[("content_length", "1")], Some(Malformed::Disguised)),
            (&[("transfer_encoding", "x")], Some(Malformed::Disguised)),
            (
                &[("a", ""), ("b", ""), ("c", ""), ("c", "")],
                Some(Malformed::TooManyHeaders),
            ),
        ] {
            assert_eq!(
                vetted(Version::HTTP_2, "GET", "http://a/", headers),
                refused,
                "{headers:?}"
            );
        }
        assert_eq!(
            vetted(Version::HTTP_11, "GET", "http://a/", &[("host", "b")]),
            None
        );
    }
}
