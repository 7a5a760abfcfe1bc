//! Answers the proxy gives itself: what a caller is told, in the form it understands.
//!
//! HTTP callers get a status and the message as text, or the body that a rule says; those who asked with HEAD, only its headers.
//! gRPC callers get HTTP 200 with nothing but trailers, since gRPC libraries read no other status.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use mixer_client::{Answer, Because, Body, Failure, HeaderOperation, RateLimit};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::body::ResponseBody;
use crate::exchange::{Exchange, Protocol};
use crate::flag::Flag;
use crate::headers::{Malformed, apply};
use crate::rate_limit;
use crate::tls::Undialed;
use crate::upstream::Kind;

/// gRPC over HTTP/2, "Responses": what a status message percent-encodes, besides what is not ASCII.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// An answer of the proxy's own.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) grpc_status: u8,
    pub(crate) message: Cow<'static, str>,
    pub(crate) flag: Flag,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) location: Option<Arc<str>>,
    /// Headers of a denial, for callers of both kinds.
    pub(crate) headers: Arc<[HeaderOperation]>,
    /// Limits to tell of.
    pub(crate) limits: Option<Arc<[RateLimit]>>,
    /// Instead of the message, for HTTP callers.
    pub(crate) body: Option<Arc<Body>>,
}

impl Reply {
    fn new(
        status: StatusCode,
        grpc_status: u8,
        flag: Flag,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            grpc_status,
            message: message.into(),
            flag,
            retry_after: None,
            location: None,
            headers: Arc::default(),
            limits: None,
            body: None,
        }
    }

    /// What an answer says to a caller who may not pass.
    pub(crate) fn denied(answer: &Answer) -> Self {
        let flag = match (answer.failure, answer.because) {
            (Some(Failure::Unreachable), _) => Flag::MixerUnreachable,
            (Some(Failure::Overloaded), _) => Flag::MixerOverloaded,
            (Some(Failure::Cold), _) => Flag::MixerCold,
            (Some(Failure::Malformed), _) => Flag::MixerMalformed,
            (None, Because::Unavailable) => Flag::AdapterUnavailable,
            (None, Because::Quota) => Flag::RateLimited,
            (None, _) => Flag::Denied,
        };
        let status = StatusCode::from_u16(answer.http_status)
            .ok()
            .filter(|status| status.as_u16() >= 300);
        Self {
            status: status.unwrap_or(StatusCode::FORBIDDEN),
            grpc_status: if answer.grpc_status == 0 {
                7
            } else {
                answer.grpc_status
            },
            message: answer.message.to_string().into(),
            flag,
            retry_after: answer.retry_after,
            location: answer.location.clone(),
            headers: answer.headers.clone(),
            limits: answer.limits.clone(),
            body: answer.body.clone(),
        }
    }

    /// The request is malformed, or means more than one thing.
    pub(crate) fn malformed(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 3, Flag::DownstreamProtocol, why)
    }

    /// The request has no token that it needs, or none that is valid; `challenge` says what would be.
    pub(crate) fn unauthenticated(
        status: StatusCode,
        why: impl Into<Cow<'static, str>>,
        challenge: &str,
    ) -> Self {
        let grpc = if status == StatusCode::UNAUTHORIZED {
            16
        } else {
            3
        };
        let challenge = HeaderOperation {
            on_response: true,
            name: "www-authenticate".into(),
            value: Some(challenge.into()),
        };
        Self {
            headers: [challenge].into(),
            ..Self::new(status, grpc, Flag::Unauthenticated, why)
        }
    }

    /// The request's token cannot be verified now.
    pub(crate) fn no_keys(why: &'static str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(status, 14, Flag::KeysUnavailable, why)
        }
    }

    /// Nothing was heard of Mixer yet.
    pub(crate) fn cold() -> Self {
        let reply = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            14,
            Flag::MixerCold,
            "no policy and services are known yet",
        );
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..reply
        }
    }

    /// The host is no service's, and others may not be reached.
    pub(crate) fn no_route(host: &str) -> Self {
        let message =
            format!("no service is called {host}, and the mesh admits no other destination");
        Self::new(StatusCode::FORBIDDEN, 7, Flag::NoRoute, message)
    }

    /// The service has no address now.
    pub(crate) fn no_upstream(what: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            14,
            Flag::NoUpstream,
            format!("no address of {what} is known"),
        )
    }

    /// No connection.
    pub(crate) fn unreachable(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            14,
            Flag::UpstreamFailure,
            why,
        )
    }

    /// The server did not prove that it is the service.
    pub(crate) fn untrusted(why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            flag: Flag::UntrustedUpstream,
            ..Self::unreachable(why)
        }
    }

    /// The service is reached over TLS only, and this proxy cannot speak it.
    pub(crate) fn undialed(why: &Undialed) -> Self {
        Self {
            flag: Flag::of(why),
            ..Self::unreachable(why.to_string())
        }
    }

    /// The service takes mutual TLS only, and the caller spoke plaintext before that was so.
    pub(crate) fn plaintext() -> Self {
        let why = "this service takes mutual TLS only";
        Self::new(StatusCode::FORBIDDEN, 16, Flag::Plaintext, why)
    }

    /// As much is carried to the service as its circuit admits.
    pub(crate) fn overflow(service: &str, kind: Kind) -> Self {
        let message = format!("{service} has all the {} it may have", kind.word());
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            14,
            Flag::UpstreamOverflow,
            message,
        )
    }

    /// The connection ended before a response came.
    pub(crate) fn terminated() -> Self {
        let why = "the server ended the connection before it answered";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            14,
            Flag::UpstreamTermination,
            why,
        )
    }

    /// The server refused the stream.
    pub(crate) fn refused_stream() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            14,
            Flag::UpstreamReset,
            "the server refused the request's stream",
        )
    }

    /// No response came in the time that a route gives.
    pub(crate) fn timed_out() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            4,
            Flag::UpstreamTimeout,
            "the server did not answer in time",
        )
    }

    /// A route has the request fail.
    pub(crate) fn aborted(status: u16) -> Self {
        // gRPC, "HTTP to gRPC Status Code Mapping".
        let grpc = match status {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => 14,
            _ => 2,
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        Self::new(
            status,
            grpc,
            Flag::FaultInjected,
            "a route has this request fail, to see what happens then",
        )
    }

    /// A route sends the caller elsewhere.
    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        if HeaderValue::from_str(location).is_err() {
            return Self::malformed("the location that a route sends to cannot be written");
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
        let reply = Self::new(status, 2, Flag::None, format!("it is at {location}"));
        Self {
            location: Some(location.into()),
            ..reply
        }
    }

    /// What came was no response.
    pub(crate) fn upstream_protocol() -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            14,
            Flag::UpstreamProtocol,
            "the server's answer is not HTTP",
        )
    }

    /// The request would come back to this proxy.
    pub(crate) fn would_loop() -> Self {
        Self::new(
            StatusCode::LOOP_DETECTED,
            14,
            Flag::NoRoute,
            "this is the proxy's own address",
        )
    }

    /// The response that says so.
    pub(crate) fn respond(self, mut exchange: Exchange) -> Response<ResponseBody> {
        exchange.flag = self.flag;
        let grpc = exchange.protocol == Protocol::Grpc;
        let mut response = Response::new(());
        let headers = response.headers_mut();
        // First, so that what the proxy says itself stands.
        apply(&self.headers, true, headers);
        if let Some(limits) = &self.limits {
            rate_limit::tell(limits, headers);
        }
        let text = if grpc {
            exchange.grpc_status = Some(self.grpc_status.into());
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/grpc"),
            );
            headers.insert(
                "grpc-status",
                HeaderValue::from(u16::from(self.grpc_status)),
            );
            let message = utf8_percent_encode(&self.message, MESSAGE).to_string();
            headers.insert(
                "grpc-message",
                HeaderValue::try_from(message).expect("percent-encoded text is visible ASCII"),
            );
            Bytes::new()
        } else {
            let kind = self.body.as_ref().map(|body| &*body.content_type);
            let kind = kind.and_then(|kind| HeaderValue::from_str(kind).ok());
            let kind =
                kind.unwrap_or_else(|| HeaderValue::from_static("text/plain; charset=utf-8"));
            headers.insert(header::CONTENT_TYPE, kind);
            if let Some(location) = self
                .location
                .as_ref()
                .and_then(|to| HeaderValue::from_str(to).ok())
            {
                headers.insert(header::LOCATION, location);
            }
            match &self.body {
                Some(body) => body.text.clone(),
                None => format!("{}\n", self.message).into(),
            }
        };
        if let Some(after) = self.retry_after {
            let seconds = (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if exchange.http1 && matches!(self.flag, Flag::DownstreamProtocol | Flag::Plaintext) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if !grpc {
            headers.insert(header::CONTENT_LENGTH, text.len().into());
            *response.status_mut() = self.status;
        }
        exchange.status = response.status().as_u16();
        if let Some(record) = &mut exchange.record {
            record.response_headers = response.headers().clone();
        }
        let text = if exchange.head_only {
            Bytes::new()
        } else {
            text
        };
        response.map(|()| ResponseBody::text(text, exchange))
    }
}

impl From<Malformed> for Reply {
    fn from(why: Malformed) -> Self {
        let reply = Self::malformed(why.to_string());
        match why {
            Malformed::TransferCoding => Self {
                status: StatusCode::NOT_IMPLEMENTED,
                grpc_status: 12,
                ..reply
            },
            Malformed::TooManyHeaders => Self {
                status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                ..reply
            },
            Malformed::Connect | Malformed::Trace => Self {
                status: StatusCode::METHOD_NOT_ALLOWED,
                grpc_status: 12,
                ..reply
            },
            _ => reply,
        }
    }
}
