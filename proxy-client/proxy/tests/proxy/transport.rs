//! Connections that break, requests that are malformed, servers that are not there.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mixer::{TestMixer, nothing};
use crate::raw::{RawApp, body, get, head, send, spawn, status};
use crate::{config, soon, start};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

#[tokio::test]
async fn an_application_that_is_down_is_503() {
    let (_held, gone) = crate::raw::refusing();
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, gone)).await;
    let response = send(proxy.inbound().unwrap(), get("/", "")).await;
    assert_eq!(status(&response), 503);
    assert!(
        body(&response).starts_with("cannot connect to "),
        "{response}"
    );
}

#[tokio::test]
async fn an_application_that_hangs_up_is_503_and_one_that_babbles_502() {
    for (answer, code) in [
        ("", 503),
        ("HTTP/1.1 200", 503),
        ("who is there?\r\n\r\n", 502),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                head(&mut stream).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let mixer = TestMixer::allowing(nothing(), &[]).await;
        let proxy = start(config(&mixer, address)).await;
        assert_eq!(
            status(&send(proxy.inbound().unwrap(), get("/", "")).await),
            code,
            "{answer:?}"
        );
    }
}

/// Answers the first request of each connection; a second one is read, noted, and the connection closed.
async fn forgetful() -> (
    std::net::SocketAddr,
    tokio::sync::mpsc::UnboundedReceiver<String>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (note, noted) = tokio::sync::mpsc::unbounded_channel();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let note = note.clone();
            spawn(async move {
                for answer in [OK, ""] {
                    let _ = note.send(head(&mut stream).await);
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (address, noted)
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_where_that_is_safe() {
    let (address, mut noted) = forgetful().await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, address)).await;
    let ask = async |request: &str| status(&send(proxy.inbound().unwrap(), request).await);
    assert_eq!(ask(&get("/1", "")).await, 200);
    assert_eq!(ask(&get("/2", "")).await, 200);
    let mut heads = Vec::new();
    while heads.len() < 3 {
        heads.push(soon(noted.recv()).await.unwrap());
    }
    let asked: Vec<&str> = heads.iter().map(|head| &head[..6]).collect();
    assert_eq!(asked, ["GET /1", "GET /2", "GET /2"]);
    // The next one takes the kept connection again. A POST may have been carried out before the connection died.
    let post = "POST /3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(ask(post).await, 503);
    assert!(soon(noted.recv()).await.unwrap().starts_with("POST /3"));
    assert!(noted.try_recv().is_err());
}

#[tokio::test]
async fn a_response_cut_short_is_cut_short_for_the_caller_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .await
            .unwrap();
    });
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, address)).await;
    let response = send(proxy.inbound().unwrap(), get("/", "")).await;
    assert!(
        response.contains("abc") && !response.contains("0\r\n\r\n"),
        "{response}"
    );
}

#[tokio::test]
async fn connections_to_the_application_are_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..20 {
            head(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    });
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, address)).await;
    // A second connection would never be accepted.
    for _ in 0..10 {
        assert_eq!(
            status(&send(proxy.inbound().unwrap(), get("/", "")).await),
            200
        );
    }
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    for _ in 0..10 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut response = vec![0; 3];
        assert_eq!(status(&head(&mut stream).await), 200);
        soon(stream.read_exact(&mut response)).await.unwrap();
    }
}

#[tokio::test]
async fn a_second_proxy_on_a_taken_port_does_not_start() {
    let (mixer, app, proxy) = crate::shop(TestMixer::allowing(nothing(), &[]).await).await;
    let mut second = config(&mixer, app.address);
    second.inbound = proxy.inbound();
    let started = mixer_proxy::Proxy::start(
        second,
        mixer_runtime::Clock::system(),
        std::sync::Arc::new(mixer_runtime::Random::from_seed(1)),
    );
    assert!(
        matches!(
            started,
            Err(mixer_proxy::StartError::Listen {
                purpose: "inbound",
                ..
            })
        ),
        "{started:?}"
    );
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let app = RawApp::answering(OK).await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut config = config(&mixer, app.address);
    config.limits.connections = 2;
    let proxy = start(config).await;
    let to = proxy.inbound().unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(status(&head(&mut stream).await), 200);
        held.push(stream);
    }
    assert_eq!(send(to, get("/", "")).await, "");
    held.clear();
    soon(async { while send(to, get("/", "")).await.is_empty() {} }).await;
}
