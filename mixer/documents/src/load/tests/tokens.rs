//! `jwt` documents, and what of tokens proxies are told to send.

use mixer_attributes::AttributeBag;

use super::*;
use crate::{At, KeySource, TokenPlace};

#[test]
fn a_jwt_document_has_its_defaults_and_is_read_back_as_it_is_sent() {
    let short = "jwt: accounts\nfor: always\nissuer: https://a.example\naudiences: [shop]\njwks: { url: \"https://a.example/keys\" }";
    let long = "jwt: accounts\nfor: destination.labels[\"tier\"] == \"web\"\nissuer: a\naudiences: [x, y]\njwks: { file: keys.json }\nfrom: [{ header: authorization }, { header: x-token }, { header: x-other, prefix: \"JWT \" }, { cookie: token }, { query: access_token }]\nmissing: deny\ninvalid: deny\ntoken: strip";
    let read = |text: &str| {
        let set = load(Sources::from_texts([("f.yaml", text)])).unwrap();
        set.jwts[0].clone()
    };
    let jwt = read(short);
    assert_eq!(
        (&*jwt.name, &*jwt.issuer),
        ("accounts", "https://a.example")
    );
    assert_eq!(jwt.from, [TokenPlace::usual()]);
    assert!(!jwt.missing_denied && !jwt.strip);
    let KeySource::Url { url, refresh, keep } = &jwt.keys else {
        panic!("{:?}", jwt.keys);
    };
    assert_eq!(url, "https://a.example/keys");
    assert_eq!((*refresh, *keep), (KeySource::REFRESH, KeySource::KEEP));

    let jwt = read(long);
    assert!(jwt.missing_denied && jwt.strip);
    assert_eq!(jwt.keys, KeySource::File("keys.json".into()));
    let header = |name: &str, prefix: &str| TokenPlace::Header {
        name: name.into(),
        prefix: prefix.into(),
    };
    let places = [
        header("authorization", "Bearer "),
        header("x-token", ""),
        header("x-other", "JWT "),
        TokenPlace::Cookie("token".into()),
        TokenPlace::Query("access_token".into()),
    ];
    assert_eq!(jwt.from, places);
    let secret = read(&short.replace("/keys", "/keys?token=secret"));
    assert!(matches!(&secret.keys, KeySource::Url { url, .. } if url.ends_with("?token=secret")));
    assert!(!secret.canonical().contains("secret"));
    for text in [short, long] {
        let sent = read(text);
        let again = read(&sent.canonical());
        assert_eq!(again.canonical(), sent.canonical());
        assert_eq!(again.selector, sent.selector);
        assert_eq!(
            (again.from.clone(), again.keys.clone()),
            (sent.from.clone(), sent.keys.clone())
        );
    }
}

#[test]
fn what_reads_claims_says_so_to_proxies() {
    let scope = |rule: &str| {
        let text = format!("policy: p\nfor: always\n{rule}");
        let set = load(Sources::from_texts([("f.yaml", text)])).unwrap();
        set.applicable(At::Inbound, &AttributeBag::new())
            .scope
            .reads_claims
    };
    for reading in [
        "rules: [{ allow: a, when: auth.claims.sub == \"x\" }]\notherwise: deny",
        "rules: [{ require: a, mode: shadow, that: has(auth.claims.sub) }]",
        "rules: [{ deny: a, when: source.port == 1, message: \"no, {auth.claims.sub}\" }]",
        "rules: [{ allow: a, when: source.port == 1 }]\notherwise: { deny: o, message: \"no, {auth.claims.sub}\" }",
        "quotas: [{ quota: q, key: [auth.claims.sub], limit: 1 per day }]",
    ] {
        assert!(scope(reading), "{reading}");
    }
    assert!(!scope("rules: [{ require: a, that: has(auth.principal) }]"));
}
