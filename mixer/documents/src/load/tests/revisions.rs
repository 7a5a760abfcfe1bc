//! What changes a revision, and what does not.

use mixer_attributes::{AttributeBag, Value, vocabulary};

use super::*;
use crate::{At, Fail, Scope};

fn scope(set: &PolicySet, at: At, service: &str) -> Scope {
    let mut bag = AttributeBag::new();
    bag.set(vocabulary::DESTINATION_SERVICE, Value::String(service));
    set.applicable(at, &bag).scope.clone()
}

fn revision(text: &str, service: &str) -> String {
    scope(&set(text), At::Inbound, service).revision.to_string()
}

const TWO: &str = "policy: a
for: destination.service == \"a.shop\"
rules:
  - deny: sandbox
    when: source.namespace == \"sandbox\"
  - deny: blocked
    ask: blocklist
    with: { value: source.ip }
---
policy: b
for: destination.service == \"b.shop\"
rules:
  - deny: testers
    when: source.namespace == \"testers\"
---
adapter: blocklist
type: list
config: { entries: [10.0.0.1], keep: 24h }
";

#[test]
fn a_revision_changes_with_what_can_change_a_decision_and_with_nothing_else() {
    let (a, b) = (revision(TWO, "a.shop"), revision(TWO, "b.shop"));
    assert_eq!(a.len(), 16);
    assert!(a.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_ne!(a, b);
    let edit = |from: &str, to: &str| {
        let edited = TWO.replacen(from, to, 1);
        assert_ne!(edited, TWO, "{from}");
        (
            revision(&edited, "a.shop") != a,
            revision(&edited, "b.shop") != b,
        )
    };
    let nothing = (false, false);
    for (from, to, changed) in [
        (
            "policy: a\n",
            "# a comment\npolicy: a  # another\n",
            nothing,
        ),
        (
            "when: source.namespace == \"sandbox\"",
            "when: 'source.namespace   ==  \"sandbox\"'",
            nothing,
        ),
        (
            "when: source.namespace == \"sandbox\"",
            "when: >\n      source.namespace\n      == \"sandbox\"",
            nothing,
        ),
        (
            "    when: source.namespace == \"sandbox\"",
            "    mode: enforce\n    status: 403\n    when: source.namespace == \"sandbox\"",
            nothing,
        ),
        (
            "---\npolicy: b",
            "tests: [{ deny: sandbox, given: { source: { namespace: sandbox } } }]\n---\npolicy: b",
            nothing,
        ),
        (
            "entries: [10.0.0.1], keep: 24h",
            "keep: 24h, entries: [10.0.0.1]",
            nothing,
        ),
        ("policy: a\n", "service: c.shop\n---\npolicy: a\n", nothing),
        (
            "policy: a\n",
            "policy: c\nfor: destination.service == \"c.shop\"\nrules: [{ deny: all }]\n---\npolicy: a\n",
            nothing,
        ),
        (
            "    when: source.namespace == \"sandbox\"",
            "    mode: shadow\n    until: 2026-12-31\n    when: source.namespace == \"sandbox\"",
            (true, false),
        ),
        ("\"sandbox\"", "\"sand box\"", (true, false)),
        (
            "deny: sandbox\n    when:",
            "require: sandbox\n    that:",
            (true, false),
        ),
        (
            "    when: source.namespace == \"sandbox\"",
            "    status: 404\n    when: source.namespace == \"sandbox\"",
            (true, false),
        ),
        ("10.0.0.1", "10.0.0.2", (true, false)),
        ("\"testers\"", "\"others\"", (false, true)),
        (
            "policy: a\n",
            "mesh: { denials: { show: nobody } }\n---\npolicy: a\n",
            (true, true),
        ),
        (
            "policy: a\n",
            "policy: c\nfor: always\nrules: [{ deny: all }]\n---\npolicy: a\n",
            (true, true),
        ),
        (
            "policy: a\n",
            "service: a.shop\nprotocol: tcp\n---\npolicy: a\n",
            (true, false),
        ),
        (
            "policy: a\n",
            "telemetry: t\nfor: destination.service == \"a.shop\"\nstandard: drop\n---\npolicy: a\n",
            (true, false),
        ),
    ] {
        assert_eq!(edit(from, to), changed, "{from} -> {to}");
    }
}

#[test]
fn all_that_a_denied_caller_is_told_is_part_of_the_revision_and_when_a_trial_ends_is_not() {
    let of = |lines: &str| {
        let text = format!("policy: a\nfor: always\nrules:\n  - deny: b\n{lines}");
        revision(&text, "a.shop")
    };
    let told = [
        "",
        "    status: 404\n",
        "    grpc: NOT_FOUND\n",
        "    message: a b\n",
        "    message: a  b\n",
        "    headers: { x-a: b }\n",
        "    headers: { x-a: c }\n",
        "    headers: { x-b: b }\n",
        "    headers: { x-a: b, x-b: b }\n",
        "    headers: { x-b: b, x-a: b }\n",
        "    body: a b\n",
        "    body: a  b\n",
        "    body: { a: b }\n",
        "    body: { a: 'b{source.port}' }\n",
        "    body: { a: '{source.port}' }\n",
        "    body: '{{\"a\":\"b\"}}'\n",
        "    body: '{{\"a\":\"b\"}}'\n    headers: { content-type: application/json }\n",
    ];
    let revisions: std::collections::HashSet<String> = told.iter().map(|lines| of(lines)).collect();
    assert_eq!(revisions.len(), told.len());
    assert_eq!(of("    grpc: 5\n"), of("    grpc: NOT_FOUND\n"));
    assert_eq!(
        of("    mode: shadow\n"),
        of("    mode: shadow\n    until: 2026-12-31\n")
    );
    let quota = |keys: &str| {
        let text = format!(
            "policy: a\nfor: always\nquotas: [{{ quota: q, key: [], limit: 1 per day{keys} }}]\n"
        );
        revision(&text, "a.shop")
    };
    assert_ne!(quota(""), quota(", message: later"));
    assert_ne!(quota(""), quota(", status: 503"));
    let counted = [
        "",
        ", denied: counts",
        ", algorithm: gcra",
        ", algorithm: fixed-window",
        ", algorithm: fixed-window, window: calendar",
        ", algorithm: fixed-window, window: calendar Europe/Berlin",
    ];
    let revisions: std::collections::HashSet<String> = counted.map(quota).into();
    assert_eq!(revisions.len(), counted.len());
    assert_eq!(quota(""), quota(", denied: free"));
}

#[test]
fn the_definition_of_an_attribute_is_part_of_the_revisions_that_may_read_it() {
    let text = |from: &str| {
        format!(
            "attributes: [{{ name: cart.size, type: int, from: '{from}' }}]\n---\npolicy: a\nfor: destination.service == \"a\"\nrules: \
             [{{ deny: big, when: cart.size > 1 }}]\n---\npolicy: b\nfor: destination.service == \"b\"\nrules: [{{ deny: all }}]\n"
        )
    };
    assert_ne!(revision(&text("1"), "a"), revision(&text("2"), "a"));
    assert_eq!(revision(&text("1"), "b"), revision(&text("2"), "b"));
}

#[test]
fn order_decides_and_is_part_of_the_revision() {
    let of = |names: [&str; 2]| {
        let policy = |name: &str, sentence: &str| {
            format!("policy: {name}\nfor: always\nrules: [{{ deny: {sentence} }}]\n")
        };
        let sources =
            Sources::from_texts([(names[0], policy("a", "x")), (names[1], policy("b", "y"))]);
        scope(&load(sources).unwrap(), At::Inbound, "s").revision
    };
    assert_eq!(
        of(["1.yaml", "2.yaml"]),
        of(["3.yaml", "4.yaml"]),
        "file names alone do not"
    );
    let swapped = Sources::from_texts([
        ("1.yaml", "policy: b\nfor: always\nrules: [{ deny: y }]\n"),
        ("2.yaml", "policy: a\nfor: always\nrules: [{ deny: x }]\n"),
    ]);
    assert_ne!(
        of(["1.yaml", "2.yaml"]),
        scope(&load(swapped).unwrap(), At::Inbound, "s").revision
    );
}

#[test]
fn a_scope_says_what_a_proxy_must_know() {
    let of = |text: &str| {
        let scope = scope(&set(text), At::Inbound, "s");
        (
            scope.rules,
            scope.quotas,
            scope.fail == Fail::Open,
            scope.reads_path,
        )
    };
    let rule = |keys: &str, rule: &str| {
        format!("policy: p\nfor: always\n{keys}rules: [{{ deny: all{rule} }}]\n")
    };
    let quota = "policy: p\nfor: always\nquotas: [{ quota: q, key: [], limit: 1 per day }]\n";
    let path = ", when: request.path == '/'";
    for (text, expected) in [
        (
            "policy: p\nfor: destination.service == \"t\"\nrules: [{ deny: all }]\n".to_owned(),
            (false, false, true, false),
        ),
        (
            "mesh: { default: deny }".to_owned(),
            (true, false, false, false),
        ),
        (rule("", ""), (true, false, false, false)),
        (rule("fail: open\n", ""), (true, false, true, false)),
        (rule("fail: open\n", path), (true, false, true, true)),
        (rule("mode: shadow\n", path), (true, false, true, false)),
        (
            rule("", &format!("{path}, mode: shadow")),
            (true, false, false, false),
        ),
        (quota.to_owned(), (false, true, false, false)),
        (
            format!(
                "{}---\n{}",
                rule("fail: open\n", ""),
                quota.replace("policy: p", "policy: q")
            ),
            (true, true, false, false),
        ),
        (
            "policy: p\nfor: always\notherwise: deny\n".to_owned(),
            (true, false, false, false),
        ),
        (
            format!("service: s\nprotocol: tcp\n---\n{}", rule("", path)),
            (false, false, false, false),
        ),
        (
            format!("service: s\nprotocol: tcp\n---\n{}", rule("", "")),
            (true, false, false, false),
        ),
    ] {
        assert_eq!(of(&text), expected, "{text}");
    }
}

#[test]
fn telemetry_says_what_must_be_reported() {
    let text = "telemetry: a
for: always
traces: { to: zipkin, sample: 10% }
metrics: [{ metric: m, kind: counter, at: source }]
---
telemetry: b
for: destination.service == \"b\"
standard: drop
traces: { to: zipkin, sample: 0.5% }
logs: { to: zipkin }
---
adapter: zipkin
type: zipkin
";
    let set = set(text);
    let of = |at, service| {
        let scope = scope(&set, at, service);
        (scope.records, scope.trace_sample, scope.standard_metrics)
    };
    assert_eq!(of(At::Inbound, "a"), (false, 0.1, true));
    assert_eq!(of(At::Outbound, "a"), (true, 0.1, true));
    assert_eq!(of(At::Inbound, "b"), (true, 0.1, false));
    assert!(!scope(&set, At::Inbound, "b").rules);
}

#[test]
fn policies_are_sorted_by_what_they_do() {
    let text = "policy: pool
for: always
rules: [{ deny: a }]
---
policy: guard
guard: true
for: always
rules: [{ deny: a }]
---
policy: shadow
mode: shadow
guard: true
for: always
rules: [{ deny: a }]
---
policy: out
at: outbound
for: always
rules: [{ deny: a }]
";
    let set = set(text);
    let applicable = set.applicable(At::Inbound, &AttributeBag::new());
    assert_eq!(
        (&*applicable.pool, &*applicable.guards, &*applicable.shadow),
        (&[0][..], &[1][..], &[2][..])
    );
    assert_eq!(set.applicable(At::Outbound, &AttributeBag::new()).pool, [3]);
}

#[test]
fn outbound_scopes_are_those_that_requests_will_have() {
    let text = "service: a.shop\n---\nservice: b.shop\n---\nservice: c.data\n---
policy: egress
at: outbound
for: destination.service == \"a.shop\" || destination.namespace == \"data\"
rules: [{ deny: all }]
---
policy: inbound
for: destination.service == \"b.shop\"
rules: [{ deny: all }]
";
    let set = set(text);
    let (scopes, other) = set.outbound_scopes();
    let names: Vec<&str> = scopes.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a.shop", "c.data"]);
    assert!(scopes.iter().all(|(_, scope)| scope.rules) && !other.rules);
    let mut bag = AttributeBag::new();
    bag.set(vocabulary::DESTINATION_SERVICE, Value::String("a.shop"));
    bag.set(vocabulary::DESTINATION_NAMESPACE, Value::String("shop"));
    bag.set(vocabulary::CONTEXT_REPORTER, Value::String("source"));
    assert_eq!(set.applicable(At::Outbound, &bag).scope, scopes[0].1);
}

#[test]
fn the_reporter_is_known_from_the_side_that_asks() {
    let text = "policy: p\nfor: context.reporter == \"destination\"\nrules: [{ deny: all }]\n";
    let set = set(text);
    assert_eq!(set.applicable(At::Inbound, &AttributeBag::new()).pool, [0]);
    let mut bag = AttributeBag::new();
    bag.set(vocabulary::CONTEXT_REPORTER, Value::String("source"));
    assert!(set.applicable(At::Inbound, &bag).pool.is_empty());
}

#[test]
fn what_applies_is_computed_once_for_each_destination() {
    let set = set("policy: p\nfor: destination.labels[\"app\"] == \"x\"\nrules: [{ deny: all }]\n");
    let of = |label: Option<&str>, path: &'static str| {
        let labels: std::collections::BTreeMap<String, String> = label
            .map(|label| ("app".to_owned(), label.to_owned()))
            .into_iter()
            .collect();
        let mut bag = AttributeBag::new();
        bag.set(vocabulary::DESTINATION_LABELS, Value::Map(&labels));
        bag.set(vocabulary::REQUEST_PATH, Value::String(path));
        set.applicable(At::Inbound, &bag)
    };
    let first = of(Some("x"), "/1");
    assert!(
        std::sync::Arc::ptr_eq(&first, &of(Some("x"), "/2")),
        "the path is no selector"
    );
    assert_eq!(first.pool, [0]);
    assert!(of(Some("y"), "/1").pool.is_empty());
    assert!(of(None, "/1").pool.is_empty());
}

/// What the index finds is what asking every selector finds.
#[test]
fn a_destination_is_looked_up_as_if_every_policy_was_asked() {
    let selectors = [
        "always",
        "destination.service == \"a.shop\"",
        "destination.service in [\"a.shop\", \"b.shop\", \"a.shop\"]",
        "destination.service.startsWith(\"a.\")",
        "destination.service.endsWith(\".data\")",
        "destination.namespace == \"shop\"",
        "destination.service == \"a.shop\" && destination.namespace == \"shop\"",
        "destination.service == \"a.shop\" || destination.namespace == \"shop\"",
        "destination.service == \"a.shop\" || destination.service == \"c.data\"",
        "destination.labels[\"app\"] == \"x\"",
    ];
    let policy = |(at, selector): (usize, &&str)| {
        format!("policy: p{at}\nfor: {selector}\nrules: [{{ deny: all }}]\n")
    };
    let set = set(&selectors
        .iter()
        .enumerate()
        .map(policy)
        .collect::<Vec<_>>()
        .join("---\n"));
    let labels = std::collections::BTreeMap::from([("app".to_owned(), "x".to_owned())]);
    for service in [
        None,
        Some("a.shop"),
        Some("b.shop"),
        Some("c.data"),
        Some("d"),
    ] {
        for namespace in [None, Some("shop"), Some("data")] {
            for labelled in [false, true] {
                let mut bag = AttributeBag::new();
                if let Some(service) = service {
                    bag.set(vocabulary::DESTINATION_SERVICE, Value::String(service));
                }
                if let Some(namespace) = namespace {
                    bag.set(vocabulary::DESTINATION_NAMESPACE, Value::String(namespace));
                }
                if labelled {
                    bag.set(vocabulary::DESTINATION_LABELS, Value::Map(&labels));
                }
                let linear: Vec<usize> = (0..set.policies.len())
                    .filter(|at| set.policies[*at].selector.selects(&bag))
                    .collect();
                assert_eq!(
                    set.applicable(At::Inbound, &bag).pool,
                    linear,
                    "{service:?} {namespace:?} {labelled}"
                );
                assert_eq!(
                    set.applicable(At::Inbound, &bag).pool,
                    linear,
                    "and again, from what is kept"
                );
            }
        }
    }
}
