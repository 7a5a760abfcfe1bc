//! Serving HTTP/1.1 for the demo's own services: one accept loop, one task a connection.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mixer_runtime::Tasks;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Answers requests to `address` with `answer` until `tasks` end; the address that was bound.
pub(super) async fn serve_http<A, F>(
    address: SocketAddr,
    tasks: &Tasks,
    answer: A,
) -> io::Result<SocketAddr>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send,
{
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tasks.spawn_until_stop("demo service", async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let _ = stream.set_nodelay(true);
                    let answer = answer.clone();
                    connections.spawn(async move {
                        let service = service_fn(answer);
                        // A connection that breaks is the client's business; it is counted where the request was made.
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok(bound)
}
