//! A trust bundle in the SPIFFE bundle format: a JWK set whose keys carry their certificate (SPIFFE Trust Domain and Bundle,
//! section 4). It is what trust domains publish to each other.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value, json};
use x509_parser::public_key::PublicKey;

use super::{InvalidBundle, TrustBundle};
use crate::certificate::read;
use crate::{InvalidCertificate, TrustDomain};

/// What a key is for, in `use`: signing X.509-SVIDs.
const X509_SVID: &str = "x509-svid";

impl TrustBundle {
    /// From a SPIFFE bundle. Keys with another `use` (JWT-SVIDs, or what later versions add) are passed over, as the format asks.
    pub fn from_jwks(trust_domain: TrustDomain, text: &[u8]) -> Result<Self, InvalidBundle> {
        let refused = |problem: String| InvalidBundle::Jwks(trust_domain.clone(), problem);
        let document: Value = serde_json::from_slice(text)
            .map_err(|error| refused(format!("it is not JSON: {error}")))?;
        let keys = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| refused("it has no list `keys`".to_owned()))?;
        let mut authorities = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            if key.get("use").and_then(Value::as_str) == Some(X509_SVID) {
                let der = certificate(key)
                    .map_err(|problem| refused(format!("key {}: {problem}", index + 1)))?;
                authorities.push(der);
            }
        }
        let number = |name: &str| match document.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| refused(format!("`{name}` is not a whole number"))),
        };
        let sequence = number("spiffe_sequence")?;
        let refresh_hint = number("spiffe_refresh_hint")?.map(Duration::from_secs);
        let bundle = Self::new(trust_domain.clone(), authorities)?;
        Ok(Self {
            sequence,
            refresh_hint,
            ..bundle
        })
    }

    /// As a SPIFFE bundle. Fails only for an authority whose key is of a kind JWK has no name for.
    pub fn to_jwks(&self) -> Result<String, InvalidBundle> {
        let keys = self
            .authorities()
            .enumerate()
            .map(|(index, der)| {
                jwk(der).map_err(|fault| {
                    InvalidBundle::Authority(self.trust_domain.clone(), index + 1, fault)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut document = Map::new();
        document.insert("keys".to_owned(), keys.into());
        if let Some(sequence) = self.sequence {
            document.insert("spiffe_sequence".to_owned(), sequence.into());
        }
        if let Some(hint) = self.refresh_hint {
            document.insert("spiffe_refresh_hint".to_owned(), hint.as_secs().into());
        }
        Ok(Value::Object(document).to_string())
    }
}

/// The one certificate of a key.
fn certificate(key: &Value) -> Result<CertificateDer<'static>, String> {
    let chain = key
        .get("x5c")
        .and_then(Value::as_array)
        .ok_or("it has no `x5c`")?;
    let [only] = chain.as_slice() else {
        return Err(format!(
            "its `x5c` has {} certificates; an authority has one",
            chain.len()
        ));
    };
    let text = only.as_str().ok_or("its `x5c` is not a text")?;
    let der = STANDARD
        .decode(text)
        .map_err(|error| format!("its `x5c` is not base64: {error}"))?;
    Ok(der.into())
}

/// The certificate and its public key as a JWK (RFC 7517, 7518).
fn jwk(der: &CertificateDer<'_>) -> Result<Value, InvalidCertificate> {
    let certificate = read(der)?;
    let unknown = || InvalidCertificate::Anchor("JWK has no name for its kind of key".to_owned());
    let key = certificate.public_key().parsed().map_err(|_| unknown())?;
    let mut jwk = match key {
        PublicKey::EC(point) => {
            // 0x04, then x and y of equal length.
            let ([4], coordinates) = point.data().split_at_checked(1).ok_or_else(unknown)? else {
                return Err(unknown());
            };
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            let curve = match x.len() {
                32 => "P-256",
                48 => "P-384",
                66 => "P-521",
                _ => return Err(unknown()),
            };
            json!({"kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
        }
        PublicKey::RSA(key) => {
            // Unsigned: without the zero byte that keeps a DER integer positive.
            let unsigned = |bytes: &[u8]| {
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                URL_SAFE_NO_PAD.encode(&bytes[zeros..])
            };
            json!({"kty": "RSA", "n": unsigned(key.modulus), "e": unsigned(key.exponent)})
        }
        _ => return Err(unknown()),
    };
    jwk["use"] = X509_SVID.into();
    jwk["x5c"] = json!([STANDARD.encode(der)]);
    Ok(jwk)
}
