//! What a denied caller is told, as a decision or a charge says it.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use mixer_proto::v1;

use super::{WireError, each};
use crate::{Because, Body, HeaderOperation};

/// What a caller is told when a charge is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) http_status: u16,
    pub(crate) grpc_status: u8,
    pub(crate) message: Arc<str>,
    pub(crate) location: Option<Arc<str>>,
    pub(crate) headers: Arc<[HeaderOperation]>,
    pub(crate) body: Option<Arc<Body>>,
}

/// A Mixer that says nothing of it means the charge's sentence.
pub(super) fn refusal(said: v1::Refusal, sentence: &Arc<str>) -> Result<Denial, WireError> {
    let (http_status, grpc_status) = denial(Because::Quota, said.http_status, said.grpc_status)?;
    let message = match said.message.as_str() {
        "" => sentence.clone(),
        message => message.into(),
    };
    Ok(Denial {
        http_status,
        grpc_status,
        message,
        location: location(said.location, http_status)?,
        headers: each(said.headers, "headers", header)?,
        body: said.body.map(body).transpose()?,
    })
}

/// The statuses of a denial; those that are not said follow from why it is one.
pub(super) fn denial(because: Because, http: u32, grpc: u32) -> Result<(u16, u8), WireError> {
    let (usual_http, usual_grpc) = match because {
        Because::Quota => (429, 8),
        Because::Unavailable => (503, 14),
        _ => (403, 7),
    };
    let http = match http {
        0 => usual_http,
        301 | 302 | 303 | 307 | 308 | 400..=599 => http as u16,
        _ => {
            return Err(WireError::new("http_status", "is not a status of a denial"));
        }
    };
    let grpc = match grpc {
        0 => usual_grpc,
        1..=16 => grpc as u8,
        _ => {
            return Err(WireError::new("grpc_status", "is not a status of gRPC"));
        }
    };
    Ok((http, grpc))
}

/// The target of a redirect.
pub(super) fn location(target: String, status: u16) -> Result<Option<Arc<str>>, WireError> {
    match target.as_str() {
        "" if (300..400).contains(&status) => Err(WireError::new(
            "location",
            "is missing though the status redirects",
        )),
        "" => Ok(None),
        target if HeaderValue::from_str(target).is_ok() => Ok(Some(target.into())),
        _ => Err(WireError::new("location", "is not a header value")),
    }
}

pub(super) fn body(body: v1::Body) -> Result<Arc<Body>, WireError> {
    let v1::Body { content_type, text } = body;
    if content_type.is_empty() || HeaderValue::from_str(&content_type).is_err() {
        return Err(WireError::new("body.content_type", "is not a header value"));
    }
    let text = text.into();
    Ok(Arc::new(Body { content_type, text }))
}

pub(super) fn header(operation: v1::HeaderOperation) -> Result<HeaderOperation, WireError> {
    use v1::header_operation::Target;
    let on_response = match Target::try_from(operation.target) {
        Ok(Target::Request) => false,
        Ok(Target::Response) => true,
        Ok(Target::Unspecified) | Err(_) => {
            return Err(WireError::new("target", "is not one that is known"));
        }
    };
    let name = HeaderName::from_bytes(operation.name.as_bytes())
        .map_err(|_| WireError::new("name", "is not a header name"))?;
    if let Some(value) = &operation.value {
        HeaderValue::from_str(value)
            .map_err(|_| WireError::new("value", "is not a header value"))?;
    }
    Ok(HeaderOperation {
        on_response,
        name: name.as_str().into(),
        value: operation.value.map(Into::into),
    })
}
