//! Certificates that are judged, and our own identities.

use mixer_identity::{Bundles, Identity, Source, Svid, TrustBundle, TrustDomain};
use mixer_runtime::Clock;
use mixer_tests::issuer::{Authority, Issued, uri};
use rcgen::{BasicConstraints, IsCa, date_time_ymd};

/// An identity of ours that trusts `root`.
pub(crate) fn source(root: &Authority, path: &str) -> Source {
    let issued = root.issue(path, |_| {});
    let svid = Svid::new(
        vec![issued.leaf.der().clone()],
        issued.private_key(),
        Clock::system().wall(),
    );
    let trust_domain = TrustDomain::parse(&root.trust_domain).unwrap();
    let bundle = TrustBundle::new(trust_domain, [root.certificate.der().clone()]).unwrap();
    let bundles: Bundles = [bundle].into_iter().collect();
    Source::fixed(Identity::new(svid.unwrap(), bundles))
}

/// What is wrong with a leaf, and what we say of it; `None` where it is all right.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) issued: Issued,
    pub(crate) said: Option<&'static str>,
}

/// Leaves for `path` under `root`, one good and the rest not.
pub(crate) fn cases(root: &Authority, path: &str) -> Vec<Case> {
    let case = |name, issued, said| Case { name, issued, said };
    vec![
        case("good", root.issue(path, |_| {}), None),
        case(
            "expired",
            root.issue(path, |leaf| leaf.not_after = date_time_ymd(2021, 1, 1)),
            Some("the peer's certificate: it expired at 2021-01-01T00:00:00Z"),
        ),
        case(
            "wrong-trust-domain",
            Authority::new("partner.example").issue(path, |_| {}),
            Some("and there is no trust bundle of partner.example"),
        ),
        case(
            "two-uri-names",
            root.issue(path, |leaf| {
                leaf.subject_alt_names
                    .push(uri("spiffe://cluster.local/admin"))
            }),
            Some("the peer's certificate: it has 2 URI names; an SVID has exactly one"),
        ),
        case(
            "ca-as-leaf",
            root.issue(path, |leaf| {
                leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
            }),
            Some(
                "the peer's certificate: a leaf must not be a CA, and its basicConstraints say cA",
            ),
        ),
        case(
            "other-bundle",
            Authority::new("cluster.local").issue(path, |_| {}),
            Some("but its chain does not hold: invalid peer certificate: BadSignature"),
        ),
    ]
}
