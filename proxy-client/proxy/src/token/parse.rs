//! A token in its compact form (RFC 7515 section 3.1), taken apart before anything of it is believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mixer_attributes::Dynamic;
use mixer_documents::SignatureAlgorithm;

use super::{Refused, json};

/// Bytes of a token.
pub(super) const MOST_BYTES: usize = 16 * 1024;

/// A token whose parts were read.
#[derive(Debug)]
pub(super) struct Token<'t> {
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) key: Option<String>,
    /// Header and payload, which the signature is over.
    pub(super) message: &'t str,
    pub(super) signature: &'t str,
    /// The payload.
    pub(super) tree: Dynamic,
    pub(super) issuer: String,
}

/// The claims that every token must have or may have (RFC 7519 section 4.1).
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) subject: Option<String>,
    /// Never empty.
    pub(super) audiences: Vec<String>,
    pub(super) expires: i64,
    pub(super) begins: Option<i64>,
}

impl<'t> Token<'t> {
    /// Takes a token apart.
    pub(super) fn parse(text: &'t str) -> Result<Self, Refused> {
        if text.len() > MOST_BYTES {
            return Err(Refused::Invalid("it is too large"));
        }
        if text.contains([' ', ',']) {
            return Err(Refused::Invalid("it is no signed token"));
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(Refused::Invalid(match parts.len() {
                5 => "it is encrypted, which is not understood",
                _ => "it is no signed token",
            }));
        };
        let header = part(header)?;
        let word = |name: &str| match header.member(name) {
            None => Ok(None),
            Some(Dynamic::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refused::Invalid("its header makes no sense")),
        };
        // RFC 7515 section 4.1.11: what must be understood and is not makes a token invalid. Nothing is understood.
        if header.member("crit").is_some() {
            return Err(Refused::Invalid("it demands what is not understood"));
        }
        let algorithm = word("alg")?.and_then(|name| SignatureAlgorithm::find(name));
        let algorithm = algorithm.ok_or(Refused::Invalid("its algorithm is none that is taken"))?;
        let key = word("kid")?.cloned();
        let tree = part(payload)?;
        let Some(Dynamic::String(issuer)) = tree.member("iss") else {
            return Err(Refused::Invalid("it has no issuer"));
        };
        Ok(Self {
            algorithm,
            key,
            message: &text[..text.len() - signature.len() - 1],
            signature,
            issuer: issuer.clone(),
            tree,
        })
    }

    /// What it claims, once its signature was verified.
    pub(super) fn claims(&self) -> Result<Claims, Refused> {
        let subject = match self.tree.member("sub") {
            None => None,
            Some(Dynamic::String(subject)) => Some(subject.clone()),
            Some(_) => return Err(Refused::Invalid("its subject is no text")),
        };
        let text = |item: &Dynamic| match item {
            Dynamic::String(text) => Some(text.clone()),
            _ => None,
        };
        let audiences: Option<Vec<String>> = match self.tree.member("aud") {
            Some(Dynamic::List(items)) => items.iter().map(text).collect(),
            Some(one) => text(one).map(|one| vec![one]),
            None => Some(Vec::new()),
        };
        let audiences = audiences
            .filter(|audiences| !audiences.is_empty())
            .ok_or(Refused::Invalid("it has no audience"))?;
        let expires = self
            .tree
            .member("exp")
            .and_then(|time| seconds(time, f64::floor));
        let expires = expires.ok_or(Refused::Invalid("it does not say when it expires"))?;
        let begins = match self.tree.member("nbf") {
            None => None,
            Some(time) => Some(
                seconds(time, f64::ceil)
                    .ok_or(Refused::Invalid("it does not say when it begins"))?,
            ),
        };
        Ok(Claims {
            subject,
            audiences,
            expires,
            begins,
        })
    }
}

/// Header or payload: an object.
fn part(text: &str) -> Result<Dynamic, Refused> {
    let decoded = URL_SAFE_NO_PAD.decode(text);
    let decoded = decoded.map_err(|_| Refused::Invalid("it is no base64url"))?;
    match json::tree(&decoded) {
        Ok(tree @ Dynamic::Map(_)) => Ok(tree),
        Ok(_) | Err(_) => Err(Refused::Invalid("its parts are no JSON objects")),
    }
}

/// A NumericDate (RFC 7519 section 2), which may have a fraction.
fn seconds(time: &Dynamic, whole: fn(f64) -> f64) -> Option<i64> {
    match time {
        Dynamic::Int(seconds) => Some(*seconds),
        // Beyond what fits, the nearest that does.
        Dynamic::Double(seconds) => Some(whole(*seconds) as i64),
        _ => None,
    }
}
