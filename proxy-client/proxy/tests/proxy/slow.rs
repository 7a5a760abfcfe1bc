//! Callers that are slow on purpose: with heads, with bodies, with reading; and others that only look like it.

use std::time::Duration;

use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mixer_runtime::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::app::{App, http2};
use crate::frames::{Caller, END_STREAM, HEADERS, frame, get};
use crate::mixer::{TestMixer, nothing};
use crate::raw::{RawApp, head, spawn, status};
use crate::{config, soon, start};

/// Reads until the proxy closes.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset closes it too.
    let _ = soon(stream.read_to_end(&mut rest)).await;
    rest
}

/// A connection whose POST is begun and never ended.
async fn stalling(to: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nab")
        .await
        .unwrap();
    stream
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let app = RawApp::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut config = config(&mixer, app.address);
    config.limits.head = Duration::from_millis(50);
    let proxy = start(config).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n")
        .await
        .unwrap();
    let dripping = async {
        while stream.write_all(b"x: y\r\n").await.is_ok() {
            Clock::system().sleep(Duration::from_millis(5)).await;
        }
    };
    soon(dripping).await;
    assert!(app.heads().is_empty());
}

#[tokio::test]
async fn a_head_of_http2_that_does_not_end_is_cut_off() {
    let (mixer, app) = (
        TestMixer::allowing(nothing(), &[]).await,
        App::start().await,
    );
    let mut config = config(&mixer, app.address);
    config.limits.head = Duration::from_millis(50);
    let proxy = start(config).await;
    let mut caller = Caller::connect(proxy.inbound().unwrap()).await;
    caller
        .send(&frame(HEADERS, END_STREAM, 1, &get(b"/", &[])))
        .await;
    closed(&mut caller.stream).await;
    assert!(app.seen().is_empty());
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let (mixer, app) = (
        TestMixer::allowing(nothing(), &[]).await,
        App::start().await,
    );
    let mut config = config(&mixer, app.address);
    config.limits.idle = Duration::from_millis(50);
    let proxy = start(config).await;
    let to = proxy.inbound().unwrap();
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(closed(&mut stream).await.ends_with(b"hello\n"));
    let mut caller = Caller::connect(to).await;
    closed(&mut caller.stream).await;
}

#[tokio::test]
async fn a_body_that_stalls_is_cut_off_and_a_call_that_pauses_is_not() {
    let (mixer, app) = (
        TestMixer::allowing(nothing(), &[]).await,
        App::start().await,
    );
    let mut config = config(&mixer, app.address);
    config.limits.stalled = Duration::from_millis(50);
    let proxy = start(config).await;
    let to = proxy.inbound().unwrap();
    // The call of gRPC is older than what is cut off.
    let (more, body) = tokio::sync::mpsc::channel::<Result<Frame<bytes::Bytes>, _>>(1);
    let mut client = http2(to).await;
    let request = Request::post("http://products/echo").header("content-type", "application/grpc");
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(body)).boxed();
    let response = soon(client.send_request(request.body(body).unwrap()))
        .await
        .unwrap();
    closed(&mut stalling(to).await).await;
    // As is a call of HTTP/2 that is none of gRPC.
    let (_more, body) = tokio::sync::mpsc::channel::<Result<Frame<bytes::Bytes>, _>>(1);
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(body)).boxed();
    let mut other = http2(to).await;
    let stalls =
        soon(other.send_request(Request::post("http://products/echo").body(body).unwrap()));
    assert!(
        soon(stalls.await.unwrap().into_body().collect())
            .await
            .is_err()
    );

    more.send(Ok(Frame::data("late".into()))).await.unwrap();
    drop(more);
    let late = soon(response.into_body().collect()).await.unwrap();
    assert_eq!(late.to_bytes(), "late");
}

#[tokio::test]
async fn a_server_that_is_slow_is_not_its_caller_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut config = config(&mixer, address);
    config.limits.stalled = Duration::from_millis(50);
    let proxy = start(config).await;
    let to = proxy.inbound().unwrap();
    let mut waiting = TcpStream::connect(to).await.unwrap();
    waiting
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    head(&mut server).await;
    // By the time that another one was cut off, this one has waited as long.
    closed(&mut stalling(to).await).await;
    server
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(status(&head(&mut waiting).await), 200);
}

#[tokio::test]
async fn a_response_that_is_not_taken_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, given_up) = tokio::sync::oneshot::channel();
    spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let most: u64 = 1 << 40;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {most}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // Until the proxy, which stopped reading, closes.
        while stream.write_all(&[7; 64 << 10]).await.is_ok() {}
        let _ = tell.send(());
    });
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut config = config(&mixer, address);
    config.limits.stalled = Duration::from_millis(50);
    let proxy = start(config).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(status(&head(&mut stream).await), 200);
    soon(given_up).await.unwrap();
}
