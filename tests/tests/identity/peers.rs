//! Our two ends: a server that answers with who its client is, and a client that asks who the server is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use mixer_identity::{Expected, Source, client_config, peer, server_config, untrusted};
use mixer_runtime::Tasks;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Speaks mutual TLS and one HTTP/1.1 request a connection.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    refused: Arc<Mutex<Vec<String>>>,
    _tasks: Tasks,
}

impl Server {
    pub(crate) async fn start(source: &Source) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(source, &[b"http/1.1"])));
        let tasks = Tasks::new();
        let refused = Arc::new(Mutex::new(Vec::new()));
        let said = refused.clone();
        tasks.spawn("server", async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match acceptor.accept(stream).await {
                    Ok(mut stream) => {
                        let id = peer(stream.get_ref().1).unwrap().id.to_string();
                        let mut head = Vec::new();
                        while !head.ends_with(b"\r\n\r\n") {
                            head.push(stream.read_u8().await.unwrap_or(b'\n'));
                        }
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{id}",
                            id.len()
                        );
                        let _gone = stream.write_all(answer.as_bytes()).await;
                        let _gone = stream.shutdown().await;
                    }
                    Err(error) => said
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(untrusted(&error).map_or(error.to_string(), ToString::to_string)),
                }
            }
        });
        Self {
            addr,
            refused,
            _tasks: tasks,
        }
    }

    /// Why it refused connections since the last call.
    pub(crate) fn refused(&self) -> Vec<String> {
        std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Connects to `addr` and asks for `/`; the answer, or why there is none.
pub(crate) async fn ask(
    source: &Source,
    addr: SocketAddr,
    expected: Expected,
) -> Result<String, String> {
    let connector = TlsConnector::from(Arc::new(client_config(source, expected, &[b"http/1.1"])));
    let stream = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("products.shop").unwrap();
    let mut stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| untrusted(&error).map_or(error.to_string(), ToString::to_string))?;
    exchange(&mut stream)
        .await
        .map_err(|error| error.to_string())
}

/// One request over a connection that is open.
pub(crate) async fn exchange(
    stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
) -> std::io::Result<String> {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: products.shop\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
