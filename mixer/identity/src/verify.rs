//! Whether a peer is who it says it is (X.509-SVID, section 5).
//!
//! First the id is read from the leaf, then the bundle of the trust domain it names is taken, then webpki looks for a path from
//! the leaf to one of that bundle's authorities, and last the id is compared with whom we meant to speak to. DNS names play no
//! part. Both directions are verified by the one function: a leaf may be used on either side, so a chain that is good for a
//! server is good for a client.

use std::time::{Duration, SystemTime};

use rustls::CertificateError;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::certificate::{Leaf, check_authority};
use crate::{Bundles, InvalidCertificate, SpiffeId, TrustDomain};

/// Which peers are the right ones, beyond being trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Every peer of a trust domain we have a bundle of.
    Anyone,
    /// Every peer of one trust domain.
    Member(TrustDomain),
    /// One peer.
    Id(SpiffeId),
    /// One of several.
    OneOf(Vec<SpiffeId>),
}

/// Why a peer is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Its certificate breaks a rule.
    #[error("the peer's certificate: {0}")]
    Leaf(InvalidCertificate),
    /// A certificate behind its leaf breaks a rule; the leaf is number 1.
    #[error("certificate {0} of the peer's chain: {1}")]
    Chain(usize, InvalidCertificate),
    /// Nobody of its trust domain is trusted.
    #[error("the peer is {0}, and there is no trust bundle of {trust_domain}", trust_domain = .0.trust_domain())]
    NoBundle(SpiffeId),
    /// No path to an authority.
    #[error("the peer says it is {0}, but no valid authority in the bundle of {trust_domain} signed its chain, or an intermediate is missing", trust_domain = .0.trust_domain())]
    UnknownAuthority(SpiffeId),
    /// webpki refuses for another reason.
    #[error("the peer says it is {0}, but its chain does not hold: {1}")]
    Path(SpiffeId, String),
    /// A trusted peer, but the wrong one.
    #[error("the peer is {found}, and {expected} was expected")]
    Unexpected {
        /// Who it is.
        found: SpiffeId,
        /// Who it should have been.
        expected: Expected,
    },
    /// We have nothing to check with.
    #[error("this process has no identity and no trust bundles yet")]
    NotReady,
}

impl Expected {
    /// Whether `id` is one of them.
    pub fn matches(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Anyone => true,
            Self::Member(trust_domain) => id.trust_domain() == trust_domain,
            Self::Id(expected) => id == expected,
            Self::OneOf(expected) => expected.contains(id),
        }
    }
}

/// Verifies a chain at the time `now` and tells whom it names.
pub(crate) fn verify(
    chain: &[CertificateDer<'_>],
    bundles: &Bundles,
    expected: &Expected,
    algorithms: &WebPkiSupportedAlgorithms,
    now: SystemTime,
) -> Result<SpiffeId, Untrusted> {
    let (first, intermediates) = chain
        .split_first()
        .ok_or(Untrusted::Leaf(InvalidCertificate::Missing))?;
    let leaf = Leaf::parse(first).map_err(Untrusted::Leaf)?;
    leaf.validity.check(now).map_err(Untrusted::Leaf)?;
    let bundle = bundles
        .of(leaf.id.trust_domain())
        .ok_or_else(|| Untrusted::NoBundle(leaf.id.clone()))?;
    for (index, certificate) in intermediates.iter().enumerate() {
        check_authority(certificate, leaf.id.trust_domain())
            .and_then(|validity| validity.check(now))
            .map_err(|fault| Untrusted::Chain(index + 2, fault))?;
    }
    let parsed = ParsedCertificate::try_from(first)
        .map_err(|error| Untrusted::Path(leaf.id.clone(), error.to_string()))?;
    verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &bundle.roots(now),
        intermediates,
        unix(now),
        algorithms.all,
    )
    .map_err(|error| match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Untrusted::UnknownAuthority(leaf.id.clone())
        }
        error => Untrusted::Path(leaf.id.clone(), error.to_string()),
    })?;
    if !expected.matches(&leaf.id) {
        return Err(Untrusted::Unexpected {
            found: leaf.id,
            expected: expected.clone(),
        });
    }
    Ok(leaf.id)
}

/// The last moment at which all of a chain is valid.
pub(crate) fn last_valid(chain: &[CertificateDer<'_>]) -> Option<SystemTime> {
    chain
        .iter()
        .filter_map(|der| {
            crate::certificate::read(der)
                .ok()
                .map(|read| crate::certificate::validity(&read).not_after)
        })
        .min()
}

fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO),
    )
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Member(trust_domain) => write!(f, "a member of {trust_domain}"),
            Self::Id(id) => write!(f, "{id}"),
            Self::OneOf(ids) => {
                f.write_str("one of")?;
                ids.iter().try_for_each(|id| write!(f, " {id}"))
            }
        }
    }
}
