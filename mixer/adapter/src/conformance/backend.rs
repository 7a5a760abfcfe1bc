//! A small HTTP server on loopback, for adapters whose backend speaks HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mixer_runtime::Tasks;
use tokio::net::TcpListener;

use crate::http::Url;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    _tasks: Tasks,
}

impl Backend {
    /// Serves on a free port; `respond` is called for each request, its body read whole.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn start(
        respond: impl Fn(Request<Bytes>) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (tasks, requests) = (Tasks::new(), Arc::new(AtomicUsize::new(0)));
        let (connections, seen) = (Tasks::new(), requests.clone());
        let respond = Arc::new(respond);
        tasks.spawn_until_stop("backend", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (respond, seen) = (respond.clone(), seen.clone());
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (respond, seen) = (respond.clone(), seen.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body
                            .collect()
                            .await
                            .map(|body| body.to_bytes())
                            .unwrap_or_default();
                        seen.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, Infallible>(respond(Request::from_parts(head, body)))
                    }
                });
                connections.spawn_until_stop("connection", async move {
                    // A client that breaks off is its own test's business.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            requests,
            _tasks: tasks,
        }
    }

    /// Where it listens: `http://127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of `path`.
    ///
    /// # Panics
    /// When `path` cannot be part of an address.
    pub fn url(&self, path: &str) -> Url {
        Url::parse("url", &format!("{}{path}", self.address())).expect("a path of an address")
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A response of that status and body.
///
/// # Panics
/// When `status` is none.
pub fn answer(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    response
}
