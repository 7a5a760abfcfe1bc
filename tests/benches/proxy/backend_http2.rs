//! The application behind the proxies over HTTP/2: answers requests with 128 bytes, gRPC calls with a message of 128 bytes and
//! their trailers.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mixer_runtime::Tasks;
use tokio::net::TcpListener;

/// Serves on the address in the first argument until it is killed.
pub(crate) fn serve(mut arguments: impl Iterator<Item = String>) {
    let addr: SocketAddr = arguments
        .next()
        .and_then(|addr| addr.parse().ok())
        .expect("serve-backend-http2 ADDR");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(async {
        let listener = TcpListener::bind(addr).await.expect("the port is free");
        println!("listening");
        let tasks = Tasks::new();
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tasks.spawn("connection", async move {
                let served = http2::Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(1_000)
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                drop(served.await);
            });
        }
    });
}

async fn answer(
    request: Request<Incoming>,
) -> Result<
    Response<
        http_body_util::Either<Full<Bytes>, impl http_body::Body<Data = Bytes, Error = Infallible>>,
    >,
    Infallible,
> {
    let grpc = request
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind == "application/grpc");
    let _ = request.into_body().collect().await;
    let mut body = vec![b'x'; 128];
    if !grpc {
        return Ok(Response::new(http_body_util::Either::Left(Full::new(
            body.into(),
        ))));
    }
    // Not compressed, 123 bytes follow.
    body[..5].copy_from_slice(&[0, 0, 0, 0, 123]);
    let trailers = HeaderMap::from_iter([(
        "grpc-status".parse().expect("a name"),
        HeaderValue::from_static("0"),
    )]);
    let body = Full::new(Bytes::from(body)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(http_body_util::Either::Right(body));
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}
