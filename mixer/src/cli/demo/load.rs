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

/// One request for a path, on a connection of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// The service, as the request names it.
    pub(super) host: &'a str,
    /// What of it.
    pub(super) path: &'a str,
    /// What else the request says.
    pub(super) headers: &'a [(&'a str, &'a str)],
}

impl Call<'_> {
    /// Sends it over `stream`; the status, and the text of the answer.
    pub(super) async fn over(self, stream: TcpStream) -> io::Result<(StatusCode, String)> {
        let (mut sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let exchange = async {
            let mut request = Request::get(self.path).header(header::HOST, self.host);
            for (name, value) in self.headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Empty::<Bytes>::new());
            let request = request.expect("a method, a path and headers of ours make a request");
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
            let text = String::from_utf8_lossy(&body.to_bytes())
                .trim_end()
                .to_owned();
            Ok((status, text))
        };
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // What came before the end is there still.
            _ = connection => exchange.await,
        }
    }
}

/// A customer asks once, from `from`.
pub(super) async fn ask_once(from: IpAddr, to: SocketAddr) -> io::Result<(StatusCode, String)> {
    let call = Call {
        host: "frontend.shop",
        path: "/products/1",
        headers: &[],
    };
    call.over(connect(from, to).await?).await
}

/// A connection from an address of this machine.
pub(super) async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
