//! What a decision says beyond its verdict: texts, what it read, what is in shadow, and for how long it holds.

use super::fixture::{Fixture, LEFT};
use crate::dispatch::{Because, Decision, Dispatcher, ShadowVerdict, Verdict};

fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn a_check_can_be_awaited_on_any_thread() {
    let fixture = Fixture::new("mesh: {}");
    let bag = fixture.given("{}");
    let bag = bag.bag();
    is_send(fixture.dispatcher.check(&bag, super::fixture::LEFT)).await;
}

fn referenced(dispatcher: &Dispatcher, decision: &Decision) -> String {
    let vocabulary = &dispatcher.snapshot().set.vocabulary;
    let mut names: Vec<String> = decision
        .referenced
        .iter()
        .map(|(reference, present)| {
            let name = &vocabulary.by_id(reference.attribute).unwrap().name;
            let key = reference
                .key
                .as_ref()
                .map_or(String::new(), |key| format!("[{key}]"));
            format!("{}{name}{key}", if *present { "" } else { "!" })
        })
        .collect();
    names.sort_by(|a, b| a.trim_start_matches('!').cmp(b.trim_start_matches('!')));
    names.join(" ")
}

const EVERYONE: &str = "mesh: { denials: { show: everyone } }\n---\n";

#[tokio::test]
async fn what_cannot_be_decided_says_what_is_not_known() {
    let fixture = Fixture::new(&format!(
        "{EVERYONE}policy: p\nfor: always\nrules: [ {{ deny: sandbox, when: 'source.namespace == \"sandbox\"' }} ]"
    ));
    let decision = fixture.check("{}").await;
    assert_eq!(
        decision.message,
        "cannot decide: source.namespace is not known"
    );
    assert_eq!(
        decision.detail.as_deref(),
        Some("cannot decide: source.namespace is not known")
    );
}

#[tokio::test]
async fn a_denial_by_otherwise_says_which_allow_could_not_be_decided() {
    let fixture = Fixture::new(&format!(
        "{EVERYONE}policy: p\nfor: always\nrules: [ {{ allow: shop, when: 'source.namespace == \"shop\"' }} ]\notherwise: {{ deny: only the shop }}"
    ));
    let decision = fixture.check("{}").await;
    assert_eq!(decision.message, "only the shop");
    assert_eq!(
        decision.detail.as_deref(),
        Some("\"shop\": cannot decide: source.namespace is not known")
    );
    assert_eq!(
        fixture
            .check("{ source: { namespace: farm } }")
            .await
            .detail,
        None
    );
}

#[tokio::test]
async fn messages_and_locations_are_templates() {
    let fixture = Fixture::new(&format!(
        r#"{EVERYONE}policy: p
for: always
rules:
  - deny: sandbox
    when: source.namespace == "sandbox"
    message: "no access for {{source.service_account}}"
  - deny: moved
    when: request.path.startsWith("/old")
    status: 302
    location: "https://new.example{{request.path}}"
"#
    ));
    let sandbox = "source: { namespace: sandbox, service_account: leaky }";
    assert_eq!(
        fixture.check(&format!("{{ {sandbox} }}")).await.message,
        "no access for leaky"
    );
    assert_eq!(
        fixture
            .check("{ source: { namespace: sandbox } }")
            .await
            .message,
        "no access for -"
    );
    let moved = fixture
        .check("{ source: { namespace: x }, request: { path: /old } }")
        .await;
    assert_eq!(
        (moved.http_status, moved.location.as_deref()),
        (302, Some("https://new.example/old"))
    );
    assert_eq!(moved.message, "moved");
    let request =
        r#"{ source: { namespace: x }, request: { path: "/old\r\nset-cookie: a=b/\u00e9" } }"#;
    let moved = fixture.check(request).await;
    let location = "https://new.example/old%0D%0Aset-cookie:%20a=b/%C3%A9";
    assert_eq!(
        moved.location.as_deref(),
        Some(location),
        "it is one header whatever the request says"
    );
}

#[tokio::test]
async fn who_is_told_why_is_the_meshes_choice() {
    let documents = |show: &str| {
        format!(
            "mesh: {{ trust_domain: own.example, denials: {{ show: {show} }} }}\n---\npolicy: p\nfor: always\nrules: [ {{ deny: secret }} ]"
        )
    };
    let own = "{ source: { principal: spiffe://own.example/ns/a/sa/b } }";
    let other = "{ source: { principal: spiffe://other.example/ns/a/sa/b } }";
    let lookalike = "{ source: { principal: spiffe://own.example.evil/ns/a/sa/b } }";
    for (show, given, is_told) in [
        ("mesh", own, true),
        ("mesh", other, false),
        ("mesh", lookalike, false),
        ("mesh", "{}", false),
        ("everyone", "{}", true),
        ("nobody", own, false),
    ] {
        let fixture = Fixture::new(&documents(show));
        let decision = fixture.check(given).await;
        let plain = format!("access denied ({})", decision.id);
        assert_eq!(
            decision.message,
            if is_told { "secret" } else { &plain },
            "{show} {given}"
        );
        assert_eq!(decision.id.len(), 16);
        let reads_it = referenced(&fixture.dispatcher, &decision).contains("source.principal");
        assert_eq!(
            reads_it,
            show == "mesh",
            "who is told depends on it: {show}"
        );
    }
}

#[tokio::test]
async fn the_referenced_set_has_what_was_read_and_nothing_else() {
    let fixture = Fixture::new(&format!(
        r#"{EVERYONE}policy: p
for: destination.service == "a.shop"
rules:
  - deny: sandbox
    when: source.namespace == "sandbox"
  - deny: testers
    when: request.headers[?"x-tester"].orValue("") == "yes"
  - allow: gets
    when: request.method == "GET"
  - allow: admins
    when: source.service_account == "admin"
otherwise: deny
"#
    ));
    let selectors = "context.reporter destination.service";
    for (given, expected) in [
        (
            "{ destination: { service: b.shop } }",
            "!context.reporter destination.service".to_owned(),
        ),
        ("{}", "!context.reporter !destination.service".to_owned()),
        (
            "{ context: { reporter: destination }, destination: { service: a.shop }, source: { namespace: sandbox } }",
            format!("{selectors} source.namespace"),
        ),
        (
            "{ context: { reporter: destination }, destination: { service: a.shop }, source: { namespace: x }, request: { method: GET } }",
            format!("{selectors} !request.headers[x-tester] request.method source.namespace"),
        ),
        (
            "{ context: { reporter: destination }, destination: { service: a.shop }, source: { namespace: x }, request: { method: PUT, headers: { x-tester: 'no', other: '1' } } }",
            format!(
                "{selectors} request.headers[x-tester] request.method source.namespace !source.service_account"
            ),
        ),
    ] {
        assert_eq!(
            referenced(&fixture.dispatcher, &fixture.check(given).await),
            expected,
            "{given}"
        );
    }
}

#[tokio::test]
async fn what_read_the_time_the_id_or_the_size_is_used_once() {
    for (when, uses) in [
        ("request.time > timestamp('2020-01-01T00:00:00Z')", 1),
        ("has(request.id)", 1),
        ("request.size > 100", 1),
        ("request.path == '/x'", 0),
    ] {
        let fixture = Fixture::new(&format!(
            "policy: p\nfor: always\nrules: [ {{ deny: x, when: \"{when}\" }} ]"
        ));
        assert_eq!(
            fixture.check("{ request: { path: /y } }").await.valid_uses,
            uses,
            "{when}"
        );
    }
}

#[tokio::test]
async fn shadow_rules_and_policies_say_what_they_would_have_done() {
    let fixture = Fixture::new(
        r#"
adapter: block
type: scripted
config: { answer: bad }
---
policy: p
for: always
rules:
  - { deny: sandbox, mode: shadow, when: 'source.namespace == "sandbox"' }
  - { require: TLS, mode: shadow, that: connection.mtls }
  - { allow: gets, mode: shadow, when: 'request.method == "GET"' }
  - { deny: blocked, mode: shadow, ask: block, with: { value: request.host } }
---
policy: q
mode: shadow
for: always
rules:
  - { deny: deletes, when: 'request.method == "DELETE"' }
  - { allow: gets, when: 'request.method == "GET"' }
otherwise: { deny: nothing else }
"#,
    );
    let enforced = (Verdict::Allow, Because::Default);
    let shadow = async |request: &str| -> Vec<String> {
        let (given, decided) = (fixture.given(request), fixture.check(request).await);
        assert_eq!((decided.verdict, decided.because), enforced);
        let shadow = fixture
            .dispatcher
            .shadow(&given.bag(), enforced, LEFT)
            .await;
        let line = |shadow: &ShadowVerdict| {
            format!(
                "{}/{} {:?} {:?}",
                shadow.policy, shadow.rule, shadow.would, shadow.outcome
            )
        };
        shadow.iter().map(line).collect()
    };
    let get = "{ source: { namespace: sandbox }, connection: { mtls: true }, request: { method: GET, host: bad } }";
    assert_eq!(
        shadow(get).await,
        [
            "p/sandbox Some((Deny, Matched)) WouldDeny",
            "p/TLS None Same",
            "p/gets Some((Allow, Matched)) Same",
            "p/blocked Some((Deny, Matched)) WouldDeny",
            "q/gets Some((Allow, Matched)) Same",
        ]
    );
    let put = "{ source: { namespace: shop }, request: { method: PUT, host: good } }";
    assert_eq!(
        shadow(put).await,
        [
            "p/sandbox None Same",
            "p/TLS Some((Deny, Undetermined)) WouldDeny",
            "p/gets None Same",
            "p/blocked None Same",
            "q/nothing else Some((Deny, Otherwise)) WouldDeny",
        ]
    );
    let delete = "{ source: { namespace: shop }, connection: { mtls: true }, request: { method: DELETE, host: good } }";
    let line = "q/deletes Some((Deny, Matched)) WouldDeny";
    assert_eq!(shadow(delete).await.last().map(String::as_str), Some(line));
}

#[tokio::test]
async fn what_is_in_shadow_is_compared_with_what_was_enforced() {
    use crate::dispatch::ShadowOutcome::{Same, WouldAllow, WouldDeny};
    use Because::{Default, Matched, Otherwise};
    use Verdict::{Allow, Deny};
    let deny = "rules: [ { deny: x } ]";
    let allow = "rules: [ { allow: x } ]\notherwise: allow";
    let falls = "rules: [ { allow: x, when: 'false' } ]\notherwise: deny";
    let lets = "rules: [ { allow: x, when: 'false' } ]\notherwise: allow";
    for (policy, guard, enforced, expected) in [
        (deny, false, (Allow, Matched), WouldDeny),
        (deny, false, (Deny, Matched), Same),
        (allow, false, (Deny, Matched), Same),
        (allow, false, (Deny, Otherwise), WouldAllow),
        (allow, true, (Deny, Otherwise), Same),
        (falls, false, (Allow, Matched), Same),
        (falls, true, (Allow, Matched), WouldDeny),
        (falls, false, (Allow, Default), WouldDeny),
        (lets, false, (Deny, Default), WouldAllow),
        (lets, false, (Deny, Otherwise), Same),
    ] {
        let text = format!("policy: p\nmode: shadow\nguard: {guard}\nfor: always\n{policy}");
        let fixture = Fixture::new(&text);
        let given = fixture.given("{ request: { path: / } }");
        let shadow = fixture
            .dispatcher
            .shadow(&given.bag(), enforced, LEFT)
            .await;
        let outcomes: Vec<_> = shadow.iter().map(|shadow| shadow.outcome).collect();
        assert_eq!(outcomes, [expected], "{text} after {enforced:?}");
    }
}
