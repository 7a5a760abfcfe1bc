//! An identity from a directory, as it changes.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use mixer_identity::{Files, Source};
use mixer_runtime::{Clock, ManualClock, Tasks};
use rcgen::date_time_ymd;

use crate::issuer::{Authority, Issued};

const WORKLOAD: &str = "/ns/shop/sa/frontend";

fn write(directory: &Path, authority: &Authority, issued: &Issued) {
    std::fs::write(directory.join("tls.crt"), issued.chain_pem()).unwrap();
    std::fs::write(directory.join("tls.key"), issued.key.serialize_pem()).unwrap();
    std::fs::write(directory.join("ca.crt"), authority.certificate.pem()).unwrap();
}

fn serial(source: &Source) -> String {
    source.current().unwrap().svid().serial().to_owned()
}

/// Lets the watcher look until it has nothing left to see: it reads with a thread's help, so a poll takes real time.
async fn looked(hand: &ManualClock, source: &Source, done: impl Fn(&Source) -> bool) -> bool {
    for _ in 0..500 {
        hand.advance(Duration::from_secs(1));
        if done(source) {
            return true;
        }
        Clock::system().sleep(Duration::from_millis(2)).await;
    }
    false
}

#[tokio::test]
async fn the_current_files_are_the_identity() {
    let directory = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    write(directory.path(), &root, &root.issue(WORKLOAD));
    let partner = Authority::new("partner.example");
    let other = Authority::new("other.example");
    std::fs::write(
        directory.path().join("partner.example.bundle.pem"),
        partner.certificate.pem(),
    )
    .unwrap();
    std::fs::write(
        directory.path().join("other.example.bundle.json"),
        other.bundle().to_jwks().unwrap(),
    )
    .unwrap();
    let identity = Files::new(directory.path())
        .load(&Clock::system())
        .await
        .unwrap();
    assert_eq!(
        identity.id().as_str(),
        "spiffe://cluster.local/ns/shop/sa/frontend"
    );
    let domains: Vec<_> = identity
        .bundles()
        .iter()
        .map(|bundle| bundle.trust_domain().as_str().to_owned())
        .collect();
    assert_eq!(
        domains,
        ["cluster.local", "other.example", "partner.example"]
    );
}

#[tokio::test]
async fn names_of_other_tools_are_known() {
    let root = Authority::new("cluster.local");
    let issued = root.issue(WORKLOAD);
    for [chain, key, bundle] in [
        ["svid.pem", "svid_key.pem", "svid_bundle.pem"],
        ["cert-chain.pem", "key.pem", "root-cert.pem"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(chain), issued.chain_pem()).unwrap();
        std::fs::write(directory.path().join(key), issued.key.serialize_pem()).unwrap();
        std::fs::write(directory.path().join(bundle), root.certificate.pem()).unwrap();
        Files::new(directory.path())
            .load(&Clock::system())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_directory_without_an_identity_is_refused_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let load = async || {
        let files = Files::new(directory.path());
        files.load(&Clock::system()).await.unwrap_err().to_string()
    };
    assert_eq!(
        load().await,
        format!(
            "{path} has no certificate: name the files tls.crt, tls.key and ca.crt (or svid.pem, svid_key.pem, svid_bundle.pem; or cert-chain.pem, key.pem, root-cert.pem)"
        )
    );

    let root = Authority::new("cluster.local");
    let expired = root.issue_changed(WORKLOAD, |leaf| leaf.not_after = date_time_ymd(2021, 1, 1));
    write(directory.path(), &root, &expired);
    assert_eq!(
        load().await,
        format!("{path}/tls.crt: the certificate: it expired at 2021-01-01T00:00:00Z")
    );

    write(directory.path(), &root, &root.issue(WORKLOAD));
    let other = root.issue(WORKLOAD);
    std::fs::write(directory.path().join("tls.key"), other.key.serialize_pem()).unwrap();
    assert_eq!(
        load().await,
        format!("{path}/tls.crt: the private key is not that of the certificate")
    );

    write(directory.path(), &root, &root.issue(WORKLOAD));
    std::fs::write(directory.path().join("Bad Name.bundle.pem"), "").unwrap();
    assert_eq!(
        load().await,
        format!(
            "{path}/Bad Name.bundle.pem: the file's name must be a trust domain and .bundle.pem or .bundle.json: \"Bad Name\" is not a trust domain: its trust domain has 'B'; it may have only a-z, 0-9, `.`, `-` and `_`"
        )
    );
    std::fs::remove_file(directory.path().join("Bad Name.bundle.pem")).unwrap();

    std::fs::remove_file(directory.path().join("ca.crt")).unwrap();
    assert_eq!(
        load().await,
        format!("cannot read {path}/ca.crt: No such file or directory (os error 2)")
    );
}

#[tokio::test]
async fn a_new_leaf_is_taken_up_and_a_bad_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    write(directory.path(), &root, &root.issue(WORKLOAD));
    let (clock, hand) = Clock::manual();
    let tasks = Tasks::new();
    let source = Files::new(directory.path())
        .watch(&tasks, &clock)
        .await
        .unwrap();
    let first = serial(&source);

    // Half an update: the certificate without its key.
    let next = root.issue(WORKLOAD);
    std::fs::write(directory.path().join("tls.crt"), next.chain_pem()).unwrap();
    for _ in 0..20 {
        hand.advance(Duration::from_secs(1));
        Clock::system().sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(serial(&source), first);

    // The other half.
    std::fs::write(directory.path().join("tls.key"), next.key.serialize_pem()).unwrap();
    assert!(looked(&hand, &source, |source| serial(source) != first).await);
}

#[tokio::test]
async fn a_secret_swapped_by_symlink_is_taken_up() {
    let directory = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    for version in ["..v1", "..v2"] {
        let path = directory.path().join(version);
        std::fs::create_dir(&path).unwrap();
        write(&path, &root, &root.issue(WORKLOAD));
    }
    symlink("..v1", directory.path().join("..data")).unwrap();
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        symlink(format!("..data/{name}"), directory.path().join(name)).unwrap();
    }
    let (clock, hand) = Clock::manual();
    let tasks = Tasks::new();
    let source = Files::new(directory.path())
        .watch(&tasks, &clock)
        .await
        .unwrap();
    let first = serial(&source);
    symlink("..v2", directory.path().join("..data_tmp")).unwrap();
    std::fs::rename(
        directory.path().join("..data_tmp"),
        directory.path().join("..data"),
    )
    .unwrap();
    assert!(looked(&hand, &source, |source| serial(source) != first).await);
}
