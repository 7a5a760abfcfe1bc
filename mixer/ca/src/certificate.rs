//! The certificates the authority makes: roots, intermediates, leaves. What each says is decided here and nowhere else.
//!
//! All are as the X.509-SVID standard wants them. Keys are P-256: small, fast, and taken by every TLS library. A serial number is
//! 128 bits from the system's randomness, so that none can be foretold and none comes twice.

use std::fmt;
use std::time::{Duration, SystemTime};

use mixer_identity::{InvalidBundle, TrustBundle, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long before it is made a certificate begins to be valid: the clocks of two machines differ.
const BACKDATED: Duration = Duration::from_secs(10);

/// A key pair and the name of the certificate that belongs to it: what signs.
pub(crate) type Signer = Issuer<'static, KeyPair>;

/// A private key, never shown.
pub struct Key(pub(crate) KeyPair);

/// A root: certificate and key.
pub struct Root {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// A certificate that cannot be made. It has no cause an operator could do something about but the system's randomness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a certificate cannot be made: {0}")]
pub struct SigningFailed(String);

/// Why a certificate and a key are no root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableRoot {
    /// The certificate cannot be read, or may not sign for this trust domain.
    #[error("the root certificate cannot be used: {0}")]
    Certificate(InvalidBundle),
    /// Not one.
    #[error(
        "the file of the root certificate holds {0} certificates; give the one that belongs to the key"
    )]
    Number(usize),
    /// It may sign leaves only.
    #[error(
        "the root certificate allows no intermediate below it (pathLenConstraint 0), and one signs the leaves"
    )]
    PathLength,
    /// It is over, or has not begun.
    #[error("the root certificate is not valid now")]
    NotValid,
    /// The key cannot be read.
    #[error("the root's private key cannot be read: {0}")]
    Key(String),
    /// The key is another's.
    #[error("the private key is not that of the root certificate")]
    Mismatch,
}

impl From<rcgen::Error> for SigningFailed {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

/// Bytes from the system's randomness.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], SigningFailed> {
    let mut bytes = [0; N];
    let filled = aws_lc_rs::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| SigningFailed("the system has no randomness".to_owned()))?;
    Ok(bytes)
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Key {
    /// A new one.
    pub fn generate() -> Result<Self, SigningFailed> {
        Ok(Self(KeyPair::generate()?))
    }

    /// PKCS#8 in PEM, for the one place it is kept.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }
}

impl Root {
    /// A new one of a trust domain, valid for `life`.
    pub fn generate(
        trust_domain: &TrustDomain,
        now: SystemTime,
        life: Duration,
    ) -> Result<Self, SigningFailed> {
        let key = KeyPair::generate()?;
        let params = authority("root", trust_domain, now, now + life, 1)?;
        let certificate = params.self_signed(&key)?.into();
        Ok(Self { certificate, key })
    }

    /// One that is there, checked: it may sign for the trust domain, now, and has this key.
    pub fn from_pem(
        certificate: &str,
        key: &str,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Result<Self, UnusableRoot> {
        let bundle = TrustBundle::from_pem(trust_domain.clone(), certificate.as_bytes())
            .map_err(UnusableRoot::Certificate)?;
        let mut authorities = bundle.authorities();
        let certificate = match (authorities.next(), authorities.len()) {
            (Some(only), 0) => only.clone(),
            (_, others) => return Err(UnusableRoot::Number(others + 1)),
        };
        let key = KeyPair::from_pem(key).map_err(|error| UnusableRoot::Key(error.to_string()))?;
        let root = Self { certificate, key };
        root.check(now)?;
        Ok(root)
    }

    /// What the check of an authority leaves out.
    fn check(&self, now: SystemTime) -> Result<(), UnusableRoot> {
        let Ok((_, read)) = X509Certificate::from_der(&self.certificate) else {
            return Err(UnusableRoot::Number(0));
        };
        if read.public_key().raw != self.key.subject_public_key_info() {
            return Err(UnusableRoot::Mismatch);
        }
        let constraints = read.basic_constraints().ok().flatten();
        let most_below = constraints.and_then(|constraints| constraints.value.path_len_constraint);
        if most_below == Some(0) {
            return Err(UnusableRoot::PathLength);
        }
        let seconds = seconds(now) as i64;
        let validity = read.validity();
        let valid =
            validity.not_before.timestamp() <= seconds && seconds <= validity.not_after.timestamp();
        valid.then_some(()).ok_or(UnusableRoot::NotValid)
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key, for the one place it is kept.
    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Names the root: the beginning of its digest.
    pub(crate) fn name(&self) -> String {
        hex(&Sha256::digest(&self.certificate)[..8])
    }

    /// An intermediate below it that signs until `not_after`, or until the root ends; and when that is.
    pub(crate) fn intermediate(
        self,
        trust_domain: &TrustDomain,
        now: SystemTime,
        not_after: SystemTime,
    ) -> Result<(Signer, CertificateDer<'static>, SystemTime), SigningFailed> {
        let not_after = not_after.min(end(&self.certificate)?);
        let signer = Issuer::from_ca_cert_der(&self.certificate, self.key)?;
        let key = KeyPair::generate()?;
        let params = authority("intermediate", trust_domain, now, not_after, 0)?;
        let certificate = params.signed_by(&key, &signer)?.into();
        Ok((Issuer::new(params, key), certificate, not_after))
    }
}

/// Certificates in PEM to DER, of what the authority itself has written.
pub(crate) fn from_pem(text: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(text.as_bytes()).ok()
}

/// The last second a certificate is valid.
pub(crate) fn end(certificate: &CertificateDer<'_>) -> Result<SystemTime, SigningFailed> {
    let (_, read) =
        X509Certificate::from_der(certificate).map_err(|error| SigningFailed(error.to_string()))?;
    let seconds = u64::try_from(read.validity().not_after.timestamp()).unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// A leaf for `id`.
pub(crate) fn leaf(
    id: &str,
    key: &impl PublicKeyData,
    signer: &Signer,
    now: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateDer<'static>, SigningFailed> {
    let serial = random::<16>()?;
    let mut params = dated(now, not_after, &serial);
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Mixer");
    params.distinguished_name = name;
    params.subject_alt_names = vec![uri(id)?];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params.signed_by(key, signer)?.into())
}

/// One that signs, with at most `below` others under it.
fn authority(
    what: &str,
    trust_domain: &TrustDomain,
    now: SystemTime,
    not_after: SystemTime,
    below: u8,
) -> Result<CertificateParams, SigningFailed> {
    let serial = random::<16>()?;
    let mut params = dated(now, not_after, &serial);
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Mixer");
    // A name of its own, so that a verifier with several roots finds the right one at once.
    name.push(DnType::CommonName, format!("{what} {}", hex(&serial[..8])));
    params.distinguished_name = name;
    params.subject_alt_names = vec![uri(trust_domain.id().as_str())?];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn dated(now: SystemTime, not_after: SystemTime, serial: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATED).into();
    params.not_after = not_after.into();
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.use_authority_key_identifier_extension = true;
    params
}

fn uri(id: &str) -> Result<SanType, SigningFailed> {
    Ok(SanType::URI(id.try_into()?))
}

/// Since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
