//! What is served over the network: signing over gRPC, and the trust bundle as other trust domains read it.
//!
//! `GET /bundle` is the SPIFFE bundle endpoint (SPIFFE Federation, section 5): a JWK set with its sequence number. Over TLS it is
//! of the profile `https_spiffe`: who fetches it checks the authority's own SVID. In plaintext it is for a proxy on the same
//! machine that has a certificate of the web, profile `https_web`.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use mixer_identity::TrustBundle;
use mixer_proto::ca::v1::certificate_authority_server::CertificateAuthorityServer;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::BoxFuture;

use crate::requests::REQUEST_BYTES;
use crate::signing::Signing;

/// The path of the bundle.
pub(crate) const PATH: &str = "/bundle";
/// How often others should look.
const REFRESH: Duration = Duration::from_secs(300);

/// Answers callers over the network.
#[derive(Clone)]
pub(crate) struct Network {
    bundle: watch::Receiver<Arc<TrustBundle>>,
    /// None where nothing may be signed since it could be read on the way.
    signing: Option<CertificateAuthorityServer<Signing>>,
}

impl Network {
    /// The bundle alone.
    pub(crate) fn public(bundle: watch::Receiver<Arc<TrustBundle>>) -> Self {
        Self {
            bundle,
            signing: None,
        }
    }

    /// Both.
    pub(crate) fn whole(signing: Signing) -> Self {
        Self {
            bundle: signing.authority.bundle(),
            // A token and an id come with the request.
            signing: Some(
                CertificateAuthorityServer::new(signing)
                    .max_decoding_message_size(REQUEST_BYTES + (4 << 10)),
            ),
        }
    }

    fn page(&self, method: &Method) -> Response<Body> {
        if method != Method::GET && method != Method::HEAD {
            let mut refused = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET is answered here\n",
            );
            refused
                .headers_mut()
                .insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let bundle = TrustBundle::clone(&self.bundle.borrow()).with_refresh_hint(REFRESH);
        match bundle.to_jwks() {
            Ok(jwks) => {
                let mut page = text(StatusCode::OK, jwks);
                let json = http::HeaderValue::from_static("application/json");
                page.headers_mut().insert(CONTENT_TYPE, json);
                page
            }
            Err(error) => {
                tracing::error!("the bundle cannot be shown: {error}");
                text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the bundle cannot be shown; the authority's log says why\n",
                )
            }
        }
    }
}

impl tower::Service<Request<Incoming>> for Network {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    /// It is ready at any time.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if request.uri().path() == PATH {
            let page = self.page(request.method());
            return Box::pin(std::future::ready(Ok(page)));
        }
        match &mut self.signing {
            Some(signing) => signing.call(request),
            None => {
                let nothing = text(StatusCode::NOT_FOUND, "the bundle is at /bundle\n");
                Box::pin(std::future::ready(Ok(nothing)))
            }
        }
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::<hyper::body::Bytes>::from(text.into())));
    *response.status_mut() = status;
    response
}
