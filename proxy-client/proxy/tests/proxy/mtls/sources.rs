//! Where a proxy takes its identity from.

use mixer_proxy::{Control, IdentityFrom, Proxy, StartError};
use mixer_runtime::{Clock, Random};
use serde_json::Value;

use super::PRODUCTS;
use super::issuer::Authority;
use crate::app::App;
use crate::mixer::{TestMixer, nothing};
use crate::raw::{body, get, send};
use crate::{config, soon, start};

fn write(directory: &std::path::Path, authority: &Authority) {
    let (leaf, key) = authority.issue(PRODUCTS);
    std::fs::write(directory.join("tls.crt"), leaf.pem()).unwrap();
    std::fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
    std::fs::write(directory.join("ca.crt"), authority.certificate.pem()).unwrap();
}

#[tokio::test]
async fn files_are_read_at_the_start_and_again_when_they_change() {
    let (app, root) = (App::start().await, Authority::new("cluster.local"));
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &root);
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut config = config(&mixer, app.address);
    config.identity = IdentityFrom::Files(directory.path().to_owned());
    let proxy = start(config).await;
    let serial = async || {
        let shown = send(proxy.admin().unwrap(), get("/certs", "")).await;
        let certs: Value = serde_json::from_str(body(&shown)).unwrap();
        certs["chain"][0]["serial"].to_string()
    };
    let first = serial().await;
    write(directory.path(), &root);
    soon(async { while serial().await == first {} }).await;
}

#[tokio::test]
async fn a_proxy_that_is_told_to_have_an_identity_does_not_start_without() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = mixer_proxy::Config::new(Control::Mixer("127.0.0.1:9".to_owned()));
    config.outbound = Some("127.0.0.1:0".parse().unwrap());
    config.identity = IdentityFrom::Files(directory.path().to_owned());
    let error = Proxy::start(config, Clock::system(), Random::from_system().into()).unwrap_err();
    assert!(matches!(error, StartError::Identity(_)));
    assert!(
        error.to_string().starts_with("--identity-files: ")
            && error.to_string().contains("has no certificate"),
        "{error}"
    );
}
