//! Signing requests: a public key, and the proof that whoever sends it has the other half.
//!
//! Of a PKCS#10 request only these two are used. Its names, usages and other wishes are not even read: what a certificate says
//! is decided by how the caller was recognised.

use std::fmt;

use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// Bytes of a request; one for a P-256 key has about 300.
pub const REQUEST_BYTES: usize = 8 << 10;

/// A public key whose owner has proved to have the private one.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(SubjectPublicKeyInfo);

/// Why a request is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Too large to be honest.
    #[error("the request has {0} bytes, more than {REQUEST_BYTES}")]
    TooLarge(usize),
    /// Not PKCS#10.
    #[error("the request is not a certificate signing request in DER")]
    Malformed,
    /// Another kind of key.
    #[error("the key of the request is of a kind that is not signed: make a key on P-256 or P-384")]
    Key,
    /// Whoever sent it does not have the key.
    #[error(
        "the signature of the request is not by its key: whoever asks must have the private key"
    )]
    Signature,
}

impl PublicKey {
    /// That of a request in DER.
    pub fn of_request(der: &[u8]) -> Result<Self, BadRequest> {
        if der.len() > REQUEST_BYTES {
            return Err(BadRequest::TooLarge(der.len()));
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(BadRequest::Malformed);
        };
        let key = request.certification_request_info.subject_pki.raw;
        let key = SubjectPublicKeyInfo::from_der(key).map_err(|_| BadRequest::Key)?;
        let signed = [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        ];
        if !signed.contains(&key.algorithm()) {
            return Err(BadRequest::Key);
        }
        request
            .verify_signature()
            .map_err(|_| BadRequest::Signature)?;
        Ok(Self(key))
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, SignatureAlgorithm};

    use super::*;

    fn request(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI("spiffe://other/x".try_into().unwrap())];
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_key_is_taken_from_a_request_that_it_signed() {
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        ] {
            assert!(PublicKey::of_request(&request(algorithm)).is_ok());
        }
    }

    #[test]
    fn a_request_whose_sender_lacks_the_key_is_refused() {
        let mut der = request(&rcgen::PKCS_ECDSA_P256_SHA256);
        *der.last_mut().unwrap() ^= 1;
        assert_eq!(PublicKey::of_request(&der), Err(BadRequest::Signature));
        // The signature of one request, the key of another.
        let (one, mut two) = (
            request(&rcgen::PKCS_ECDSA_P256_SHA256),
            request(&rcgen::PKCS_ECDSA_P256_SHA256),
        );
        let tail = 64.min(one.len()).min(two.len());
        let (from, to) = (one.len() - tail, two.len() - tail);
        two[to..].copy_from_slice(&one[from..]);
        assert!(PublicKey::of_request(&two).is_err());
    }

    #[test]
    fn what_is_no_request_or_too_large_or_of_another_kind_is_refused() {
        assert_eq!(PublicKey::of_request(&[]), Err(BadRequest::Malformed));
        assert_eq!(
            PublicKey::of_request(&[0; REQUEST_BYTES + 1]),
            Err(BadRequest::TooLarge(REQUEST_BYTES + 1))
        );
        let mut trailing = request(&rcgen::PKCS_ECDSA_P256_SHA256);
        trailing.push(0);
        assert_eq!(PublicKey::of_request(&trailing), Err(BadRequest::Malformed));
        assert_eq!(
            PublicKey::of_request(&request(&rcgen::PKCS_ED25519)),
            Err(BadRequest::Key)
        );
    }

    #[test]
    fn no_byte_that_is_changed_makes_another_key_pass() {
        let der = request(&rcgen::PKCS_ECDSA_P256_SHA256);
        let key = PublicKey::of_request(&der);
        let mut refused = 0;
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 0x55;
            match PublicKey::of_request(&changed) {
                Err(_) => refused += 1,
                // What is not signed: how the signature is called and padded.
                passed => assert!(passed == key, "byte {at}"),
            }
        }
        assert!(refused > der.len() - 8, "{refused}");
    }
}
