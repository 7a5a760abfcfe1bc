//! What a denied caller is told, and who is.

use super::fixture::{Fixture, line};
use crate::dispatch::{Body, Decision, Told};

/// Each way to be denied has words of its own.
const DOCUMENTS: &str = r#"
policy: p
for: always
rules:
  - deny: sandbox
    when: source.namespace == "sandbox"
    status: 451
    grpc: UNAUTHENTICATED
    message: "no access for {source.service_account}"
    headers: { x-why: "{request.headers['x-why']}", x-fixed: here, x-empty: "{request.query['q']}" }
    body: { detail: "{request.path} is not for \"{source.service_account}\"", port: "{source.port}" }
  - require: mutual TLS
    that: connection.mtls
    body: "TLS, please\n"
  - deny: moved
    when: request.path == "/old"
    status: 302
    location: /new
    headers: { x-moved: "yes" }
  - deny: large
    when: request.path == "/large"
    message: "{request.headers['x-large']}"
    headers: { x-large: "{request.headers['x-large']}" }
    body: "{request.headers['x-large']}"
  - deny: asked
    when: request.path == "/asked"
    ask: opinionated
    body: from the rule
    headers: { x-asked: "yes" }
  - allow: readers
    when: request.method == "GET"
otherwise: { deny: only readers, status: 405, grpc: UNIMPLEMENTED, headers: { allow: GET }, body: [GET] }
quotas:
  - quota: requests
    key: []
    limit: 1 per day
    status: 503
    grpc: UNAVAILABLE
    message: "later, {source.service_account}"
    headers: { x-plan: "{auth.claims.plan}" }
    body: { retry: true }
---
adapter: opinionated
type: scripted
config: { answer: match, status: 418, message: short and stout, valid_for: version }
"#;

fn shown(show: &str) -> Fixture {
    Fixture::new(&format!(
        "mesh: {{ denials: {{ show: {show} }} }}\n---{DOCUMENTS}"
    ))
}

/// A request that is allowed, but for `more`.
fn given(more: &str) -> String {
    format!(
        "{{ connection: {{ mtls: true }}, source: {{ namespace: shop, service_account: cart, port: 80 }}, {more} }}"
    )
}

fn sandbox(path: &str) -> String {
    format!(
        r#"{{ connection: {{ mtls: true }}, source: {{ namespace: sandbox, service_account: 'a"b', port: 80 }},
              request: {{ path: '{path}', method: GET, headers: {{ x-why: "so\r\nset-cookie: é" }}, query: {{ q: ' ' }} }} }}"#
    )
}

fn headers(decision: &Decision) -> Vec<(&str, &str)> {
    let headers = decision.reply_headers.iter();
    headers
        .map(|header| (&*header.name, header.value.as_deref().unwrap()))
        .collect()
}

fn body(decision: &Decision) -> Option<(&str, &str)> {
    let body = decision.body.as_ref();
    body.map(|body| (&*body.content_type, &*body.text))
}

#[tokio::test]
async fn a_match_is_told_in_the_rules_own_words() {
    let fixture = shown("everyone");
    let denied = fixture.check(&sandbox("/a\"b")).await;
    assert_eq!(line(&denied), "deny matched p/sandbox 451");
    assert_eq!(
        (denied.grpc_status, &*denied.message),
        (16, "no access for a\"b")
    );
    assert_eq!(
        headers(&denied),
        [("x-why", "soset-cookie: %C3%A9"), ("x-fixed", "here")],
        "one header each, an empty one is left out"
    );
    assert_eq!(
        body(&denied),
        Some((
            "application/json",
            r#"{"detail":"/a\"b is not for \"a\"b\"","port":80}"#
        ))
    );
    let otherwise = fixture
        .check(&given("request: { path: /, method: PUT }"))
        .await;
    assert_eq!(line(&otherwise), "deny otherwise p/only readers 405");
    assert_eq!(otherwise.grpc_status, 12);
    assert_eq!(headers(&otherwise), [("allow", "GET")]);
    assert_eq!(body(&otherwise), Some(("application/json", r#"["GET"]"#)));
}

#[tokio::test]
async fn what_has_no_value_changes_no_verdict() {
    let fixture = shown("everyone");
    let denied = fixture
        .check("{ source: { namespace: sandbox }, request: { method: GET } }")
        .await;
    assert_eq!(line(&denied), "deny matched p/sandbox 451");
    assert_eq!(denied.message, "no access for -");
    assert_eq!(
        headers(&denied),
        [("x-why", "-"), ("x-fixed", "here"), ("x-empty", "-")]
    );
    assert_eq!(
        body(&denied),
        Some((
            "application/json",
            r#"{"detail":"- is not for \"-\"","port":null}"#
        ))
    );
}

#[tokio::test]
async fn what_is_too_long_is_left_out_and_the_denial_stands() {
    let fixture = shown("everyone");
    let large = |length: usize| {
        given(&format!(
            "request: {{ path: /large, method: GET, headers: {{ x-large: {} }} }}",
            "é".repeat(length)
        ))
    };
    let denied = fixture.check(&large(500)).await;
    assert_eq!(denied.message, "é".repeat(500));
    assert_eq!(headers(&denied), [("x-large", &*"%C3%A9".repeat(500))]);
    assert_eq!(body(&denied).unwrap().1, "é".repeat(500));
    let denied = fixture.check(&large(40_000)).await;
    assert_eq!(line(&denied), "deny matched p/large 403");
    assert_eq!(denied.message, "é".repeat(2_048), "cut at a letter");
    assert_eq!((headers(&denied), body(&denied)), (Vec::new(), None));
}

#[tokio::test]
async fn own_words_are_for_a_match_alone() {
    let fixture = shown("everyone");
    for (request, expected) in [
        (
            given("request: { method: GET }"),
            "deny undetermined p/moved 403",
        ),
        (
            "{ source: { namespace: shop }, request: { path: /, method: GET } }".to_owned(),
            "deny undetermined p/mutual TLS 403",
        ),
    ] {
        let denied = fixture.check(&request).await;
        assert_eq!(line(&denied), expected);
        assert_eq!(
            (denied.grpc_status, headers(&denied), body(&denied)),
            (7, Vec::new(), None)
        );
    }
    let unmet = fixture
        .check("{ connection: { mtls: false }, source: { namespace: shop }, request: { path: / } }")
        .await;
    assert_eq!(
        body(&unmet),
        Some(("text/plain; charset=utf-8", "TLS, please\n"))
    );
}

#[tokio::test]
async fn an_adapter_says_status_and_message_the_rule_the_rest() {
    let fixture = shown("everyone");
    let asked = fixture
        .check(&given("request: { path: /asked, method: GET }"))
        .await;
    assert_eq!(line(&asked), "deny matched p/asked 418");
    assert_eq!(asked.message, "short and stout");
    assert_eq!(headers(&asked), [("x-asked", "yes")]);
    assert_eq!(
        body(&asked),
        Some(("text/plain; charset=utf-8", "from the rule"))
    );
}

#[tokio::test]
async fn others_get_the_statuses_and_the_way_and_no_word() {
    let fixture = shown("mesh");
    let told = fixture.check(&sandbox("/")).await;
    assert_eq!((told.http_status, told.grpc_status), (451, 16));
    assert_eq!(told.message, format!("access denied ({})", told.id));
    assert_eq!((headers(&told), body(&told)), (Vec::new(), None));
    assert!(
        told.referenced
            .iter()
            .all(|(read, _)| read.attribute != mixer_attributes::vocabulary::SOURCE_PORT),
        "what is not said is not read: {:?}",
        told.referenced
    );
    let moved = fixture
        .check(&given("request: { path: /old, method: GET }"))
        .await;
    assert_eq!(
        (moved.http_status, moved.location.as_deref()),
        (302, Some("/new"))
    );
    assert_eq!(headers(&moved), []);
}

#[tokio::test]
async fn a_charge_says_what_its_refusal_is_and_what_that_read() {
    let allowed = given("auth: { claims: { plan: pro } }, request: { path: /, method: GET }");
    let decision = shown("everyone").check(&allowed).await;
    assert_eq!(line(&decision), "allow matched p/readers");
    let told = Told {
        http_status: 503,
        grpc_status: 14,
        message: Some("later, cart".to_owned()),
        location: None,
        headers: vec![crate::dispatch::HeaderOperation {
            name: "x-plan".to_owned(),
            value: Some("pro".to_owned()),
        }],
        body: Some(Body {
            content_type: "application/json".into(),
            text: r#"{"retry":true}"#.to_owned(),
        }),
    };
    assert_eq!(decision.charges[0].told, told);
    let read = |decision: &Decision, attribute| {
        let mut referenced = decision.referenced.iter();
        referenced.any(|(read, _)| read.attribute == attribute)
    };
    use mixer_attributes::vocabulary;
    assert!(read(&decision, vocabulary::AUTH_CLAIMS));
    assert!(!read(&decision, vocabulary::SOURCE_PRINCIPAL));

    let decision = shown("mesh").check(&allowed).await;
    let plain = Told {
        message: None,
        headers: Vec::new(),
        body: None,
        ..told
    };
    assert_eq!(decision.charges[0].told, plain);
    assert!(!read(&decision, vocabulary::AUTH_CLAIMS));
    assert!(
        read(&decision, vocabulary::SOURCE_PRINCIPAL),
        "who is told depends on it"
    );
}
