//! An authority that writes good and bad certificates into files for other programs.

use std::path::{Path, PathBuf};

use mixer_identity::{Bundles, Identity, Source, Svid, TrustBundle, TrustDomain};
use mixer_runtime::Clock;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) struct Authority {
    trust_domain: TrustDomain,
    pub(crate) certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf and its key.
pub(crate) struct Issued {
    pub(crate) leaf: Certificate,
    key: KeyPair,
}

/// A leaf as files.
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(trust_domain: &str) -> Self {
        let mut params = dated(&format!("root of {trust_domain}"));
        params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Self {
            trust_domain: TrustDomain::parse(trust_domain).unwrap(),
            certificate: params.self_signed(&key).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A leaf for `path`, good but for what `change` does to it.
    pub(crate) fn issue(&self, path: &str, change: fn(&mut CertificateParams)) -> Issued {
        let mut params = dated("workload");
        params.subject_alt_names = vec![uri(&format!("spiffe://{}{path}", self.trust_domain))];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Issued { leaf, key }
    }

    /// An identity of ours that trusts this authority.
    pub(crate) fn source(&self, path: &str) -> Source {
        let issued = self.issue(path, |_| {});
        let svid = Svid::new(
            vec![issued.leaf.der().clone()],
            issued.private_key(),
            Clock::system().wall(),
        );
        let bundle =
            TrustBundle::new(self.trust_domain.clone(), [self.certificate.der().clone()]).unwrap();
        let bundles: Bundles = [bundle].into_iter().collect();
        Source::fixed(Identity::new(svid.unwrap(), bundles))
    }

    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("authority.pem");
        std::fs::write(&path, self.certificate.pem()).unwrap();
        path
    }
}

impl Issued {
    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    pub(crate) fn write(&self, folder: &Path, name: &str) -> Files {
        let files = Files {
            chain: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        std::fs::write(&files.chain, self.leaf.pem()).unwrap();
        std::fs::write(&files.key, self.key.serialize_pem()).unwrap();
        files
    }
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

fn dated(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.to_owned().try_into().unwrap())
}
