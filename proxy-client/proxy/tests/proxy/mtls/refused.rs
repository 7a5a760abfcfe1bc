//! Who does not get through, and that nothing of it does.

use mixer_identity::Identity;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::issuer::{Authority, connect, trusting};
use super::{FRONTEND, PRODUCTS, Pair, Setup, count, reaches};
use crate::app::App;
use crate::raw::{body, get, head, send, status};
use crate::soon;

#[tokio::test]
async fn plaintext_to_a_strict_service_is_closed_unread_and_counted() {
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    for request in [
        get("/", "").as_str(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "EHLO me\r\n",
    ] {
        assert_eq!(send(pair.far.inbound().unwrap(), request).await, "");
    }
    assert!(pair.far_mixer.checks().is_empty() && app.seen().is_empty());
    reaches(&pair.far, "mixer_proxy_tls_plaintext_refused_total", 3).await;
}

#[tokio::test]
async fn a_connection_in_plaintext_ends_when_the_service_becomes_strict() {
    let app = App::start().await;
    let permissive = Setup {
        mesh: json!({"mesh": {}}),
        ..Setup::default()
    };
    let pair = Pair::start(app.address, permissive).await;
    let mut stream = TcpStream::connect(pair.far.inbound().unwrap())
        .await
        .unwrap();
    let request = "GET / HTTP/1.1\r\nhost: products\r\n\r\n";
    let mut ask = async || {
        stream.write_all(request.as_bytes()).await.ok()?;
        let head = head(&mut stream).await;
        let mut hello = [0; 6];
        (status(&head) == 200).then_some(())?;
        soon(stream.read_exact(&mut hello)).await.ok()?;
        Some(())
    };
    ask().await.unwrap();
    pair.far_mixer
        .announce(|state| state.documents[0] = json!({"mesh": {"tls": "strict"}}).to_string());
    soon(async { while ask().await.is_some() {} }).await;
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    assert!(count(&pair.far, "mixer_proxy_tls_plaintext_refused_total").await >= 1);
}

#[tokio::test]
async fn a_strict_service_takes_its_probes_in_plaintext_and_nothing_else() {
    for (from, probe, other) in [
        ("127.0.0.0/8", Some(200), Some(403)),
        ("10.0.0.0/8", None, None),
    ] {
        let app = App::start().await;
        let service = json!({"probes": {"paths": ["/healthz"], "from": [from]}});
        let pair = Pair::start(
            app.address,
            Setup {
                service,
                ..Setup::default()
            },
        )
        .await;
        let to = pair.far.inbound().unwrap();
        for (path, expected) in [("/healthz", probe), ("/", other), ("/healthz?x", other)] {
            let response = send(to, get(path, "")).await;
            let code = (!response.is_empty()).then(|| status(&response));
            assert_eq!(code, expected, "{from} {path}");
        }
        assert_eq!(send(to, "\0\x01").await, "");
        assert!(pair.far_mixer.checks().is_empty());
        assert_eq!(app.seen().len(), usize::from(probe.is_some()));
    }
}

#[tokio::test]
async fn opaque_connections_in_plaintext_end_when_the_service_becomes_strict() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = listener.local_addr().unwrap();
    let permissive = Setup {
        mesh: json!({"mesh": {}}),
        service: json!({"protocol": "tcp"}),
        ..Setup::default()
    };
    let pair = Pair::start(app, permissive).await;
    let mut caller = TcpStream::connect(pair.far.inbound().unwrap())
        .await
        .unwrap();
    caller.write_all(b"hello").await.unwrap();
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    let mut hello = [0; 5];
    soon(server.read_exact(&mut hello)).await.unwrap();
    pair.far_mixer.announce(|state| {
        state.documents[0] = json!({"mesh": {"tls": "strict"}}).to_string();
    });
    let mut rest = Vec::new();
    let _ = soon(caller.read_to_end(&mut rest)).await;
    reaches(&pair.far, "mixer_proxy_tls_plaintext_refused_total", 1).await;
}

#[tokio::test]
async fn callers_that_prove_nothing_we_trust_are_refused() {
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    let stranger = Authority::new("partner.example");
    let forger = Authority::new("cluster.local");
    for other in [&stranger, &forger] {
        // It trusts us; we do not trust it.
        let identity = Identity::new(other.svid(FRONTEND), trusting([other, &pair.root]));
        // In TLS 1.3 a client is done before its certificate is looked at.
        if let Ok(mut stream) = connect(identity, pair.far.inbound().unwrap(), &[b"mixer/1"]).await
        {
            let _ = stream.write_all(get("/", "").as_bytes()).await;
            let mut answer = Vec::new();
            let _ = soon(stream.read_to_end(&mut answer)).await;
            assert!(answer.is_empty());
        }
    }
    reaches(&pair.far, "mixer_proxy_tls_callers_untrusted_total", 2).await;
    assert!(pair.far_mixer.checks().is_empty() && app.seen().is_empty());
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_is_not_the_service() {
    let app = App::start().await;
    let wrong = Setup {
        expected: "spiffe://cluster.local/ns/shop/sa/somebody",
        ..Setup::default()
    };
    let pair = Pair::start(app.address, wrong).await;
    let response = pair.ask("/secret", "x-secret: 1\r\n").await;
    assert_eq!(status(&response), 503);
    assert!(
        body(&response).contains("the peer is spiffe://cluster.local/ns/shop/sa/products, and spiffe://cluster.local/ns/shop/sa/somebody was expected"),
        "{response}"
    );
    reaches(&pair.near, "mixer_proxy_upstream_tls_untrusted_total", 1).await;
    assert!(pair.far_mixer.checks().is_empty() && app.seen().is_empty());
}

#[tokio::test]
async fn without_an_identity_a_strict_service_is_not_called_and_a_permissive_one_in_plaintext() {
    for (mesh, code, mtls) in [
        (json!({"mesh": {"tls": "strict"}}), 503, None),
        (json!({"mesh": {}}), 200, Some("false")),
    ] {
        let app = App::start().await;
        let pair = Pair::nameless(
            app.address,
            Setup {
                mesh,
                ..Setup::default()
            },
        )
        .await;
        pair.far_identity.publish(pair.root.identity(PRODUCTS, &[]));
        let response = pair.ask("/", "").await;
        assert_eq!(status(&response), code, "{response}");
        let checks = pair.far_mixer.checks();
        assert_eq!(
            checks
                .first()
                .map(|asked| asked["connection.mtls"].as_str()),
            mtls
        );
        let refused = count(&pair.near, "mixer_proxy_tls_no_identity_total").await;
        assert_eq!(refused, u64::from(code == 503));
        // From its first identity on there is no way back to plaintext.
        pair.near_identity
            .publish(pair.root.identity(FRONTEND, &[]));
        assert_eq!(status(&pair.ask("/", "").await), 200);
        assert_eq!(
            pair.far_mixer.checks().last().unwrap()["connection.mtls"],
            "true"
        );
    }
}

#[tokio::test]
async fn there_is_no_second_try_in_plaintext() {
    let app = App::start().await;
    let permissive = Setup {
        mesh: json!({"mesh": {}}),
        ..Setup::default()
    };
    let pair = Pair::start(app.address, permissive).await;
    // The far proxy trusts nobody any more.
    let distrust = Identity::new(
        pair.root.svid(PRODUCTS),
        trusting([&Authority::new("other.example")]),
    );
    pair.far_identity.publish(distrust);
    assert_eq!(status(&pair.ask("/", "").await), 503);
    assert!(pair.far_mixer.checks().is_empty() && app.seen().is_empty());
}

#[tokio::test]
async fn so_many_handshakes_are_under_way_at_once_and_no_more() {
    let (app, root) = (App::start().await, Authority::new("cluster.local"));
    let mixer = crate::mixer::TestMixer::allowing(crate::mixer::nothing(), &[]).await;
    let mut config = crate::config(&mixer, app.address);
    config.identity = mixer_proxy::IdentityFrom::Published(mixer_identity::Source::fixed(
        root.identity(PRODUCTS, &[]),
    ));
    config.limits.handshakes = 1;
    let proxy = crate::start(config).await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
        stream.write_all(hello).await.unwrap();
        streams.push(stream);
    }
    reaches(&proxy, "mixer_proxy_tls_handshakes_failed_total", 2).await;
    // Its place is free when it goes.
    drop(streams);
    reaches(&proxy, "mixer_proxy_tls_handshakes_failed_total", 3).await;
    let stream = connect(root.identity(FRONTEND, &[]), proxy.inbound().unwrap(), &[]).await;
    stream.unwrap();
}

#[tokio::test]
async fn a_handshake_that_stalls_or_is_none_is_ended() {
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let mut stalled = TcpStream::connect(pair.far.inbound().unwrap())
        .await
        .unwrap();
    stalled.write_all(hello).await.unwrap();
    let mut broken = TcpStream::connect(pair.far.inbound().unwrap())
        .await
        .unwrap();
    broken
        .write_all(b"\x16\x03\x01\x00\x05hello")
        .await
        .unwrap();
    for stream in [&mut broken, &mut stalled] {
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
    }
    reaches(&pair.far, "mixer_proxy_tls_handshakes_failed_total", 2).await;
    assert_eq!(status(&pair.ask("/", "").await), 200);
}
