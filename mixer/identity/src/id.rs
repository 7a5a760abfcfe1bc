//! SPIFFE ids and trust domains: parsed once into types that cannot be wrong.
//!
//! Every rule of the SPIFFE-ID standard is checked by hand and a fault has its own name, because "invalid id" does not tell an
//! operator which of a dozen rules a certificate broke. Nothing is normalised: an id that would have to be is refused, so that
//! two ids are the same exactly when their bytes are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest id the standard asks implementations to take.
const LONGEST_ID: usize = 2048;
/// The longest trust domain.
const LONGEST_TRUST_DOMAIN: usize = 255;
const SCHEME: &str = "spiffe://";

/// A trust domain: the name of one issuer of identities, such as `cluster.local`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// A SPIFFE id: `spiffe://cluster.local/ns/shop/sa/frontend`. One without a path names the trust domain itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

/// A text that is no SPIFFE id or no trust domain, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{input:?} is not a {what}: {fault}")]
pub struct InvalidId {
    input: String,
    what: &'static str,
    fault: IdFault,
}

/// The rule that a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdFault {
    /// More than 2048 bytes.
    #[error("it is {0} bytes long, more than 2048")]
    TooLong(usize),
    /// Another scheme, or none.
    #[error("it does not start with `spiffe://` in lower case")]
    Scheme,
    /// Nothing between the scheme and the path.
    #[error("it has no trust domain")]
    NoTrustDomain,
    /// More than 255 bytes of trust domain.
    #[error("its trust domain is {0} bytes long, more than 255")]
    TrustDomainTooLong(usize),
    /// `user@` before the trust domain.
    #[error("it has user information (`@`), which a SPIFFE id never has")]
    UserInfo,
    /// `:8080` after the trust domain.
    #[error("it has a port (`:`), which a SPIFFE id never has")]
    Port,
    /// A query.
    #[error("it has a query (`?`), which a SPIFFE id never has")]
    Query,
    /// A fragment.
    #[error("it has a fragment (`#`), which a SPIFFE id never has")]
    Fragment,
    /// A character that trust domains do not have.
    #[error("its trust domain has {0:?}; it may have only a-z, 0-9, `.`, `-` and `_`")]
    TrustDomainCharacter(char),
    /// A character that path segments do not have.
    #[error("its path has {0:?}; it may have only letters, digits, `.`, `-` and `_`")]
    PathCharacter(char),
    /// `//` in the path.
    #[error("its path has an empty segment (`//`)")]
    EmptySegment,
    /// `.` or `..` as a segment.
    #[error("its path has a dot segment (`.` or `..`)")]
    DotSegment,
    /// A slash at the end.
    #[error("it ends with a slash")]
    TrailingSlash,
    /// A path where a trust domain alone is expected.
    #[error("it has a path, and a trust domain has none")]
    Path,
}

impl TrustDomain {
    /// From `cluster.local`, or from `spiffe://cluster.local`.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let refused = |fault| InvalidId::new(text, "trust domain", fault);
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        if name.contains('/') {
            return Err(refused(IdFault::Path));
        }
        check_trust_domain(name).map_err(refused)?;
        Ok(Self(name.into()))
    }

    /// `cluster.local`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the trust domain itself: `spiffe://cluster.local`.
    pub fn id(&self) -> SpiffeId {
        SpiffeId {
            text: format!("{SCHEME}{}", self.0).into(),
            trust_domain: self.clone(),
        }
    }
}

impl SpiffeId {
    /// Checks every rule of the SPIFFE-ID standard, section 2.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let refused = |fault| InvalidId::new(text, "SPIFFE id", fault);
        if text.len() > LONGEST_ID {
            return Err(refused(IdFault::TooLong(text.len())));
        }
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| refused(IdFault::Scheme))?;
        let (trust_domain, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        check_trust_domain(trust_domain).map_err(refused)?;
        check_path(path).map_err(refused)?;
        Ok(Self {
            text: text.into(),
            trust_domain: TrustDomain(trust_domain.into()),
        })
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Who issued it.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading slash; empty for the id of a trust domain.
    pub fn path(&self) -> &str {
        &self.text[SCHEME.len() + self.trust_domain.0.len()..]
    }

    /// `N` of a path `/ns/N/sa/S`, the way Kubernetes workloads are named.
    pub fn namespace(&self) -> Option<&str> {
        self.workload().map(|(namespace, _)| namespace)
    }

    /// `S` of a path `/ns/N/sa/S`.
    pub fn service_account(&self) -> Option<&str> {
        self.workload().map(|(_, service_account)| service_account)
    }

    fn workload(&self) -> Option<(&str, &str)> {
        let (namespace, rest) = self.path().strip_prefix("/ns/")?.split_once('/')?;
        let service_account = rest.strip_prefix("sa/")?;
        (!service_account.contains('/')).then_some((namespace, service_account))
    }
}

impl InvalidId {
    fn new(input: &str, what: &'static str, fault: IdFault) -> Self {
        // An id comes from a peer: no message grows with it.
        let input = input.chars().take(256).collect();
        Self { input, what, fault }
    }

    /// The rule that is broken.
    pub fn fault(&self) -> IdFault {
        self.fault
    }
}

fn check_trust_domain(name: &str) -> Result<(), IdFault> {
    if name.is_empty() {
        return Err(IdFault::NoTrustDomain);
    }
    if let Some(wrong) = name
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_'))
    {
        // `user:password@td` is user information, although the colon comes first.
        return Err(match wrong {
            ':' | '@' if name.contains('@') => IdFault::UserInfo,
            ':' => IdFault::Port,
            '?' => IdFault::Query,
            '#' => IdFault::Fragment,
            other => IdFault::TrustDomainCharacter(other),
        });
    }
    if name.len() > LONGEST_TRUST_DOMAIN {
        return Err(IdFault::TrustDomainTooLong(name.len()));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), IdFault> {
    let Some(segments) = path.strip_prefix('/') else {
        return Ok(());
    };
    if let Some(wrong) = segments
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/')))
    {
        return Err(match wrong {
            '?' => IdFault::Query,
            '#' => IdFault::Fragment,
            other => IdFault::PathCharacter(other),
        });
    }
    if path.ends_with('/') {
        return Err(IdFault::TrailingSlash);
    }
    for segment in segments.split('/') {
        match segment {
            "" => return Err(IdFault::EmptySegment),
            "." | ".." => return Err(IdFault::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

impl FromStr for TrustDomain {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
