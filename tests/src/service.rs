//! Small services to stand behind a proxy. They answer with what they received, so that a test sees what the upstream saw.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use mixer_runtime::Tasks;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::http::{Client, get};

/// Headers that a service hands on so that a trace holds together; what applications in a mesh have to do themselves.
const TRACING: &[&str] = &[
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-request-id",
    "traceparent",
    "tracestate",
];

/// A service; it ends when this is dropped.
#[derive(Debug)]
pub struct Service {
    /// Where it listens.
    pub addr: SocketAddr,
    received: Arc<AtomicUsize>,
    _tasks: Tasks,
}

/// Where a service asks on: through its own outbound proxy, for a host of the mesh.
#[derive(Clone, Debug)]
pub struct Next {
    /// The outbound listener of the service's own proxy.
    pub proxy: SocketAddr,
    /// The host it asks.
    pub host: String,
    /// The path it asks for.
    pub path: String,
}

impl Service {
    /// Answers every request, HTTP/1.1 or HTTP/2, with a JSON object: service, method, path, version, headers (a list of pairs)
    /// and body. A request of content type `application/grpc` gets its body back and the trailers `grpc-status: 0` and
    /// `echo: NAME`. The path `/status/NNN` is answered with that status.
    pub async fn echo(name: &str) -> Self {
        Self::start(name, None).await
    }

    /// As [`Service::echo`], but first asks `next`, handing on the tracing headers; the answer to that is `next` in its own.
    pub async fn asking(name: &str, next: Next) -> Self {
        Self::start(name, Some(next)).await
    }

    /// How many requests reached it.
    pub fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }

    async fn start(name: &str, next: Option<Next>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let addr = listener.local_addr().expect("it is bound");
        let received = Arc::new(AtomicUsize::new(0));
        let tasks = Tasks::new();
        let connections = tasks.clone();
        let (name, next, count) = (Arc::<str>::from(name), Arc::new(next), received.clone());
        tasks.spawn("accept", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (name, next, count) = (name.clone(), next.clone(), count.clone());
                connections.spawn("connection", async move {
                    let answer = service_fn(move |request| {
                        count.fetch_add(1, Ordering::SeqCst);
                        answer(name.clone(), next.clone(), request)
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    drop(
                        server
                            .serve_connection_with_upgrades(TokioIo::new(stream), answer)
                            .await,
                    );
                });
            }
        });
        Self {
            addr,
            received,
            _tasks: tasks,
        }
    }
}

async fn answer(
    name: Arc<str>,
    next: Arc<Option<Next>>,
    request: Request<Incoming>,
) -> Result<Response<Whole>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    if head
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
    {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert(
            "echo",
            HeaderValue::from_str(&name).expect("names of test services are plain"),
        );
        let mut response = Response::new(Whole {
            body: Some(body),
            trailers: Some(trailers),
        });
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/grpc"));
        return Ok(response);
    }
    let next = match next.as_ref() {
        Some(next) => Some(ask(next, &head.headers).await),
        None => None,
    };
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| {
            [
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            ]
        })
        .collect();
    let seen = json!({
        "service": &*name,
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map_or("", |path| path.as_str()),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
        "next": next,
    });
    let mut response = Response::new(Whole {
        body: Some(Bytes::from(seen.to_string())),
        trailers: None,
    });
    if let Some(status) = head
        .uri
        .path()
        .strip_prefix("/status/")
        .and_then(|status| status.parse().ok())
    {
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    }
    Ok(response)
}

async fn ask(next: &Next, headers: &HeaderMap) -> serde_json::Value {
    let mut request = get(&next.host, &next.path);
    for name in TRACING {
        if let Some(value) = headers.get(*name) {
            request.headers_mut().insert(*name, value.clone());
        }
    }
    let answer = match Client::http1(next.proxy).await {
        Ok(mut client) => client.send(request).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!(answer.text())),
        Err(error) => json!({ "failed": format!("{error:?}") }),
    }
}

/// A body in one piece, and trailers.
struct Whole {
    body: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = self
            .body
            .take()
            .map(Frame::data)
            .or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none() && self.trailers.is_none()
    }
}

/// Reads what it is sent as bytes, answers each request head with an empty 200 and keeps the head: what a proxy really wrote,
/// before any library made sense of it.
#[derive(Debug)]
pub struct Recorder {
    /// Where it listens.
    pub addr: SocketAddr,
    heads: Arc<Mutex<Vec<Vec<u8>>>>,
    _tasks: Tasks,
}

impl Recorder {
    /// Listens; requests must have no body.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let addr = listener.local_addr().expect("it is bound");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let tasks = Tasks::new();
        let (connections, kept) = (tasks.clone(), heads.clone());
        tasks.spawn("accept", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let kept = kept.clone();
                connections.spawn("connection", async move {
                    let mut read = Vec::new();
                    while stream
                        .read_buf(&mut read)
                        .await
                        .is_ok_and(|count| count > 0)
                    {
                        while let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                            let head = read.drain(..end + 4).collect();
                            kept.lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push(head);
                            if stream
                                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                                .await
                                .is_err()
                            {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self {
            addr,
            heads,
            _tasks: tasks,
        }
    }

    /// The heads received since this was last asked.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.heads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
