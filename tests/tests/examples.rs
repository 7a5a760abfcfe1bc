//! What is shown to readers works: every folder of `policies/`, the policy of the front page, and what the commands exit with.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mixer_tests::binaries::How;
use mixer_tests::mesh::Documents;
use mixer_tests::tidy::Tree;

/// Runs `mixer VERB DIR`.
fn mixer(verb: &str, folder: &Path) -> Output {
    let mut command: Command = How::Tested.command("mixer");
    command.arg(verb).arg(folder).stdin(Stdio::null());
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[track_caller]
fn exits(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn every_example_is_valid_and_its_tests_pass() {
    let mut examples = 0;
    for entry in fs::read_dir(Tree::workspace().root().join("policies")).unwrap() {
        let folder = entry.unwrap().path();
        if folder.is_dir() {
            assert!(
                folder.join("README.md").exists(),
                "{} has no README",
                folder.display()
            );
            exits(&mixer("validate", &folder), 0);
            exits(&mixer("test", &folder), 0);
            examples += 1;
        }
    }
    assert!(examples > 0, "no example is there");
}

/// The YAML block of a page that starts with `first`.
fn block(page: &str, first: &str) -> String {
    let blocks = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let mut found = blocks.filter(|block| block.starts_with(first));
    found
        .next()
        .unwrap_or_else(|| panic!("the page has no YAML that starts with {first:?}"))
        .to_owned()
}

#[test]
fn the_policy_of_the_front_page_is_valid_and_its_tests_pass() {
    let page = fs::read_to_string(Tree::workspace().root().join("README.md")).unwrap();
    let documents = Documents::new([
        ("web.yaml", block(&page, "policy: web\n")),
        ("services.yaml", block(&page, "service: ")),
    ]);
    exits(&mixer("validate", documents.path()), 0);
    exits(&mixer("test", documents.path()), 0);
}

#[test]
fn mistakes_exit_with_3_and_are_all_told_with_their_places() {
    let documents = Documents::new([
        (
            "a.yaml",
            "policy: a\nfor: always\nrules:\n  - deny: nobody\n    when: request.metod == \"GET\"\n",
        ),
        ("b.yaml", "policy: b\nfor: always\nrulez: []\n"),
    ]);
    for verb in ["validate", "test"] {
        let said = exits(&mixer(verb, documents.path()), 3);
        assert!(
            said.contains("a.yaml:5:11") && said.contains("b.yaml:3:1"),
            "{verb}: {said}"
        );
    }
}

#[test]
fn a_directory_without_documents_exits_with_3() {
    let documents = Documents::new::<&str>([]);
    exits(&mixer("validate", documents.path()), 3);
}

#[test]
fn a_test_that_fails_exits_with_2_and_is_named() {
    let documents = Documents::new([(
        "a.yaml",
        r#"
policy: a
for: always
rules:
  - deny: nobody deletes
    when: request.method == "DELETE"
tests:
  - deny: nobody deletes
    name: a mere reader
    given:
      request: { method: GET }
"#,
    )]);
    exits(&mixer("validate", documents.path()), 0);
    let said = exits(&mixer("test", documents.path()), 2);
    assert!(said.contains("nobody deletes"), "{said}");
}
