//! An application that believes what it reads: whatever reaches it is taken for requests, byte by byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::raw::spawn;

/// One request, whole.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// The application, answering everything with 200.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Wire {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let noted = seen.clone();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let noted = noted.clone();
                spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(request) = read(&mut stream).await {
                        noted.lock().unwrap().push(request);
                        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        if stream.write_all(ok).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// The whole requests since the last call.
    pub(crate) fn seen(&self) -> Vec<Request> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Request {
    /// Its method and target.
    pub(crate) fn line(&self) -> String {
        let line = self.head.lines().next().unwrap_or_default();
        line.strip_suffix(" HTTP/1.1").unwrap_or(line).to_owned()
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let head = until(stream, b"\r\n\r\n").await?;
    let head = String::from_utf8_lossy(&head).into_owned();
    let field = |name: &str| {
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .last()
    };
    let mut body = Vec::new();
    if field("transfer-encoding").is_some() {
        loop {
            let size = until(stream, b"\r\n").await?;
            let text = String::from_utf8_lossy(&size);
            let size = usize::from_str_radix(text.trim().split(';').next()?, 16).ok()?;
            body.extend_from_slice(&bytes(stream, size).await?);
            if size == 0 {
                // Trailers, if there are any.
                loop {
                    let line = until(stream, b"\r\n").await?;
                    body.extend_from_slice(&line);
                    if line.len() == 2 {
                        break;
                    }
                }
                break;
            }
            bytes(stream, 2).await?;
        }
    } else if let Some(length) = field("content-length") {
        body = bytes(stream, length.parse().ok()?).await?;
    }
    Some(Request { head, body })
}

async fn bytes(stream: &mut BufReader<TcpStream>, count: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

async fn until(stream: &mut BufReader<TcpStream>, end: &[u8]) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        read.push(stream.read_u8().await.ok()?);
    }
    Some(read)
}
