//! Sets of public keys (RFC 7517): what a provider publishes, read into keys that can only verify.
//!
//! A key says by its type, and by its `alg` if it has one, which signatures it can be asked about. So a token never chooses how
//! it is checked: an RSA key knows no HMAC, and a symmetric key is none that a set published to the world may have. Keys that
//! cannot be used are left out, as the RFC says; a set in which none can be is no set. Both Mixer, which fetches, and proxies,
//! which verify, read sets by this: what Mixer passes on holds public members only and is what proxies understand.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Bytes of a set.
const MOST_BYTES: usize = 256 * 1024;
/// Keys of a set.
const MOST_KEYS: usize = 64;
/// Bytes of the id of a key.
const MOST_ID: usize = 1_024;
/// Bits of the modulus of an RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// A set of keys, each with something to verify; never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
    unused: Vec<String>,
}

/// One public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its `kid`.
    pub id: Option<String>,
    /// The key.
    pub public: PublicKey,
    /// The signatures it may be asked about; never empty.
    pub algorithms: Vec<SignatureAlgorithm>,
}

/// The key itself, checked as far as that can be done without cryptography.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PublicKey {
    /// 2,048 to 8,192 bits.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// An uncompressed point of P-256.
    P256(Vec<u8>),
    /// An uncompressed point of P-384.
    P384(Vec<u8>),
    /// 32 bytes.
    Ed25519(Vec<u8>),
}

/// The signatures that are verified (RFC 7518 section 3.1, RFC 8037). There is no `none` and no HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SignatureAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// Why a text is no set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NoKeySet {
    #[error("it has {0} bytes, more than {MOST_BYTES}")]
    TooLarge(usize),
    #[error("it is no JSON: {0}")]
    NoJson(String),
    #[error("it is no object with a list `keys` (RFC 7517 section 5)")]
    NoKeys,
    #[error("it has {0} keys, more than {MOST_KEYS}")]
    TooMany(usize),
    #[error("no key in it can verify a token: {0}")]
    NoneUsable(String),
}

impl KeySet {
    /// Reads a set.
    pub fn read(text: &str) -> Result<Self, NoKeySet> {
        if text.len() > MOST_BYTES {
            return Err(NoKeySet::TooLarge(text.len()));
        }
        let mut set: Value =
            serde_json::from_str(text).map_err(|error| NoKeySet::NoJson(error.to_string()))?;
        let Some(Value::Array(members)) = set.get_mut("keys").map(Value::take) else {
            return Err(NoKeySet::NoKeys);
        };
        if members.len() > MOST_KEYS {
            return Err(NoKeySet::TooMany(members.len()));
        }
        let (mut keys, mut unused) = (Vec::new(), Vec::new());
        for (at, member) in members.iter().enumerate() {
            match Key::read(member) {
                Ok(key) => keys.push(key),
                Err(why) => unused.push(format!("key {}: {why}", at + 1)),
            }
        }
        if keys.is_empty() {
            let why = match unused.is_empty() {
                true => "it is empty".to_owned(),
                false => unused.join("; "),
            };
            return Err(NoKeySet::NoneUsable(why));
        }
        Ok(Self { keys, unused })
    }

    /// Its keys, in their order.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Why keys were left out, one line each.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// The public members of its keys, as a set; [`KeySet::read`] reads it back.
    pub fn canonical(&self) -> String {
        json!({ "keys": self.keys.iter().map(Key::canonical).collect::<Vec<_>>() }).to_string()
    }

    /// Names its keys: 16 hex digits.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(self.canonical());
        digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Key {
    fn read(member: &Value) -> Result<Self, String> {
        let Value::Object(members) = member else {
            return Err("is no object".to_owned());
        };
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let id = match members.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MOST_ID => Some(id.clone()),
            Some(_) => return Err(format!("its `kid` is no text of at most {MOST_ID} bytes")),
        };
        if let Some(other) = text("use").filter(|meant| *meant != "sig") {
            return Err(format!("is for `{other}`, not for signatures"));
        }
        let verifies = |listed: &Value| {
            let operations = listed.as_array();
            operations.is_none_or(|all| all.iter().any(|one| one == "verify"))
        };
        if members
            .get("key_ops")
            .is_some_and(|listed| !verifies(listed))
        {
            return Err("its `key_ops` have no `verify`".to_owned());
        }
        let public = PublicKey::read(members)?;
        let fitting = public.algorithms();
        let algorithms = match members.get("alg") {
            None => fitting.to_vec(),
            Some(named) => {
                let named = named.as_str().unwrap_or_default();
                let one = fitting.iter().find(|one| one.name() == named);
                vec![*one.ok_or_else(|| {
                    format!("its `alg` {named:?} is none that a key of its type is used with here")
                })?]
            }
        };
        Ok(Self {
            id,
            public,
            algorithms,
        })
    }

    fn canonical(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.public {
            PublicKey::Rsa { modulus, exponent } => {
                json!({ "kty": "RSA", "n": text(modulus), "e": text(exponent) })
            }
            PublicKey::P256(point) | PublicKey::P384(point) => {
                let (x, y) = point[1..].split_at(point.len() / 2);
                let curve = match self.public {
                    PublicKey::P256(_) => "P-256",
                    _ => "P-384",
                };
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
            PublicKey::Ed25519(x) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(x) }),
        };
        if let Some(id) = &self.id {
            key["kid"] = id.as_str().into();
        }
        if let [only] = self.algorithms[..] {
            key["alg"] = only.name().into();
        }
        key
    }
}

impl PublicKey {
    fn read(members: &Map<String, Value>) -> Result<Self, String> {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let bytes = |name: &str| {
            let text = text(name).ok_or_else(|| format!("has no `{name}`"))?;
            let decoded = URL_SAFE_NO_PAD.decode(text);
            decoded.map_err(|_| format!("its `{name}` is no base64url"))
        };
        match (text("kty"), text("crv")) {
            (Some("RSA"), _) => {
                let (modulus, exponent) = (bytes("n")?, bytes("e")?);
                let modulus = without_zeros(&modulus);
                let first = modulus.first().map_or(8, |first| first.leading_zeros());
                let bits = (modulus.len() * 8).saturating_sub(first as usize);
                if !RSA_BITS.contains(&bits) {
                    let (low, high) = (RSA_BITS.start(), RSA_BITS.end());
                    return Err(format!("is RSA of {bits} bits, not of {low} to {high}"));
                }
                let exponent = without_zeros(&exponent);
                // 1 verifies anything.
                if exponent.len() > 4
                    || exponent.last().is_none_or(|last| last % 2 == 0)
                    || exponent == [1]
                {
                    return Err("its `e` is no exponent of an RSA key".to_owned());
                }
                Ok(Self::Rsa {
                    modulus: modulus.to_vec(),
                    exponent: exponent.to_vec(),
                })
            }
            (Some("EC"), Some("P-256")) => point(&bytes("x")?, &bytes("y")?, 32).map(Self::P256),
            (Some("EC"), Some("P-384")) => point(&bytes("x")?, &bytes("y")?, 48).map(Self::P384),
            (Some("OKP"), Some("Ed25519")) => {
                let key = bytes("x")?;
                match key.len() {
                    32 => Ok(Self::Ed25519(key)),
                    length => Err(format!("its `x` has {length} bytes, not 32")),
                }
            }
            (Some("oct"), _) => Err("is a secret, which is nothing to publish".to_owned()),
            (Some(kind), Some(curve)) => {
                Err(format!("is of a kind not known here: {kind} {curve}"))
            }
            (Some(kind), None) => Err(format!("is of a kind not known here: {kind}")),
            (None, _) => Err("has no `kty`".to_owned()),
        }
    }

    /// What a key of this kind can have signed.
    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        use SignatureAlgorithm::*;
        match self {
            Self::Rsa { .. } => &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512],
            Self::P256(_) => &[Es256],
            Self::P384(_) => &[Es384],
            Self::Ed25519(_) => &[EdDsa],
        }
    }
}

impl SignatureAlgorithm {
    const NAMES: [(&'static str, Self); 9] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    /// Its name in tokens and keys.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, algorithm)| *algorithm == self)
            .map_or("", |(name, _)| name)
    }

    /// The one of this name.
    pub fn find(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.iter();
        names
            .find(|(known, _)| *known == name)
            .map(|(_, algorithm)| *algorithm)
    }
}

/// Both coordinates as SEC 1 section 2.3.3 writes an uncompressed point.
fn point(x: &[u8], y: &[u8], length: usize) -> Result<Vec<u8>, String> {
    if x.len() != length || y.len() != length {
        return Err(format!("its coordinates have not {length} bytes each"));
    }
    Ok([&[4][..], x, y].concat())
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0);
    &number[first.unwrap_or(number.len())..]
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.keys).finish()
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "RSA",
            Self::P256(_) => "P-256",
            Self::P384(_) => "P-384",
            Self::Ed25519(_) => "Ed25519",
        })
    }
}

#[cfg(test)]
mod tests;
