//! The shop: frontend -> products -> reviews. Each service is an ordinary HTTP server that knows nothing of Mixer; it calls the
//! next one through the proxy beside it and passes the tracing headers on, as applications do.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
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
    /// The service it asks, and below which path.
    pub(super) next: Option<(&'static str, &'static str)>,
}

/// The chain, its door first.
pub(super) const SERVICES: [Service; 3] = [
    Service {
        name: "frontend.shop",
        next: Some(("products.shop", "/products")),
    },
    Service {
        name: "products.shop",
        next: Some(("reviews.shop", "/reviews")),
    },
    Service {
        name: "reviews.shop",
        next: None,
    },
];

impl Service {
    /// Serves on a free port, calling the next service through the proxy at `outbound`.
    pub(super) async fn start(
        &self,
        outbound: SocketAddr,
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
                async move { Ok::<_, Infallible>(service.answer(&client, outbound, request).await) }
            },
        )
        .await
    }

    async fn answer(
        &self,
        client: &Client<HttpConnector, Empty<Bytes>>,
        outbound: SocketAddr,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let Some((next, below)) = self.next else {
            return page(StatusCode::OK, format!("{}: five stars\n", self.name));
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
