//! Tokens through a real proxy: which pass, which do not and how callers are told, and what Mixer and the application see.

mod hostile;

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
