//! A certificate authority that issues whatever a test asks for, right or wrong.

use std::time::{Duration, SystemTime};

use mixer_identity::{Bundles, Identity, SpiffeId, Svid, TrustBundle, TrustDomain};
use mixer_runtime::Clock;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// One trust domain's authority.
pub(crate) struct Authority {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) certificate: Certificate,
    /// What signed it and is no root, to be sent along.
    above: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf as it was issued, with the chain that goes with it.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

/// What a test changes in a certificate that is right otherwise.
pub(crate) type Change = fn(&mut CertificateParams);

impl Authority {
    pub(crate) fn new(trust_domain: &str) -> Self {
        Self::changed(trust_domain, |_| {})
    }

    /// A root that is not as it should be.
    pub(crate) fn changed(trust_domain: &str, change: Change) -> Self {
        let key = KeyPair::generate().unwrap();
        let trust_domain = TrustDomain::parse(trust_domain).unwrap();
        let mut params = authority_params(&trust_domain, "root");
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            trust_domain,
            certificate,
            above: Vec::new(),
            issuer: Issuer::new(params, key),
        }
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, change: Change) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = authority_params(&self.trust_domain, "intermediate");
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut above = vec![certificate.der().clone()];
        above.extend(self.above.iter().cloned());
        Self {
            trust_domain: self.trust_domain.clone(),
            certificate,
            above,
            issuer: Issuer::new(params, key),
        }
    }

    /// A good leaf for `path`, such as `/ns/shop/sa/frontend`.
    pub(crate) fn issue(&self, path: &str) -> Issued {
        self.issue_changed(path, |_| {})
    }

    /// A leaf that is changed before it is signed.
    pub(crate) fn issue_changed(&self, path: &str, change: Change) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf_params(&format!("spiffe://{}{path}", self.trust_domain));
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend(self.above.iter().cloned());
        Issued { chain, key }
    }

    pub(crate) fn bundle(&self) -> TrustBundle {
        TrustBundle::new(self.trust_domain.clone(), [self.certificate.der().clone()]).unwrap()
    }

    /// A good leaf for `path`, trusting this authority and `others`.
    pub(crate) fn identity(&self, path: &str, others: &[&Authority]) -> Identity {
        let mut bundles: Bundles = others.iter().map(|other| other.bundle()).collect();
        bundles.insert(self.bundle());
        Identity::new(self.issue(path).svid(), bundles)
    }
}

impl Issued {
    pub(crate) fn svid(self) -> Svid {
        let key = self.private_key();
        Svid::new(self.chain, key, now()).unwrap()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    pub(crate) fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|der| mixer_identity::pem::certificate(der))
            .collect()
    }
}

/// Parameters of a good leaf that is valid from 2020 to 2090.
fn leaf_params(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
    params.distinguished_name = named("workload");
    params.subject_alt_names = vec![uri(id)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority_params(trust_domain: &TrustDomain, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
    params.distinguished_name = named(&format!("{name} of {trust_domain}"));
    params.subject_alt_names = vec![uri(trust_domain.id().as_str())];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A URI name, whatever it says.
pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.to_owned().try_into().unwrap())
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

pub(crate) fn now() -> SystemTime {
    Clock::system().wall()
}

/// The first second of a year.
pub(crate) fn year(year: u64) -> SystemTime {
    let days = (year - 1970) * 365 + (year - 1969) / 4;
    SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400)
}
