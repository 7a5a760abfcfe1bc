//! Trust bundles in and out of every form.

use std::time::Duration;

use mixer_identity::{Bundles, TrustBundle, TrustDomain};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use crate::issuer::Authority;

fn domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

fn two() -> TrustBundle {
    let authorities = [
        Authority::new("cluster.local"),
        Authority::new("cluster.local"),
    ];
    TrustBundle::new(
        domain(),
        authorities
            .iter()
            .map(|authority| authority.certificate.der().clone()),
    )
    .unwrap()
}

#[test]
fn a_bundle_survives_every_form() {
    let bundle = two();
    assert_eq!(
        TrustBundle::from_pem(domain(), bundle.to_pem().as_bytes()).unwrap(),
        bundle
    );
    assert_eq!(
        TrustBundle::from_der(domain(), &bundle.to_der()).unwrap(),
        bundle
    );
    let published = bundle
        .with_sequence(42)
        .with_refresh_hint(Duration::from_secs(300));
    let text = published.to_jwks().unwrap();
    assert_eq!(
        TrustBundle::from_jwks(domain(), text.as_bytes()).unwrap(),
        published
    );
}

#[test]
fn a_published_bundle_has_what_the_format_asks_for() {
    let text = two().with_sequence(1).to_jwks().unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["spiffe_sequence"], 1);
    assert_eq!(document.get("spiffe_refresh_hint"), None);
    for key in document["keys"].as_array().unwrap() {
        assert_eq!(key["use"], "x509-svid");
        assert_eq!((&key["kty"], &key["crv"]), (&"EC".into(), &"P-256".into()));
        assert_eq!(key["x"].as_str().unwrap().len(), 43);
        assert_eq!(key["y"].as_str().unwrap().len(), 43);
        assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
        assert_eq!(key.get("kid"), None);
    }
}

#[test]
fn other_kinds_of_keys_are_published_or_refused() {
    let signed = |key: KeyPair| {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).unwrap();
        TrustBundle::new(domain(), [certificate.der().clone()]).unwrap()
    };
    let p384 = signed(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    assert!(p384.to_jwks().unwrap().contains("P-384"));
    let rsa = signed(KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap());
    let text = rsa.to_jwks().unwrap();
    assert!(
        text.contains("\"kty\":\"RSA\"") && text.contains("\"e\":\"AQAB\""),
        "{text}"
    );
    let error = signed(KeyPair::generate_for(&PKCS_ED25519).unwrap())
        .to_jwks()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "authority 1 in the bundle of cluster.local: it cannot be a trust anchor: JWK has no name for its kind of key"
    );
}

#[test]
fn keys_for_other_uses_are_passed_over() {
    let text = br#"{"keys": [{"use": "jwt-svid", "kty": "EC", "kid": "a"}, {"use": "later"}, {"kty": "EC"}]}"#;
    let bundle = TrustBundle::from_jwks(domain(), text).unwrap();
    assert_eq!(bundle.authorities().len(), 0);
}

#[test]
fn a_broken_bundle_is_refused_with_its_place() {
    let cases: &[(&str, &str)] = &[
        (
            "{",
            "it is not JSON: EOF while parsing an object at line 1 column 1",
        ),
        ("[]", "it has no list `keys`"),
        (r#"{"keys": {}}"#, "it has no list `keys`"),
        (
            r#"{"keys": [{"use": "x509-svid"}]}"#,
            "key 1: it has no `x5c`",
        ),
        (
            r#"{"keys": [{"use": "jwt-svid"}, {"use": "x509-svid", "x5c": []}]}"#,
            "key 2: its `x5c` has 0 certificates; an authority has one",
        ),
        (
            r#"{"keys": [{"use": "x509-svid", "x5c": [7]}]}"#,
            "key 1: its `x5c` is not a text",
        ),
        (
            r#"{"keys": [{"use": "x509-svid", "x5c": ["&"]}]}"#,
            "key 1: its `x5c` is not base64: Invalid symbol 38, offset 0.",
        ),
        (
            r#"{"keys": [], "spiffe_sequence": "7"}"#,
            "`spiffe_sequence` is not a whole number",
        ),
        (
            r#"{"keys": [], "spiffe_refresh_hint": -1}"#,
            "`spiffe_refresh_hint` is not a whole number",
        ),
    ];
    for (text, fault) in cases {
        let error = TrustBundle::from_jwks(domain(), text.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the SPIFFE bundle of cluster.local: {fault}"),
            "{text}"
        );
    }
    let error = TrustBundle::from_pem(domain(), b"no certificate").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the bundle of cluster.local: there is no certificate"
    );
}

#[test]
fn a_bundle_replaces_the_one_before_it() {
    let (old, new) = (two(), two());
    let mut bundles: Bundles = [old].into_iter().collect();
    bundles.insert(new.clone());
    assert_eq!(bundles.iter().count(), 1);
    assert_eq!(**bundles.of(&domain()).unwrap(), new);
    assert!(
        bundles
            .of(&TrustDomain::parse("partner.example").unwrap())
            .is_none()
    );
}
