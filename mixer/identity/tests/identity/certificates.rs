//! Every rule of a certificate, broken one at a time: the text an operator reads, and that neither side of a real handshake
//! lets it through.

use mixer_identity::{Expected, InvalidSvid, Svid};
use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::handshakes::{Refused, refused_both_ways};
use crate::issuer::{Authority, Change, Issued, id, now, uri};

const WORKLOAD: &str = "/ns/shop/sa/frontend";

/// What a broken leaf is, and what is said of it.
const LEAVES: &[(&str, Change, &str)] = &[
    (
        "expired",
        |leaf| leaf.not_after = date_time_ymd(2021, 2, 3),
        "it expired at 2021-02-03T00:00:00Z",
    ),
    (
        "not yet valid",
        |leaf| leaf.not_before = date_time_ymd(2089, 2, 3),
        "it is not valid before 2089-02-03T00:00:00Z",
    ),
    (
        "no names at all",
        |leaf| leaf.subject_alt_names = vec![],
        "it has 0 URI names; an SVID has exactly one",
    ),
    (
        "a DNS name only",
        |leaf| leaf.subject_alt_names = vec![SanType::DnsName("shop".try_into().unwrap())],
        "it has 0 URI names; an SVID has exactly one",
    ),
    (
        "two URI names",
        |leaf| {
            leaf.subject_alt_names
                .push(uri("spiffe://cluster.local/ns/shop/sa/admin"))
        },
        "it has 2 URI names; an SVID has exactly one",
    ),
    (
        "the same URI name twice",
        |leaf| {
            leaf.subject_alt_names
                .push(leaf.subject_alt_names[0].clone())
        },
        "it has 2 URI names; an SVID has exactly one",
    ),
    (
        "a URI that is no SPIFFE id",
        |leaf| leaf.subject_alt_names = vec![uri("https://cluster.local/shop")],
        "its URI name \"https://cluster.local/shop\" is not a SPIFFE id: it does not start with `spiffe://` in lower case",
    ),
    (
        "a SPIFFE id with a port",
        |leaf| leaf.subject_alt_names = vec![uri("spiffe://cluster.local:1/shop")],
        "its URI name \"spiffe://cluster.local:1/shop\" is not a SPIFFE id: it has a port (`:`), which a SPIFFE id never has",
    ),
    (
        "a SPIFFE id with a query",
        |leaf| leaf.subject_alt_names = vec![uri("spiffe://cluster.local/shop?admin")],
        "its URI name \"spiffe://cluster.local/shop?admin\" is not a SPIFFE id: it has a query (`?`), which a SPIFFE id never has",
    ),
    (
        "a SPIFFE id in capitals",
        |leaf| leaf.subject_alt_names = vec![uri("spiffe://CLUSTER.local/shop")],
        "its URI name \"spiffe://CLUSTER.local/shop\" is not a SPIFFE id: its trust domain has 'C'; it may have only a-z, 0-9, `.`, `-` and `_`",
    ),
    (
        "a SPIFFE id with a trailing slash",
        |leaf| leaf.subject_alt_names = vec![uri("spiffe://cluster.local/shop/")],
        "its URI name \"spiffe://cluster.local/shop/\" is not a SPIFFE id: it ends with a slash",
    ),
    (
        "a SPIFFE id with dot segments",
        |leaf| leaf.subject_alt_names = vec![uri("spiffe://cluster.local/shop/../admin")],
        "its URI name \"spiffe://cluster.local/shop/../admin\" is not a SPIFFE id: its path has a dot segment (`.` or `..`)",
    ),
    (
        "the id of the trust domain",
        |leaf| leaf.subject_alt_names = vec![uri("spiffe://cluster.local")],
        "its SPIFFE id spiffe://cluster.local has no path; a leaf names a workload",
    ),
    (
        "a CA as leaf",
        |leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        "a leaf must not be a CA, and its basicConstraints say cA",
    ),
    (
        "a CA that may sign, as leaf",
        |leaf| {
            leaf.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            leaf.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        },
        "a leaf must not be a CA, and its basicConstraints say cA",
    ),
    (
        "no keyUsage",
        |leaf| leaf.key_usages = vec![],
        "its keyUsage must have digitalSignature, and there is none",
    ),
    (
        "no digitalSignature",
        |leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
        "its keyUsage must have digitalSignature",
    ),
    (
        "keyCertSign",
        |leaf| leaf.key_usages.push(KeyUsagePurpose::KeyCertSign),
        "its keyUsage has keyCertSign, which a leaf must not have",
    ),
    (
        "cRLSign",
        |leaf| leaf.key_usages.push(KeyUsagePurpose::CrlSign),
        "its keyUsage has cRLSign, which a leaf must not have",
    ),
    (
        "nonRepudiation",
        |leaf| leaf.key_usages.push(KeyUsagePurpose::ContentCommitment),
        "its keyUsage has nonRepudiation, which a leaf must not have",
    ),
    (
        "dataEncipherment",
        |leaf| leaf.key_usages.push(KeyUsagePurpose::DataEncipherment),
        "its keyUsage has dataEncipherment, which a leaf must not have",
    ),
    (
        "encipherOnly",
        |leaf| leaf.key_usages.push(KeyUsagePurpose::EncipherOnly),
        "its keyUsage has encipherOnly, which a leaf must not have",
    ),
    (
        "decipherOnly",
        |leaf| leaf.key_usages.push(KeyUsagePurpose::DecipherOnly),
        "its keyUsage has decipherOnly, which a leaf must not have",
    ),
    (
        "serverAuth only",
        |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        "its extendedKeyUsage lacks clientAuth; where there is one, it must have serverAuth and clientAuth",
    ),
    (
        "clientAuth only",
        |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        "its extendedKeyUsage lacks serverAuth; where there is one, it must have serverAuth and clientAuth",
    ),
    (
        "code signing only",
        |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning],
        "its extendedKeyUsage lacks serverAuth; where there is one, it must have serverAuth and clientAuth",
    ),
];

/// What a broken authority is, and what is said of it, in a bundle and in a chain.
const AUTHORITIES: &[(&str, Change, &str)] = &[
    (
        "not a CA",
        |authority| authority.is_ca = IsCa::ExplicitNoCa,
        "an authority must be a CA, and its basicConstraints do not say cA",
    ),
    (
        "no basicConstraints",
        |authority| authority.is_ca = IsCa::NoCa,
        "an authority must be a CA, and its basicConstraints do not say cA",
    ),
    (
        "no keyUsage",
        |authority| authority.key_usages = vec![],
        "an authority's keyUsage must have keyCertSign",
    ),
    (
        "no keyCertSign",
        |authority| authority.key_usages = vec![KeyUsagePurpose::CrlSign],
        "an authority's keyUsage must have keyCertSign",
    ),
    (
        "keyEncipherment",
        |authority| authority.key_usages.push(KeyUsagePurpose::KeyEncipherment),
        "its keyUsage has keyEncipherment, which an authority must not have",
    ),
    (
        "keyAgreement",
        |authority| authority.key_usages.push(KeyUsagePurpose::KeyAgreement),
        "its keyUsage has keyAgreement, which an authority must not have",
    ),
    (
        "the id of a workload",
        |authority| authority.subject_alt_names = vec![uri("spiffe://cluster.local/ca")],
        "its SPIFFE id spiffe://cluster.local/ca has a path; an authority names a trust domain or nothing",
    ),
    (
        "another trust domain",
        |authority| authority.subject_alt_names = vec![uri("spiffe://partner.example")],
        "it is an authority of trust domain partner.example, not of cluster.local",
    ),
    (
        "a URI that is no SPIFFE id",
        |authority| authority.subject_alt_names = vec![uri("https://ca.example")],
        "its URI name \"https://ca.example\" is not a SPIFFE id: it does not start with `spiffe://` in lower case",
    ),
    (
        "two URI names",
        |authority| {
            authority
                .subject_alt_names
                .push(uri("spiffe://partner.example"))
        },
        "it has 2 URI names; an SVID has exactly one",
    ),
];

fn own(issued: &Issued) -> Result<Svid, InvalidSvid> {
    Svid::new(issued.chain.clone(), issued.private_key(), now())
}

#[test]
fn a_good_certificate_is_taken() {
    let root = Authority::new("cluster.local");
    let leaves: &[Change] = &[
        |_| {},
        |leaf| leaf.extended_key_usages = vec![],
        |leaf| leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature],
        |leaf| leaf.key_usages.push(KeyUsagePurpose::KeyAgreement),
        |leaf| leaf.is_ca = IsCa::NoCa,
        |leaf| {
            leaf.subject_alt_names
                .push(SanType::DnsName("shop".try_into().unwrap()));
        },
    ];
    for (index, change) in leaves.iter().enumerate() {
        let issued = root.issue_changed(WORKLOAD, *change);
        let svid = own(&issued).unwrap_or_else(|error| panic!("leaf {index}: {error}"));
        assert_eq!(svid.id(), &id("spiffe://cluster.local/ns/shop/sa/frontend"));
    }
}

#[tokio::test]
async fn every_broken_leaf_is_refused_at_home_and_by_both_sides_of_a_handshake() {
    let root = Authority::new("cluster.local");
    for (name, change, fault) in LEAVES {
        let issued = root.issue_changed(WORKLOAD, *change);
        assert_eq!(
            own(&issued).unwrap_err().to_string(),
            format!("the certificate: {fault}"),
            "{name}"
        );
        let said = refused_both_ways(&root, &issued, Expected::Anyone).await;
        assert_eq!(
            said,
            Refused::saying(&format!("the peer's certificate: {fault}")),
            "{name}"
        );
    }
}

#[tokio::test]
async fn every_broken_authority_is_refused_in_a_chain_and_in_a_bundle() {
    let root = Authority::new("cluster.local");
    for (name, change, fault) in AUTHORITIES {
        let broken = Authority::changed("cluster.local", *change);
        let error = mixer_identity::TrustBundle::new(
            broken.trust_domain.clone(),
            [broken.certificate.der().clone()],
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("authority 1 in the bundle of cluster.local: {fault}"),
            "{name}"
        );

        let issued = root.intermediate(*change).issue(WORKLOAD);
        assert_eq!(
            own(&issued).unwrap_err().to_string(),
            format!("certificate 2 of the chain: {fault}"),
            "{name}"
        );
        let said = refused_both_ways(&root, &issued, Expected::Anyone).await;
        let expected = format!("certificate 2 of the peer's chain: {fault}");
        assert_eq!(said, Refused::saying(&expected), "{name}");
    }
}

#[tokio::test]
async fn an_intermediate_out_of_its_time_is_refused() {
    let root = Authority::new("cluster.local");
    let old = root.intermediate(|authority| authority.not_after = date_time_ymd(2022, 1, 1));
    let said = refused_both_ways(&root, &old.issue(WORKLOAD), Expected::Anyone).await;
    assert_eq!(
        said,
        Refused::saying("certificate 2 of the peer's chain: it expired at 2022-01-01T00:00:00Z")
    );
}

#[test]
fn a_key_must_be_that_of_the_certificate() {
    let root = Authority::new("cluster.local");
    let (one, other) = (root.issue(WORKLOAD), root.issue(WORKLOAD));
    let error = Svid::new(one.chain.clone(), other.private_key(), now()).unwrap_err();
    assert_eq!(error, InvalidSvid::KeyMismatch);
    let error = Svid::from_pem(one.chain_pem().as_bytes(), b"nothing", now()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the private key cannot be used: no items found"
    );
    let error = Svid::from_pem(b"nothing", b"", now()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the certificate: there is no certificate"
    );
    let error = Svid::new(vec![b"nothing".to_vec().into()], one.private_key(), now()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the certificate: it cannot be read as a DER certificate: "),
        "{error}"
    );
}

#[test]
fn a_private_key_is_never_shown() {
    let issued = Authority::new("cluster.local").issue(WORKLOAD);
    let svid = own(&issued).unwrap();
    let secret = issued.key.serialize_der();
    let shown = format!("{svid:?} {svid:#?}");
    assert!(shown.contains("spiffe://cluster.local/ns/shop/sa/frontend"));
    assert!(!shown.contains(&format!("{:?}", &secret[..8])[1..20]));
    assert!(!shown.contains("key"), "{shown}");
}

#[test]
fn the_half_of_a_life_is_between_its_ends() {
    let issued = Authority::new("cluster.local").issue(WORKLOAD);
    let svid = own(&issued).unwrap();
    assert_eq!(svid.not_before(), crate::issuer::year(2020));
    assert_eq!(svid.not_after(), crate::issuer::year(2090));
    assert_eq!(
        svid.half_life().duration_since(svid.not_before()).unwrap(),
        svid.not_after().duration_since(svid.half_life()).unwrap()
    );
}
