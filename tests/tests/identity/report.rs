//! `mixer tls report` against a real proxy: whom `tls: strict` would refuse.

use mixer_tests::binaries::How;
use mixer_tests::http::{Client, get};
use mixer_tests::issuer::Authority;
use mixer_tests::mesh::{Documents, Mixer, ProxyConfig};
use mixer_tests::service::Service;
use mixer_tests::wait;

fn documents(tls: &str) -> String {
    format!(
        "service: products.shop\nidentity: spiffe://cluster.local/ns/shop/sa/products\ntls: {tls}\n"
    )
}

/// What it says, and whether it exits as asked for when somebody would be refused.
fn report(admin: &str) -> (String, Option<i32>) {
    let output = How::Tested
        .command("mixer")
        .args(["tls", "report", "--exit-code", admin])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    (told, output.status.code())
}

#[tokio::test]
async fn who_would_break_under_strict_is_told_before_it_is_so() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    root.write_identity(folder.path(), "/ns/shop/sa/products");
    let app = Service::echo("products").await;
    let documents_now = Documents::new([("mesh.yaml", documents("permissive"))]);
    let mixer = Mixer::serve(&documents_now).await;
    let mut config = ProxyConfig::new("products.shop", app.addr, mixer.grpc);
    config.identity = Some(folder.path().to_owned());
    let proxy = config.start().await;
    let admin = proxy.config.admin.to_string();

    let (told, code) = report(&admin);
    assert!(
        told.contains("products.shop") && told.contains("nobody called in plaintext"),
        "{told}"
    );
    assert_eq!(code, Some(0));

    let mut plain = Client::http1(proxy.config.inbound).await.unwrap();
    let answer = plain.send(get("products.shop", "/")).await.unwrap();
    assert_eq!(answer.status.as_u16(), 200);
    let (told, code) = report(&admin);
    assert!(told.contains("`strict` would refuse 1 addresses"), "{told}");
    assert!(
        told.contains("127.0.0.1") && told.contains("1 connections"),
        "{told}"
    );
    assert_eq!(code, Some(10));

    // And so it is.
    documents_now.write("mesh.yaml", &documents("strict"));
    wait::until("the service is strict", async || {
        report(&admin)
            .0
            .contains("takes mutual TLS only")
            .then_some(())
    })
    .await;
    let refused = match Client::http1(proxy.config.inbound).await {
        Ok(mut plain) => plain.send(get("products.shop", "/")).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    assert_eq!(app.received(), 1);
}
