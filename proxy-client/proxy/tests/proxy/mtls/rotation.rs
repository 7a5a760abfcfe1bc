//! Certificates and authorities that change under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mixer_identity::Identity;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::issuer::{Authority, connect, trusting};
use super::{FRONTEND, PRODUCTS, Pair, Setup, count};
use crate::app::App;
use crate::raw::{body, get, head, send, status};
use crate::soon;

/// Requests of one connection each, one after the other.
async fn caller(to: std::net::SocketAddr, requests: usize, done: Arc<AtomicUsize>) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    for _ in 0..requests {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: products.shop\r\n\r\n")
            .await
            .unwrap();
        let head = head(&mut stream).await;
        assert_eq!(status(&head), 200, "{head}");
        let mut hello = [0; 6];
        soon(stream.read_exact(&mut hello)).await.unwrap();
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn ten_thousand_requests_pass_while_leaves_and_the_root_are_replaced() {
    const CALLERS: usize = 20;
    const EACH: usize = 500;
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(caller(pair.near.outbound().unwrap(), EACH, done.clone()));
    }
    let next = Authority::new("cluster.local");
    // Both authorities are trusted before either issues; the old one goes last.
    let both = || trusting([&pair.root, &next]);
    let old = |path| Identity::new(pair.root.svid(path), trusting([&pair.root]));
    let between = |path| Identity::new(pair.root.svid(path), both());
    let new = |path| Identity::new(next.svid(path), both());
    let last = |path| Identity::new(next.svid(path), trusting([&next]));
    let mut steps: Vec<Box<dyn Fn(&'static str) -> Identity>> = Vec::new();
    for _ in 0..8 {
        steps.push(Box::new(old));
    }
    steps.push(Box::new(between));
    for _ in 0..8 {
        steps.push(Box::new(new));
    }
    let each = CALLERS * EACH / (steps.len() + 2);
    for (number, step) in steps.iter().enumerate() {
        soon(async {
            while done.load(Ordering::Relaxed) < number * each {
                tokio::task::yield_now().await;
            }
        })
        .await;
        pair.far_identity.publish(step(PRODUCTS));
        pair.near_identity.publish(step(FRONTEND));
        // New connections are made under every identity.
        assert_eq!(status(&pair.ask("/", "").await), 200);
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    assert_eq!(done.load(Ordering::Relaxed), CALLERS * EACH);
    assert_eq!(
        count(&pair.near, "mixer_proxy_upstream_tls_failed_total").await,
        0
    );
    assert_eq!(
        count(&pair.near, "mixer_proxy_upstream_tls_untrusted_total").await,
        0
    );
    assert_eq!(
        count(&pair.near, "mixer_proxy_tls_no_longer_trusted_total").await,
        0
    );

    // The connection was made under the old authority, which goes: so does the connection, and the next one is made anew.
    pair.near_identity.publish(last(FRONTEND));
    pair.far_identity.publish(last(PRODUCTS));
    soon(async {
        while count(&pair.near, "mixer_proxy_tls_no_longer_trusted_total").await
            + count(&pair.far, "mixer_proxy_tls_no_longer_trusted_total").await
            == 0
        {}
    })
    .await;
    assert_eq!(status(&pair.ask("/", "").await), 200);
}

#[tokio::test]
async fn a_caller_whose_authority_is_removed_is_cut_off() {
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    let partner = Authority::new("partner.example");
    pair.far_identity
        .publish(pair.root.identity(PRODUCTS, &[&partner]));
    let identity = partner.identity(FRONTEND, &[&pair.root]);
    let far = pair.far.inbound().unwrap();
    let mut stream = connect(identity, far, &[b"http/1.1"]).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: products\r\n\r\n")
        .await
        .unwrap();
    let mut start = [0; 12];
    soon(stream.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");

    // Another leaf of ours is no reason.
    pair.far_identity
        .publish(pair.root.identity(PRODUCTS, &[&partner]));
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: products\r\n\r\n")
        .await
        .unwrap();
    let mut seen = Vec::new();
    while !seen.windows(12).any(|part| part == b"HTTP/1.1 200") {
        seen.push(soon(stream.read_u8()).await.unwrap());
    }

    pair.far_identity.publish(pair.root.identity(PRODUCTS, &[]));
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    assert_eq!(
        count(&pair.far, "mixer_proxy_tls_no_longer_trusted_total").await,
        1
    );
    let again = connect(partner.identity(FRONTEND, &[&pair.root]), far, &[]).await;
    if let Ok(mut stream) = again {
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
    assert_eq!(
        count(&pair.far, "mixer_proxy_tls_callers_untrusted_total").await,
        1
    );
}

#[tokio::test]
async fn the_admin_listener_shows_certificates_and_their_end_but_no_key() {
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    let shown = send(pair.far.admin().unwrap(), get("/certs", "")).await;
    let certs: Value = serde_json::from_str(body(&shown)).unwrap();
    assert_eq!(certs["id"], "spiffe://cluster.local/ns/shop/sa/products");
    assert_eq!(certs["chain"][0]["uris"][0], certs["id"]);
    assert_eq!(certs["chain"][0]["not_after"], "2090-01-01T00:00:00Z");
    assert!(certs["chain"][0]["serial"].as_str().unwrap().len() > 10);
    let authority = &certs["bundles"]["cluster.local"]["authorities"][0];
    assert_eq!(authority["uris"][0], "spiffe://cluster.local");
    assert!(!shown.to_lowercase().contains("key"), "{shown}");
    // 2090-01-01.
    assert_eq!(
        count(&pair.far, "mixer_identity_expiry_timestamp_seconds").await,
        3_786_912_000
    );
}
