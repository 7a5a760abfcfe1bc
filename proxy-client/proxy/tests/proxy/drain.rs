//! The end: nothing in flight is lost, nothing new is taken.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use http::Request;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::app::{App, empty, http2};
use crate::mixer::{TestMixer, nothing};
use crate::process::Sidecar;
use crate::raw::{head, header, spawn, status};
use crate::{config, soon, start};

/// An application that answers when it is told to.
async fn slow() -> (
    std::net::SocketAddr,
    tokio::sync::mpsc::UnboundedReceiver<()>,
    std::sync::Arc<tokio::sync::Semaphore>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = tokio::sync::mpsc::unbounded_channel();
    let answer = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let wait = answer.clone();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (tell, wait) = (tell.clone(), wait.clone());
            spawn(async move {
                while !head(&mut stream).await.is_empty() {
                    tell.send(()).unwrap();
                    wait.acquire().await.unwrap().forget();
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n")
                        .await
                        .unwrap();
                }
            });
        }
    });
    (address, asked, answer)
}

#[tokio::test]
async fn requests_in_flight_finish_and_their_connections_close() {
    let (address, mut asked, answer) = slow().await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, address)).await;
    let to = proxy.inbound().unwrap();

    let mut idle = TcpStream::connect(to).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    soon(asked.recv()).await.unwrap();
    answer.add_permits(1);
    assert_eq!(status(&head(&mut idle).await), 200);

    let mut busy = TcpStream::connect(to).await.unwrap();
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    soon(asked.recv()).await.unwrap();
    let mut client = http2(to).await;
    let mut streaming = std::pin::pin!(
        client.send_request(Request::get("http://products/").body(empty()).unwrap())
    );
    soon(async {
        tokio::select! {
            _ = &mut streaming => unreachable!("nobody answered yet"),
            asked = asked.recv() => asked.unwrap(),
        }
    })
    .await;
    let (shutdown, streamed, ()) = soon(async {
        tokio::join!(proxy.shutdown(), streaming, async {
            // The idle connection is closed while the others wait for their answers; the port refuses.
            assert_eq!(head(&mut idle).await, "ok\n");
            while TcpStream::connect(to).await.is_ok() {}
            answer.add_permits(2);
            let response = head(&mut busy).await;
            assert_eq!(
                (status(&response), header(&response, "connection")),
                (200, Some("close"))
            );
        })
    })
    .await;
    assert_eq!(shutdown, 0, "nothing had to be cut");
    let streamed = streamed.unwrap();
    assert_eq!(streamed.status(), 200);
    assert_eq!(
        soon(streamed.into_body().collect())
            .await
            .unwrap()
            .to_bytes(),
        "ok\n"
    );
    assert!(soon(client.ready()).await.is_err() || client.is_closed());
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let (address, mut asked, _answer) = slow().await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut config = config(&mixer, address);
    config.limits.drain = std::time::Duration::from_millis(50);
    let proxy = start(config).await;
    let mut busy = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    soon(asked.recv()).await.unwrap();
    assert_eq!(soon(proxy.shutdown()).await, 1);
    assert_eq!(head(&mut busy).await, "");
}

#[tokio::test]
async fn several_proxies_live_and_end_in_one_process() {
    let mut shops = Vec::new();
    for _ in 0..3 {
        shops.push(crate::shop(TestMixer::allowing(nothing(), &[]).await).await);
    }
    for (mixer, app, proxy) in shops {
        let response = crate::raw::send(proxy.inbound().unwrap(), crate::raw::get("/", "")).await;
        assert_eq!(status(&response), 200);
        assert_eq!(soon(proxy.shutdown()).await, 0);
        drop((mixer, app));
    }
}

/// Callers of HTTP/1 and of HTTP/2 each.
const CALLERS: usize = 25;

/// Asks on one connection until it is told that it was the last answer; how many answers.
async fn ask_http1(to: std::net::SocketAddr, done: Arc<AtomicUsize>) -> usize {
    let mut stream = TcpStream::connect(to).await.unwrap();
    for count in 1.. {
        let asked = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        stream
            .write_all(asked)
            .await
            .expect("nobody said it was over");
        let response = head(&mut stream).await;
        assert_eq!(status(&response), 200, "{response}");
        let mut body = [0; 6];
        stream.read_exact(&mut body).await.unwrap();
        done.fetch_add(1, Relaxed);
        if header(&response, "connection") == Some("close") {
            return count;
        }
    }
    unreachable!("the loop ends with a return")
}

/// Asks on one connection until GOAWAY; what was not sent by then is no failure, for the caller may send it elsewhere.
async fn ask_http2(to: std::net::SocketAddr, done: Arc<AtomicUsize>) -> usize {
    let mut client = http2(to).await;
    for count in 0.. {
        if client.ready().await.is_err() {
            return count;
        }
        let request = Request::get("http://a/").body(empty()).unwrap();
        match client.try_send_request(request).await {
            Ok(response) => {
                assert_eq!(response.status(), 200);
                let body = response.into_body().collect().await.unwrap();
                assert_eq!(body.to_bytes(), "hello\n");
                done.fetch_add(1, Relaxed);
            }
            Err(mut error) => {
                let unsent = error.take_message().is_some();
                let error = error.into_error();
                // RFC 9113 section 6.8: above the last stream that GOAWAY names nothing was processed.
                let source = error
                    .source()
                    .and_then(|source| source.downcast_ref::<h2::Error>());
                let refused = source.is_some_and(|error| {
                    error.is_go_away()
                        && error.is_remote()
                        && error.reason() == Some(h2::Reason::NO_ERROR)
                });
                assert!(unsent || refused, "a request failed: {error:?}");
                return count;
            }
        }
    }
    unreachable!("the loop ends with a return")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_it_ends_under_load() {
    let app = App::start().await;
    let mut sidecar = Sidecar::start(app.address, "service: products.shop\n");
    let done = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(ask_http1(sidecar.inbound, done.clone()));
        callers.spawn(ask_http2(sidecar.inbound, done.clone()));
    }
    while done.load(Relaxed) < 2_000 {
        tokio::task::yield_now().await;
    }
    sidecar.terminate();
    let mut answered = 0;
    while let Some(caller) = soon(callers.join_next()).await {
        let count = caller.unwrap();
        assert!(count > 0);
        answered += count;
    }
    println!(
        "{answered} requests of {} callers, none failed",
        2 * CALLERS
    );
    assert_eq!(answered, done.load(Relaxed));
    assert_eq!(
        answered,
        app.seen().len(),
        "whatever reached the application was answered"
    );
    assert!(sidecar.wait());
}
