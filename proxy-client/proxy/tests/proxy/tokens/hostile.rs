//! Tokens that must not pass, and what their callers are told.

use super::*;

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
