//! The least that a proxy on hyper does: reads a request, sends it on, sends the answer back. One thread; each connection of a
//! caller has one to the application, so there is not even a pool.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mixer_runtime::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// Serves on the address in the first argument, in front of the one in the second, until it is killed.
pub(crate) fn serve(arguments: impl Iterator<Item = String>) {
    let addrs: Vec<SocketAddr> = arguments.filter_map(|addr| addr.parse().ok()).collect();
    let [addr, upstream] = addrs[..] else {
        panic!("serve-bare ADDR UPSTREAM")
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(async {
        let listener = TcpListener::bind(addr).await.expect("the port is free");
        println!("listening");
        let tasks = Tasks::new();
        while let Ok((stream, _)) = listener.accept().await {
            let inner = tasks.clone();
            tasks.spawn("connection", async move {
                let _ = stream.set_nodelay(true);
                let sender = Arc::new(Mutex::new(connect(upstream, &inner).await));
                let pass = service_fn(move |request: Request<Incoming>| {
                    let sender = sender.clone();
                    async move {
                        let mut sender = sender.lock().await;
                        sender.ready().await?;
                        sender.send_request(request).await
                    }
                });
                drop(
                    http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), pass)
                        .await,
                );
            });
        }
    });
}

async fn connect(upstream: SocketAddr, tasks: &Tasks) -> SendRequest<Incoming> {
    let stream = TcpStream::connect(upstream)
        .await
        .expect("the application listens");
    let _ = stream.set_nodelay(true);
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .expect("a connection can be used");
    tasks.spawn("upstream", async move { drop(connection.await) });
    sender
}
