//! Mixer dies, hangs, comes back: what the documents declared happens, nothing else, and nothing hangs.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mixer_tests::http::{Client, get};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::service::Service;
use mixer_tests::{ports, wait};
use tokio::task::JoinSet;

/// Two destinations with the same rule: one declares that it closes without Mixer, one that it opens.
const POLICIES: &str = r#"
policy: closed
for: destination.service == "closed.shop"
rules:
  - deny: private things
    when: request.path.startsWith("/private/")
---
policy: open
for: destination.service == "open.shop"
fail: open
rules:
  - deny: private things
    when: request.path.startsWith("/private/")
"#;

struct Mesh {
    mixer: Mixer,
    closed: Proxy,
    open: Proxy,
    outbound: SocketAddr,
    _frontend: Proxy,
    _app: Service,
    _documents: Documents,
}

async fn mesh() -> Mesh {
    let app = Service::echo("app").await;
    let (at_closed, at_open) = (ports::free(), ports::free());
    let services = format!(
        "service: closed.shop\nhosts: [closed]\nendpoints: [\"{at_closed}\"]\n---\nservice: open.shop\nhosts: [open]\nendpoints: [\"{at_open}\"]\n"
    );
    let documents = Documents::new([
        ("policies.yaml", POLICIES),
        ("services.yaml", services.as_str()),
    ]);
    let mixer = Mixer::serve(&documents).await;
    let proxy = async |service: &str, inbound| {
        let mut config = ProxyConfig::new(service, app.addr, mixer.grpc);
        config.inbound = inbound;
        config.start().await
    };
    let (closed, open) = (
        proxy("closed.shop", at_closed).await,
        proxy("open.shop", at_open).await,
    );
    let frontend = proxy("frontend.shop", ports::free()).await;
    let outbound = frontend.config.outbound;
    Mesh {
        mixer,
        closed,
        open,
        outbound,
        _frontend: frontend,
        _app: app,
        _documents: documents,
    }
}

/// The status of one request through both proxies, over a connection of its own.
async fn status(outbound: SocketAddr, host: &str, path: &str) -> u16 {
    let mut client = Client::http1(outbound).await.unwrap();
    client.send(get(host, path)).await.unwrap().status.as_u16()
}

async fn recovered(outbound: SocketAddr, round: &str) {
    for host in ["closed", "open"] {
        let mut tries = 0;
        wait::until(&format!("{host} asks Mixer again"), async || {
            tries += 1;
            (status(outbound, host, &format!("/private/{round}/{tries}")).await == 403)
                .then_some(())
        })
        .await;
        assert_eq!(
            status(outbound, host, &format!("/public/{round}")).await,
            200,
            "{host}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_mixer_what_was_declared_happens_and_with_it_everything_is_as_before() {
    let mut mesh = mesh().await;
    let outbound = mesh.outbound;
    for host in ["closed", "open"] {
        assert_eq!(status(outbound, host, "/public/1").await, 200, "{host}");
        assert_eq!(status(outbound, host, "/private/1").await, 403, "{host}");
    }

    mesh.mixer.process().kill();
    // Paths nobody asked about: no cached decision fits.
    for number in 0..20 {
        let mut client = Client::http1(outbound).await.unwrap();
        let refused = client
            .send(get("closed", &format!("/public/new/{number}")))
            .await
            .unwrap();
        assert_eq!(refused.status.as_u16(), 503, "{refused:?}");
        assert!(refused.field("retry-after").is_some(), "{refused:?}");
        assert_eq!(
            status(outbound, "open", &format!("/public/new/{number}")).await,
            200
        );
    }
    assert_eq!(
        status(outbound, "open", "/private/new").await,
        200,
        "open means open"
    );
    for host in ["closed", "open"] {
        assert_eq!(
            status(outbound, host, "/public/1").await,
            200,
            "{host}: what was decided before still holds"
        );
        assert_eq!(
            status(outbound, host, "/private/1").await,
            403,
            "{host}: what was decided before still holds"
        );
    }

    mesh.mixer.restart().await;
    recovered(outbound, "after").await;
    for proxy in [&mesh.closed, &mesh.open] {
        assert_eq!(proxy.admin("/healthz/ready").await.status.as_u16(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixer_that_hangs_is_as_good_as_one_that_is_gone() {
    let mut mesh = mesh().await;
    let outbound = mesh.outbound;
    assert_eq!(status(outbound, "closed", "/public/1").await, 200);
    mesh.mixer.process().signal("STOP");
    for number in 0..5 {
        assert_eq!(
            status(outbound, "closed", &format!("/public/new/{number}")).await,
            503
        );
        assert_eq!(
            status(outbound, "open", &format!("/public/new/{number}")).await,
            200
        );
    }
    mesh.mixer.process().signal("CONT");
    recovered(outbound, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_every_request_is_answered_while_mixer_dies_and_returns() {
    let mut mesh = mesh().await;
    let outbound = mesh.outbound;
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = JoinSet::new();
    for number in 0..6 {
        let (stop, answered) = (stop.clone(), answered.clone());
        let host = if number % 2 == 0 { "closed" } else { "open" };
        clients.spawn(async move {
            let mut client = Client::http1(outbound).await.unwrap();
            let mut statuses = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let path = format!("/public/{number}/{}", statuses.len());
                statuses.push(client.send(get(host, &path)).await.unwrap().status.as_u16());
                answered.fetch_add(1, Ordering::Relaxed);
            }
            (host, statuses)
        });
    }
    let more = async |count: usize| {
        let from = answered.load(Ordering::Relaxed);
        wait::until(&format!("{count} more requests are answered"), async || {
            (answered.load(Ordering::Relaxed) >= from + count).then_some(())
        })
        .await;
    };
    more(300).await;
    mesh.mixer.process().kill();
    more(100).await;
    mesh.mixer.restart().await;
    recovered(outbound, "after").await;
    more(100).await;
    stop.store(true, Ordering::Relaxed);

    let (mut closed_refused, mut total) = (0, 0);
    while let Some(client) = clients.join_next().await {
        let (host, statuses) = client.unwrap();
        total += statuses.len();
        let refused = statuses.iter().filter(|status| **status == 503).count();
        let allowed = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(
            refused + allowed,
            statuses.len(),
            "{host}: only what was declared: {statuses:?}"
        );
        if host == "open" {
            assert_eq!(
                refused, 0,
                "open destinations never refuse for want of a Mixer"
            );
        }
        closed_refused += refused;
        assert_eq!(statuses.last(), Some(&200), "{host}: it recovers");
    }
    assert!(closed_refused > 0, "Mixer was missed");
    println!("{total} requests answered, {closed_refused} refused while Mixer was away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_never_heard_from_mixer_is_not_ready_and_lets_nothing_pass() {
    let app = Service::echo("app").await;
    let config = ProxyConfig::new("closed.shop", app.addr, ports::free());
    let (inbound, admin) = (config.inbound, config.admin);
    let _proxy = config.launch(mixer_tests::binaries::How::Tested);
    let ready = wait::until("the proxy listens", async || {
        mixer_tests::http::fetch(admin, "/healthz/ready").await.ok()
    })
    .await;
    assert_eq!(ready.status.as_u16(), 503, "{ready:?}");
    assert_eq!(status(inbound, "closed", "/public/1").await, 503);
    assert_eq!(app.received(), 0);
}
