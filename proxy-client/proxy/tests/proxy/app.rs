//! An application that speaks HTTP/1 and HTTP/2 and notes what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};

use crate::raw::spawn;

/// A request as the application got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
}

/// The application: `/echo` sends the body (and its trailers) back, `/grpc` answers like a gRPC server, anything else says
/// hello under its name.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::called("hello").await
    }

    pub(crate) async fn called(name: &'static str) -> Self {
        Self::listening(name, ([127, 0, 0, 1], 0).into()).await
    }

    pub(crate) async fn listening(name: &'static str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let noted = seen.clone();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let noted = noted.clone();
                spawn(async move {
                    let service = service_fn(move |request| answer(request, noted.clone(), name));
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, seen }
    }

    /// What was asked since the last call.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn answer(
    request: Request<Incoming>,
    noted: Arc<Mutex<Vec<Seen>>>,
    name: &'static str,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Infallible> {
    noted.lock().unwrap().push(Seen {
        method: request.method().to_string(),
        uri: request.uri().to_string(),
        version: request.version(),
        headers: request.headers().clone(),
    });
    let response = match request.uri().path() {
        "/echo" => Response::new(request.into_body().boxed()),
        path if path.starts_with("/shop.Products/") => {
            let body = request
                .into_body()
                .collect()
                .await
                .map(|body| body.to_bytes())
                .unwrap_or_default();
            let trailers =
                HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
            let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
            let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)).boxed());
            response
                .headers_mut()
                .insert("content-type", "application/grpc".parse().unwrap());
            response
        }
        _ => {
            let text = Full::new(Bytes::from(format!("{name}\n"))).map_err(|never| match never {});
            let mut response = Response::new(text.boxed());
            for (header, value) in [
                ("x-app", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
            ] {
                response
                    .headers_mut()
                    .insert(header, value.parse().unwrap());
            }
            response
        }
    };
    Ok(response)
}

/// An HTTP/2 client with one connection.
pub(crate) async fn http2(
    to: SocketAddr,
) -> hyper::client::conn::http2::SendRequest<BoxBody<Bytes, Infallible>> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    spawn(async move { drop(connection.await) });
    sender
}

/// A body of frames.
pub(crate) fn frames(frames: Vec<Frame<Bytes>>) -> BoxBody<Bytes, Infallible> {
    StreamBody::new(tokio_stream::iter(frames.into_iter().map(Ok))).boxed()
}

/// No body.
pub(crate) fn empty() -> BoxBody<Bytes, Infallible> {
    http_body_util::Empty::new().boxed()
}
