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

/// `validate` with `text` in a file, and more arguments.
fn validate(text: &str, more: &[&str]) -> (i32, String, String) {
    run("validate", documents(text).path(), more)
}

/// A warning and nothing else.
const WARNS: &str =
    "policy: p\nfor: always\nrules: [{ deny: writers, when: request.method == \"post\" }]\n";
/// Two errors, one of them in an adapter's own configuration.
const ERRS: &str = "policy: p\nfor: always\notherwize: deny\n---\nadapter: names\ntype: list\nconfig: { entrees: [a] }\n";

#[test]
fn problems_are_told_with_their_codes_and_warnings_may_be_findings() {
    let (code, stdout, stderr) = validate(WARNS, &[]);
    assert_eq!(
        (code, &*stdout),
        (0, "valid: 1 policy, 0 adapters, 0 services, 0 tests\n")
    );
    assert!(stderr.starts_with("warning[MX9102]: "), "{stderr}");
    assert_eq!(validate(WARNS, &["--deny-warnings"]).0, 79);
    assert_eq!(validate(GOOD, &["--deny-warnings"]).0, 0);
    let (code, stdout, stderr) = validate(ERRS, &["--deny-warnings"]);
    assert_eq!((code, &*stdout), (3, ""));
    for says in [
        "error[MX1004]: unknown key `otherwize`",
        "error[MX5003]: adapter `names`: ",
    ] {
        assert!(stderr.contains(says), "no {says} in\n{stderr}");
    }
}

#[test]
fn other_forms_are_data_on_standard_output() {
    let json = |form: &str| -> serde_json::Value {
        let (code, stdout, stderr) = validate(ERRS, &["-o", form]);
        assert_eq!((code, &*stderr), (3, ""));
        serde_json::from_str(&stdout).unwrap()
    };
    let problems = &json("json")["problems"];
    assert_eq!(
        (&problems[0]["code"], &problems[0]["line"]),
        (&"MX1004".into(), &3.into())
    );
    assert_eq!(
        (&problems[1]["code"], &problems[1]["line"]),
        (&"MX5003".into(), &7.into())
    );
    let results = &json("sarif")["runs"][0]["results"];
    assert_eq!(results.as_array().unwrap().len(), 2);
    let (code, stdout, _) = validate(ERRS, &["-o", "github"]);
    assert_eq!(
        (code, stdout.matches("::error file=").count()),
        (3, 2),
        "{stdout}"
    );
    let (code, stdout, _) = validate(GOOD, &["-o", "json"]);
    assert_eq!(code, 0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&stdout).unwrap()["errors"],
        0
    );
}

#[test]
fn a_code_is_explained_without_documents() {
    let explain = |code: &str| mixer(&["validate", "--explain", code]);
    let known = explain("mx2011");
    assert_eq!(known.status.code(), Some(0));
    let text = String::from_utf8(known.stdout).unwrap();
    assert!(
        text.starts_with("MX2011: A deny rule reads a key that may be absent\n")
            && text.contains("orValue"),
        "{text}"
    );
    assert_eq!(explain("MX9999").status.code(), Some(64));
    assert_eq!(mixer(&["validate"]).status.code(), Some(64));
}

#[test]
fn what_is_mechanical_is_fixed_in_the_files() {
    let directory = documents(&format!("# Kept.\n{ERRS}"));
    let (code, stdout, stderr) = run("validate", directory.path(), &["--fix"]);
    assert_eq!((code, &*stdout), (3, ""), "the adapter's problem is left");
    assert!(
        stderr.contains("policies.yaml:4:1: MX1004: otherwize -> otherwise"),
        "{stderr}"
    );
    let text = std::fs::read_to_string(directory.path().join("policies.yaml")).unwrap();
    assert_eq!(
        text,
        format!("# Kept.\n{}", ERRS.replace("otherwize", "otherwise"))
    );
    let directory = documents(WARNS);
    let (code, stdout, _) = run(
        "validate",
        directory.path(),
        &["--fix", "--deny-warnings", "-o", "json"],
    );
    assert_eq!(code, 0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&stdout).unwrap()["warnings"],
        0
    );
    let text = std::fs::read_to_string(directory.path().join("policies.yaml")).unwrap();
    assert!(text.contains("\"POST\""), "{text}");
}

#[test]
fn files_are_laid_out_or_only_named() {
    let wrong = "policy: p  \notherwise: deny\nfor: always  # all\n";
    let directory = documents(wrong);
    let file = directory.path().join("policies.yaml");
    let (code, stdout, _) = run("fmt", directory.path(), &["--check"]);
    assert_eq!((code, stdout.lines().count()), (79, 1), "{stdout}");
    assert!(stdout.trim_end().ends_with("policies.yaml"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), wrong);
    assert_eq!(run("fmt", directory.path(), &[]).0, 0);
    let right = "policy: p\nfor: always  # all\notherwise: deny\n";
    assert_eq!(std::fs::read_to_string(&file).unwrap(), right);
    assert_eq!(
        run("fmt", directory.path(), &["--check"]),
        (0, String::new(), String::new())
    );
    assert_eq!(run("fmt", documents(ERRS).path(), &[]).0, 3);
}

/// The documents of the pages that only adapters refuse: the library loads them, a Mixer does not.
#[test]
fn pages_of_codes_show_what_adapters_refuse_too() {
    for code in mixer_documents::Code::ALL {
        let page = code.explanation();
        let example = |which: &str| {
            let (_, text) = page.split_once(&format!("{which}:\n\n```yaml\n"))?;
            text.split_once("```").map(|(text, _)| text)
        };
        if !code.id().starts_with("MX5") && code.id() != "MX6305" {
            continue;
        }
        let (Some(wrong), Some(right)) = (example("Wrong"), example("Right")) else {
            panic!("{code} shows nothing");
        };
        let (exit, stdout, _) = validate(wrong, &["-o", "json"]);
        assert!(exit == 3 && stdout.contains(code.id()), "{code}: {stdout}");
        let (exit, stdout, _) = validate(right, &["-o", "json", "--deny-warnings"]);
        assert_eq!(exit, 0, "{code}: {stdout}");
    }
}

#[test]
fn the_examples_of_this_repository_are_clean_and_laid_out() {
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
    for entry in std::fs::read_dir(policies).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let (code, stdout, _) = run("validate", &path, &["--deny-warnings", "-o", "github"]);
            assert_eq!((code, &*stdout), (0, ""), "{}", path.display());
            let (code, stdout, _) = run("fmt", &path, &["--check"]);
            assert_eq!((code, &*stdout), (0, ""), "{}", path.display());
        }
    }
}

#[test]
fn the_schema_has_the_configuration_of_every_adapter() {
    let schema = |kind: &[&str]| {
        let output = mixer(&[&["schema"], kind].concat());
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = schema(&[]);
    assert_eq!(code, Some(0));
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        all["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    for kind in mixer_adapters::builtin().types() {
        let config = &all["$defs"][format!("{kind}_config")];
        assert_eq!(config["additionalProperties"], false, "{kind}");
    }
    for reference in text.split("\"$ref\": \"").skip(1) {
        let to = reference
            .split('"')
            .next()
            .unwrap()
            .strip_prefix('#')
            .unwrap();
        assert!(all.pointer(to).is_some(), "{to}");
    }
    assert_eq!(schema(&["policy"]).0, Some(0));
    assert_eq!(schema(&["polcy"]).0, Some(64));
}
