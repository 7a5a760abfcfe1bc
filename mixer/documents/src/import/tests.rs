//! Descriptors meet the limits that the other service says.

use std::collections::BTreeMap;

use mixer_attributes::{AttributeBag, Value, vocabulary as v};
use mixer_cel::Evaluation;

use super::*;
use crate::{At, PolicySet};

const LIMITADOR: &str = r#"
- namespace: shop
  max_value: 10
  seconds: 60
  name: reads of one user
  conditions: ["descriptors[0].method == 'GET'"]
  variables: ["descriptors[0].user"]
- namespace: shop
  max_value: 5
  seconds: 90
  id: staff
  conditions:
    - descriptors[0]['group'] == "staff" || descriptors[0]["group"] == "it's"
- namespace: shop
  max_value: 7
  seconds: 3600
  conditions: ["!('user' in descriptors[0])"]
- namespace: other
  max_value: 1
  seconds: 1
"#;

const RATELIMIT: &str = r#"
domain: edge
descriptors:
  - key: database
    value: users
    rate_limit: { unit: second, requests_per_unit: 500 }
    descriptors:
      - key: write
        rate_limit: { unit: hour, requests_per_unit: 9 }
  - key: database
    value: admin
    rate_limit: { unlimited: true }
  - key: database
    value: tmp-*
    share_threshold: true
    rate_limit: { unit: week, requests_per_unit: 3, name: scratch }
  - key: database
    value: a*z
    rate_limit: { unit: month, requests_per_unit: 4 }
  - key: database
    rate_limit: { unit: year, requests_per_unit: 1000 }
  - key: generic_key
    value: a
    descriptors:
      - key: generic_key
        value: b
        shadow_mode: true
        detailed_metric: true
        rate_limit: { unit: minute, requests_per_unit: 8 }
"#;

fn set(imported: &Imported) -> PolicySet {
    load(Sources::from_texts(imported.files.clone())).unwrap()
}

/// The amounts and windows that a descriptor meets, with the values of their keys.
fn met(set: &PolicySet, domain: &str, index: i64, entries: &[(&str, &str)]) -> Vec<String> {
    let texts = |text: &str| text.to_owned();
    let keys: Vec<String> = entries.iter().map(|(key, _)| texts(key)).collect();
    let values: Vec<String> = entries.iter().map(|(_, value)| texts(value)).collect();
    let map: BTreeMap<String, String> = keys.iter().cloned().zip(values.iter().cloned()).collect();
    let mut bag = AttributeBag::new();
    bag.set(v::RATE_LIMIT_DOMAIN, Value::String(domain));
    bag.set(v::RATE_LIMIT_KEYS, Value::List(&keys));
    bag.set(v::RATE_LIMIT_VALUES, Value::List(&values));
    bag.set(v::RATE_LIMIT_DESCRIPTOR, Value::Map(&map));
    bag.set(v::RATE_LIMIT_HITS, Value::Int(1));
    bag.set(v::RATE_LIMIT_INDEX, Value::Int(index));
    let applicable = set.applicable(At::RateLimit, &bag);
    let mut evaluation = Evaluation::new(&bag, &set.references);
    let mut candidates = applicable.plan.quotas.candidates();
    let mut met = Vec::new();
    while let Some((policy, quota)) = candidates.next(&mut evaluation, true) {
        let quota = &set.policies[policy].quotas[quota];
        if quota.when.test(&mut evaluation) == Ok(false) {
            continue;
        }
        let key = quota.key.iter().map(|key| key.evaluate(&mut evaluation));
        let key: Result<Vec<String>, _> = key
            .map(|value| value.map(|value| value.to_text()))
            .collect();
        // What lacks a key is passed by: `absent: skip`.
        if let Ok(key) = key {
            let limit = quota.limit.otherwise;
            met.push(format!(
                "{}/{}s {}",
                limit.amount,
                limit.window.as_secs(),
                key.join(",")
            ));
        }
    }
    met
}

#[test]
fn limitadors_limits_are_met_by_the_same_descriptors() {
    let imported = limitador(
        Sources::from_texts([("limits.yaml", LIMITADOR)]),
        Windows::Sliding,
    )
    .unwrap();
    let set = set(&imported);
    for (domain, index, entries, limits) in [
        (
            "shop",
            0,
            &[("method", "GET"), ("user", "ann")][..],
            &["10/60s ann"][..],
        ),
        ("shop", 1, &[("method", "GET"), ("user", "ann")], &[]),
        ("shop", 0, &[("method", "PUT"), ("user", "ann")], &[]),
        // No user: the variable is missing, and the limit for those without one applies.
        ("shop", 0, &[("method", "GET")], &["7/3600s "]),
        ("shop", 0, &[("group", "staff"), ("user", "x")], &["5/90s "]),
        ("shop", 0, &[("group", "it's"), ("user", "x")], &["5/90s "]),
        ("shop", 0, &[("group", "guests"), ("user", "x")], &[]),
        ("other", 0, &[("any", "thing")], &["1/1s "]),
        ("other", 1, &[("any", "thing")], &[]),
        ("none", 0, &[("method", "GET")], &[]),
    ] {
        assert_eq!(
            met(&set, domain, index, entries),
            limits,
            "{domain} {index} {entries:?}"
        );
    }
    let names: Vec<_> = set.policies[0]
        .quotas
        .iter()
        .map(|quota| &*quota.sentence)
        .collect();
    assert_eq!(names, ["reads of one user", "staff", "7 in 3600s"]);
}

#[test]
fn a_tree_of_descriptors_is_walked_as_ratelimit_walks_it() {
    let imported = ratelimit(
        Sources::from_texts([("edge.yaml", RATELIMIT)]),
        Windows::Sliding,
    )
    .unwrap();
    let warned = imported.warnings.lines();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].starts_with("edge.yaml:28:"), "{warned:?}");
    let set = set(&imported);
    for (entries, limits) in [
        (&[("database", "users")][..], &["500/1s "][..]),
        (&[("database", "users"), ("write", "t1")], &["9/3600s t1"]),
        (&[("database", "users"), ("read", "t1")], &[]),
        (&[("write", "t1"), ("database", "users")], &[]),
        (&[("database", "admin")], &[]),
        (&[("database", "tmp-1")], &["3/604800s "]),
        (&[("database", "a-to-z")], &["4/2592000s a-to-z"]),
        (&[("database", "a-to-y")], &["1000/31536000s a-to-y"]),
        (&[("database", "orders")], &["1000/31536000s orders"]),
        (&[("database", "orders"), ("write", "t1")], &[]),
        (&[("generic_key", "a"), ("generic_key", "b")], &["8/60s "]),
        (&[("generic_key", "b"), ("generic_key", "a")], &[]),
        (&[("generic_key", "a")], &[]),
        (&[("unknown", "x")], &[]),
    ] {
        assert_eq!(met(&set, "edge", 0, entries), limits, "{entries:?}");
    }
    let trial = set.policies[0]
        .quotas
        .iter()
        .find(|quota| quota.mode == crate::Mode::Shadow);
    assert_eq!(&*trial.unwrap().sentence, "generic_key=a, generic_key=b");
}

#[test]
fn what_cannot_be_expressed_is_an_error_with_its_place() {
    let limit = |rest: &str| format!("- namespace: n\n  max_value: 1\n  seconds: 1\n{rest}");
    for (rest, place, complaint) in [
        (
            "  conditions: [\"descriptors[0].a == descriptors[1].b\"]",
            "4:",
            "reads several descriptors",
        ),
        (
            "  conditions: [\"descriptors.exists(d, d.a == 'x')\"]",
            "4:16",
            "only `descriptors[N]`",
        ),
        (
            "  conditions: [\"limit.name == 'x'\"]",
            "4:16",
            "`limit` is not known",
        ),
        (
            "  conditions: [\"int(descriptors[0].a) > 5\"]",
            "4:16",
            "int fails on some values",
        ),
        (
            "  conditions: [\"descriptors[0].a == 'x' || descriptors[0].b == 'y'\"]",
            "4:16",
            "without a or b",
        ),
        (
            "  conditions: [\"!(descriptors[0].a == 'x' && descriptors[0].b == 'y')\"]",
            "4:16",
            "without a or b",
        ),
        (
            "  conditions: [\"descriptors[0].a\"]",
            "1:3",
            "cannot be written as a quota",
        ),
        (
            "  conditions: [\"descriptors[0].a + 1\"]",
            "1:3",
            "cannot be written as a quota",
        ),
        (
            "  conditions: [\"method == 'GET'\"]",
            "1:3",
            "cannot be written as a quota",
        ),
        ("  policy: x", "4:3", "unknown key `policy`"),
    ] {
        let text = limit(rest);
        let refused =
            limitador(Sources::from_texts([("l.yaml", &*text)]), Windows::Sliding).unwrap_err();
        let lines = refused.lines();
        let said = lines
            .iter()
            .any(|line| line.starts_with(&format!("l.yaml:{place}")) && line.contains(complaint));
        assert!(said, "{rest}: {lines:?}");
    }
    let twice = limit("") + &limit("").replace("max_value: 1", "max_value: 2");
    let refused =
        limitador(Sources::from_texts([("l.yaml", &*twice)]), Windows::Sliding).unwrap_err();
    assert!(
        refused.lines()[0].contains("`max_value`"),
        "{:?}",
        refused.lines()
    );

    let tree = |rest: &str| format!("domain: d\ndescriptors:\n- key: k\n{rest}");
    for (rest, place, complaint) in [
        (
            "  rate_limit: { unit: hour, requests_per_unit: 1, replaces: [{ name: x }] }",
            "4:",
            "`replaces` cannot be taken over",
        ),
        (
            "  quota_mode: true",
            "4:3",
            "`quota_mode` cannot be taken over",
        ),
        (
            "  metadata: { a: b }",
            "4:3",
            "`metadata` cannot be taken over",
        ),
        (
            "  rate_limit: { unit: fortnight, requests_per_unit: 1 }",
            "4:",
            "`unit`",
        ),
        (
            "  rate_limit: { unit: hour, requests_per_unit: 0 }",
            "4:",
            "`requests_per_unit`",
        ),
        ("  limit: 5", "4:3", "unknown key `limit`"),
        ("- key: k", "4:3", "are there already"),
    ] {
        let text = tree(rest);
        let refused =
            ratelimit(Sources::from_texts([("r.yaml", &*text)]), Windows::Sliding).unwrap_err();
        let lines = refused.lines();
        let said = lines
            .iter()
            .any(|line| line.starts_with(&format!("r.yaml:{place}")) && line.contains(complaint));
        assert!(said, "{rest}: {lines:?}");
    }
}

#[test]
fn on_request_windows_are_those_of_the_service_they_are_from() {
    let text = |imported: Imported| imported.files[0].1.clone();
    let limits = "- namespace: n\n  max_value: 1\n  seconds: 60\n";
    let sources = || Sources::from_texts([("l.yaml", limits)]);
    let opened = text(limitador(sources(), Windows::Fixed).unwrap());
    assert!(opened.ends_with("    limit: 1 per minute\n    algorithm: fixed-window\n"));
    assert!(!text(limitador(sources(), Windows::Sliding).unwrap()).contains("fixed"));
    let limit = |unit: &str| {
        let text = format!(
            "domain: d\ndescriptors:\n  - key: k\n    rate_limit: {{ unit: {unit}, requests_per_unit: 2 }}\n"
        );
        ratelimit(Sources::from_texts([("r.yaml", text)]), Windows::Fixed).unwrap()
    };
    let hourly = text(limit("hour"));
    assert!(hourly.ends_with("    algorithm: fixed-window\n    window: calendar\n"));
    assert!(
        text(limit("week")).ends_with("    limit: 2 per 604800s\n    algorithm: fixed-window\n")
    );
}
