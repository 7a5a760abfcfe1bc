//! Tokens over time and between documents; what passes a real proxy is in `tests/proxy/tokens.rs`.

use std::collections::BTreeMap;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mixer_documents::Sources;
use serde_json::{Value as Json, json};

use super::*;

const HOUR: i64 = 3_600;

/// A key, and its set.
struct Key(Vec<u8>);

impl Key {
    fn new() -> Self {
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self(made.unwrap().as_ref().to_vec())
    }

    fn known(&self, digest: &str) -> Keys {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.0).unwrap();
        let point = pair.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (text(&point[1..33]), text(&point[33..]));
        let set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": x, "y": y }] });
        Keys::Known {
            jwks: set.to_string().into(),
            digest: digest.into(),
        }
    }

    /// A token of `issuer` for `audience` that is good from then until then.
    fn token(&self, issuer: &str, audience: &str, from: i64, until: i64) -> String {
        let claims = json!({ "iss": issuer, "aud": audience, "nbf": from, "exp": until });
        let header = Header::new(Algorithm::ES256);
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(&self.0)).unwrap()
    }
}

fn jwts(documents: &[Json]) -> Vec<Arc<Jwt>> {
    let usual = json!({ "for": "always", "issuer": "i", "audiences": ["a"],
        "jwks": { "url": "https://i.example", "refresh": "1m", "keep": "1h" } });
    let texts = documents.iter().enumerate().map(|(at, more)| {
        let mut document = usual.clone();
        let members = document.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        (format!("{at}.yaml"), document.to_string())
    });
    let set = mixer_documents::load(Sources::from_texts(texts.collect::<Vec<_>>()));
    let set = set.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    set.jwts
}

fn told(keys: &[(&str, Keys)]) -> BTreeMap<String, Keys> {
    let keys = keys
        .iter()
        .map(|(name, keys)| ((*name).to_owned(), keys.clone()));
    keys.collect()
}

fn at(seconds: i64) -> Now {
    let since = Duration::from_secs(seconds as u64);
    Now {
        time: UNIX_EPOCH + since,
        instant: Instant::from_nanos(since.as_nanos() as u64),
        unconfirmed: Duration::ZERO,
    }
}

fn request(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn bearer(token: &str) -> Parts {
    request(&[("authorization", &format!("Bearer {token}"))])
}

/// The name of the document that takes it.
fn judged(tokens: &Tokens, parts: &Parts, now: Now) -> Result<String, Refused> {
    let passed = tokens.judge(parts, now)?;
    Ok(passed.map_or_else(String::new, |passed| passed.verified.name.to_string()))
}

#[test]
fn a_token_that_is_remembered_begins_and_ends_as_it_says() {
    let (key, jwts) = (Key::new(), jwts(&[json!({ "jwt": "j" })]));
    let keys = told(&[("j", key.known("1"))]);
    let tokens = Tokens::next(&Tokens::default(), &jwts, &keys, at(0).instant).unwrap();
    let parts = bearer(&key.token("i", "a", HOUR, 2 * HOUR));
    let early = Err(Refused::Invalid("it is not valid yet"));
    let late = Err(Refused::Invalid("it has expired"));
    let good = Ok("j".to_owned());
    // Twice over: the first time it is verified, the second time it is remembered.
    for _ in 0..2 {
        for (when, expected) in [
            (HOUR - 31, &early),
            (HOUR - 30, &good),
            (2 * HOUR + 29, &good),
            (2 * HOUR + 30, &late),
        ] {
            assert_eq!(judged(&tokens, &parts, at(when)), *expected, "{when}");
        }
    }
}

#[test]
fn without_mixer_keys_are_used_for_keep() {
    let (key, jwts) = (Key::new(), jwts(&[json!({ "jwt": "j" })]));
    let keys = told(&[("j", key.known("1"))]);
    let tokens = Tokens::next(&Tokens::default(), &jwts, &keys, at(0).instant).unwrap();
    let parts = bearer(&key.token("i", "a", 0, 100 * HOUR));
    for (unconfirmed, expected) in [
        (0, Ok("j".to_owned())),
        (HOUR - 1, Ok("j".to_owned())),
        (HOUR, Err(Refused::Unavailable)),
    ] {
        let now = Now {
            unconfirmed: Duration::from_secs(unconfirmed as u64),
            ..at(50 * HOUR)
        };
        assert_eq!(judged(&tokens, &parts, now), expected, "{unconfirmed}");
    }
    // A Mixer that has begun anew and does not know them takes them from nobody, for as long.
    let pending = told(&[("j", Keys::Pending)]);
    let anew = Tokens::next(&tokens, &jwts, &pending, at(HOUR).instant).unwrap();
    assert_eq!(judged(&anew, &parts, at(2 * HOUR - 1)), Ok("j".to_owned()));
    assert_eq!(
        judged(&anew, &parts, at(2 * HOUR)),
        Err(Refused::Unavailable)
    );
    assert!(Tokens::next(&anew, &jwts, &pending, at(2 * HOUR).instant).is_none());
    let back = Tokens::next(&anew, &jwts, &keys, at(2 * HOUR).instant).unwrap();
    assert_eq!(judged(&back, &parts, at(3 * HOUR)), Ok("j".to_owned()));
    // Who never had them has none.
    let cold = Tokens::next(&Tokens::default(), &jwts, &pending, at(0).instant).unwrap();
    assert_eq!(judged(&cold, &parts, at(1)), Err(Refused::Unavailable));
}

#[test]
fn what_is_remembered_goes_with_its_keys_and_stays_where_nothing_changed() {
    let (one, two, jwts) = (Key::new(), Key::new(), jwts(&[json!({ "jwt": "j" })]));
    let first = told(&[("j", one.known("1"))]);
    let tokens = Tokens::next(&Tokens::default(), &jwts, &first, at(0).instant).unwrap();
    let parts = bearer(&one.token("i", "a", 0, HOUR));
    assert_eq!(judged(&tokens, &parts, at(1)), Ok("j".to_owned()));
    assert!(Tokens::next(&tokens, &jwts, &first, at(1).instant).is_none());
    let other = told(&[("j", two.known("2"))]);
    let tokens = Tokens::next(&tokens, &jwts, &other, at(1).instant).unwrap();
    let wrong = Err(Refused::Invalid("its signature is wrong"));
    assert_eq!(judged(&tokens, &parts, at(1)), wrong);
    let lost = told(&[("j", Keys::Lost)]);
    let tokens = Tokens::next(&tokens, &jwts, &lost, at(1).instant).unwrap();
    assert_eq!(judged(&tokens, &parts, at(1)), Err(Refused::Unavailable));
}

#[test]
fn of_documents_with_one_issuer_the_first_that_takes_a_token_does() {
    let (key, jwts) = (
        Key::new(),
        jwts(&[
            json!({ "jwt": "web", "audiences": ["web"] }),
            json!({ "jwt": "api", "audiences": ["api", "both"], "from": [{ "header": "authorization" }, { "header": "x-token" }] }),
            json!({ "jwt": "old", "audiences": ["both"] }),
        ]),
    );
    let keys = ["web", "api", "old"].map(|name| (name, key.known("1")));
    let tokens = Tokens::next(&Tokens::default(), &jwts, &told(&keys), at(0).instant).unwrap();
    let token = |audience: &str| key.token("i", audience, 0, HOUR);
    for (audience, name) in [("web", "web"), ("api", "api"), ("both", "api")] {
        let expected = Ok(name.to_owned());
        assert_eq!(judged(&tokens, &bearer(&token(audience)), at(1)), expected);
        assert_eq!(judged(&tokens, &bearer(&token(audience)), at(1)), expected);
    }
    let other = Err(Refused::Invalid("it is for another audience"));
    assert_eq!(judged(&tokens, &bearer(&token("none")), at(1)), other);
    // A token that one document takes from its place is not taken by it from a place where it does not look, remembered or not.
    let (web, elsewhere) = (token("web"), |token: &str| request(&[("x-token", token)]));
    assert_eq!(judged(&tokens, &bearer(&web), at(1)), Ok("web".to_owned()));
    assert_eq!(judged(&tokens, &elsewhere(&web), at(1)), other);
    assert_eq!(
        judged(&tokens, &elsewhere(&token("api")), at(1)),
        Ok("api".to_owned())
    );
}

#[test]
fn a_header_that_several_documents_read_otherwise_has_one_token() {
    let (key, jwts) = (
        Key::new(),
        jwts(&[
            json!({ "jwt": "raw", "from": [{ "header": "x-token" }] }),
            json!({ "jwt": "named", "from": [{ "header": "x-token", "prefix": "JWT " }] }),
        ]),
    );
    let keys = ["raw", "named"].map(|name| (name, key.known("1")));
    let tokens = Tokens::next(&Tokens::default(), &jwts, &told(&keys), at(0).instant).unwrap();
    let token = key.token("i", "a", 0, HOUR);
    let with = |value: String| judged(&tokens, &request(&[("x-token", &value)]), at(1));
    assert_eq!(with(token.clone()), Ok("raw".to_owned()));
    assert_eq!(with(format!("jwt {token}")), Ok("named".to_owned()));
    let twice = request(&[("x-token", &token), ("x-token", &format!("JWT {token}"))]);
    assert_eq!(judged(&tokens, &twice, at(1)), Err(Refused::Several));
    // A prefix alone is an empty token, not none.
    assert!(matches!(with("JWT".to_owned()), Err(Refused::Invalid(_))));
}

#[test]
fn no_text_is_taken_for_a_token_or_panics() {
    let (key, jwts) = (Key::new(), jwts(&[json!({ "jwt": "j" })]));
    let keys = told(&[("j", key.known("1"))]);
    let tokens = Tokens::next(&Tokens::default(), &jwts, &keys, at(0).instant).unwrap();
    let good = key.token("i", "a", 0, HOUR);
    // Every way to leave a byte out, to double one, or to change one.
    for at_byte in 0..good.len() {
        let (start, rest) = good.split_at(at_byte);
        let (byte, end) = rest.split_at(1);
        let other = if byte == "A" { "B" } else { "A" };
        for bad in [
            format!("{start}{end}"),
            format!("{start}{byte}{byte}{end}"),
            format!("{start}{other}{end}"),
            format!("{start}.{end}"),
        ] {
            let judged = judged(&tokens, &bearer(&bad), at(1));
            assert!(judged.is_err() || bad == good, "{bad}");
        }
    }
    assert_eq!(judged(&tokens, &bearer(&good), at(1)), Ok("j".to_owned()));
}
