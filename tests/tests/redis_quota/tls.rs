//! TLS and passwords.

use std::path::Path;
use std::process::Command;

use mixer_adapter::conformance;
use mixer_tests::servers::Redis;
use serde_json::json;

use super::*;

/// A certificate for 127.0.0.1 that vouches for itself.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-days",
            "2",
            "-subj",
            "/CN=redis",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder)
        .output()
        .expect("there is an openssl");
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis"]
async fn redis_is_asked_with_tls_and_a_password_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    std::fs::write(folder.path().join("password"), "correct horse\n").unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let port = mixer_tests::ports::free().port();
    let options = [
        "--port",
        "0",
        "--tls-port",
        &port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--requirepass",
        "correct horse",
    ];
    let login = [
        "-p",
        &port.to_string(),
        "--tls",
        "--cacert",
        &certificate,
        "-a",
        "correct horse",
    ];
    let _redis = Redis::with(&options, &login).await;

    let url = format!("rediss://127.0.0.1:{port}");
    let good = json!({
        "url": url,
        "username": "default",
        "password": {"from_file": "password"},
        "tls": {"roots": "certificate.pem"},
    });
    let mut env = conformance::env("store");
    env.directory = folder.path().to_owned();
    let handler = started(good.clone(), &env);
    let grants = wait::until("the store is connected", async || {
        handler.allocate(&[ask("p/q", &[], 1)], "").await.ok()
    })
    .await;
    assert_eq!(grants[0].remaining, 9);

    // Who is not whom the roots vouch for is not asked, nor is one that does not take the password.
    let mut unverified = good.clone();
    unverified.as_object_mut().unwrap().remove("tls");
    let mut wrong = good;
    wrong["password"] = "wrong horse".into();
    for config in [unverified, wrong] {
        let mut other = conformance::env("other");
        other.directory = folder.path().to_owned();
        let handler = started(config, &other);
        wait::until("connecting has failed", async || {
            let mut page = mixer_adapter::Exposition::new(mixer_adapter::Format::Text);
            handler.exposition().unwrap().expose(&mut page);
            let none = "mixer_redis_quota_connect_failures_total{adapter=\"other\"} 0\n";
            (!page.finish().contains(none)).then_some(())
        })
        .await;
        assert!(handler.allocate(&[ask("p/q", &[], 1)], "").await.is_err());
    }
}
