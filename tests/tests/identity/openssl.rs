//! OpenSSL as peer and as judge.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use mixer_identity::{Expected, SpiffeId};
use mixer_tests::issuer::{Authority, Files};
use mixer_tests::process::Process;
use mixer_tests::servers::installed;
use mixer_tests::{ports, wait};

use crate::issued::{cases, source};
use crate::peers::{Server, ask};

const OURS: &str = "/ns/shop/sa/ours";
const THEIRS: &str = "/ns/shop/sa/theirs";

/// `openssl s_client` against our server; it asks for `/` and prints what it got and saw.
async fn s_client(server: &Server, own: &Files, authority: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(installed("openssl"));
    command
        .args(["s_client", "-connect", &server.addr.to_string()])
        .arg("-cert")
        .arg(&own.chain)
        .arg("-key")
        .arg(&own.key)
        .arg("-CAfile")
        .arg(authority)
        .args(["-verify_return_error", "-ign_eof", "-alpn", "http/1.1"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: products.shop\r\n\r\n";
        let _gone = std::io::Write::write_all(&mut child.stdin.take().unwrap(), request);
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn openssl_is_let_in_by_a_good_certificate_only() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    let authority = root.write(folder.path());
    let server = Server::start(&source(&root, OURS)).await;
    for case in cases(&root, THEIRS) {
        let own = case.issued.write(folder.path(), case.name);
        let output = text(&s_client(&server, &own, &authority, &[]).await);
        match case.said {
            None => {
                for part in [
                    "Verification: OK",
                    "New, TLSv1.3",
                    "ALPN protocol: http/1.1",
                    "spiffe://cluster.local/ns/shop/sa/theirs",
                ] {
                    assert!(output.contains(part), "{part}: {output}");
                }
                assert!(!output.contains("New Session Ticket"), "{output}");
            }
            Some(said) => {
                let refused = wait::until("the server has refused", async || {
                    Some(server.refused()).filter(|refused| !refused.is_empty())
                })
                .await;
                assert!(refused[0].contains(said), "{}: {refused:?}", case.name);
                assert!(output.contains("alert certificate unknown"), "{output}");
            }
        }
    }
    let own = root.issue(THEIRS, |_| {}).write(folder.path(), "again");
    let output = text(&s_client(&server, &own, &authority, &["-tls1_2"]).await);
    assert!(output.contains("alert protocol version"), "{output}");
}

#[tokio::test]
#[ignore = "needs openssl"]
async fn our_client_judges_what_openssl_shows() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    let authority = root.write(folder.path());
    let ours = source(&root, OURS);
    let expected = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/theirs").unwrap();
    for case in cases(&root, THEIRS) {
        let own = case.issued.write(folder.path(), case.name);
        let addr = ports::free();
        let mut command = Command::new(installed("openssl"));
        command
            .args([
                "s_server",
                "-accept",
                &addr.port().to_string(),
                "-www",
                "-Verify",
                "1",
            ])
            .arg("-verify_return_error")
            .arg("-cert")
            .arg(&own.chain)
            .arg("-key")
            .arg(&own.key)
            .arg("-CAfile")
            .arg(&authority);
        let process = Process::start("openssl", command);
        wait::until("openssl listens", async || {
            process
                .output()
                .iter()
                .any(|line| line.contains("ACCEPT"))
                .then_some(())
        })
        .await;
        let asked = ask(&ours, addr, Expected::Id(expected.clone())).await;
        match case.said {
            None => assert!(asked.unwrap().starts_with("HTTP/1.0 200")),
            Some(said) => {
                let refusal = asked.unwrap_err();
                assert!(refusal.contains(said), "{}: {refusal}", case.name);
            }
        }
    }
}

#[test]
#[ignore = "needs openssl"]
fn openssl_verifies_a_chain_from_a_bundle_as_we_write_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    let ours = source(&root, OURS);
    let identity = ours.current().unwrap();
    let (bundle, leaf) = (
        folder.path().join("bundle.pem"),
        folder.path().join("leaf.pem"),
    );
    let written = identity
        .bundles()
        .of(identity.id().trust_domain())
        .unwrap()
        .to_pem();
    std::fs::write(&bundle, written).unwrap();
    std::fs::write(
        &leaf,
        mixer_identity::pem::certificate(&identity.svid().chain()[0]),
    )
    .unwrap();
    for purpose in ["sslclient", "sslserver"] {
        let output = Command::new(installed("openssl"))
            .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
            .args([&bundle, &leaf])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
}
