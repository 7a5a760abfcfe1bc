//! `mixer test`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::{PRODUCTS, Place, has};

fn place() -> Place {
    Place::with([("policies/products.yaml", PRODUCTS)])
}

/// With one test that does not hold, whose name needs escaping.
fn failing() -> Place {
    let test = "  - { allow: the shop frontend may read products, name: 'a <b> & \"c\"', like: frontend, given: { request: { method: PUT } } }\n";
    Place::with([("policies/products.yaml", &*format!("{PRODUCTS}{test}"))])
}

#[test]
fn a_failure_says_what_was_expected_what_happened_where_and_why() {
    let ran = failing().run(&["test", "policies"]);
    assert_eq!((ran.code, &*ran.out), (2, "3 passed, 1 failed\n"));
    has(
        &ran.err,
        &[
            "policies/products.yaml:22:14: policy products: a <b> & \"c\": expected allow: the shop frontend may read products, but it is denied by \"only the shop frontend may read products\" of policy products (policies/products.yaml:11:20)\n",
            "allow: the shop frontend may read products (policies/products.yaml:6:12) -> does not match\n",
            "when request.method == \"GET\" -> false\n",
            "request.method = \"PUT\"\n",
        ],
    );
}

#[test]
fn a_sentence_nobody_has_is_answered_with_the_nearest() {
    let place = Place::with([(
        "p.yaml",
        &*PRODUCTS.replace("{ limit: few,", "{ limit: fwe,"),
    )]);
    let ran = place.run(&["test", "p.yaml"]);
    assert_eq!(ran.code, 2);
    has(&ran.err, &["called \"fwe\"; did you mean \"few\"?"]);
}

#[test]
fn coverage_names_rules_that_never_decided_and_lines_that_had_one_value_only() {
    let out = place().says(0, &["test", "policies", "--coverage"]);
    assert_eq!(
        out,
        r#"policy products (policies/products.yaml:1:9)
  allow "the shop frontend may read products" (policies/products.yaml:6:12)
    when request.method == "GET" (policies/products.yaml:9:9): never false
    when request.path.startsWith("/products") (policies/products.yaml:10:9): never false
  otherwise "only the shop frontend may read products" (policies/products.yaml:11:20): never decided a test
coverage: 3 of 4 rules decided, 6 of 8 outcomes of conditions, 75% in all
3 passed, 0 failed
"#
    );
}

#[test]
fn too_little_coverage_is_a_finding_and_a_failed_test_is_worse() {
    let place = place();
    let ran = place.run(&["test", "policies", "--coverage-min", "76"]);
    assert_eq!(ran.code, 79);
    assert_eq!(
        ran.err,
        "75% is covered, less than the 76% of --coverage-min\n"
    );
    assert_eq!(
        place
            .run(&["test", "policies", "--coverage-min", "75"])
            .code,
        0
    );
    assert_eq!(
        failing()
            .run(&["test", "policies", "--coverage-min", "100"])
            .code,
        2
    );
    place.complains(64, &["test", "policies", "--coverage-min", "101"]);
}

#[test]
fn json_holds_results_and_coverage_and_nothing_else_is_on_standard_output() {
    let ran = failing().run(&["test", "policies", "-o", "json", "--coverage"]);
    assert_eq!(ran.code, 2);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&json["passed"], &json["failed"]), (&3.into(), &1.into()));
    let failed = &json["tests"][3];
    assert_eq!(
        (&failed["passed"], &failed["place"]),
        (&false.into(), &"policies/products.yaml:22:14".into())
    );
    assert!(failed["why"].as_array().unwrap().len() > 3, "{failed}");
    assert_eq!(json["coverage"]["parts"], 4);
    assert_eq!(
        json["coverage"]["policies"][0]["parts"][1]["lines"][1]["was_false"],
        true
    );
}

#[test]
fn junit_has_a_suite_for_each_policy_and_escapes_what_xml_must_not_hold() {
    let place = failing();
    place.write(
        "policies/other.yaml",
        "policy: other\nfor: always\ntests: [ { allow: any, given: {} } ]\n",
    );
    assert_eq!(
        place.run(&["test", "policies", "--junit", "out.xml"]).code,
        2
    );
    let xml = std::fs::read_to_string(place.path("out.xml")).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!((report.tests, report.failures), (5, 1));
    let suites: Vec<_> = report
        .test_suites
        .iter()
        .map(|suite| (suite.name.as_str(), suite.tests, suite.failures))
        .collect();
    assert_eq!(suites, [("other", 1, 0), ("products", 4, 1)]);
    let case = &report.test_suites[1].test_cases[3];
    assert_eq!(case.name.as_str(), "a <b> & \"c\"");
    assert!(case.time.is_some() && report.test_suites[1].time.is_some());
    has(
        &xml,
        &[
            "a &lt;b&gt; &amp; &quot;c&quot;",
            "policies/products.yaml:22:14",
        ],
    );

    let ran = place.run(&["test", "policies", "--junit", "no/such/folder.xml"]);
    assert_eq!(ran.code, 65);
    has(&ran.err, &["cannot write no/such/folder.xml"]);
}

#[test]
fn watch_runs_again_when_documents_change_and_ends_with_the_last_result() {
    let place = place();
    let mut child = place
        .command(&["test", "policies", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!(next(), "3 passed, 0 failed");
    place.write(
        "policies/products.yaml",
        PRODUCTS.replace("times: 3", "times: 2"),
    );
    assert_eq!(next(), "2 passed, 1 failed");
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn what_cannot_be_read_or_does_not_compile_has_its_code() {
    let place = Place::with([
        ("broken.yaml", "policy: p\nrules: []\n"),
        ("empty/x.txt", ""),
    ]);
    place.complains(65, &["test", "gone"]);
    place.complains(65, &["test", "gone", "--watch"]);
    place.complains(3, &["test", "broken.yaml"]);
    place.complains(3, &["test", "empty"]);
    place.complains(64, &["test"]);
    place.complains(64, &["test", ".", "-o", "xml"]);
    place.write("binary.yaml", b"policy: \xff\xfe\0");
    place.complains(3, &["test", "binary.yaml"]);
}
