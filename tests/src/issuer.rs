//! An authority that writes good and bad certificates into files for other programs.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// One trust domain's authority.
pub struct Authority {
    /// Whose it is.
    pub trust_domain: String,
    /// Its own certificate.
    pub certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf and its key.
pub struct Issued {
    /// The certificate.
    pub leaf: Certificate,
    key: KeyPair,
}

/// A leaf as files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    pub fn new(trust_domain: &str) -> Self {
        let mut params = dated(&format!("root of {trust_domain}"));
        params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key();
        Self {
            trust_domain: trust_domain.to_owned(),
            certificate: params.self_signed(&key).expect("these can be signed"),
            issuer: Issuer::new(params, key),
        }
    }

    /// A leaf for `path`, good but for what `change` does to it.
    pub fn issue(&self, path: &str, change: fn(&mut CertificateParams)) -> Issued {
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
        let key = new_key();
        let leaf = params.signed_by(&key, &self.issuer);
        let leaf = leaf.expect("these can be signed");
        Issued { leaf, key }
    }

    /// Writes its certificate into `folder`.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("authority.pem");
        put(&path, &self.certificate.pem());
        path
    }

    /// Makes `folder` what `--identity-files` takes: a new leaf for `path`, its key and this authority.
    pub fn write_identity(&self, folder: &Path, path: &str) {
        let issued = self.issue(path, |_| {});
        std::fs::create_dir_all(folder).expect("the temporary directory can be written to");
        put(&folder.join("tls.crt"), &issued.leaf.pem());
        put(&folder.join("tls.key"), &issued.key.serialize_pem());
        put(&folder.join("ca.crt"), &self.certificate.pem());
    }
}

impl Issued {
    /// Its key.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// Writes both into `folder`.
    pub fn write(&self, folder: &Path, name: &str) -> Files {
        let files = Files {
            chain: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        put(&files.chain, &self.leaf.pem());
        put(&files.key, &self.key.serialize_pem());
        files
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.trust_domain)
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

fn put(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the temporary directory can be written to");
}

/// A certificate that is valid from 2020 to 2090.
fn dated(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A URI name, whatever it says.
pub fn uri(text: &str) -> SanType {
    SanType::URI(text.to_owned().try_into().expect("it is ASCII"))
}
