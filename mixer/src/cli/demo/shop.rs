//! The shop: frontend -> products -> reviews. Each service is an ordinary HTTP server that knows nothing of Mixer; it calls the
//! next one through the proxy beside it and passes the tracing headers on, as applications do.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mixer_identity::SpiffeId;
use mixer_runtime::Tasks;

use super::listen::serve_http;

/// Headers that make one trace of a chain of calls: an application copies them from the request it serves to those it makes.
const TRACING: [&str; 8] = [
    "x-request-id",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "traceparent",
    "tracestate",
];

/// One service of the shop.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// What it is called in the mesh.
    pub(super) name: &'static str,
    /// Its service account in the namespace `shop`, which its certificate names.
    pub(super) account: &'static str,
    /// Whether it takes mutual TLS only.
    pub(super) strict: bool,
    /// The service it asks, and below which path.
    pub(super) next: Option<(&'static str, &'static str)>,
}

/// The chain, its door first: customers have no certificates.
pub(super) const SERVICES: [Service; 3] = [
    Service {
        name: "frontend.shop",
        account: "frontend",
        strict: false,
        next: Some(("products.shop", "/products")),
    },
    Service {
        name: "products.shop",
        account: "products",
        strict: true,
        next: Some(("reviews.shop", "/reviews")),
    },
    Service {
        name: "reviews.shop",
        account: "reviews",
        strict: true,
        next: None,
    },
];

impl Service {
    /// The `service` document of one whose proxy takes requests at `inbound` and proves to be `id`.
    pub(super) fn document(&self, inbound: SocketAddr, id: &SpiffeId) -> String {
        let tls = if self.strict { "strict" } else { "permissive" };
        format!(
            "service: {}\nidentity: {id}\ntls: {tls}\nendpoints: [\"{inbound}\"]\n",
            self.name
        )
    }

    /// Serves on a free port, calling the next service through the proxy beside it. That is started later, since it must know
    /// this address; then `outbound` says where it is.
    pub(super) async fn start(
        &self,
        outbound: Arc<OnceLock<SocketAddr>>,
        tasks: &Tasks,
    ) -> io::Result<SocketAddr> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        let service = self.clone();
        serve_http(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tasks,
            move |request| {
                let (service, client) = (service.clone(), client.clone());
                let outbound = outbound.get().copied();
                async move { Ok::<_, Infallible>(service.answer(&client, outbound, request).await) }
            },
        )
        .await
    }

    async fn answer(
        &self,
        client: &Client<HttpConnector, Empty<Bytes>>,
        outbound: Option<SocketAddr>,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let Some((next, below)) = self.next else {
            return page(StatusCode::OK, format!("{}: five stars\n", self.name));
        };
        let Some(outbound) = outbound else {
            let text = format!("{}: the proxy beside it is not there yet\n", self.name);
            return page(StatusCode::SERVICE_UNAVAILABLE, text);
        };
        let product = request.uri().path().rsplit('/').next().unwrap_or_default();
        match ask(
            client,
            outbound,
            next,
            &format!("{below}/{product}"),
            request.headers(),
        )
        .await
        {
            Ok((status, body)) => page(
                status,
                format!("{} <- {}", self.name, String::from_utf8_lossy(&body)),
            ),
            Err(error) => page(
                StatusCode::BAD_GATEWAY,
                format!("{}: cannot ask {next}: {error}\n", self.name),
            ),
        }
    }
}

async fn ask(
    client: &Client<HttpConnector, Empty<Bytes>>,
    outbound: SocketAddr,
    host: &str,
    path: &str,
    from: &HeaderMap,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let mut request = Request::get(format!("http://{outbound}{path}"))
        .header(header::HOST, host)
        .body(Empty::new())?;
    for name in TRACING {
        if let Some(value) = from.get(name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    let response = client.request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
