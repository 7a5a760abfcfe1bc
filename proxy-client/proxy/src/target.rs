//! A request's target: who it is for, and the form in which the server gets it.

use std::cell::RefCell;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};

use crate::headers::{self, Malformed};
use crate::reply::Reply;

/// Who the request is for, as it says: the authority of its target, else its one Host header. Afterwards the Host header says
/// the same. `None`: an HTTP/1.0 request need not say, and nobody need say more than nothing.
pub(crate) fn settle_host(parts: &mut Parts) -> Result<Option<HeaderValue>, Malformed> {
    // `GET admin HTTP/1.1`: a host alone is the target of CONNECT only (RFC 9112 section 3.2.3).
    if parts.uri.scheme().is_none()
        && parts.uri.authority().is_some()
        && parts.version < Version::HTTP_2
    {
        return Err(Malformed::Target);
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().cloned();
    if hosts.next().is_some() {
        return Err(Malformed::SeveralHosts);
    }
    let host = match parts.uri.authority() {
        Some(authority) => {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Malformed::BadHost)?;
            parts.headers.insert(header::HOST, host.clone());
            Some(host)
        }
        None if host.is_none() && parts.version == Version::HTTP_11 => {
            return Err(Malformed::NoHost);
        }
        None => host,
    };
    if host.as_ref().is_some_and(|host| host.to_str().is_err()) {
        return Err(Malformed::BadHost);
    }
    Ok(host.filter(|host| !host.is_empty()))
}

/// Turns the request's target into the form the server's protocol has for it.
pub(crate) fn address(
    parts: &mut Parts,
    http2: bool,
    authority: Option<&str>,
    rewritten: Option<PathAndQuery>,
) -> Result<(), Reply> {
    let asterisk = parts.uri.path() == "*";
    if http2 {
        parts.headers.remove(header::HOST);
        if parts.version != Version::HTTP_2
            || rewritten.is_some()
            || parts.uri.authority().is_none()
        {
            let target = rewritten.or_else(|| parts.uri.path_and_query().cloned());
            let mut uri = http::uri::Parts::default();
            uri.scheme = Some(Scheme::HTTP);
            uri.authority = Some(
                authority
                    .unwrap_or("localhost")
                    .parse()
                    .map_err(|_| Malformed::BadHost)?,
            );
            uri.path_and_query = target.or(Some(PathAndQuery::from_static("/")));
            parts.uri =
                Uri::from_parts(uri).map_err(|_| Reply::malformed("the target is malformed"))?;
        }
        parts.version = Version::HTTP_2;
        return Ok(());
    }
    headers::join_cookies(&mut parts.headers);
    if let Some(target) = rewritten {
        parts.uri = target.into();
    } else if parts.uri.authority().is_some() && !asterisk {
        let target = parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = target.into();
    }
    parts.version = Version::HTTP_11;
    Ok(())
}

/// Turns a request in the form of HTTP/1 into that of HTTP/2. `last` is the authority of the request before, which most often is
/// this one's too.
pub(crate) fn carried<B>(
    request: &mut Request<B>,
    last: &RefCell<Option<(HeaderValue, Authority)>>,
) -> Result<(), Malformed> {
    let host = request.headers_mut().remove(header::HOST);
    let host = host.ok_or(Malformed::NoHost)?;
    let known = last
        .borrow()
        .as_ref()
        .and_then(|(known, authority)| (*known == host).then(|| authority.clone()));
    let authority = match known {
        Some(authority) => authority,
        None => {
            let authority: Authority =
                host.as_bytes().try_into().map_err(|_| Malformed::BadHost)?;
            *last.borrow_mut() = Some((host, authority.clone()));
            authority
        }
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts
        .path_and_query
        .get_or_insert(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Malformed::Target)?;
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

/// Whom a request that is ready to be sent is for.
pub(crate) fn asked_host<B>(request: &Request<B>) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(header::HOST)?.to_str().ok(),
    }
}

/// Says of a request over HTTP/2 that it goes over TLS, as a server outside the mesh expects.
pub(crate) fn secured<B>(request: &mut Request<B>) -> Result<(), Malformed> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Malformed::Target)?;
    Ok(())
}

/// Turns what [`carried`] made back.
pub(crate) fn restored<B>(request: &mut Request<B>) -> Result<(), Malformed> {
    let parts = std::mem::take(request.uri_mut()).into_parts();
    if let Some(authority) = &parts.authority {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Malformed::BadHost)?;
        request.headers_mut().insert(header::HOST, host);
    }
    let target = parts
        .path_and_query
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = target.into();
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// A target with another path, and the query as it came.
pub(crate) fn with_path(encoded: &str, query: Option<&str>) -> Result<PathAndQuery, Reply> {
    let mut target =
        String::with_capacity(encoded.len() + query.map_or(0, |query| query.len() + 1));
    target.push_str(encoded);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(target))
        .map_err(|_| Reply::malformed("the target is malformed"))
}
