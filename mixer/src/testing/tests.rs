//! Tests of tests: those that hold pass, and those that do not fail with what happened instead.

use mixer_documents::Sources;
use mixer_runtime::{Clock, Random};

use super::{Choice, Report, run};
use crate::snapshot::{Snapshot, Surroundings};

async fn report(documents: &str, choice: Choice) -> Report {
    let (clock, _time) = Clock::manual();
    let surroundings = Surroundings::new(
        clock,
        Random::from_seed(1),
        tokio::runtime::Handle::current(),
    );
    let registry = mixer_adapters::builtin();
    let sources = Sources::from_texts([("test.yaml", documents)]);
    let snapshot = Snapshot::build(sources, &registry, &surroundings)
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let stopwatch = Clock::system();
    run(&snapshot, &registry, &surroundings, &choice, &stopwatch).await
}

const POLICIES: &str = r#"
policy: products
for: destination.service == "products.shop"
rules:
  - deny: nobody from the sandbox
    when: source.namespace == "sandbox"
  - allow: the shop may read
    when:
      - source.namespace == "shop"
      - request.method == "GET"
otherwise: { deny: only the shop may read }
quotas:
  - { quota: requests per caller, key: [source.service_account], limit: 3 per minute }
tests:
  - allow: the shop may read
    name: reading
    given: { destination: { service: products.shop }, source: { namespace: shop }, request: { method: GET } }
"#;

/// The message of the only test that `test` adds.
async fn failure(test: &str) -> Option<String> {
    let documents = format!("{POLICIES}  - {test}\n");
    let mut report = report(&documents, Choice::default()).await;
    assert_eq!(report.tests.len(), 2, "{test}: {report:?}");
    report.tests.pop()?.failure.map(|failure| failure.message)
}

#[tokio::test]
async fn tests_that_hold_pass() {
    for test in [
        "{ allow: any, like: reading }",
        "{ deny: nobody from the sandbox, like: reading, given: { source: { namespace: sandbox } } }",
        "{ deny: otherwise, like: reading, given: { request: { method: PUT } } }",
        "{ deny: only the shop may read, like: reading, given: { request: { method: PUT } } }",
        "{ deny: any, like: reading, given: { request: { method: PUT } } }",
        "{ deny: nobody from the sandbox, like: reading, given: { source: { namespace: null } } }",
        "{ allow: default, like: reading, given: { destination: { service: other.shop } } }",
        "{ limit: requests per caller, like: reading, times: 4 }",
        "{ limit: any, like: reading, times: 4 }",
    ] {
        assert_eq!(failure(test).await, None, "{test}");
    }
}

#[tokio::test]
async fn tests_that_do_not_hold_say_what_happened_instead() {
    for (test, says) in [
        (
            "{ deny: any, like: reading }",
            "it is allowed by \"the shop may read\" of policy products",
        ),
        (
            "{ allow: default, like: reading }",
            "it is allowed by \"the shop may read\" of policy products",
        ),
        (
            "{ allow: otherwise, like: reading }",
            "it is allowed by \"the shop may read\" of policy products",
        ),
        (
            "{ allow: any, like: reading, given: { request: { method: PUT } } }",
            "it is denied by \"only the shop may read\"",
        ),
        (
            "{ allow: any, like: reading, given: { source: { namespace: null } } }",
            "(undetermined): cannot decide: source.namespace is not known",
        ),
        (
            "{ deny: nobody from the swamp, like: reading }",
            "no rule, otherwise or quota of any policy is called \"nobody from the swamp\"",
        ),
        (
            "{ deny: any, like: reading, given: { destination: { service: other.shop } } }",
            "its own policy does not apply to what is given",
        ),
        (
            "{ limit: requests per caller, like: reading, times: 3 }",
            "expected request 3 of 3 to be refused",
        ),
        (
            "{ limit: requests per caller, like: reading, times: 5 }",
            "expected request 4 of 5 to be passed",
        ),
        (
            "{ limit: requests per caller, like: reading, times: 2, given: { request: { method: PUT } } }",
            "expected request 1 of 2 to be passed",
        ),
    ] {
        let message = failure(test)
            .await
            .unwrap_or_else(|| panic!("{test} passes"));
        assert!(
            message.contains(says),
            "{test}\n  says {message}\n   not {says}"
        );
    }
}

#[tokio::test]
async fn each_test_counts_from_zero() {
    let test = "{ limit: requests per caller, like: reading, times: 4 }\n";
    let report = report(
        &format!("{POLICIES}  - {test}  - {test}"),
        Choice::default(),
    )
    .await;
    assert_eq!(
        (report.passed(), report.failures().count()),
        (3, 0),
        "{report:?}"
    );
}

const ASKING: &str = r#"
adapter: remote
type: list
config: { url: "http://127.0.0.1:9/never", refresh: 5m }
---
adapter: local
type: list
config: { entries: [10.0.0.0/8] }
---
policy: p
for: always
rules:
  - { deny: remote, ask: remote, with: { value: request.client_ip } }
  - { deny: local, ask: local, with: { value: request.client_ip } }
tests:
  - { name: outside, allow: default, given: { request: { client_ip: 1.1.1.1 } }, answers: { remote: no match } }
  - { deny: local, like: outside, given: { request: { client_ip: 10.1.1.1 } } }
  - { deny: local, like: outside, answers: { local: match } }
  - { allow: default, like: outside, given: { request: { client_ip: 10.1.1.1 } }, answers: { local: no match } }
  - { deny: remote, like: outside, answers: { remote: match } }
  - { deny: remote, like: outside, answers: { remote: unavailable } }
  - { name: silent, deny: any, given: { request: { client_ip: 1.1.1.1 } } }
"#;

#[tokio::test]
async fn adapters_answer_what_the_test_says_and_lists_in_documents_what_they_hold() {
    let report = report(ASKING, Choice::default()).await;
    let failures: Vec<_> = report
        .failures()
        .map(|(test, failure)| (&*test.test, &*failure.message))
        .collect();
    let silent =
        "it asks the adapter `remote`: say what that answers, such as `answers: { remote: match }`";
    assert_eq!((report.passed(), failures), (6, vec![("silent", silent)]));
}

const TWO: &str = r#"
policy: door
guard: true
for: always
rules: [ { deny: strangers, when: 'source.namespace != "shop"' } ]
tests:
  - { name: own, allow: default, given: { source: { namespace: shop } } }
---
policy: house
for: always
rules: [ { allow: reading, when: 'request.method == "GET"' } ]
otherwise: { deny: reading only }
tests:
  - { name: alone, allow: reading, given: { source: { namespace: farm }, request: { method: GET } } }
  - { name: together, deny: strangers, like: alone }
"#;

#[tokio::test]
async fn a_test_is_about_its_own_policy_unless_it_speaks_of_others() {
    let failed = |report: &Report| {
        report
            .failures()
            .map(|(test, _)| test.test.clone())
            .collect::<Vec<_>>()
    };
    let alone = report(TWO, Choice::default()).await;
    assert_eq!((alone.passed(), failed(&alone)), (3, vec![]));
    let all = report(
        TWO,
        Choice {
            all: true,
            filter: None,
        },
    )
    .await;
    assert_eq!(failed(&all), ["own", "alone"], "{all:?}");
}

#[tokio::test]
async fn a_filter_chooses_by_policy_name_and_sentence() {
    for (filter, chosen) in [
        ("house", 2),
        ("alone", 1),
        ("strangers", 1),
        ("nothing", 0),
        ("", 3),
    ] {
        let report = report(
            TWO,
            Choice {
                all: false,
                filter: Some(filter.to_owned()),
            },
        )
        .await;
        assert_eq!(report.passed(), chosen, "{filter}");
    }
}

#[tokio::test]
async fn a_test_of_an_outbound_policy_is_asked_by_the_source() {
    let documents = r#"
policy: egress
at: outbound
for: destination.service == "pay.example" && context.reporter == "source"
rules: [ { deny: no money } ]
tests:
  - { deny: no money, given: { destination: { service: pay.example } } }
"#;
    assert_eq!(report(documents, Choice::default()).await.passed(), 1);
}

#[tokio::test]
async fn a_sentence_that_nobody_has_names_the_nearest_one() {
    let message = failure("{ allow: the shop may raed, like: reading }").await;
    assert_eq!(
        message.as_deref(),
        Some(
            "no rule, otherwise or quota of any policy is called \"the shop may raed\"; did you mean \"the shop may read\"?"
        )
    );
}

#[tokio::test]
async fn a_failure_shows_the_rules_it_is_about_with_the_values_they_read() {
    let documents = format!(
        "{POLICIES}  - {{ allow: the shop may read, like: reading, given: {{ request: {{ method: PUT }} }} }}\n"
    );
    let report = report(&documents, Choice::default()).await;
    let (_, failure) = report.failures().next().unwrap();
    assert_eq!(
        failure.message,
        "expected allow: the shop may read, but it is denied by \"only the shop may read\" of policy products (test.yaml:11:20)"
    );
    for says in [
        "allow: the shop may read (test.yaml:7:12) -> does not match\n",
        "when request.method == \"GET\" -> false\n",
        "request.method = \"PUT\"\n",
    ] {
        assert!(failure.why.contains(says), "no {says} in\n{}", failure.why);
    }
    assert!(!failure.why.contains("sandbox"), "{}", failure.why);
}

#[tokio::test]
async fn coverage_counts_what_decided_and_what_lines_were() {
    let all = report(POLICIES, Choice::default()).await.coverage;
    let parts = &all.policies[0].parts;
    let decided: Vec<(&str, bool)> = parts.iter().map(|part| (part.kind, part.decided)).collect();
    assert_eq!(
        decided,
        [
            ("deny", false),
            ("allow", true),
            ("quota", false),
            ("otherwise", false)
        ]
    );
    let lines: Vec<_> = parts
        .iter()
        .flat_map(|part| &part.lines)
        .map(|line| (line.was_true, line.was_false))
        .collect();
    assert_eq!(lines, [(false, true), (true, false), (true, false)]);
    let reached = all.reached();
    assert_eq!((reached.decided, reached.parts), (1, 4));
    assert_eq!((reached.outcomes, reached.possible), (3, 6));
    assert_eq!(reached.percent(), 40);
}

#[tokio::test]
async fn lines_behind_one_that_is_false_are_not_reached() {
    let documents = format!(
        "{POLICIES}  - {{ deny: otherwise, like: reading, given: {{ source: {{ namespace: farm }}, request: {{ method: PUT }} }} }}\n"
    );
    let all = report(&documents, Choice::default()).await.coverage;
    let method = &all.policies[0].parts[1].lines[1];
    assert_eq!(
        (&*method.expression, method.was_true, method.was_false),
        ("request.method == \"GET\"", true, false)
    );
}

#[tokio::test]
async fn full_coverage_is_a_hundred_percent_and_shadow_rules_decide_in_shadow() {
    let documents = r#"
policy: p
for: always
rules: [ { deny: trial, mode: shadow, when: 'request.method == "PUT"' } ]
tests:
  - { name: a, allow: default, given: { request: { method: PUT } } }
  - { allow: default, like: a, given: { request: { method: GET } } }
"#;
    let all = report(documents, Choice::default()).await.coverage;
    assert_eq!(all.reached().percent(), 100, "{all:?}");
}

const ROUTES: &str = r#"
service: products.shop
subsets: { v1: { endpoints: ["10.0.0.5:80"] }, v2: { endpoints: ["10.0.0.9:80"] } }
---
service: reviews.shop
---
route: canary
for: destination.service == "products.shop"
rules:
  - { name: old, when: 'request.path == "/old"', redirect: { location: /new } }
  - { name: testers, when: 'request.headers[?"x-tester"].orValue("") == "yes"', to: { v2: 100 } }
  - { name: split, to: { v1: 95, v2: 5 } }
tests:
  - { name: get, to: { v1: 95, v2: 5 }, by: split, given: { destination: { service: products.shop }, request: { method: GET, path: / } } }
  - { to: v2, like: get, given: { request: { headers: { x-tester: "yes" } } } }
  - { by: old, like: get, given: { request: { path: /old } } }
  - { to: service, like: get, given: { destination: { service: reviews.shop } } }
"#;

#[tokio::test]
async fn tests_of_routes_say_where_requests_go() {
    let held = report(ROUTES, Choice::default()).await;
    assert_eq!((held.passed(), held.failures().count()), (4, 0), "{held:?}");
    assert_eq!(held.coverage.reached().percent(), 100);
    for (test, says) in [
        (
            "{ to: v1, like: get }",
            "expected to: v1, but it goes to { v1: 95, v2: 5 } by \"split\" of route canary (test.yaml:12:13)",
        ),
        (
            "{ to: v1, like: get, given: { request: { path: /old } } }",
            "nowhere (a redirect) by \"old\"",
        ),
        ("{ by: testers, like: get }", "expected by: testers, but"),
        ("{ to: service, like: get }", "expected to: service, but"),
        (
            "{ to: v1, like: get, given: { destination: { service: reviews.shop } } }",
            "no rule matches",
        ),
        (
            "{ to: v1, given: { request: { path: / } } }",
            "does not say which service",
        ),
        (
            "{ to: v1, given: { destination: { service: a.shop } } }",
            "no `service` document declares `a.shop`",
        ),
    ] {
        let failed = report(&format!("{ROUTES}  - {test}\n"), Choice::default()).await;
        let messages: Vec<_> = failed
            .failures()
            .map(|(_, failure)| failure.message.clone())
            .collect();
        assert!(
            matches!(messages.as_slice(), [message] if message.contains(says)),
            "{test}: {messages:?}"
        );
    }
}
