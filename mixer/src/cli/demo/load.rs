//! The demo's clients: each keeps a connection of its own, from an address of its own, and sends one request after another.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use mixer_runtime::{Clock, Tasks};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::count::{Counts, Ended};

/// One client.
#[derive(Clone, Debug)]
pub(super) struct LoadClient {
    /// The address it comes from.
    pub(super) from: IpAddr,
    /// Where it sends.
    pub(super) to: SocketAddr,
    /// How long it rests between two requests.
    pub(super) rest: Duration,
    /// How many different products it asks for.
    pub(super) products: u64,
    /// Numbers the requests of all clients.
    pub(super) next: Arc<AtomicU64>,
}

impl LoadClient {
    /// Sends until `tasks` are told to stop; the request in flight then is finished and counted.
    pub(super) fn start(self, clock: Clock, counts: Arc<Counts>, tasks: &Tasks) {
        let stop = tasks.stop();
        tasks.spawn("demo client", async move {
            while !stop.is_cancelled() {
                let start = clock.now();
                match connect(self.from, self.to).await {
                    Ok(stream) => self.session(stream, &clock, &counts, &stop).await,
                    Err(_) => {
                        counts.add(Ended::Failed, clock.now().since(start));
                        clock.sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
    }

    /// Requests over one connection, until it or the demo ends.
    async fn session(
        &self,
        stream: TcpStream,
        clock: &Clock,
        counts: &Counts,
        stop: &CancellationToken,
    ) {
        let Ok((mut sender, connection)) = handshake(TokioIo::new(stream)).await else {
            return;
        };
        let mut connection = std::pin::pin!(connection);
        while !stop.is_cancelled() {
            let start = clock.now();
            let ended = tokio::select! {
                answer = self.send(&mut sender) => answer.map_or(Ended::Failed, |status| Ended::from_status(status.as_u16())),
                _ = &mut connection => return,
            };
            counts.add(ended, clock.now().since(start));
            if ended == Ended::Failed {
                return;
            }
            if !self.rest.is_zero() {
                let _ = stop.run_until_cancelled(clock.sleep(self.rest)).await;
            }
        }
    }

    async fn send(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
    ) -> Result<StatusCode, hyper::Error> {
        let product = self.next.fetch_add(1, Ordering::Relaxed) % self.products;
        let request = Request::get(format!("/products/{product}"))
            .header(header::HOST, "frontend.shop")
            .body(Empty::new())
            .expect("a method, a path and a host make a request");
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        Ok(status)
    }
}

/// One request from `from`, with the text of its answer.
pub(super) async fn ask_once(from: IpAddr, to: SocketAddr) -> io::Result<(StatusCode, String)> {
    let (mut sender, connection) = handshake(TokioIo::new(connect(from, to).await?))
        .await
        .map_err(io::Error::other)?;
    let exchange = async {
        let request = Request::get("/products/1")
            .header(header::HOST, "frontend.shop")
            .body(Empty::<Bytes>::new());
        let request = request.expect("a method, a path and a host make a request");
        let response = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(io::Error::other)?;
        Ok((
            status,
            String::from_utf8_lossy(&body.to_bytes())
                .trim_end()
                .to_owned(),
        ))
    };
    tokio::select! {
        answer = exchange => answer,
        _ = connection => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
