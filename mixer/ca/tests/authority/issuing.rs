//! What is signed, and what it says.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;

use mixer_ca::{Attested, Authority, IssueError, LEAF_LIFE, Root, State};
use mixer_identity::TrustBundle;
use mixer_runtime::Clock;

use crate::fixture::{DAY, HOUR, Place, domain, id, verifies};

#[tokio::test]
async fn a_leaf_is_an_svid_of_its_id_below_the_root() {
    let (clock, _hand) = Clock::manual();
    let place = Place::new(clock.clone());
    let authority = place.authority();
    let svid = authority
        .svid(&id("ns/a/sa/b"), &Attested::Operator)
        .unwrap();
    assert_eq!(*svid.id(), id("ns/a/sa/b"));
    assert_eq!(svid.not_after(), clock.wall() + DAY);
    let early = clock.wall().duration_since(svid.not_before()).unwrap();
    assert!(early.as_secs() >= 10, "clocks differ");
    let bundle = authority.bundle().borrow().clone();
    assert!(verifies(&svid, &bundle, clock.wall()));
    let stranger = Place::new(clock.clone()).authority();
    assert!(!verifies(&svid, &stranger.bundle().borrow(), clock.wall()));
}

#[tokio::test]
async fn serial_numbers_are_long_and_never_the_same() {
    let place = Place::new(Clock::manual().0);
    let authority = place.authority();
    let mut seen = HashSet::new();
    for _ in 0..200 {
        let svid = authority.svid(&id("a"), &Attested::Operator).unwrap();
        // Two digits a byte, with colons; a few begin with zeros.
        assert!(svid.serial().len() > 28, "{}", svid.serial());
        assert!(seen.insert(svid.serial().to_owned()));
    }
}

#[tokio::test]
async fn ids_of_others_and_its_own_are_not_signed() {
    let place = Place::new(Clock::manual().0);
    let authority = place.authority();
    let other = "spiffe://other/a".parse().unwrap();
    for foreign in [other, domain().id()] {
        let refused = authority.svid(&foreign, &Attested::Operator);
        assert!(matches!(refused, Err(IssueError::Foreign(..))), "{foreign}");
    }
    let refused = authority.svid(authority.id(), &Attested::Operator);
    assert!(matches!(refused, Err(IssueError::Reserved(_))));
}

#[tokio::test]
async fn the_intermediate_is_renewed_and_no_leaf_outlives_it() {
    let (clock, hand) = Clock::manual();
    let place = Place::new(clock.clone());
    let authority = place.authority();
    let bundle = authority.bundle().borrow().clone();
    let mut intermediates = HashSet::new();
    for _ in 0..30 {
        let svid = authority.svid(&id("a"), &Attested::Operator).unwrap();
        intermediates.insert(svid.chain()[1].to_vec());
        assert_eq!(svid.not_after(), clock.wall() + DAY);
        assert!(verifies(&svid, &bundle, clock.wall()));
        assert!(verifies(&svid, &bundle, svid.not_after()));
        hand.advance(12 * HOUR);
    }
    assert!(
        (4..=6).contains(&intermediates.len()),
        "{}",
        intermediates.len()
    );
}

#[tokio::test]
async fn a_restart_keeps_the_root() {
    let (clock, _hand) = Clock::manual();
    let place = Place::new(clock.clone());
    let before = place.authority();
    let svid = before.svid(&id("a"), &Attested::Operator).unwrap();
    let roots = before.bundle().borrow().to_pem();
    drop(before);
    let after = place.authority();
    assert_eq!(after.bundle().borrow().to_pem(), roots);
    assert!(verifies(&svid, &after.bundle().borrow(), clock.wall()));
}

#[tokio::test]
async fn what_it_keeps_is_for_its_owner_only() {
    let place = Place::new(Clock::manual().0);
    place.token("a");
    drop(place.authority());
    let mut folders = vec![place.path("ca")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        let mode =
            |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                files += 1;
            }
        }
    }
    assert_eq!(files, 5, "state, lock, root, its key, a token");
}

#[tokio::test]
async fn a_key_that_others_could_read_is_not_used() {
    let place = Place::new(Clock::manual().0);
    let roots = std::fs::read_dir(place.path("ca/roots")).unwrap();
    let key = roots
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "key"))
        .unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Authority::open(place.directory(), LEAF_LIFE, place.clock.clone()).unwrap_err();
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
}

#[tokio::test]
async fn a_root_that_is_given_must_be_one_and_have_its_key() {
    let (clock, hand) = Clock::manual();
    let now = clock.wall();
    let (one, other) = (
        Given::new(&rcgen::KeyPair::generate().unwrap(), now, 1),
        Given::new(&rcgen::KeyPair::generate().unwrap(), now, 0),
    );
    let take = |certificate: &str, key: &str| {
        Root::from_pem(certificate, key, &domain(), clock.wall())
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(take(&one.certificate, &one.key), Ok(()));
    let refused = |result: Result<(), String>, why: &str| {
        let error = result.unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    refused(take(&one.certificate, &other.key), "not that of");
    refused(take(&other.certificate, &other.key), "pathLenConstraint");
    refused(
        take(&(one.certificate.clone() + &other.certificate), &one.key),
        "2 certificates",
    );
    refused(take("", &one.key), "no certificate");
    refused(take(&one.certificate, "no key"), "cannot be read");
    let theirs = mixer_identity::TrustDomain::parse("other").unwrap();
    let foreign = Root::from_pem(&one.certificate, &one.key, &theirs, now);
    assert!(foreign.unwrap_err().to_string().contains("cluster.local"));
    hand.advance(400 * DAY);
    refused(take(&one.certificate, &one.key), "not valid now");
}

#[tokio::test]
async fn a_given_root_signs() {
    let (clock, _hand) = Clock::manual();
    let folder = tempfile::tempdir().unwrap();
    let given = Given::new(&rcgen::KeyPair::generate().unwrap(), clock.wall(), 1);
    let root = Root::from_pem(&given.certificate, &given.key, &domain(), clock.wall()).unwrap();
    let path = folder.path().join("ca");
    let directory = Authority::create(&path, &domain(), &root, clock.wall()).unwrap();
    let state = State::read(&directory).unwrap();
    assert_eq!((state.roots().len(), state.sequence()), (1, 1));
    let authority = Authority::open(directory, LEAF_LIFE, clock.clone()).unwrap();
    let svid = authority.svid(&id("a"), &Attested::Operator).unwrap();
    let bundle = TrustBundle::from_pem(domain(), given.certificate.as_bytes()).unwrap();
    assert!(verifies(&svid, &bundle, clock.wall()));
    let again = Authority::create(&path, &domain(), &root, clock.wall());
    assert!(again.unwrap_err().to_string().contains("is there already"));
}

/// A root made by others: for a year, with so many below it.
struct Given {
    certificate: String,
    key: String,
}

impl Given {
    fn new(key: &rcgen::KeyPair, now: std::time::SystemTime, below: u8) -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.not_before = now.into();
        params.not_after = (now + 365 * DAY).into();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(below));
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let uri = "spiffe://cluster.local".try_into().unwrap();
        params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
        Self {
            certificate: params.self_signed(key).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}
