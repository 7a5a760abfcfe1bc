//! A client for HTTP/1.1 and HTTP/2 over one connection, and one that writes bytes as they are.
//!
//! Requests name their host in the URI and connect elsewhere, as an application does whose proxy listens on another address.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mixer_runtime::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait;

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
    /// Its trailers; empty if there were none.
    pub trailers: HeaderMap,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header or trailer, as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.trailers
            .get(name)
            .or_else(|| self.headers.get(name))
            .and_then(|value| value.to_str().ok())
    }
}

/// `GET http://HOST/PATH` without a body.
///
/// # Panics
/// When host or path cannot be in a URI.
pub fn get(host: &str, path: &str) -> Request<Full<Bytes>> {
    call(Method::GET, host, path, Bytes::new())
}

/// `METHOD http://HOST/PATH` with a body.
///
/// # Panics
/// When host or path cannot be in a URI.
pub fn call(
    method: Method,
    host: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let uri = Uri::builder()
        .scheme("http")
        .authority(host)
        .path_and_query(path)
        .build();
    let uri = uri.unwrap_or_else(|error| panic!("http://{host}{path}: {error}"));
    let mut request = Request::new(Full::new(body.into()));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request
}

/// A request with one more header.
///
/// # Panics
/// When the value cannot be one.
pub fn with(
    mut request: Request<Full<Bytes>>,
    name: &'static str,
    value: &str,
) -> Request<Full<Bytes>> {
    let value =
        HeaderValue::from_str(value).unwrap_or_else(|error| panic!("{name}: {value}: {error}"));
    request.headers_mut().append(name, value);
    request
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    _tasks: Tasks,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// Connects and speaks HTTP/1.1.
    pub async fn http1(to: SocketAddr) -> Result<Self, Failed> {
        let stream = TcpStream::connect(to).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let tasks = Tasks::new();
        tasks.spawn("connection", async move {
            drop(connection.with_upgrades().await)
        });
        Ok(Self {
            sender: Sender::Http1(sender),
            _tasks: tasks,
        })
    }

    /// Connects and speaks HTTP/2 from the first byte.
    pub async fn http2(to: SocketAddr) -> Result<Self, Failed> {
        let stream = TcpStream::connect(to).await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let tasks = Tasks::new();
        tasks.spawn("connection", async move { drop(connection.await) });
        Ok(Self {
            sender: Sender::Http2(sender),
            _tasks: tasks,
        })
    }

    /// Sends one request and reads its response to the end; one that hangs is a failure of the test.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failed> {
        let what = format!("{} {}", request.method(), request.uri());
        wait::ends(&what, self.exchange(request)).await
    }

    async fn exchange(&mut self, mut request: Request<Full<Bytes>>) -> Result<Answer, Failed> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                let host = request
                    .uri()
                    .authority()
                    .map(|host| HeaderValue::from_str(host.as_str()));
                if let Some(Ok(host)) = host {
                    request.headers_mut().entry(header::HOST).or_insert(host);
                }
                if let Some(path) = request.uri().path_and_query() {
                    *request.uri_mut() = Uri::from(path.clone());
                }
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
            trailers,
        })
    }
}

/// No response was had.
#[derive(Debug)]
pub enum Failed {
    /// Not even a connection.
    Connect(std::io::Error),
    /// The connection ended, or said what is not HTTP.
    Http(hyper::Error),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Connect(error)
    }
}

impl From<hyper::Error> for Failed {
    fn from(error: hyper::Error) -> Self {
        Self::Http(error)
    }
}

/// One `GET` over a connection of its own.
pub async fn fetch(from: SocketAddr, path: &str) -> Result<Answer, Failed> {
    Client::http1(from)
        .await?
        .send(get(&from.to_string(), path))
        .await
}

/// Writes `bytes` to a connection of its own and reads until the other side closes it. The bytes should ask for that.
pub async fn raw(to: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer).await {
            // A server that refuses what it did not read to the end resets; what it said before counts.
            Err(_) if !answer.is_empty() => Ok(answer),
            Err(error) => Err(error),
            Ok(_) => Ok(answer),
        }
    };
    wait::ends(&String::from_utf8_lossy(bytes), exchange).await
}
