//! Keys, and signatures by them.
//!
//! `jsonwebtoken` verifies signatures. Its `decode` is not used: it takes the time from the system, ignores `crit`, takes a list
//! for an issuer, reads the last of two claims of one name, and cannot try the keys of a set.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey};
use mixer_documents::{KeySet, NoKeySet, PublicKey, SignatureAlgorithm};

use super::Refused;
use super::parse::Token;

/// The keys of an issuer.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Names the set.
    pub(super) digest: Arc<str>,
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    algorithms: Vec<SignatureAlgorithm>,
    key: DecodingKey,
}

impl Verifier {
    /// The keys of a set.
    pub(super) fn new(jwks: &str, digest: &Arc<str>) -> Result<Self, NoKeySet> {
        let set = KeySet::read(jwks)?;
        let keys = set.keys().iter().map(|key| Key {
            id: key.id.clone(),
            algorithms: key.algorithms.clone(),
            key: match &key.public {
                PublicKey::Rsa { modulus, exponent } => {
                    DecodingKey::from_rsa_raw_components(modulus, exponent)
                }
                PublicKey::P256(point) | PublicKey::P384(point) => DecodingKey::from_ec_der(point),
                PublicKey::Ed25519(bytes) => DecodingKey::from_ed_der(bytes),
            },
        });
        Ok(Self {
            digest: digest.clone(),
            keys: keys.collect(),
        })
    }

    /// Whether the key that a token names is there; one that names none may mean any.
    pub(super) fn has(&self, token: &Token<'_>) -> bool {
        token.key.is_none() || self.keys.iter().any(|key| key.id == token.key)
    }

    /// Whether one of the keys that the token may mean has signed it. A key is asked about no other signature than it is for.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), Refused> {
        let named = |key: &&Key| token.key.is_none() || key.id == token.key;
        let fits = |key: &&Key| key.algorithms.contains(&token.algorithm);
        let mut fitting = self.keys.iter().filter(named).filter(fits).peekable();
        if fitting.peek().is_none() {
            return Err(Refused::Invalid("its algorithm is not that of its key"));
        }
        let (message, algorithm) = (token.message.as_bytes(), algorithm(token.algorithm));
        let signed = |key: &Key| {
            let verified =
                jsonwebtoken::crypto::verify(token.signature, message, &key.key, algorithm);
            verified.unwrap_or(false)
        };
        match fitting.any(signed) {
            true => Ok(()),
            false => Err(Refused::Invalid("its signature is wrong")),
        }
    }
}

fn algorithm(named: SignatureAlgorithm) -> Algorithm {
    match named {
        SignatureAlgorithm::Rs256 => Algorithm::RS256,
        SignatureAlgorithm::Rs384 => Algorithm::RS384,
        SignatureAlgorithm::Rs512 => Algorithm::RS512,
        SignatureAlgorithm::Ps256 => Algorithm::PS256,
        SignatureAlgorithm::Ps384 => Algorithm::PS384,
        SignatureAlgorithm::Ps512 => Algorithm::PS512,
        SignatureAlgorithm::Es256 => Algorithm::ES256,
        SignatureAlgorithm::Es384 => Algorithm::ES384,
        SignatureAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.id, self.algorithms)
    }
}
