//! What any certificate says, good or bad: for people who want to know why one is refused.

use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use crate::certificate::{check_authority, is_ca, read, uri_names, validity};
use crate::{InvalidCertificate, Leaf, SpiffeId, Validity};

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its URI names, which should be one SPIFFE id.
    pub names: Vec<String>,
    /// Whether it says that it signs others.
    pub is_authority: bool,
    /// Its subject, as RFC 4514 writes it.
    pub subject: String,
    /// Its serial number, in hex.
    pub serial: String,
    /// When it is valid.
    pub validity: Validity,
    /// The first rule it breaks at the time it was described.
    pub fault: Option<InvalidCertificate>,
}

impl Described {
    /// What a certificate says, and the first rule of X.509-SVIDs that it breaks at `now`. Fails for what is no certificate.
    pub fn of(der: &CertificateDer<'_>, now: SystemTime) -> Result<Self, InvalidCertificate> {
        let certificate = read(der)?;
        let is_authority = is_ca(&certificate)?;
        let names: Vec<String> = uri_names(&certificate)?
            .into_iter()
            .map(str::to_owned)
            .collect();
        let validity = validity(&certificate);
        let fault = match (is_authority, names.first()) {
            (false, _) => Leaf::parse(der).map(drop),
            (true, None) => authority(der, ANY),
            // Of whichever trust domain it says it is; whether that is the right one is for who asks.
            (true, Some(name)) => authority(der, name),
        };
        Ok(Self {
            is_authority,
            subject: certificate.subject().to_string(),
            serial: certificate.raw_serial_as_string(),
            validity,
            fault: fault.and_then(|()| validity.check(now)).err(),
            names,
        })
    }
}

/// A trust domain, where any will do.
const ANY: &str = "spiffe://any";

fn authority(der: &CertificateDer<'_>, name: &str) -> Result<(), InvalidCertificate> {
    let id = SpiffeId::parse(name).map_err(InvalidCertificate::Id)?;
    check_authority(der, id.trust_domain()).map(drop)
}
