//! HTTP for adapters: lists that are fetched, spans that are posted.
//!
//! A request has a deadline, the answer a bound, redirects are not followed (a list that moves is the operator's to look at,
//! and a redirect must not carry a secret header elsewhere), and what goes wrong is an [`Unavailable`] that says where and
//! why without showing the address's path or query, which may hold a token. Nothing is read or opened before the first
//! request; the system's roots (or those `SSL_CERT_FILE` names) are read at the first https request.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mixer_runtime::Clock;
use tokio::sync::OnceCell;

use crate::{Invalid, Unavailable};

/// A client with a deadline and a bound on what it reads; http and https (rustls, the system's roots).
#[derive(Clone)]
pub struct HttpClient {
    clock: Clock,
    clients: Arc<Clients>,
}

#[derive(Default)]
struct Clients {
    plain: OnceCell<Client<HttpConnector, Full<Bytes>>>,
    tls: OnceCell<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
}

/// An http or https address that was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Uri);

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the first try to connect to the last byte of the answer.
    pub deadline: Duration,
    /// Bytes of the answer's body.
    pub body: usize,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl HttpClient {
    /// A client that measures its deadlines on `clock`. Does no I/O.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            clients: Arc::default(),
        }
    }

    /// `GET`.
    pub async fn get(
        &self,
        url: &Url,
        headers: HeaderMap,
        bounds: Bounds,
    ) -> Result<Response, Unavailable> {
        self.request(Method::GET, url, headers, Bytes::new(), bounds)
            .await
    }

    /// `POST`.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Response, Unavailable> {
        self.request(Method::POST, url, headers, body, bounds).await
    }

    async fn request(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Response, Unavailable> {
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = url.0.clone();
        *request.headers_mut() = headers;
        let answer = self
            .clock
            .within(bounds.deadline, self.send(url, request, bounds.body))
            .await;
        answer.unwrap_or_else(|| {
            Err(unavailable(
                url,
                &format!("no answer within {:?}", bounds.deadline),
            ))
        })
    }

    async fn send(
        &self,
        url: &Url,
        request: http::Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Response, Unavailable> {
        let sent = if url.is_tls() {
            self.clients
                .tls
                .get_or_try_init(tls_client)
                .await?
                .request(request)
                .await
        } else {
            let plain = self.clients.plain.get_or_init(|| async { plain_client() });
            plain.await.request(request).await
        };
        let answer = sent.map_err(|error| unavailable(url, &chain(&error)))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, most)
            .collect()
            .await
            .map_err(|error| unavailable(url, &chain(&*error)))?;
        Ok(Response {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

impl Url {
    /// Checks an address; `field` is blamed when it is not an http or https address with a host.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let uri: Uri = text
            .parse()
            .map_err(|error| Invalid::one(field, format!("not an address: {error}")))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => {
                return Err(Invalid::one(
                    field,
                    "must begin with http:// or https://".to_owned(),
                ));
            }
        }
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => Err(Invalid::one(
                field,
                "credentials do not belong in an address; use a header",
            )),
            Some(authority) if !authority.host().is_empty() => Ok(Self(uri)),
            _ => Err(Invalid::one(field, "names no host")),
        }
    }

    fn is_tls(&self) -> bool {
        self.0.scheme() == Some(&http::uri::Scheme::HTTPS)
    }

    /// Scheme, host and port: what may be shown.
    pub fn origin(&self) -> String {
        let scheme = self.0.scheme_str().unwrap_or("http");
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        format!("{scheme}://{authority}")
    }
}

impl Response {
    /// The answer if its status says success, else why not; `retry` is set for what may pass (408, 429, 5xx).
    pub fn success(self, url: &Url) -> Result<Self, Unavailable> {
        if self.status.is_success() {
            return Ok(self);
        }
        let what = if self.status.is_redirection() {
            "redirects are not followed: "
        } else {
            ""
        };
        Err(Unavailable {
            reason: format!("{}: {what}status {}", url.origin(), self.status.as_u16()).into(),
            retry: self.status.is_server_error()
                || matches!(
                    self.status,
                    StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                ),
        })
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

/// Without path and query: they may hold a token.
impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Url({}/..)", self.origin())
    }
}

fn plain_client() -> Client<HttpConnector, Full<Bytes>> {
    builder().build(HttpConnector::new())
}

/// Reads the roots, which is file I/O, off the runtime's threads; tried again by the next request when it fails.
async fn tls_client() -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, Unavailable> {
    let read = tokio::task::spawn_blocking(|| {
        hyper_rustls::HttpsConnectorBuilder::new().with_native_roots()
    });
    let failed = |reason: String| Unavailable {
        reason: format!("cannot read the system's root certificates: {reason}").into(),
        retry: true,
    };
    let connector = read
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(builder().build(connector.https_only().enable_http1().build()))
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(4);
    builder
}

fn unavailable(url: &Url, reason: &str) -> Unavailable {
    Unavailable {
        reason: format!("{}: {reason}", url.origin()).into(),
        retry: true,
    }
}

/// An error and its causes: the outermost alone ("client error (Connect)") helps nobody.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
