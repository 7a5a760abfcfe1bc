//! Tokens through a real proxy: which pass, which do not and how callers are told, and what Mixer and the application see.

use mixer_proto::v1::{self, WatchResponse, issuer_keys::Keys};
use mixer_proxy::Running;
use serde_json::{Value, json};

use crate::app::{App, empty, http2};
use crate::issuer::{
    ISSUER, OTHER_RSA, RSA, Signer, base64, claims, compact, hmac_sha256, now, told,
};
use crate::mixer::{TestMixer, allow, nothing, scope};
use crate::raw::{body, get, header, send, status};
use crate::{config, soon, start};

/// A jwt document, with other keys in the place of the usual ones.
fn document(name: &str, more: Value) -> String {
    let usual = json!({
        "jwt": name, "for": "always", "issuer": ISSUER, "audiences": ["products"],
        "jwks": { "url": "https://accounts.example/jwks.json" },
    });
    crate::issuer::with(usual, more).to_string()
}

/// A proxy, its Mixer and its application, with these documents and keys; claims are read there.
async fn shop(documents: &[String], keys: &[v1::IssuerKeys]) -> (TestMixer, App, Running) {
    let state = WatchResponse {
        version: 1,
        inbound: Some(v1::Scope {
            reads_claims: true,
            ..scope()
        }),
        outbound_default: Some(nothing()),
        documents: documents.to_vec(),
        keys: keys.to_vec(),
        ..WatchResponse::default()
    };
    let mixer = TestMixer::with_state(state, |_| allow()).await;
    let app = App::start().await;
    let proxy = start(config(&mixer, app.address)).await;
    (mixer, app, proxy)
}

async fn ask(proxy: &Running, headers: &str) -> String {
    send(proxy.inbound().unwrap(), get("/", headers)).await
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn a_token_of_any_taken_algorithm_passes_and_mixer_is_told_what_it_says() {
    let (p256, p384, ed) = (
        Signer::p256("p256"),
        Signer::p384("p384"),
        Signer::ed25519("ed"),
    );
    let keys = told("accounts", &[&RSA, &p256, &p384, &ed]);
    let (mixer, app, proxy) = shop(&[document("accounts", json!({}))], &[keys]).await;
    for (signer, algorithm) in [
        (&*RSA, "RS256"),
        (&*RSA, "RS384"),
        (&*RSA, "RS512"),
        (&*RSA, "PS256"),
        (&*RSA, "PS384"),
        (&*RSA, "PS512"),
        (&p256, "ES256"),
        (&p384, "ES384"),
        (&ed, "EdDSA"),
    ] {
        let token = signer.token(algorithm, &claims(json!({})));
        // Once verified, once remembered.
        for _ in 0..2 {
            let answer = ask(&proxy, &bearer(&token)).await;
            assert_eq!(status(&answer), 200, "{algorithm}: {answer}");
        }
        // Without a name, any key that fits may be meant.
        let nameless = signer.token_with(algorithm, json!({ "kid": null }), &claims(json!({})));
        assert_eq!(
            status(&ask(&proxy, &bearer(&nameless)).await),
            200,
            "{algorithm}"
        );
    }
    for asked in mixer.checks() {
        assert_eq!(asked["auth.issuer"], "accounts");
        assert_eq!(asked["auth.principal"], "https://accounts.example/alice");
        assert!(asked["auth.audiences"].contains("products"), "{asked:?}");
        assert!(
            asked["auth.claims"].contains(r#"groups\":[\"admins\"]"#),
            "{asked:?}"
        );
    }
    for seen in app.seen() {
        assert!(seen.headers.contains_key("authorization"));
    }
}

/// What is wrong with a request, what it carries, and the `error` and words of the answer.
fn hostile() -> Vec<(&'static str, String, &'static str, &'static str)> {
    let good = claims(json!({}));
    let signed = |more: Value| bearer(&RSA.token("RS256", &claims(more)));
    let headed = |more: Value| bearer(&RSA.token_with("RS256", more, &good));
    let raw = |header: &str, payload: &str| {
        bearer(&compact(header, payload, |message| {
            RSA.sign("RS256", message)
        }))
    };
    let own = |algorithm: &str, header: Value, sign: &dyn Fn(&str) -> Vec<u8>| {
        let header = crate::issuer::with(json!({ "alg": algorithm, "kid": "rsa" }), header);
        bearer(&compact(&header.to_string(), &good.to_string(), sign))
    };
    let token = RSA.token("RS256", &good);
    let parts: Vec<&str> = token.split('.').collect();
    let mallory = &*OTHER_RSA;
    let (pem, jwk) = (RSA.pem(), RSA.jwk().to_string());
    let modulus = RSA.jwk()["n"].as_str().unwrap().to_owned();
    let stolen = json!({ "kid": "rsa", "jwk": mallory.jwk(), "jku": "http://127.0.0.1:1/k", "x5u": "http://127.0.0.1:1/c" });
    let algorithm = "its algorithm is none that is taken";
    let signature = "its signature is wrong";
    let no_token = "it is no signed token";
    vec![
        // Who says how a token is checked.
        (
            "no signature",
            own("none", json!({}), &|_| Vec::new()),
            "invalid_token",
            algorithm,
        ),
        (
            "no signature, oddly spelt",
            own("nOnE", json!({}), &|_| Vec::new()),
            "invalid_token",
            algorithm,
        ),
        (
            "none, but signed",
            own("none", json!({}), &|m| RSA.sign("RS256", m)),
            "invalid_token",
            algorithm,
        ),
        (
            "an HMAC under the public key's PEM",
            own("HS256", json!({}), &|m| hmac_sha256(pem.as_bytes(), m)),
            "invalid_token",
            algorithm,
        ),
        (
            "an HMAC under the public key's JWK",
            own("HS256", json!({}), &|m| hmac_sha256(jwk.as_bytes(), m)),
            "invalid_token",
            algorithm,
        ),
        (
            "an HMAC under the modulus",
            own("HS384", json!({}), &|m| hmac_sha256(modulus.as_bytes(), m)),
            "invalid_token",
            algorithm,
        ),
        (
            "an HMAC that calls itself RS256",
            own("RS256", json!({}), &|m| hmac_sha256(pem.as_bytes(), m)),
            "invalid_token",
            signature,
        ),
        (
            "no algorithm",
            raw(r#"{"kid":"rsa"}"#, &good.to_string()),
            "invalid_token",
            algorithm,
        ),
        (
            "an algorithm that is no text",
            raw(r#"{"alg":["RS256"],"kid":"rsa"}"#, &good.to_string()),
            "invalid_token",
            "its header makes no sense",
        ),
        (
            "two algorithms",
            raw(
                r#"{"alg":"RS256","alg":"none","kid":"rsa"}"#,
                &good.to_string(),
            ),
            "invalid_token",
            "its parts are no JSON objects",
        ),
        (
            "another algorithm than the key's",
            own("ES256", json!({}), &|m| Signer::p256("x").sign("ES256", m)),
            "invalid_token",
            "its algorithm is not that of its key",
        ),
        (
            "PS256 said, RS256 done",
            own("PS256", json!({}), &|m| RSA.sign("RS256", m)),
            "invalid_token",
            signature,
        ),
        (
            "a key that nobody knows",
            bearer(&mallory.token("RS256", &good)),
            "invalid_token",
            "its issuer has no such key",
        ),
        (
            "another's signature under a known name",
            own("RS256", json!({}), &|m| mallory.sign("RS256", m)),
            "invalid_token",
            signature,
        ),
        (
            "a key that the token brings along",
            own("RS256", stolen, &|m| mallory.sign("RS256", m)),
            "invalid_token",
            signature,
        ),
        (
            "a name that is no text",
            headed(json!({ "kid": 1 })),
            "invalid_token",
            "its header makes no sense",
        ),
        (
            "something critical",
            headed(json!({ "crit": ["exp"] })),
            "invalid_token",
            "it demands what is not understood",
        ),
        (
            "a payload that is not encoded",
            headed(json!({ "crit": ["b64"], "b64": false })),
            "invalid_token",
            "it demands what is not understood",
        ),
        // What it says.
        (
            "expired",
            signed(json!({ "exp": now() - 60 })),
            "invalid_token",
            "it has expired",
        ),
        (
            "expired long ago",
            signed(json!({ "exp": -1 })),
            "invalid_token",
            "it has expired",
        ),
        (
            "no end",
            signed(json!({ "exp": null })),
            "invalid_token",
            "it does not say when it expires",
        ),
        (
            "an end that is no number",
            signed(json!({ "exp": "tomorrow" })),
            "invalid_token",
            "it does not say when it expires",
        ),
        (
            "not yet",
            signed(json!({ "nbf": now() + 60 })),
            "invalid_token",
            "it is not valid yet",
        ),
        (
            "a beginning that is no number",
            signed(json!({ "nbf": true })),
            "invalid_token",
            "it does not say when it begins",
        ),
        (
            "for others",
            signed(json!({ "aud": "accounts" })),
            "invalid_token",
            "it is for another audience",
        ),
        (
            "for others, in a list",
            signed(json!({ "aud": ["accounts", "product"] })),
            "invalid_token",
            "it is for another audience",
        ),
        (
            "for nobody",
            signed(json!({ "aud": null })),
            "invalid_token",
            "it has no audience",
        ),
        (
            "for an empty list",
            signed(json!({ "aud": [] })),
            "invalid_token",
            "it has no audience",
        ),
        (
            "for a number",
            signed(json!({ "aud": ["products", 1] })),
            "invalid_token",
            "it has no audience",
        ),
        (
            "of another issuer",
            signed(json!({ "iss": "https://evil.example" })),
            "invalid_token",
            "its issuer is none that is trusted here",
        ),
        (
            "of nearly this issuer",
            signed(json!({ "iss": "https://accounts.example/" })),
            "invalid_token",
            "its issuer is none that is trusted here",
        ),
        (
            "of nobody",
            signed(json!({ "iss": null })),
            "invalid_token",
            "it has no issuer",
        ),
        (
            "of a list of issuers",
            signed(json!({ "iss": [ISSUER] })),
            "invalid_token",
            "it has no issuer",
        ),
        (
            "a subject that is no text",
            signed(json!({ "sub": 1 })),
            "invalid_token",
            "its subject is no text",
        ),
        (
            "two subjects",
            raw(
                r#"{"alg":"RS256","kid":"rsa"}"#,
                &good.to_string().replacen('{', r#"{"sub":"mallory","#, 1),
            ),
            "invalid_token",
            "its parts are no JSON objects",
        ),
        (
            "a payload that is no object",
            raw(r#"{"alg":"RS256","kid":"rsa"}"#, "[]"),
            "invalid_token",
            "its parts are no JSON objects",
        ),
        (
            "a payload that is no JSON",
            raw(r#"{"alg":"RS256","kid":"rsa"}"#, "sub=alice"),
            "invalid_token",
            "its parts are no JSON objects",
        ),
        // How it is written.
        (
            "changed",
            bearer(&format!(
                "{}.{}.{}",
                parts[0],
                base64(claims(json!({ "sub": "root" })).to_string()),
                parts[2]
            )),
            "invalid_token",
            signature,
        ),
        (
            "cut short",
            bearer(&token[..token.len() - 8]),
            "invalid_token",
            signature,
        ),
        (
            "without its signature",
            bearer(&format!("{}.{}.", parts[0], parts[1])),
            "invalid_token",
            signature,
        ),
        (
            "without its last part",
            bearer(&format!("{}.{}", parts[0], parts[1])),
            "invalid_token",
            no_token,
        ),
        (
            "with a part too many",
            bearer(&format!("{token}.")),
            "invalid_token",
            no_token,
        ),
        (
            "encrypted",
            bearer("eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..aaaa.bbbb.cccc"),
            "invalid_token",
            "it is encrypted, which is not understood",
        ),
        (
            "one signed token in another",
            raw(r#"{"alg":"RS256","kid":"rsa","cty":"JWT"}"#, &token),
            "invalid_token",
            "its parts are no JSON objects",
        ),
        (
            "bad base64",
            bearer(&format!("{}.{}%.{}", parts[0], parts[1], parts[2])),
            "invalid_token",
            "it is no base64url",
        ),
        (
            "padded",
            bearer(&format!("{}=.{}.{}", parts[0], parts[1], parts[2])),
            "invalid_token",
            "it is no base64url",
        ),
        (
            "base64 of the other kind",
            bearer(&format!("{}.{}+/.{}", parts[0], parts[1], parts[2])),
            "invalid_token",
            "it is no base64url",
        ),
        (
            "huge",
            signed(json!({ "x": "x".repeat(16 * 1024) })),
            "invalid_token",
            "it is too large",
        ),
        (
            "opaque",
            bearer("0123456789abcdef"),
            "invalid_token",
            no_token,
        ),
        ("empty", bearer(""), "invalid_token", no_token),
        (
            "a list of tokens",
            format!("authorization: Bearer {token}, Bearer {token}\r\n"),
            "invalid_token",
            no_token,
        ),
        (
            "a scheme in capitals",
            format!("authorization: BEARER {token}x\r\n"),
            "invalid_token",
            signature,
        ),
        // Where it is.
        (
            "two tokens",
            format!("{}{}", bearer(&token), bearer(&token)),
            "invalid_request",
            "more than one token",
        ),
        (
            "a token beside another scheme",
            format!("authorization: Basic eDp5\r\n{}", bearer(&token)),
            "invalid_request",
            "more than one token",
        ),
        (
            "a token here and there",
            format!("{}cookie: token={token}\r\n", bearer(&token)),
            "invalid_request",
            "more than one token",
        ),
        (
            "a cookie twice",
            format!("cookie: token={token}; token=x\r\n"),
            "invalid_request",
            "more than one token",
        ),
    ]
}

#[tokio::test]
async fn what_cannot_be_verified_does_not_pass_and_its_caller_is_told() {
    let from = json!({ "from": [{ "header": "authorization" }, { "cookie": "token" }] });
    let keys = told("accounts", &[&RSA, &Signer::p384("p384")]);
    let (mixer, app, proxy) = shop(&[document("accounts", from)], &[keys]).await;
    for (what, headers, error, why) in hostile() {
        let answer = ask(&proxy, &headers).await;
        let code = if error == "invalid_request" { 400 } else { 401 };
        assert_eq!(status(&answer), code, "{what}: {answer}");
        let challenge = header(&answer, "www-authenticate").unwrap_or_default();
        let start =
            format!("Bearer realm=\"products.shop\", error=\"{error}\", error_description=\"");
        assert!(challenge.starts_with(&start), "{what}: {challenge}");
        assert!(challenge.contains(why), "{what}: {challenge}");
        assert!(body(&answer).contains(why), "{what}: {answer}");
    }
    assert!(app.seen().is_empty());
    assert!(mixer.checks().is_empty());
    // A good one passes all the same.
    let good = RSA.token("RS256", &claims(json!({})));
    assert_eq!(status(&ask(&proxy, &bearer(&good)).await), 200);
}

#[tokio::test]
async fn clocks_may_differ_by_half_a_minute() {
    let keys = told("accounts", &[&RSA]);
    let (_mixer, _app, proxy) = shop(&[document("accounts", json!({}))], &[keys]).await;
    for near in [
        json!({ "exp": now() - 5 }),
        json!({ "nbf": now() + 10 }),
        json!({ "exp": now() as f64 + 0.5, "nbf": now() as f64 - 0.5 }),
    ] {
        let token = RSA.token("RS256", &claims(near.clone()));
        assert_eq!(status(&ask(&proxy, &bearer(&token)).await), 200, "{near}");
    }
}

#[tokio::test]
async fn what_a_token_says_of_its_own_key_is_not_looked_at() {
    let keys = told("accounts", &[&RSA]);
    let (_mixer, _app, proxy) = shop(&[document("accounts", json!({}))], &[keys]).await;
    // Nobody listens there; whoever looked would notice.
    let more = json!({ "jku": "http://127.0.0.1:1/k", "x5u": "http://127.0.0.1:1/c", "jwk": OTHER_RSA.jwk(), "x5c": ["MIIB"] });
    let token = RSA.token_with("RS256", more, &claims(json!({})));
    assert_eq!(status(&ask(&proxy, &bearer(&token)).await), 200);
}

#[tokio::test]
async fn a_missing_token_passes_or_does_not_as_documents_say() {
    for (missing, code) in [("pass", 200), ("deny", 401)] {
        let documents = [document("accounts", json!({ "missing": missing }))];
        let (mixer, _app, proxy) = shop(&documents, &[told("accounts", &[&RSA])]).await;
        // Another scheme is no token.
        for headers in ["", "authorization: Basic eDp5\r\n"] {
            let answer = ask(&proxy, headers).await;
            assert_eq!(status(&answer), code, "{missing}: {answer}");
            if code == 401 {
                let challenge = header(&answer, "www-authenticate");
                assert_eq!(challenge, Some("Bearer realm=\"products.shop\""));
            }
        }
        assert!(
            mixer
                .checks()
                .iter()
                .all(|asked| !asked.contains_key("auth.issuer"))
        );
        // What is no HTTP shows no token.
        let bytes = send(proxy.inbound().unwrap(), b"\x00\x01\x02\x03 hello\r\n\r\n").await;
        assert_eq!(bytes, "", "{missing}");
    }
}

#[tokio::test]
async fn a_probe_needs_no_token() {
    let probes =
        r#"{"service":"products.shop","probes":{"paths":["/healthz"],"from":["127.0.0.0/8"]}}"#;
    let documents = [
        document("accounts", json!({ "missing": "deny" })),
        probes.to_owned(),
    ];
    let (_mixer, _app, proxy) = shop(&documents, &[told("accounts", &[&RSA])]).await;
    for (path, code) in [("/healthz", 200), ("/healthz/", 401), ("/", 401)] {
        let answer = send(proxy.inbound().unwrap(), get(path, "")).await;
        assert_eq!(status(&answer), code, "{path}");
    }
}

#[tokio::test]
async fn callers_of_grpc_are_told_in_their_own_way() {
    let documents = [document("accounts", json!({ "missing": "deny" }))];
    let (mixer, _app, proxy) = shop(&documents, &[told("accounts", &[&RSA])]).await;
    let mut client = http2(proxy.inbound().unwrap()).await;
    let mut call = async |token: &str| {
        let mut request = http::Request::post("http://products/shop.Products/List")
            .header("content-type", "application/grpc");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = soon(client.send_request(request.body(empty()).unwrap())).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        let words = |name: &str| {
            let value = response.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        (words("grpc-status"), words("www-authenticate"))
    };
    let (code, challenge) = call("").await;
    assert_eq!(code.as_deref(), Some("16"));
    assert!(challenge.unwrap().starts_with("Bearer realm="));
    assert_eq!(call("nonsense").await.0.as_deref(), Some("16"));
    let expired = RSA.token("RS256", &claims(json!({ "exp": 1 })));
    assert_eq!(call(&expired).await.0.as_deref(), Some("16"));
    mixer.announce(|state| {
        state.keys[0].keys = Some(Keys::Lost(true));
    });
    let good = RSA.token("RS256", &claims(json!({})));
    loop {
        let (code, _) = call(&good).await;
        if code.as_deref() == Some("14") {
            break;
        }
        assert_eq!(
            code, None,
            "the application's own answer until the news arrive"
        );
    }
}

#[tokio::test]
async fn a_token_is_found_wherever_documents_say_and_taken_away_where_they_say() {
    let from = json!([
        { "header": "authorization", "prefix": "Bearer " },
        { "header": "x-token" },
        { "cookie": "token" },
        { "query": "access_token" },
    ]);
    let token = RSA.token("RS256", &claims(json!({})));
    for strip in [false, true] {
        let word = if strip { "strip" } else { "forward" };
        let documents = [document("accounts", json!({ "from": from, "token": word }))];
        let (mixer, app, proxy) = shop(&documents, &[told("accounts", &[&RSA])]).await;
        let spaced = format!("authorization: bEARER   {token} \r\n");
        for (path, headers) in [
            ("/?a=1", bearer(&token)),
            ("/?a=1", spaced),
            ("/?a=1", format!("x-token: {token}\r\n")),
            ("/?a=1", format!("cookie: s=1; token={token}; t=2\r\n")),
            (&*format!("/?a=1&access_token={token}"), String::new()),
            (&*format!("/?access%5Ftoken={token}&a=1"), String::new()),
        ] {
            let answer = send(proxy.inbound().unwrap(), get(path, &headers)).await;
            assert_eq!(status(&answer), 200, "{path} {headers}: {answer}");
            let seen = app.seen().remove(0);
            let all = format!("{} {:?}", seen.uri, seen.headers);
            assert_eq!(all.contains(&token), !strip, "{all}");
            // Nothing else is touched, and Mixer sees no more than the application.
            assert!(seen.uri.contains("a=1"), "{all}");
            assert!(!strip || seen.uri == "/?a=1", "{all}");
            if headers.starts_with("cookie") {
                let cookies = seen.headers["cookie"].to_str().unwrap();
                assert!(
                    cookies.contains("s=1") && cookies.contains("t=2"),
                    "{cookies}"
                );
            }
            let asked = format!("{:?}", mixer.checks().last().unwrap());
            assert_eq!(asked.contains(&token), !strip, "{asked}");
        }
        // The only cookie and the only parameter leave nothing behind.
        let cookie = format!("cookie: token={token}\r\n");
        ask(&proxy, &cookie).await;
        assert_eq!(app.seen().remove(0).headers.contains_key("cookie"), !strip);
        let path = format!("/?access_token={token}");
        send(proxy.inbound().unwrap(), get(&path, "")).await;
        assert_eq!(app.seen().remove(0).uri == "/", strip);
    }
}

#[tokio::test]
async fn each_token_is_judged_by_the_document_of_its_issuer() {
    let (staff, customers) = (Signer::p256("k"), Signer::p256("k"));
    let issuer = |name: &str| format!("https://{name}.example");
    let documents = [
        document("staff", json!({ "issuer": issuer("staff") })),
        document(
            "customers",
            json!({ "issuer": issuer("customers"), "from": [{ "header": "authorization" }, { "cookie": "c" }] }),
        ),
        document(
            "elsewhere",
            json!({ "for": "destination.service == \"other.shop\"", "issuer": issuer("elsewhere") }),
        ),
    ];
    let keys = [told("staff", &[&staff]), told("customers", &[&customers])];
    let (mixer, _app, proxy) = shop(&documents, &keys).await;
    let of = |signer: &Signer, name: &str| {
        signer.token(
            "ES256",
            &claims(json!({ "iss": issuer(name), "sub": name })),
        )
    };
    for (signer, name) in [(&staff, "staff"), (&customers, "customers")] {
        let answer = ask(&proxy, &bearer(&of(signer, name))).await;
        assert_eq!(status(&answer), 200, "{name}: {answer}");
        let asked = mixer.checks().pop().unwrap();
        assert_eq!(asked["auth.issuer"], name);
        assert_eq!(asked["auth.principal"], format!("{}/{name}", issuer(name)));
    }
    for (what, headers) in [
        ("a key of the other", bearer(&of(&customers, "staff"))),
        ("another's name", bearer(&of(&staff, "customers"))),
        ("for another service", bearer(&of(&staff, "elsewhere"))),
        (
            "where its document does not look",
            format!("cookie: c={}\r\n", of(&staff, "staff")),
        ),
    ] {
        assert_eq!(status(&ask(&proxy, &headers).await), 401, "{what}");
    }
    let there = format!("cookie: c={}\r\n", of(&customers, "customers"));
    assert_eq!(status(&ask(&proxy, &there).await), 200);
}

#[tokio::test]
async fn claims_go_to_mixer_only_where_somebody_reads_them() {
    let documents = [document("accounts", json!({}))];
    let (mixer, _app, proxy) = shop(&documents, &[told("accounts", &[&RSA])]).await;
    mixer.announce(|state| {
        state.inbound = Some(v1::Scope {
            revision: "r2".to_owned(),
            ..scope()
        });
    });
    let token = RSA.token("RS256", &claims(json!({})));
    soon(async {
        loop {
            ask(&proxy, &bearer(&token)).await;
            let asked = mixer.checks().pop().unwrap();
            assert_eq!(asked["auth.issuer"], "accounts");
            if !asked.contains_key("auth.claims") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn keys_that_are_not_known_are_an_answer_of_their_own() {
    let documents = [document("accounts", json!({ "missing": "deny" }))];
    let pending = v1::IssuerKeys {
        issuer: "accounts".to_owned(),
        keys: Some(Keys::Pending(true)),
        digest: String::new(),
    };
    let (mixer, _app, proxy) = shop(&documents, std::slice::from_ref(&pending)).await;
    let token = bearer(&RSA.token("RS256", &claims(json!({}))));
    let unavailable = ask(&proxy, &token).await;
    assert_eq!(status(&unavailable), 503);
    assert!(header(&unavailable, "retry-after").is_some());
    assert_eq!(header(&unavailable, "www-authenticate"), None);
    // They do not make a bad token a good one, nor a missing one present.
    assert_eq!(status(&ask(&proxy, "").await), 401);
    assert_eq!(status(&ask(&proxy, &bearer("x")).await), 401);
    let until = async |wanted: u16| loop {
        if status(&ask(&proxy, &token).await) == wanted {
            return;
        }
    };
    let tell = |keys: v1::IssuerKeys| mixer.announce(|state| state.keys = vec![keys]);
    tell(told("accounts", &[&RSA]));
    soon(until(200)).await;
    // A Mixer that began anew knows nothing yet; what is known stays.
    let other = Signer::p256("other");
    let named = json!({ "issuer": "https://other.example" });
    mixer.announce(|state| {
        state.documents.push(document("other", named));
        state.keys = vec![pending.clone(), told("other", &[&other])];
    });
    let new = other.token("ES256", &claims(json!({ "iss": "https://other.example" })));
    soon(async { while status(&ask(&proxy, &bearer(&new)).await) != 200 {} }).await;
    assert_eq!(status(&ask(&proxy, &token).await), 200);
    tell(v1::IssuerKeys {
        keys: Some(Keys::Lost(true)),
        ..pending
    });
    soon(until(503)).await;
    tell(told("accounts", &[&RSA]));
    soon(until(200)).await;
    // A key that its issuer has withdrawn verifies nothing any more, what was verified with it included.
    tell(told("accounts", &[&OTHER_RSA]));
    soon(until(401)).await;
}

#[tokio::test]
async fn a_key_that_nobody_knows_is_asked_for_once_and_the_request_waits_for_it() {
    let documents = [document("accounts", json!({}))];
    let (mixer, _app, proxy) = shop(&documents, &[told("accounts", &[&RSA])]).await;
    mixer.rotate(told("accounts", &[&RSA, &OTHER_RSA]));
    let new = bearer(&OTHER_RSA.token("RS256", &claims(json!({}))));
    assert_eq!(status(&ask(&proxy, &new).await), 200);
    assert_eq!(mixer.refreshed(), ["accounts"]);
    // What is still not known is not asked for again so soon, however often it comes.
    let unknown = Signer::p256("nobody's");
    for _ in 0..5 {
        let token = bearer(&unknown.token("ES256", &claims(json!({}))));
        assert_eq!(status(&ask(&proxy, &token).await), 401);
    }
    assert_eq!(mixer.refreshed(), ["accounts"]);
    assert_eq!(status(&ask(&proxy, &new).await), 200);
}

#[tokio::test]
async fn changed_documents_are_in_force_and_no_connection_ends() {
    use tokio::io::AsyncWriteExt;
    let documents = [document("accounts", json!({}))];
    let (mixer, _app, proxy) = shop(&documents, &[told("accounts", &[&RSA])]).await;
    let token = RSA.token("RS256", &claims(json!({})));
    let mut stream = tokio::net::TcpStream::connect(proxy.inbound().unwrap())
        .await
        .unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: products\r\n{}\r\n", bearer(&token));
    let mut ask = async || {
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = crate::raw::head(&mut stream).await;
        let length = header(&head, "content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body)
            .await
            .unwrap();
        status(&head)
    };
    assert_eq!(ask().await, 200);
    let other = document("accounts", json!({ "audiences": ["others"] }));
    mixer.announce(|state| state.documents = vec![other]);
    soon(async { while ask().await != 401 {} }).await;
    mixer.announce(|state| state.documents = documents.to_vec());
    soon(async { while ask().await != 200 {} }).await;
}
