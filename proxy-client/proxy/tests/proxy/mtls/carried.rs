//! HTTP/1.1 over HTTP/2 between two of our proxies: fewer connections, and nobody can tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{PRODUCTS, Pair, Setup, count};
use crate::app::App;
use crate::mixer::{TestMixer, nothing};
use crate::raw::{RawApp, body, header, send, spawn, status};
use crate::{config, soon, start};

#[tokio::test]
async fn a_thousand_requests_at_once_share_one_connection() {
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    let outbound = pair.near.outbound().unwrap();
    let mut asked = JoinSet::new();
    for number in 0..1_000 {
        asked.spawn(async move {
            let request = format!(
                "POST /echo HTTP/1.1\r\nhost: products.shop\r\nconnection: close\r\ncontent-length: 4\r\n\r\n{number:04}"
            );
            let response = send(outbound, request).await;
            assert_eq!((status(&response), body(&response)), (200, &*format!("{number:04}")));
        });
    }
    while let Some(done) = soon(asked.join_next()).await {
        done.unwrap();
    }
    assert_eq!(
        count(&pair.far, "mixer_proxy_tls_connections_total").await,
        1
    );
    assert_eq!(
        count(&pair.near, "mixer_proxy_upstream_connects_total").await,
        1
    );
    let seen = app.seen();
    assert_eq!(seen.len(), 1_000);
    assert!(
        seen.iter()
            .all(|seen| seen.version == http::Version::HTTP_11)
    );
}

#[tokio::test]
async fn the_application_and_its_caller_see_what_they_see_without() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-two: a\r\nx-two: b\r\nkeep-alive: timeout=5\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\nok\n";
    const REQUESTS: [&str; 6] = [
        "GET / HTTP/1.1\r\nhost: products.shop\r\nconnection: close\r\n\r\n",
        "GET /a%20b/../c?q=1&q=2 HTTP/1.1\r\nHost: Products.Shop:9080\r\nConnection: close, x-hop\r\nx-hop: 1\r\nX-Kept: yes\r\n\r\n",
        "GET http://products.shop/x HTTP/1.1\r\nhost: other\r\nconnection: close\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n",
        "DELETE /a HTTP/1.1\r\nhost: products.shop\r\nconnection: close\r\ncontent-length: 0\r\nte: trailers\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: products.shop\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: products.shop\r\nx-two: a\r\nx-two: b\r\n\r\n",
    ];
    let mut told: Vec<Vec<(Vec<String>, Vec<String>)>> = Vec::new();
    for service in [json!({"tls": "disable"}), json!({"tls": "strict"})] {
        let app = RawApp::answering(ANSWER).await;
        let setup = Setup {
            mesh: json!({"mesh": {}}),
            service,
            ..Setup::default()
        };
        let pair = Pair::start(app.address, setup).await;
        let mut of_all = Vec::new();
        for request in REQUESTS {
            let response = send(pair.near.outbound().unwrap(), request).await;
            assert_eq!(status(&response), 200, "{request} {response}");
            of_all.push((lines(&app.heads().remove(0)), lines(&response)));
        }
        let proven = count(&pair.far, "mixer_proxy_tls_connections_total").await;
        assert_eq!(proven > 0, told.len() == 1);
        told.push(of_all);
    }
    assert_eq!(told[0], told[1]);
}

/// The lines of a head in an order of their own, without what differs each time.
fn lines(head: &str) -> Vec<String> {
    let changing = |line: &&str| !line.starts_with("x-request-id") && !line.starts_with("date");
    let tracing = |line: &&str| {
        !["traceparent", "x-b3-", "b3:"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let mut lines: Vec<String> = head
        .lines()
        .filter(changing)
        .filter(tracing)
        .map(str::to_owned)
        .collect();
    // Of one name the order counts.
    lines[1..].sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
    lines
}

#[tokio::test]
async fn bodies_trailers_and_grpc_pass() {
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    let chunked = "POST /echo HTTP/1.1\r\nhost: products.shop\r\nconnection: close\r\nte: trailers\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n";
    let response = send(pair.near.outbound().unwrap(), chunked).await;
    assert!(
        response.contains("abc") && response.contains("de"),
        "{response}"
    );
    let mut sender = crate::app::http2(pair.near.outbound().unwrap()).await;
    let request = Request::post("http://products.shop/shop.Products/Get")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(crate::app::frames(vec![http_body::Frame::data(
            Bytes::from_static(b"12345"),
        )]))
        .unwrap();
    let response = soon(sender.send_request(request)).await.unwrap();
    let whole = soon(response.into_body().collect()).await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(
        count(&pair.far, "mixer_proxy_tls_connections_total").await,
        1
    );
}

#[tokio::test]
async fn callers_that_do_not_read_hold_up_no_others_of_their_connection() {
    const SLOW: usize = 64;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn(async move {
                let head = crate::raw::head(&mut stream).await;
                let size = if head.starts_with("GET /big") {
                    4 << 20
                } else {
                    3
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&vec![b'x'; size]).await;
            });
        }
    });
    let pair = Pair::start(app, Setup::default()).await;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        // So that it is not the kernel that reads.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let connecting = socket.connect(pair.near.outbound().unwrap());
        let mut stream = connecting.await.unwrap();
        let request = "GET /big HTTP/1.1\r\nhost: products.shop\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(status(&crate::raw::head(&mut stream).await), 200);
        slow.push(stream);
    }
    for _ in 0..20 {
        let response = pair.ask("/", "").await;
        assert_eq!((status(&response), body(&response)), (200, "xxx"));
    }
    // Nothing of what they did not read was lost.
    let mut first = slow.swap_remove(0);
    let mut whole = vec![0; 4 << 20];
    soon(first.read_exact(&mut whole)).await.unwrap();
    assert!(whole.iter().all(|byte| *byte == b'x'));
    assert_eq!(
        count(&pair.far, "mixer_proxy_tls_connections_total").await,
        1
    );
}

#[tokio::test]
async fn callers_that_go_away_take_no_others_with_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn(async move {
                let head = crate::raw::head(&mut stream).await;
                if head.starts_with("GET /never") {
                    let _ = stream.read_u8().await;
                } else {
                    let _ = stream
                        .write_all(
                            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nxxx",
                        )
                        .await;
                }
            });
        }
    });
    let pair = Pair::start(app, Setup::default()).await;
    for _ in 0..3 {
        let mut waiting = Vec::new();
        for _ in 0..200 {
            let mut stream = TcpStream::connect(pair.near.outbound().unwrap())
                .await
                .unwrap();
            let request = "GET /never HTTP/1.1\r\nhost: products.shop\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            waiting.push(stream);
        }
        assert_eq!(status(&pair.ask("/", "").await), 200);
        drop(waiting);
        assert_eq!(status(&pair.ask("/", "").await), 200);
    }
    assert_eq!(
        count(&pair.far, "mixer_proxy_tls_connections_total").await,
        1
    );
    assert_eq!(
        count(&pair.far, "mixer_proxy_connections_cut_total").await,
        0
    );
}

/// Sends POSTs one after the other on a connection of its own until it is told to stop; how many.
async fn posting(to: std::net::SocketAddr, stop: Arc<AtomicBool>) -> usize {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let request = "POST /echo HTTP/1.1\r\nhost: products.shop\r\ncontent-length: 4\r\n\r\nbody";
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = crate::raw::head(&mut stream).await;
        assert_eq!(status(&head), 200, "{head}");
        let mut body = [0; 4];
        soon(stream.read_exact(&mut body)).await.unwrap();
        assert_eq!(&body, b"body");
        sent += 1;
    }
    sent
}

#[tokio::test]
async fn a_proxy_that_ends_gracefully_fails_no_request_that_is_carried_to_it() {
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    let mut ending = Vec::new();
    for _ in 0..2 {
        let documents = [
            json!({"mesh": {"tls": "strict"}}).to_string(),
            Setup::default().document(&[]),
        ];
        let mixer = TestMixer::allowing(nothing(), &documents).await;
        let mut far = config(&mixer, app.address);
        let source = mixer_identity::Source::fixed(pair.root.identity(PRODUCTS, &[]));
        far.identity = mixer_proxy::IdentityFrom::Published(source);
        ending.push((mixer, start(far).await));
    }
    let all = ending.iter().map(|(_, far)| far).chain([&pair.far]);
    let endpoints: Vec<String> = all.map(|far| far.inbound().unwrap().to_string()).collect();
    let documents = [
        json!({"mesh": {"tls": "strict"}}).to_string(),
        Setup::default().document(&endpoints),
    ];
    let mixer = TestMixer::allowing(nothing(), &documents).await;
    let mut near = config(&mixer, app.address);
    let source = mixer_identity::Source::fixed(pair.root.identity(super::FRONTEND, &[]));
    near.identity = mixer_proxy::IdentityFrom::Published(source);
    let near = start(near).await;

    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..32 {
        callers.spawn(posting(near.outbound().unwrap(), stop.clone()));
    }
    for (_mixer, far) in ending {
        soon(async {
            while count(
                &far,
                "mixer_proxy_requests_total{side=\"inbound\",code=\"2xx\"}",
            )
            .await
                < 50
            {}
        })
        .await;
        assert_eq!(soon(far.shutdown()).await, 0);
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = 0;
    while let Some(caller) = soon(callers.join_next()).await {
        sent += caller.unwrap();
    }
    assert!(sent > 100);
    // Nothing was sent twice either.
    assert_eq!(app.seen().len(), sent);
}

/// A server of another kind that has an identity, and says which protocol it took and which it was asked in.
async fn foreign(pair: &Pair, alpn: &[&[u8]]) -> std::net::SocketAddr {
    let source = mixer_identity::Source::fixed(pair.root.identity(PRODUCTS, &[]));
    let acceptor = TlsAcceptor::from(Arc::new(mixer_identity::server_config(&source, alpn)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let took = stream
                    .get_ref()
                    .1
                    .alpn_protocol()
                    .map(|name| name.escape_ascii().to_string());
                let service = service_fn(move |request: Request<Incoming>| {
                    let text = format!("{took:?} {:?}", request.version());
                    async {
                        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(
                            text,
                        ))))
                    }
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_peer_of_another_kind_is_spoken_to_in_what_it_takes() {
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    let cases: [(&[&[u8]], &str); 3] = [
        (&[b"h2", b"http/1.1"], "Some(\"h2\") HTTP/2.0"),
        (&[b"http/1.1"], "Some(\"http/1.1\") HTTP/1.1"),
        (&[], "None HTTP/1.1"),
    ];
    for (alpn, expected) in cases {
        let address = foreign(&pair, alpn).await;
        let documents = [
            json!({"mesh": {"tls": "strict"}}).to_string(),
            Setup::default().document(&[address.to_string()]),
        ];
        let mixer = TestMixer::allowing(nothing(), &documents).await;
        let mut near = config(&mixer, app.address);
        let source = mixer_identity::Source::fixed(pair.root.identity(super::FRONTEND, &[]));
        near.identity = mixer_proxy::IdentityFrom::Published(source);
        let near = start(near).await;
        for _ in 0..3 {
            let request = "GET / HTTP/1.1\r\nhost: products.shop\r\nconnection: close\r\n\r\n";
            let response = send(near.outbound().unwrap(), request).await;
            assert_eq!((status(&response), body(&response)), (200, expected));
            assert!(header(&response, "content-length").is_some());
        }
        assert_eq!(
            count(&near, "mixer_proxy_upstream_connects_total").await,
            1,
            "{expected}"
        );
    }
}

#[tokio::test]
async fn endpoints_are_asked_for_their_health_over_tls_and_as_the_service() {
    for (expected, healthy) in [
        (Setup::default().expected, true),
        ("spiffe://cluster.local/ns/shop/sa/other", false),
    ] {
        for health in [json!({"http": "/healthz"}), json!({"tcp": true})] {
            let app = App::start().await;
            let service = json!({"health": health});
            let pair = Pair::start(
                app.address,
                Setup {
                    expected,
                    service,
                    ..Setup::default()
                },
            )
            .await;
            let clusters = soon(async {
                loop {
                    let clusters =
                        send(pair.near.admin().unwrap(), crate::raw::get("/clusters", "")).await;
                    let clusters: serde_json::Value =
                        serde_json::from_str(body(&clusters)).unwrap();
                    let endpoint = clusters["products.shop"]["endpoints"][0].clone();
                    let asked = count(&pair.far, "mixer_proxy_connections_total").await > 0;
                    if asked && endpoint["healthy"] == healthy {
                        return endpoint;
                    }
                }
            })
            .await;
            assert_eq!(clusters["healthy"], healthy);
        }
    }
}
