//! An X.509-SVID of our own: a certificate chain and the key that belongs to it.
//!
//! Made only by a check of everything a peer will check and of what a peer cannot: that the key is that of the certificate. It
//! holds the key in rustls's form, ready to sign handshakes, so that nothing is parsed per connection.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::{Leaf, Validity, certificates_from_pem, check_authority};
use crate::{InvalidCertificate, SpiffeId};

/// A workload's certificate chain, leaf first and without the root, and its private key.
pub struct Svid {
    leaf: Leaf,
    key: PrivateKeyDer<'static>,
    certified: Arc<CertifiedKey>,
}

/// Why a chain and a key are no SVID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSvid {
    /// The leaf is not as it must be.
    #[error("the certificate: {0}")]
    Leaf(InvalidCertificate),
    /// A certificate behind the leaf is not as it must be; the leaf is number 1.
    #[error("certificate {0} of the chain: {1}")]
    Chain(usize, InvalidCertificate),
    /// The key cannot be read, or is of a kind that cannot sign.
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// The key is another's.
    #[error("the private key is not that of the certificate")]
    KeyMismatch,
}

impl Svid {
    /// Checks a chain in DER, leaf first, at the time `now`, and the key with it.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now: SystemTime,
    ) -> Result<Self, InvalidSvid> {
        let first = chain
            .first()
            .ok_or(InvalidSvid::Leaf(InvalidCertificate::Missing))?;
        let leaf = Leaf::parse(first).map_err(InvalidSvid::Leaf)?;
        leaf.validity.check(now).map_err(InvalidSvid::Leaf)?;
        for (index, certificate) in chain.iter().enumerate().skip(1) {
            check_authority(certificate, leaf.id.trust_domain())
                .and_then(|validity| validity.check(now))
                .map_err(|fault| InvalidSvid::Chain(index + 1, fault))?;
        }
        let signing =
            any_supported_type(&key).map_err(|error| InvalidSvid::Key(error.to_string()))?;
        let certified = CertifiedKey::new(chain, signing);
        certified
            .keys_match()
            .map_err(|_| InvalidSvid::KeyMismatch)?;
        Ok(Self {
            leaf,
            key,
            certified: Arc::new(certified),
        })
    }

    /// The same from PEM. Text around the sections is ignored, as is a key beside the chain.
    pub fn from_pem(chain: &[u8], key: &[u8], now: SystemTime) -> Result<Self, InvalidSvid> {
        let chain = certificates_from_pem(chain).map_err(InvalidSvid::Leaf)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| InvalidSvid::Key(error.to_string()))?;
        Self::new(chain, key, now)
    }

    /// Whom it names.
    pub fn id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// The leaf's serial number, in hex.
    pub fn serial(&self) -> &str {
        &self.leaf.serial
    }

    /// When the leaf begins to be valid.
    pub fn not_before(&self) -> SystemTime {
        self.leaf.validity.not_before
    }

    /// The last second the leaf is valid.
    pub fn not_after(&self) -> SystemTime {
        self.leaf.validity.not_after
    }

    /// Both.
    pub fn validity(&self) -> Validity {
        self.leaf.validity
    }

    /// When to ask for the next one: half of its life, from its beginning.
    pub fn half_life(&self) -> SystemTime {
        let life = self
            .not_after()
            .duration_since(self.not_before())
            .unwrap_or(Duration::ZERO);
        self.not_before() + life / 2
    }

    /// The chain in DER, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The private key. Whoever asks for it answers for where it goes.
    pub fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// Chain and key as rustls signs with them.
    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.leaf.id)
            .field("serial", &self.leaf.serial)
            .field("validity", &self.leaf.validity)
            .finish_non_exhaustive()
    }
}
