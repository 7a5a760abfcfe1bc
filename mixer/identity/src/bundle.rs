//! Trust bundles: the authorities of one trust domain, and those of every trust domain that is trusted.
//!
//! They are kept apart on purpose. A peer's certificate is checked against the authorities of the trust domain it names and no
//! other's; one store with all of them would let every federated domain issue the ids of ours.

mod jwks;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use crate::certificate::{Validity, certificates_from_der, certificates_from_pem, check_authority};
use crate::{InvalidCertificate, TrustDomain};

/// The authorities of one trust domain.
#[derive(Clone)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    authorities: Vec<Authority>,
    /// Of all authorities, for as long as all of them are valid.
    roots: Arc<RootCertStore>,
    sequence: Option<u64>,
    refresh_hint: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    der: CertificateDer<'static>,
    validity: Validity,
}

/// The bundles of all trust domains that are trusted: our own and those we are federated with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundles(BTreeMap<TrustDomain, Arc<TrustBundle>>);

/// Why something is no trust bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBundle {
    /// The file or the message as a whole.
    #[error("the bundle of {0}: {1}")]
    Unreadable(TrustDomain, InvalidCertificate),
    /// One of its certificates, counted from 1.
    #[error("authority {1} in the bundle of {0}: {2}")]
    Authority(TrustDomain, usize, InvalidCertificate),
    /// A SPIFFE bundle in JSON that does not follow its format.
    #[error("the SPIFFE bundle of {0}: {1}")]
    Jwks(TrustDomain, String),
}

impl TrustBundle {
    /// From certificates in DER. None of them is a bundle too: nobody of that trust domain is trusted.
    pub fn new(
        trust_domain: TrustDomain,
        authorities: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, InvalidBundle> {
        let mut kept: Vec<Authority> = Vec::new();
        let mut roots = RootCertStore::empty();
        for (index, der) in authorities.into_iter().enumerate() {
            let refused = |fault| InvalidBundle::Authority(trust_domain.clone(), index + 1, fault);
            let validity = check_authority(&der, &trust_domain).map_err(refused)?;
            if kept.iter().any(|authority| authority.der == der) {
                continue;
            }
            roots
                .add(der.clone())
                .map_err(|error| refused(InvalidCertificate::Anchor(error.to_string())))?;
            kept.push(Authority { der, validity });
        }
        Ok(Self {
            trust_domain,
            authorities: kept,
            roots: Arc::new(roots),
            sequence: None,
            refresh_hint: None,
        })
    }

    /// From a PEM text.
    pub fn from_pem(trust_domain: TrustDomain, pem: &[u8]) -> Result<Self, InvalidBundle> {
        let certificates = certificates_from_pem(pem)
            .map_err(|fault| InvalidBundle::Unreadable(trust_domain.clone(), fault))?;
        Self::new(trust_domain, certificates)
    }

    /// From DER laid end to end, as the Workload API sends it.
    pub fn from_der(trust_domain: TrustDomain, der: &[u8]) -> Result<Self, InvalidBundle> {
        let certificates = certificates_from_der(der)
            .map_err(|fault| InvalidBundle::Unreadable(trust_domain.clone(), fault))?;
        Self::new(trust_domain, certificates)
    }

    /// The same with the number of its publication, which grows with every change.
    pub fn with_sequence(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// The same with how often those who copy it should look for a new one.
    pub fn with_refresh_hint(mut self, refresh_hint: Duration) -> Self {
        self.refresh_hint = Some(refresh_hint);
        self
    }

    /// Whose authorities these are.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The certificates, in DER.
    pub fn authorities(&self) -> impl ExactSizeIterator<Item = &CertificateDer<'static>> {
        self.authorities.iter().map(|authority| &authority.der)
    }

    /// The number of its publication, where the publisher says one.
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// How often to look for a new one, where the publisher says so.
    pub fn refresh_hint(&self) -> Option<Duration> {
        self.refresh_hint
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        self.authorities()
            .map(|der| crate::pem::certificate(der))
            .collect()
    }

    /// As DER laid end to end.
    pub fn to_der(&self) -> Vec<u8> {
        self.authorities()
            .flat_map(|der| der.iter().copied())
            .collect()
    }

    /// The authorities that are valid at `now`: webpki does not look at the lifetime of a trust anchor.
    pub(crate) fn roots(&self, now: SystemTime) -> Arc<RootCertStore> {
        let valid = |authority: &&Authority| authority.validity.check(now).is_ok();
        if self.authorities.iter().all(|authority| valid(&authority)) {
            return self.roots.clone();
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(
            self.authorities
                .iter()
                .filter(valid)
                .map(|authority| authority.der.clone()),
        );
        Arc::new(roots)
    }
}

impl Bundles {
    /// No trust at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a bundle in the place of the one its trust domain had: a bundle replaces, it never merges.
    pub fn insert(&mut self, bundle: TrustBundle) {
        self.0.insert(bundle.trust_domain.clone(), Arc::new(bundle));
    }

    /// The bundle of one trust domain.
    pub fn of(&self, trust_domain: &TrustDomain) -> Option<&Arc<TrustBundle>> {
        self.0.get(trust_domain)
    }

    /// All of them, by trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TrustBundle>> {
        self.0.values()
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<TrustBundle> for Bundles {
    fn from_iter<I: IntoIterator<Item = TrustBundle>>(bundles: I) -> Self {
        let mut all = Self::new();
        bundles.into_iter().for_each(|bundle| all.insert(bundle));
        all
    }
}

impl PartialEq for TrustBundle {
    fn eq(&self, other: &Self) -> bool {
        self.trust_domain == other.trust_domain
            && self.authorities == other.authorities
            && self.sequence == other.sequence
            && self.refresh_hint == other.refresh_hint
    }
}

impl Eq for TrustBundle {}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustBundle")
            .field("trust_domain", &self.trust_domain)
            .field("authorities", &self.authorities.len())
            .field("sequence", &self.sequence)
            .field("refresh_hint", &self.refresh_hint)
            .finish_non_exhaustive()
    }
}
