//! What a line needs of a request, kept until its response is over. Copies of header values share their bytes.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::headers::{X_FORWARDED_FOR, X_REQUEST_ID};

/// Of one request; of a connection that is not HTTP only the time.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) time: SystemTime,
    pub(crate) head: Option<Head>,
    /// Where it was sent, the last time.
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) service_time: Option<Duration>,
}

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) forwarded_for: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) host: Option<HeaderValue>,
}

impl Entry {
    /// A connection that is not HTTP.
    pub(crate) fn opaque(time: SystemTime) -> Self {
        Self {
            time,
            head: None,
            upstream: None,
            service_time: None,
        }
    }

    /// A request as it came; who forwarded it is not believed yet.
    pub(crate) fn http(time: SystemTime, parts: &Parts) -> Self {
        let head = Head {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            forwarded_for: None,
            user_agent: parts.headers.get(USER_AGENT).cloned(),
            request_id: parts.headers.get(&X_REQUEST_ID).cloned(),
            host: parts.headers.get(HOST).cloned(),
        };
        Self {
            head: Some(head),
            ..Self::opaque(time)
        }
    }

    /// What the proxy made of the headers that say where a request comes from.
    pub(crate) fn settle(&mut self, headers: &HeaderMap) {
        if let Some(head) = &mut self.head {
            head.forwarded_for = joined(headers, &X_FORWARDED_FOR);
            head.request_id = headers.get(&X_REQUEST_ID).cloned();
        }
    }
}

/// The value of a header; of one that is there several times all of them.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let (first, more) = (values.next()?, values.next());
    if more.is_none() {
        return Some(first.clone());
    }
    let mut all = first.as_bytes().to_vec();
    for value in more.into_iter().chain(values) {
        all.extend_from_slice(b", ");
        all.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(all)).ok()
}

impl Head {
    /// Whom the request names, without what may be a password.
    pub(crate) fn authority(&self) -> Option<&[u8]> {
        let named = self.uri.authority();
        let named = named.map(|authority| authority.as_str().as_bytes());
        let named = named.or_else(|| self.host.as_ref().map(HeaderValue::as_bytes))?;
        named.rsplit(|byte| *byte == b'@').next()
    }

    pub(crate) fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }
}
