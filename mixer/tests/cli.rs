//! The command line as a process: exit codes, and what goes where.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

fn mixer(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mixer"))
        .args(arguments)
        .env_remove("NO_COLOR")
        .output()
        .expect("the binary of this package was built for its tests")
}

/// A directory with one file of documents.
fn documents(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policies.yaml"), text).unwrap();
    directory
}

fn run(verb: &str, directory: &Path, more: &[&str]) -> (i32, String, String) {
    let directory = directory.to_str().unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = mixer(&[&[verb, directory], more].concat());
    let (stdout, stderr) = (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    );
    assert!(
        !stdout.contains('\x1b') && !stderr.contains('\x1b'),
        "no colour where nobody sees it"
    );
    (status.code().unwrap(), stdout, stderr)
}

const GOOD: &str = r#"
policy: products
for: destination.service == "products.shop"
rules:
  - deny: nobody from the sandbox
    when: source.namespace == "sandbox"
quotas: [ { quota: few, key: [], limit: 2 per day } ]
tests:
  - { name: shop, allow: default, given: { destination: { service: products.shop }, source: { namespace: shop } } }
  - { deny: nobody from the sandbox, like: shop, given: { source: { namespace: sandbox } } }
  - { limit: few, like: shop, times: 3 }
"#;

#[test]
fn documents_that_load_are_valid() {
    let (code, stdout, stderr) = run("validate", documents(GOOD).path(), &[]);
    assert_eq!(
        (code, &*stdout, &*stderr),
        (0, "valid: 1 policy, 0 adapters, 0 services, 3 tests\n", "")
    );
}

#[test]
fn every_problem_is_shown_where_it_is() {
    let text = GOOD
        .replace("source.namespace ==", "source.namespce ==")
        .replace("2 per day", "2 per dya");
    let (code, stdout, stderr) = run("validate", documents(&text).path(), &[]);
    assert_eq!((code, &*stdout), (3, ""));
    for says in ["policies.yaml:6:11", "source.namespace", "policies.yaml:7:"] {
        assert!(stderr.contains(says), "no {says} in\n{stderr}");
    }
}

#[test]
fn adapters_are_checked_with_the_documents_that_use_them() {
    let text = r#"
adapter: block
type: lsit
config: { entries: [a] }
---
adapter: names
type: list
config: { entrees: [a] }
---
adapter: shown
type: prometheus
---
policy: p
for: always
rules: [ { deny: asked, ask: shown } ]
quotas: [ { quota: q, key: [], limit: 1 per day, store: shown } ]
---
telemetry: t
for: always
metrics: [ { metric: m, kind: counter, to: memory } ]
"#;
    let (code, _, stderr) = run("validate", documents(text).path(), &[]);
    assert_eq!(code, 3);
    for says in [
        "no adapter has the type `lsit`",
        "did you mean `list`?",
        "entrees",
        "adapter `shown` is a prometheus, which cannot answer match or no match",
        "adapter `shown` is a prometheus, which cannot count",
        "adapter `memory` is a memory-quota, which cannot be told what happened",
        "policies.yaml:8:",
        "policies.yaml:15:30",
        "policies.yaml:20:",
    ] {
        assert!(stderr.contains(says), "no {says} in\n{stderr}");
    }
}

#[test]
fn a_directory_without_documents_does_not_compile_and_one_that_is_not_there_is_unreadable() {
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(run("validate", empty.path(), &[]).0, 3);
    let (code, _, stderr) = run("validate", &empty.path().join("gone"), &[]);
    assert_eq!(code, 65);
    assert!(stderr.contains("gone"), "{stderr}");
}

#[test]
fn wrong_usage_has_its_own_code() {
    for arguments in [
        &["validate"][..],
        &["validat", "."],
        &["test", ".", "--al"],
        &["explain"],
        &[],
    ] {
        assert_eq!(mixer(arguments).status.code(), Some(64), "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        let output = mixer(&arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn tests_are_counted_and_those_that_fail_are_shown_where_they_are() {
    assert_eq!(
        run("test", documents(GOOD).path(), &[]),
        (0, "3 passed, 0 failed\n".to_owned(), String::new())
    );
    assert_eq!(
        run("test", documents(GOOD).path(), &["--filter", "few"]).1,
        "1 passed, 0 failed\n"
    );

    let text = GOOD.replace("times: 3", "times: 2");
    let (code, stdout, stderr) = run("test", documents(&text).path(), &[]);
    assert_eq!((code, &*stdout), (2, "2 passed, 1 failed\n"));
    assert!(
        stderr.contains("policies.yaml:11:") && stderr.contains("policy products: limit: few"),
        "{stderr}"
    );

    assert_eq!(
        run("test", documents("policy: p\nrules: []").path(), &[]).0,
        3
    );
}

#[test]
fn explain_says_what_was_read_and_what_is_decided() {
    let directory = documents(GOOD);
    let request = directory.path().join("request.json");
    std::fs::write(
        &request,
        r#"{ "destination": { "service": "products.shop" }, "source": { "namespace": "shop" } }"#,
    )
    .unwrap();
    let arguments = [
        "--request",
        request.to_str().unwrap(),
        "-a",
        "source.namespace=sandbox",
    ];
    let (code, stdout, stderr) = run(
        "explain",
        &directory.path().join("policies.yaml"),
        &arguments,
    );
    assert_eq!((code, &*stderr), (0, ""));
    for says in [
        "policy products (",
        "deny: nobody from the sandbox",
        "when source.namespace == \"sandbox\" -> true",
        "source.namespace = \"sandbox\"",
        "decision: denied by \"nobody from the sandbox\" of policy products",
        "HTTP 403, grpc-status 7",
    ] {
        assert!(stdout.contains(says), "no {says} in\n{stdout}");
    }
    let (_, stdout, _) = run(
        "explain",
        &directory.path().join("policies.yaml"),
        &arguments[..2],
    );
    assert!(
        stdout.contains("decision: allowed by the mesh's default"),
        "{stdout}"
    );
    assert!(
        stdout.contains("charges 1 of 2 in 86400s to products/few []"),
        "{stdout}"
    );

    let told = documents(
        "mesh: { denials: { show: everyone } }\n---\npolicy: p\nfor: always\nrules:\n  - deny: all\n    grpc: NOT_FOUND\n    headers: { x-a: '{source.namespace}' }\n    body: { no: \"{source.namespace}\" }\n",
    );
    let (_, stdout, _) = run("explain", told.path(), &["-a", "source.namespace=a\"b"]);
    for says in [
        "HTTP 403, grpc-status 5: all",
        "header x-a: set to \"a\\\"b\"",
        "body, application/json: {\"no\":\"a\\\"b\"}",
    ] {
        assert!(stdout.contains(says), "no {says} in\n{stdout}");
    }

    let (code, _, stderr) = run(
        "explain",
        &directory.path().join("policies.yaml"),
        &["-a", "source.namespce=x"],
    );
    assert_eq!(code, 65);
    assert!(
        stderr.contains("did you mean") || stderr.contains("unknown attribute"),
        "{stderr}"
    );
}
