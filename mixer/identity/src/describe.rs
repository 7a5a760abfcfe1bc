//! What any certificate says, good or bad: for people who want to know why one is refused.

use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use crate::certificate::{check_authority, is_ca, read};
use crate::{InvalidCertificate, Leaf, SpiffeId, Summary};

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Whom it names, how it is numbered, when it is valid.
    pub summary: Summary,
    /// Whether it says that it signs others.
    pub is_authority: bool,
    /// Its subject, as RFC 4514 writes it.
    pub subject: String,
    /// The first rule of X.509-SVIDs that it breaks at the time it was described.
    pub fault: Option<InvalidCertificate>,
}

impl Described {
    /// What a certificate says, and which rule it breaks at `now`. Fails for what is no certificate.
    pub fn of(der: &CertificateDer<'_>, now: SystemTime) -> Result<Self, InvalidCertificate> {
        let summary = Summary::read(der)?;
        let certificate = read(der)?;
        let is_authority = is_ca(&certificate)?;
        let checked = match (is_authority, summary.uris.first()) {
            (false, _) => Leaf::parse(der).map(drop),
            (true, None) => authority(der, ANY),
            // Of whichever trust domain it says it is; whether that is the right one is for who asks.
            (true, Some(name)) => authority(der, name),
        };
        Ok(Self {
            fault: checked.and_then(|()| summary.validity.check(now)).err(),
            subject: certificate.subject().to_string(),
            is_authority,
            summary,
        })
    }
}

/// A trust domain, where any will do.
const ANY: &str = "spiffe://any";

fn authority(der: &CertificateDer<'_>, name: &str) -> Result<(), InvalidCertificate> {
    let id = SpiffeId::parse(name).map_err(InvalidCertificate::Id)?;
    check_authority(der, id.trust_domain()).map(drop)
}
