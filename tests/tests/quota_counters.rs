//! A customer who is refused at a proxy is found and let pass again by hand, with `mixer quota`.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use mixer_tests::binaries::How;
use mixer_tests::http::{Client, get};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::servers::Redis;
use mixer_tests::service::Service;
use mixer_tests::wait;

fn policy(store: &str) -> String {
    format!(
        "policy: products\nfor: destination.service == \"products.shop\"\nquotas:\n  - quota: per path\n    \
         key: [request.path]\n    limit: 3 per day\n    store: {store}\n"
    )
}

async fn status(inbound: SocketAddr, path: &str) -> u16 {
    let mut client = Client::http1(inbound).await.unwrap();
    let answer = client.send(get("products.shop", path)).await;
    answer.unwrap().status.as_u16()
}

/// What `mixer quota` says to that Mixer's operator.
fn quota(mixer: &Mixer, token: &str, arguments: &[&str]) -> String {
    let mut command = How::Tested.command("mixer");
    command.arg("quota").args(arguments);
    command.args(["--admin", &mixer.admin.to_string(), "--token-file", token]);
    let ran = command.output().unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{arguments:?}: {told}");
    String::from_utf8(ran.stdout).unwrap()
}

/// A proxy of `mixer` refuses; the operator asks `other`.
async fn is_let_pass_again(mixer: &Mixer, other: &Mixer, token: &str) {
    let app = Service::echo("products").await;
    let proxy: Proxy = ProxyConfig::new("products.shop", app.addr, mixer.grpc)
        .start()
        .await;
    let inbound = proxy.config.inbound;
    for expected in [200, 200, 200, 429, 429] {
        assert_eq!(status(inbound, "/a").await, expected);
    }
    assert_eq!(status(inbound, "/b").await, 200);
    let shown = quota(other, token, &["get", "per path", "/a"]);
    assert!(shown.starts_with("3 spent, 0 left of 3 in 1d"), "{shown}");

    let granted = quota(other, token, &["grant", "per path", "/a", "1"]);
    assert_eq!(granted, "3 spent before, 2 now; 1 left\n");
    wait::until("the one that was given back is spent", async || {
        (status(inbound, "/a").await == 200).then_some(())
    })
    .await;
    assert_eq!(status(inbound, "/a").await, 429);

    assert_eq!(
        quota(other, token, &["reset", "per path", "/a"]),
        "1 counter is as new\n"
    );
    wait::until("the customer passes again", async || {
        (status(inbound, "/a").await == 200).then_some(())
    })
    .await;
    for expected in [200, 200, 429] {
        assert_eq!(status(inbound, "/a").await, expected);
    }
    let listed = quota(other, token, &["ls", "per path", "--prefix", "/b"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_let_pass_again_by_hand() {
    let documents = Documents::new([("policy.yaml", policy("memory"))]);
    documents.write("token", "0123456789abcdef");
    let token = documents.path().join("token").display().to_string();
    let mixer = Mixer::serve_with(&documents, &["--admin-token-file", &token]).await;
    is_let_pass_again(&mixer, &mixer, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis"]
async fn a_customer_is_let_pass_again_through_another_mixer_of_the_same_redis() {
    let redis = Redis::start().await;
    let adapter = format!(
        "adapter: shared\ntype: redis-quota\nconfig: {{ url: \"{}\" }}\n",
        redis.url()
    );
    let documents = Documents::new([("policy.yaml", policy("shared")), ("shared.yaml", adapter)]);
    documents.write("token", "0123456789abcdef");
    let token = documents.path().join("token").display().to_string();
    let arguments = ["--admin-token-file", &*token];
    let mixer = Mixer::serve_with(&documents, &arguments).await;
    let other = Mixer::serve_with(&documents, &arguments).await;
    for mixer in [&mixer, &other] {
        wait::until("the store is connected", async || {
            let page = mixer.admin("/metrics").await;
            let connected = r#"mixer_redis_quota_connections{adapter="shared"} 2"#;
            page.text().contains(connected).then_some(())
        })
        .await;
    }
    is_let_pass_again(&mixer, &other, &token).await;
}
