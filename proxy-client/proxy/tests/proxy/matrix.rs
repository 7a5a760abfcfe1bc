//! HTTP/1 and HTTP/2 in, HTTP/1 and HTTP/2 out; trailers and upgrades.

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::app::{App, empty, frames, http2};
use crate::mixer::{TestMixer, nothing};
use crate::raw::{self, get, header, send, status};
use crate::{config, soon, start};

fn declared(protocol: &str) -> Vec<String> {
    match protocol {
        "" => Vec::new(),
        _ => vec![format!(
            r#"{{"service":"products.shop","protocol":"{protocol}"}}"#
        )],
    }
}

#[tokio::test]
async fn every_protocol_reaches_an_application_of_every_protocol() {
    for (protocol, version) in [
        ("", Version::HTTP_11),
        ("http", Version::HTTP_11),
        ("http2", Version::HTTP_2),
        ("grpc", Version::HTTP_2),
    ] {
        let app = App::start().await;
        let mixer = TestMixer::allowing(nothing(), &declared(protocol)).await;
        let proxy = start(config(&mixer, app.address)).await;
        let to = proxy.inbound().unwrap();

        let response = send(to, "POST /echo?x=1 HTTP/1.1\r\nhost: products\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello").await;
        assert!(response.ends_with("hello"), "{protocol}: {response}");
        let chunked = "POST /echo HTTP/1.1\r\nhost: products\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        assert!(send(to, chunked).await.contains("hello"), "{protocol}");

        let mut client = http2(to).await;
        let body = frames(vec![
            Frame::data(Bytes::from_static(b"hel")),
            Frame::data(Bytes::from_static(b"lo")),
        ]);
        let request = Request::post("http://products:81/echo?x=1")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let response = soon(client.send_request(request.body(body).unwrap()))
            .await
            .unwrap();
        assert_eq!(
            soon(response.into_body().collect())
                .await
                .unwrap()
                .to_bytes(),
            "hello",
            "{protocol}"
        );

        let seen = app.seen();
        assert_eq!(seen.len(), 3);
        assert!(
            seen.iter()
                .all(|seen| seen.version == version && seen.method == "POST"),
            "{protocol}: {seen:?}"
        );
        let (authority, cookie) = (&seen[2], &seen[2].headers["cookie"]);
        if version == Version::HTTP_11 {
            assert_eq!(
                (&*authority.uri, &authority.headers["host"], cookie),
                (
                    "/echo?x=1",
                    &"products:81".parse().unwrap(),
                    &"a=1; b=2".parse().unwrap()
                )
            );
        } else {
            assert_eq!(authority.uri, "http://products:81/echo?x=1");
            assert!(!authority.headers.contains_key("host"));
        }
    }
}

#[tokio::test]
async fn grpc_passes_with_its_trailers_without_being_declared() {
    let app = App::start().await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, app.address)).await;
    let mut client = http2(proxy.inbound().unwrap()).await;
    let named = |name: &str| (name.parse().unwrap(), "7".parse().unwrap());
    let claims = ["x-mixer-principal", "x_mixer_b", "x-forwarded-client-cert"];
    let trailers = HeaderMap::from_iter(["x-checksum"].into_iter().chain(claims).map(named));
    for path in ["/shop.Products/List", "/echo"] {
        let body = frames(vec![
            Frame::data(Bytes::from_static(b"\0\0\0\0\x01x")),
            Frame::trailers(trailers.clone()),
        ]);
        let request = Request::post(format!("http://products{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let response = soon(client.send_request(request.body(body).unwrap()))
            .await
            .unwrap();
        let collected = soon(response.into_body().collect()).await.unwrap();
        let expected = if path == "/echo" {
            "x-checksum"
        } else {
            "grpc-status"
        };
        assert!(
            collected
                .trailers()
                .is_some_and(|trailers| trailers.contains_key(expected)),
            "{path}"
        );
        for claim in claims {
            assert!(
                !collected.trailers().unwrap().contains_key(claim),
                "{path}: the application got {claim}"
            );
        }
        assert_eq!(collected.to_bytes(), &b"\0\0\0\0\x01x"[..]);
    }
    let seen = app.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.version == Version::HTTP_2 && seen.headers["te"] == "trailers"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn requests_share_an_http2_connection_and_get_more_when_it_is_full() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, mut connected) = tokio::sync::mpsc::unbounded_channel();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let open = gate.clone();
    raw::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.send(()).unwrap();
            let gate = gate.clone();
            raw::spawn(async move {
                let service = hyper::service::service_fn(move |_request| {
                    let gate = gate.clone();
                    async move {
                        gate.acquire().await.unwrap().forget();
                        Ok::<_, std::convert::Infallible>(http::Response::new(empty()))
                    }
                });
                let mut server =
                    hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
                server.max_concurrent_streams(2);
                let _ = server
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    let mixer = TestMixer::allowing(nothing(), &declared("http2")).await;
    let proxy = start(config(&mixer, address)).await;
    let client = http2(proxy.inbound().unwrap()).await;
    let ask = || {
        let mut client = client.clone();
        async move {
            client
                .send_request(Request::get("http://products/").body(empty()).unwrap())
                .await
                .unwrap()
                .status()
        }
    };
    // One at a time on one connection; its settings say two streams.
    open.add_permits(2);
    soon(async { assert!(ask().await.is_success() && ask().await.is_success()) }).await;
    connected.recv().await.unwrap();
    assert!(connected.try_recv().is_err());
    let all = async {
        tokio::join!(ask(), ask(), ask(), ask(), async {
            // Four at once need a second connection before any of them is answered.
            connected.recv().await.unwrap();
            open.add_permits(4);
        })
    };
    let (a, b, c, d, ()) = soon(all).await;
    assert!([a, b, c, d].iter().all(|status| status.is_success()));
}

#[tokio::test]
async fn an_upgraded_connection_is_carried_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    raw::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = tell.send(raw::head(&mut stream).await);
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: x\r\n\r\n";
        stream.write_all(switch).await.unwrap();
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).await.unwrap();
        assert_eq!(&ping, b"ping");
        stream.write_all(b"pong").await.unwrap();
    });
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, address)).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    let ask = "GET /chat HTTP/1.1\r\nhost: products\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\nsec-websocket-key: k\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let response = raw::head(&mut stream).await;
    assert_eq!(
        (
            status(&response),
            header(&response, "upgrade"),
            header(&response, "connection")
        ),
        (101, Some("websocket"), Some("upgrade"))
    );
    assert_eq!(header(&response, "sec-websocket-accept"), Some("x"));
    stream.write_all(b"ping").await.unwrap();
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"pong");
    let head = told.await.unwrap();
    assert_eq!(
        (
            header(&head, "upgrade"),
            header(&head, "connection"),
            header(&head, "sec-websocket-key")
        ),
        (Some("websocket"), Some("upgrade"), Some("k"))
    );
}

#[tokio::test]
async fn a_websocket_outlives_a_change_of_the_documents() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    raw::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            raw::spawn(async move {
                raw::head(&mut stream).await;
                let switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
                stream.write_all(switch).await.unwrap();
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    let mixer = TestMixer::start(crate::mixer::nothing(), &[], |_| {
        crate::mixer::deny(mixer_proto::v1::Because::Matched, 403, 7, "closed")
    })
    .await;
    let proxy = start(config(&mixer, address)).await;
    let to = proxy.inbound().unwrap();
    let mut stream = TcpStream::connect(to).await.unwrap();
    let ask =
        "GET /chat HTTP/1.1\r\nhost: products\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    assert_eq!(status(&raw::head(&mut stream).await), 101);
    // Frames of WebSocket are no HTTP: with bytes that no head may have, and lines that end in LF.
    let mut echoes = async || {
        for frame in [
            &b"\x81\x85\x01\x02\x03\x04hello"[..],
            b"\n\n\0 \n",
            b"GET / HTTP/1.1\n",
        ] {
            stream.write_all(frame).await.unwrap();
            let mut echo = vec![0; frame.len()];
            soon(stream.read_exact(&mut echo)).await.unwrap();
            assert_eq!(echo, frame);
        }
    };
    echoes().await;
    // From now on everything is denied, and the service speaks something else.
    mixer.announce(|state| {
        state.inbound = Some(crate::mixer::scope());
        state.documents = declared("http2");
    });
    soon(async { while status(&send(to, get("/", "")).await) != 403 {} }).await;
    echoes().await;
}

#[tokio::test]
async fn who_may_not_pass_is_not_told_to_continue() {
    let denied = TestMixer::start(crate::mixer::scope(), &[], |_| {
        crate::mixer::deny(mixer_proto::v1::Because::Matched, 403, 7, "closed")
    });
    let (_mixer, app, proxy) = crate::shop(denied.await).await;
    let ask = "POST /echo HTTP/1.1\r\nhost: products\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    let response = send(proxy.inbound().unwrap(), ask).await;
    assert_eq!(status(&response), 403);
    assert!(app.seen().is_empty());
}

#[tokio::test]
async fn a_caller_is_told_to_continue_through_two_proxies() {
    let app = App::start().await;
    let (to, _chain) = crate::grpc::chain(app.address).await;
    let mut stream = TcpStream::connect(to).await.unwrap();
    let ask = "POST /echo HTTP/1.1\r\nhost: products.shop\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let told = raw::head(&mut stream).await;
    assert_eq!(told, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").await.unwrap();
    let mut rest = String::new();
    soon(stream.read_to_string(&mut rest)).await.unwrap();
    assert!(
        rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("hi"),
        "{rest}"
    );
}

#[tokio::test]
async fn a_switch_nobody_asked_for_is_no_response() {
    let app = raw::RawApp::answering(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    )
    .await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, app.address)).await;
    assert!(matches!(
        status(&send(proxy.inbound().unwrap(), get("/", "")).await),
        502 | 503
    ));
}

#[tokio::test]
async fn an_upgrade_to_http2_is_not_passed_on() {
    let app = raw::RawApp::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, app.address)).await;
    let ask = "GET / HTTP/1.1\r\nhost: products\r\nupgrade: h2c\r\nconnection: upgrade, http2-settings, close\r\nhttp2-settings: AAMAAABk\r\n\r\n";
    assert_eq!(status(&send(proxy.inbound().unwrap(), ask).await), 200);
    let head = app.heads().remove(0);
    assert!(
        header(&head, "upgrade").is_none() && header(&head, "http2-settings").is_none(),
        "{head}"
    );
}

#[tokio::test]
async fn a_caller_is_told_to_continue() {
    let (_mixer, _app, proxy) = crate::shop(TestMixer::allowing(nothing(), &[]).await).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    let ask = "POST /echo HTTP/1.1\r\nhost: products\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    assert_eq!(
        raw::head(&mut stream).await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"hi").await.unwrap();
    let mut rest = String::new();
    soon(stream.read_to_string(&mut rest)).await.unwrap();
    assert!(
        rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("hi"),
        "{rest}"
    );
}

#[tokio::test]
async fn head_and_no_content_have_no_body() {
    let app = raw::RawApp::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, app.address)).await;
    assert_eq!(
        status(&send(proxy.inbound().unwrap(), get("/", "")).await),
        204
    );
    let (_mixer, _app, proxy) = crate::shop(TestMixer::allowing(nothing(), &[]).await).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    for _ in 0..3 {
        stream
            .write_all(b"HEAD / HTTP/1.1\r\nhost: products\r\n\r\n")
            .await
            .unwrap();
        let head = raw::head(&mut stream).await;
        assert_eq!(
            (status(&head), header(&head, "content-length")),
            (200, Some("6"))
        );
    }
}
