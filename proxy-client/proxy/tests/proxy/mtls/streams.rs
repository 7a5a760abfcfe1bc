//! What is not one request: upgraded connections and opaque bytes, over mutual TLS.

use mixer_proto::v1::Because;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::issuer::connect;
use super::{FRONTEND, Pair, Setup, count, only};
use crate::mixer::{TestMixer, deny, nothing, scope};
use crate::raw::{head, spawn};
use crate::{config, soon, start};

/// Sends every byte back, after a word of its own.
async fn echo(word: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn(async move {
                let _ = stream.write_all(word.as_bytes()).await;
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    address
}

/// Changes to another protocol when it is asked to, and then sends every byte back.
async fn upgrading() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn(async move {
                let head = head(&mut stream).await;
                assert!(head.contains("upgrade: websocket"), "{head}");
                assert!(head.contains("host: products.shop"), "{head}");
                let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                stream.write_all(switching.as_bytes()).await.unwrap();
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_websocket_has_a_tls_connection_of_its_own() {
    let pair = Pair::start(upgrading().await, Setup::default()).await;
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(pair.near.outbound().unwrap())
            .await
            .unwrap();
        let ask = "GET /socket HTTP/1.1\r\nhost: products.shop\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.unwrap();
        let head = head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        sockets.push(stream);
    }
    for stream in &mut sockets {
        stream.write_all(b"\x81\x05hello").await.unwrap();
        let mut back = [0; 7];
        soon(stream.read_exact(&mut back)).await.unwrap();
        assert_eq!(&back, b"\x81\x05hello");
    }
    assert_eq!(
        count(&pair.far, "mixer_proxy_tls_connections_total").await,
        2
    );
    let checks = pair.far_mixer.checks();
    assert_eq!(checks[0]["source.service_account"], "frontend");

    // The authority goes, and what was upgraded with it.
    let other = super::Authority::new("cluster.local");
    let bundles = super::issuer::trusting([&other]);
    let identity = mixer_identity::Identity::new(pair.root.svid(super::PRODUCTS), bundles);
    pair.far_identity.publish(identity);
    for stream in &mut sockets {
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
    }
    assert_eq!(
        count(&pair.far, "mixer_proxy_tls_no_longer_trusted_total").await,
        2
    );
}

#[tokio::test]
async fn opaque_bytes_are_carried_over_mutual_tls_and_checked_with_who_sends_them() {
    for mesh in [json!({"mesh": {"tls": "strict"}}), json!({"mesh": {}})] {
        let setup = Setup {
            mesh,
            service: json!({"protocol": "tcp"}),
            ..Setup::default()
        };
        let pair = Pair::start(echo("220 ready\r\n").await, setup).await;
        let identity = pair.root.identity(FRONTEND, &[]);
        let mut stream = connect(identity, pair.far.inbound().unwrap(), &[b"mixer/1"])
            .await
            .unwrap();
        // The server speaks first.
        let mut word = [0; 11];
        soon(stream.read_exact(&mut word)).await.unwrap();
        assert_eq!(&word, b"220 ready\r\n");
        stream.write_all(b"\0\x01bytes").await.unwrap();
        let mut back = [0; 7];
        soon(stream.read_exact(&mut back)).await.unwrap();
        assert_eq!(&back, b"\0\x01bytes");
        let asked = only(pair.far_mixer.checks());
        assert_eq!(
            asked["source.principal"],
            "spiffe://cluster.local/ns/shop/sa/frontend"
        );
        assert_eq!(
            (&*asked["api.protocol"], &*asked["connection.mtls"]),
            ("tcp", "true")
        );
    }
}

#[tokio::test]
async fn the_applications_own_tls_passes_unread_unless_the_service_is_strict() {
    let hello = client_hello();
    for (mesh, service, passes) in [
        (json!({"mesh": {}}), json!({"protocol": "tcp"}), true),
        (
            json!({"mesh": {}}),
            json!({"tls": "disable", "protocol": "tcp"}),
            true,
        ),
        (
            json!({"mesh": {"tls": "strict"}}),
            json!({"protocol": "tcp"}),
            false,
        ),
    ] {
        let setup = Setup {
            mesh,
            service,
            ..Setup::default()
        };
        let pair = Pair::start(echo("").await, setup).await;
        let mut stream = TcpStream::connect(pair.far.inbound().unwrap())
            .await
            .unwrap();
        stream.write_all(&hello).await.unwrap();
        let mut back = vec![0; hello.len()];
        let read = soon(stream.read_exact(&mut back)).await;
        assert_eq!(read.is_ok() && back == hello, passes);
        if passes {
            assert_eq!(only(pair.far_mixer.checks())["connection.mtls"], "false");
        }
    }
}

/// What a TLS client says first that offers `h2`, and many other things.
fn client_hello() -> Vec<u8> {
    let source =
        mixer_identity::Source::fixed(super::Authority::new("other.example").identity("/x", &[]));
    let names: Vec<Vec<u8>> = (0..200)
        .map(|number| format!("protocol-{number:020}").into_bytes())
        .collect();
    let mut alpn: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    alpn.push(b"h2");
    let config = mixer_identity::client_config(&source, mixer_identity::Expected::Anyone, &alpn);
    let name = rustls_pki_types::ServerName::try_from("db.example").unwrap();
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut hello).unwrap();
    }
    assert!(hello.len() > 4_096);
    hello
}

#[tokio::test]
async fn a_server_that_speaks_first_is_reached_in_plaintext_where_that_is_admitted() {
    let setup = Setup {
        mesh: json!({"mesh": {}}),
        service: json!({"protocol": "tcp"}),
        ..Setup::default()
    };
    let pair = Pair::start(echo("220 ready\r\n").await, setup).await;
    let mut stream = TcpStream::connect(pair.far.inbound().unwrap())
        .await
        .unwrap();
    let mut word = [0; 11];
    soon(stream.read_exact(&mut word)).await.unwrap();
    assert_eq!(&word, b"220 ready\r\n");
}

#[tokio::test]
async fn an_open_connection_is_asked_about_again_when_policy_changes() {
    let documents = [r#"{"service":"products.shop","protocol":"tcp"}"#.to_owned()];
    let denied = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let now_denied = denied.clone();
    let mixer = TestMixer::start(scope(), &documents, move |_| {
        match now_denied.load(std::sync::atomic::Ordering::Relaxed) {
            true => deny(Because::Matched, 403, 7, "no more"),
            false => crate::mixer::allow(),
        }
    })
    .await;
    let proxy = start(config(&mixer, echo("").await)).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    let mut ping = async || {
        stream.write_all(b"ping").await.ok()?;
        let mut back = [0; 4];
        soon(stream.read_exact(&mut back)).await.ok()
    };
    ping().await.unwrap();
    // A change that still lets it in.
    let revision = |revision: &str| {
        let mut scope = scope();
        scope.revision = revision.to_owned();
        scope
    };
    mixer.announce(|state| state.inbound = Some(revision("r2")));
    let mut checks = mixer.checks().len();
    soon(async {
        while checks < 2 {
            checks += mixer.checks().len();
            tokio::task::yield_now().await;
        }
    })
    .await;
    ping().await.unwrap();
    denied.store(true, std::sync::atomic::Ordering::Relaxed);
    mixer.announce(|state| state.inbound = Some(revision("r3")));
    soon(async { while ping().await.is_some() {} }).await;
    drop(nothing());
}
