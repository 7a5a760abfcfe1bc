//! HTTP/1 byte by byte, on both ends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::soon;

/// Sends `request` on a connection of its own, and reads until the proxy closes it.
pub(crate) async fn send(to: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    let mut response = Vec::new();
    // A reset after the response is no concern of the tests.
    let _ = soon(stream.read_to_end(&mut response)).await;
    String::from_utf8_lossy(&response).into_owned()
}

/// A GET that closes its connection.
pub(crate) fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: products\r\nconnection: close\r\n{more}\r\n")
}

/// Reads one head, up to and with its empty line.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match soon(stream.read_u8()).await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// The status of a response.
pub(crate) fn status(response: &str) -> u16 {
    let code = response
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| response.strip_prefix("HTTP/1.0 "));
    code.and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status in {response:?}"))
}

/// The body of a response that was read whole.
pub(crate) fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// The value of a header in a head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// An application that notes every head as it came and answers each the same way.
pub(crate) struct RawApp {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl RawApp {
    /// Answers heads without a body with `response`, keeping connections open.
    pub(crate) async fn answering(response: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = heads.clone();
        spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let noted = noted.clone();
                spawn(async move {
                    loop {
                        let head = head(&mut stream).await;
                        if head.is_empty() {
                            return;
                        }
                        noted.lock().unwrap().push(head);
                        if stream.write_all(response.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, heads }
    }

    /// The heads noted since the last call.
    pub(crate) fn heads(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().unwrap())
    }
}

/// An address that refuses connections, and what keeps others from it.
pub(crate) fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Runs `work` beside the test, as long as the test's runtime lives.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    let tasks = mixer_runtime::Tasks::new();
    tasks.spawn("beside the test", work);
    std::mem::forget(tasks);
}

/// [`send`], beside the test.
pub(crate) fn spawn_send(
    to: SocketAddr,
    request: String,
) -> tokio::sync::oneshot::Receiver<String> {
    let (tell, told) = tokio::sync::oneshot::channel();
    spawn(async move { drop(tell.send(send(to, request).await)) });
    told
}
