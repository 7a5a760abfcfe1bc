//! What is a key here, and what is none.

use super::*;

/// A coordinate, modulus or key of so many bytes, as sets write it.
fn bytes(length: usize) -> String {
    URL_SAFE_NO_PAD.encode(vec![0xa5; length])
}

fn rsa(more: Value) -> Value {
    with(
        json!({ "kty": "RSA", "kid": "r", "n": bytes(256), "e": "AQAB" }),
        more,
    )
}

fn ec(more: Value) -> Value {
    with(
        json!({ "kty": "EC", "crv": "P-256", "x": bytes(32), "y": bytes(32) }),
        more,
    )
}

fn with(mut key: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        key[name] = value.clone();
    }
    key
}

fn read(keys: &[Value]) -> Result<KeySet, NoKeySet> {
    KeySet::read(&json!({ "keys": keys }).to_string())
}

#[test]
fn a_key_says_what_it_can_verify() {
    use SignatureAlgorithm::*;
    let all = vec![Rs256, Rs384, Rs512, Ps256, Ps384, Ps512];
    for (key, algorithms) in [
        (rsa(json!({})), all),
        (rsa(json!({ "alg": "PS384", "use": "sig" })), vec![Ps384]),
        (
            rsa(json!({ "key_ops": ["verify"], "alg": "RS256" })),
            vec![Rs256],
        ),
        (ec(json!({})), vec![Es256]),
        (
            ec(json!({ "crv": "P-384", "x": bytes(48), "y": bytes(48) })),
            vec![Es384],
        ),
        (
            json!({ "kty": "OKP", "crv": "Ed25519", "x": bytes(32) }),
            vec![EdDsa],
        ),
    ] {
        let set = read(std::slice::from_ref(&key)).unwrap();
        assert_eq!(set.keys()[0].algorithms, algorithms, "{key}");
    }
}

#[test]
fn what_cannot_verify_is_left_out_and_the_reason_is_said() {
    for (key, why) in [
        (json!("text"), "is no object"),
        (json!({ "kty": "oct", "k": "c2VjcmV0" }), "a secret"),
        (json!({ "kid": "x" }), "has no `kty`"),
        (json!({ "kty": "LWE" }), "a kind not known here: LWE"),
        (
            json!({ "kty": "EC", "crv": "secp256k1" }),
            "a kind not known here: EC secp256k1",
        ),
        (rsa(json!({ "use": "enc" })), "is for `enc`"),
        (rsa(json!({ "key_ops": ["sign"] })), "no `verify`"),
        // A symmetric algorithm on a public key is how keys are confused.
        (rsa(json!({ "alg": "HS256" })), "\"HS256\""),
        (rsa(json!({ "alg": "none" })), "\"none\""),
        (rsa(json!({ "alg": "ES256" })), "\"ES256\""),
        (rsa(json!({ "alg": 1 })), "its `alg`"),
        (rsa(json!({ "n": bytes(128) })), "1024 bits"),
        (rsa(json!({ "n": bytes(1_025) })), "8200 bits"),
        (rsa(json!({ "n": "a b" })), "`n` is no base64url"),
        (rsa(json!({ "n": bytes(256) + "=" })), "`n` is no base64url"),
        (rsa(json!({ "e": "AQ" })), "`e` is no exponent"),
        (rsa(json!({ "e": "Ag" })), "`e` is no exponent"),
        (rsa(json!({ "e": "" })), "`e` is no exponent"),
        (rsa(json!({ "kid": 7 })), "`kid` is no text"),
        (rsa(json!({ "kid": "k".repeat(2_000) })), "`kid` is no text"),
        (ec(json!({ "x": bytes(31) })), "32 bytes each"),
        (ec(json!({ "crv": "P-384" })), "48 bytes each"),
        (
            json!({ "kty": "OKP", "crv": "Ed25519", "x": bytes(31) }),
            "31 bytes, not 32",
        ),
    ] {
        let alone = read(std::slice::from_ref(&key)).unwrap_err();
        assert!(alone.to_string().contains(why), "{key}: {alone}");
        let set = read(&[key.clone(), ec(json!({ "kid": "good" }))]).unwrap();
        assert_eq!(set.keys().len(), 1, "{key}");
        assert!(set.unused()[0].starts_with("key 1: "), "{key}");
        assert!(set.unused()[0].contains(why), "{key}: {:?}", set.unused());
    }
}

#[test]
fn what_is_no_set_is_refused_whole() {
    for (text, why) in [
        ("<html>", "is no JSON"),
        ("[]", "no object with a list `keys`"),
        ("{}", "no object with a list `keys`"),
        (r#"{"keys":{}}"#, "no object with a list `keys`"),
        (r#"{"keys":[]}"#, "it is empty"),
    ] {
        let error = KeySet::read(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let large = format!("{{\"keys\":[]{}}}", " ".repeat(MOST_BYTES));
    assert!(matches!(KeySet::read(&large), Err(NoKeySet::TooLarge(_))));
    let many = vec![ec(json!({})); MOST_KEYS + 1];
    assert_eq!(read(&many), Err(NoKeySet::TooMany(MOST_KEYS + 1)));
}

#[test]
fn only_public_members_are_passed_on_and_they_read_back() {
    let private = rsa(json!({ "d": bytes(256), "p": bytes(128), "x5c": ["MII"], "alg": "RS256" }));
    let keys = [
        private,
        ec(json!({ "d": bytes(32), "kid": "e" })),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": bytes(32), "d": bytes(32) }),
    ];
    let set = read(&keys).unwrap();
    let sent = set.canonical();
    for secret in ["\"d\"", "\"p\"", "x5c"] {
        assert!(!sent.contains(secret), "{sent}");
    }
    let again = KeySet::read(&sent).unwrap();
    assert_eq!(again.keys(), set.keys());
    assert_eq!(again.digest(), set.digest());
    assert_ne!(read(&keys[1..]).unwrap().digest(), set.digest());
}
