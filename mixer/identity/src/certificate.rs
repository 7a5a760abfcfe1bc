//! The rules of the X.509-SVID standard, sections 4 and 5, for one certificate: a leaf names one workload and signs nothing, an
//! authority signs and names none.
//!
//! rustls and webpki check chains, signatures and lifetimes; they do not look at key usage and they know no URI names. What they
//! leave out is here, read with x509-parser. A rule that is broken has its own message.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::{InvalidId, SpiffeId, TrustDomain};

/// What a checked leaf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Whom it names.
    pub id: SpiffeId,
    /// When it is valid.
    pub validity: Validity,
    /// Its serial number, in hex.
    pub serial: String,
}

/// What a certificate says, whatever it is good for: for those who look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its URI names.
    pub uris: Vec<String>,
    /// When it is valid.
    pub validity: Validity,
    /// Its serial number, in hex.
    pub serial: String,
}

/// The time between two ends, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: SystemTime,
    /// The last second.
    pub not_after: SystemTime,
}

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// Not DER, or not a certificate.
    #[error("it cannot be read as a DER certificate: {0}")]
    Malformed(String),
    /// Not PEM.
    #[error("it cannot be read as PEM: {0}")]
    Pem(String),
    /// Nothing to read.
    #[error("there is no certificate")]
    Missing,
    /// A leaf that is a CA.
    #[error("a leaf must not be a CA, and its basicConstraints say cA")]
    LeafIsCa,
    /// A leaf without keyUsage.
    #[error("its keyUsage must have digitalSignature, and there is none")]
    NoKeyUsage,
    /// A leaf that may not sign handshakes.
    #[error("its keyUsage must have digitalSignature")]
    NoDigitalSignature,
    /// A leaf that may do what an SVID may not.
    #[error("its keyUsage has {0}, which a leaf must not have")]
    LeafUsage(&'static str),
    /// extendedKeyUsage for one side only.
    #[error(
        "its extendedKeyUsage lacks {0}; where there is one, it must have serverAuth and clientAuth"
    )]
    ExtendedUsage(&'static str),
    /// Not exactly one URI name.
    #[error("it has {0} URI names; an SVID has exactly one")]
    UriNames(usize),
    /// The URI name is no SPIFFE id.
    #[error("its URI name {0}")]
    Id(InvalidId),
    /// The id of a trust domain on a leaf.
    #[error("its SPIFFE id {0} has no path; a leaf names a workload")]
    NoPath(SpiffeId),
    /// Too early.
    #[error("it is not valid before {0}")]
    NotYetValid(Timestamp),
    /// Too late.
    #[error("it expired at {0}")]
    Expired(Timestamp),
    /// A CA that is none.
    #[error("an authority must be a CA, and its basicConstraints do not say cA")]
    NotCa,
    /// A CA that may not sign certificates.
    #[error("an authority's keyUsage must have keyCertSign")]
    NoKeyCertSign,
    /// A CA that may do what an authority may not.
    #[error("its keyUsage has {0}, which an authority must not have")]
    AuthorityUsage(&'static str),
    /// A CA that names a workload.
    #[error("its SPIFFE id {0} has a path; an authority names a trust domain or nothing")]
    AuthorityPath(SpiffeId),
    /// A CA of another trust domain.
    #[error("it is an authority of trust domain {found}, not of {expected}")]
    AuthorityOf {
        /// Which it says.
        found: TrustDomain,
        /// Whose bundle it stands in, or whose leaf it signed.
        expected: TrustDomain,
    },
    /// No use as a trust anchor.
    #[error("it cannot be a trust anchor: {0}")]
    Anchor(String),
}

/// A time in a message: `2026-01-01T00:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub SystemTime);

impl Validity {
    /// Refuses when `now` is outside.
    pub fn check(&self, now: SystemTime) -> Result<(), InvalidCertificate> {
        if now < self.not_before {
            return Err(InvalidCertificate::NotYetValid(Timestamp(self.not_before)));
        }
        // The last second belongs to it.
        if now >= self.not_after + Duration::from_secs(1) {
            return Err(InvalidCertificate::Expired(Timestamp(self.not_after)));
        }
        Ok(())
    }
}

impl Leaf {
    /// Checks every rule of a leaf but the time: [`Validity::check`] with the time it is used at.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, InvalidCertificate> {
        let certificate = read(der)?;
        if is_ca(&certificate)? {
            return Err(InvalidCertificate::LeafIsCa);
        }
        leaf_usage(&certificate)?;
        extended_usage(&certificate)?;
        let id = match uri_names(&certificate)?.as_slice() {
            [name] => SpiffeId::parse(name).map_err(InvalidCertificate::Id)?,
            names => return Err(InvalidCertificate::UriNames(names.len())),
        };
        if id.path().is_empty() {
            return Err(InvalidCertificate::NoPath(id));
        }
        Ok(Self {
            id,
            validity: validity(&certificate),
            serial: certificate.raw_serial_as_string(),
        })
    }
}

impl Summary {
    /// Reads a certificate and checks nothing.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, InvalidCertificate> {
        let certificate = read(der)?;
        let uris = uri_names(&certificate)?;
        Ok(Self {
            uris: uris.into_iter().map(str::to_owned).collect(),
            validity: validity(&certificate),
            serial: certificate.raw_serial_as_string(),
        })
    }
}

/// Checks every rule of a signing certificate of `trust_domain` but the time, and tells when it is valid.
pub(crate) fn check_authority(
    der: &CertificateDer<'_>,
    trust_domain: &TrustDomain,
) -> Result<Validity, InvalidCertificate> {
    let certificate = read(der)?;
    if !is_ca(&certificate)? {
        return Err(InvalidCertificate::NotCa);
    }
    authority_usage(&certificate)?;
    match uri_names(&certificate)?.as_slice() {
        [] => {}
        [name] => {
            let id = SpiffeId::parse(name).map_err(InvalidCertificate::Id)?;
            if !id.path().is_empty() {
                return Err(InvalidCertificate::AuthorityPath(id));
            }
            if id.trust_domain() != trust_domain {
                return Err(InvalidCertificate::AuthorityOf {
                    found: id.trust_domain().clone(),
                    expected: trust_domain.clone(),
                });
            }
        }
        names => return Err(InvalidCertificate::UriNames(names.len())),
    }
    Ok(validity(&certificate))
}

/// The certificates of a PEM text, in order.
pub fn certificates_from_pem(
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, InvalidCertificate> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| InvalidCertificate::Pem(error.to_string()))?;
    if certificates.is_empty() {
        return Err(InvalidCertificate::Missing);
    }
    Ok(certificates)
}

/// The certificates of DER laid end to end, as the Workload API sends them.
pub fn certificates_from_der(
    mut der: &[u8],
) -> Result<Vec<CertificateDer<'static>>, InvalidCertificate> {
    let mut certificates = Vec::new();
    while !der.is_empty() {
        let (rest, _) = X509Certificate::from_der(der)
            .map_err(|error| InvalidCertificate::Malformed(error.to_string()))?;
        let (one, _) = der.split_at(der.len() - rest.len());
        certificates.push(CertificateDer::from(one.to_vec()));
        der = rest;
    }
    if certificates.is_empty() {
        return Err(InvalidCertificate::Missing);
    }
    Ok(certificates)
}

pub(crate) fn read<'a>(
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, InvalidCertificate> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(InvalidCertificate::Malformed("bytes follow it".to_owned())),
        Err(error) => Err(InvalidCertificate::Malformed(error.to_string())),
    }
}

/// When a certificate is valid, whatever else it says.
pub(crate) fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let time = |time: ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    Validity {
        not_before: time(certificate.validity().not_before),
        not_after: time(certificate.validity().not_after),
    }
}

fn malformed(error: impl std::fmt::Display) -> InvalidCertificate {
    InvalidCertificate::Malformed(error.to_string())
}

pub(crate) fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, InvalidCertificate> {
    Ok(certificate
        .basic_constraints()
        .map_err(malformed)?
        .is_some_and(|constraints| constraints.value.ca))
}

fn leaf_usage(certificate: &X509Certificate<'_>) -> Result<(), InvalidCertificate> {
    let usage = certificate
        .key_usage()
        .map_err(malformed)?
        .ok_or(InvalidCertificate::NoKeyUsage)?
        .value;
    let forbidden = [
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ];
    if let Some((_, name)) = forbidden.into_iter().find(|(set, _)| *set) {
        return Err(InvalidCertificate::LeafUsage(name));
    }
    if !usage.digital_signature() {
        return Err(InvalidCertificate::NoDigitalSignature);
    }
    Ok(())
}

fn authority_usage(certificate: &X509Certificate<'_>) -> Result<(), InvalidCertificate> {
    let usage = certificate
        .key_usage()
        .map_err(malformed)?
        .ok_or(InvalidCertificate::NoKeyCertSign)?
        .value;
    if !usage.key_cert_sign() {
        return Err(InvalidCertificate::NoKeyCertSign);
    }
    let forbidden = [
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ];
    match forbidden.into_iter().find(|(set, _)| *set) {
        Some((_, name)) => Err(InvalidCertificate::AuthorityUsage(name)),
        None => Ok(()),
    }
}

fn extended_usage(certificate: &X509Certificate<'_>) -> Result<(), InvalidCertificate> {
    let Some(usage) = certificate.extended_key_usage().map_err(malformed)? else {
        return Ok(());
    };
    if !usage.value.server_auth {
        return Err(InvalidCertificate::ExtendedUsage("serverAuth"));
    }
    if !usage.value.client_auth {
        return Err(InvalidCertificate::ExtendedUsage("clientAuth"));
    }
    Ok(())
}

fn uri_names<'a>(certificate: &X509Certificate<'a>) -> Result<Vec<&'a str>, InvalidCertificate> {
    let Some(names) = certificate.subject_alternative_name().map_err(malformed)? else {
        return Ok(Vec::new());
    };
    Ok(names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect())
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self
            .0
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let time = i64::try_from(seconds)
            .ok()
            .and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
        match time.map(|time| time.to_datetime()) {
            Some(time) => write!(
                f,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                time.year(),
                u8::from(time.month()),
                time.day(),
                time.hour(),
                time.minute(),
                time.second()
            ),
            None => write!(f, "second {seconds}"),
        }
    }
}
