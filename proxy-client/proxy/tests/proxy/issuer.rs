//! Somebody who issues tokens, good ones and others: keys of every kind, and tokens of any text.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mixer_documents::KeySet;
use mixer_proto::v1::{self, issuer_keys::Keys};
use mixer_runtime::Clock;
use serde_json::{Value, json};

/// What the tokens of these tests say of who made them.
pub(crate) const ISSUER: &str = "https://accounts.example";

/// A key with its name.
#[derive(Clone)]
pub(crate) struct Signer {
    id: &'static str,
    pair: Arc<Pair>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair, &'static str),
    Ed25519(Ed25519KeyPair),
}

/// An RSA key; making one takes a while.
pub(crate) static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("rsa"));
/// Another.
pub(crate) static OTHER_RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("other"));

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let since = Clock::system().wall().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs() as i64
}

/// Claims that hold now, with others in their place.
pub(crate) fn claims(more: Value) -> Value {
    let usual = json!({
        "iss": ISSUER, "sub": "alice", "aud": "products", "exp": now() + 600, "groups": ["admins"],
    });
    with(usual, more)
}

/// `object` with the members of `more`; null takes one away.
pub(crate) fn with(mut object: Value, more: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    object
}

/// A token of these texts, and what `sign` makes of them.
pub(crate) fn compact(header: &str, payload: &str, sign: impl Fn(&str) -> Vec<u8>) -> String {
    let message = format!("{}.{}", base64(header), base64(payload));
    let signature = base64(sign(&message));
    format!("{message}.{signature}")
}

/// An HMAC, for those who would take a public key for a secret.
pub(crate) fn hmac_sha256(secret: &[u8], message: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
}

impl Signer {
    fn rsa(id: &'static str) -> Self {
        let pair = Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        Self::new(id, pair)
    }

    pub(crate) fn p256(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self::new(id, Pair::Ecdsa(pair, "P-256"))
    }

    pub(crate) fn p384(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self::new(id, Pair::Ecdsa(pair, "P-384"))
    }

    pub(crate) fn ed25519(id: &'static str) -> Self {
        Self::new(id, Pair::Ed25519(Ed25519KeyPair::generate().unwrap()))
    }

    fn new(id: &'static str, pair: Pair) -> Self {
        Self {
            id,
            pair: Arc::new(pair),
        }
    }

    /// The public key as a set has it.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &*self.pair {
            Pair::Rsa(pair) => {
                let public: PublicKeyComponents<Vec<u8>> = pair.public_key().into();
                json!({ "kty": "RSA", "n": base64(public.n), "e": base64(public.e) })
            }
            Pair::Ecdsa(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": curve, "x": base64(x), "y": base64(y) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key()) })
            }
        };
        jwk["kid"] = self.id.into();
        jwk
    }

    /// The public key as PEM, which a careless verifier takes for a secret.
    pub(crate) fn pem(&self) -> String {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        let Pair::Rsa(pair) = &*self.pair else {
            panic!("an RSA key is meant");
        };
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        let body = lines.join("\n");
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    /// Signs as `algorithm` says.
    pub(crate) fn sign(&self, algorithm: &str, message: &str) -> Vec<u8> {
        let (random, message) = (SystemRandom::new(), message.as_bytes());
        match &*self.pair {
            Pair::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signed).unwrap();
                signed
            }
            Pair::Ecdsa(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => {
                let signed: signature::Signature = pair.sign(message);
                signed.as_ref().to_vec()
            }
        }
    }

    /// A token with these claims, whose header says `more`.
    pub(crate) fn token_with(&self, algorithm: &str, more: Value, claims: &Value) -> String {
        let header = with(
            json!({ "alg": algorithm, "typ": "JWT", "kid": self.id }),
            more,
        );
        compact(&header.to_string(), &claims.to_string(), |message| {
            self.sign(algorithm, message)
        })
    }

    /// A token with these claims.
    pub(crate) fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.token_with(algorithm, json!({}), claims)
    }
}

/// The keys of the document `issuer` as Mixer tells them.
pub(crate) fn told(issuer: &str, signers: &[&Signer]) -> v1::IssuerKeys {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    let set = KeySet::read(&json!({ "keys": keys }).to_string()).unwrap();
    v1::IssuerKeys {
        issuer: issuer.to_owned(),
        keys: Some(Keys::Jwks(set.canonical())),
        digest: set.digest(),
    }
}
