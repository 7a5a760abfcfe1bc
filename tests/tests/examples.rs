//! What is shown to readers works: every folder of `policies/`, the policy of the front page, and what the commands exit with.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mixer_tests::binaries::How;
use mixer_tests::http::fetch;
use mixer_tests::mesh::Documents;
use mixer_tests::session::Session;
use mixer_tests::tidy::Tree;
use mixer_tests::wait;

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

/// The blocks of a page, each with the words behind its fence.
fn blocks(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n'))
}

/// The YAML block of a page that starts with `first`.
fn block(page: &str, first: &str) -> String {
    let (_, found) = blocks(page)
        .find(|(kind, block)| *kind == "yaml" && block.starts_with(first))
        .unwrap_or_else(|| panic!("the page has no YAML that starts with {first:?}"));
    format!("{found}\n")
}

/// That `said` has these lines in their order, whatever stands between and before them.
#[track_caller]
fn says(said: &str, lines: &str) {
    let mut rest = said.lines();
    for line in lines.lines() {
        assert!(
            rest.any(|told| told.ends_with(line)),
            "{line:?} is not, or not there, in\n{said}"
        );
    }
}

#[test]
fn the_pages_that_teach_by_examples_are_right_in_every_example() {
    let root = Tree::workspace().root().to_owned();
    for (page, examples, commands) in [
        ("policies/acl/README.md", 11, 6),
        ("policies/jwt/README.md", 3, 2),
        ("policies/routing/README.md", 5, 2),
        ("policies/rate-limit/README.md", 0, 2),
    ] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let (mut ran, mut typed, mut refused) = (0, 0, None);
        for (kind, block) in blocks(&text) {
            let documents = || Documents::new([("example.yaml", format!("{block}\n"))]);
            match kind {
                "yaml" => {
                    let documents = documents();
                    let said = exits(&mixer("validate", documents.path()), 0);
                    assert!(!said.contains("warning"), "{block}\n{said}");
                    let said = exits(&mixer("test", documents.path()), 0);
                    assert!(!said.starts_with("0 passed"), "{block}\nhas no test");
                    ran += 1;
                }
                "yaml warned" => refused = Some(exits(&mixer("validate", documents().path()), 0)),
                "yaml wrong" => refused = Some(exits(&mixer("validate", documents().path()), 3)),
                "text" => says(&refused.take().unwrap(), block),
                "console" => {
                    for typing in block.split("$ mixer ").skip(1) {
                        let (arguments, shown) = typing.split_once('\n').unwrap_or((typing, ""));
                        let mut command = How::Tested.command("mixer");
                        command
                            .args(arguments.split_whitespace())
                            .current_dir(&root)
                            .stdin(Stdio::null());
                        says(&exits(&command.output().unwrap(), 0), shown);
                        typed += 1;
                    }
                }
                // Run below, all of a page together.
                "console session" => {}
                // Of others: the tests with Envoy read what they need of it.
                "" => {}
                _ => panic!("{page} has a block of {kind:?}, which nobody checks"),
            }
        }
        assert!(
            ran >= examples && typed >= commands,
            "{page}: {ran}, {typed}"
        );
    }
}

/// The console session of a page.
fn session(page: &str) -> &str {
    let mut sessions = blocks(page).filter(|(kind, _)| *kind == "console session");
    let (_, session) = sessions.next().expect("the page has a session");
    assert!(sessions.next().is_none(), "one of several would not be run");
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_page_gives_a_service_and_mixer_their_identities() {
    let page = fs::read_to_string(Tree::workspace().root().join("README.md")).unwrap();
    let mut reader = Session::new([
        ("policies/mine/web.yaml", block(&page, "policy: web\n")),
        (
            "policies/mine/services.yaml",
            block(&page, "service: web.shop\n"),
        ),
    ]);
    reader.run(session(&page)).await;
    // It has heard of Mixer, which takes mutual TLS only.
    let admin = reader.address("15020");
    wait::until("the proxy is ready", async || {
        let answer = fetch(admin, "/healthz/ready").await.ok()?;
        answer.status.is_success().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_access_gives_a_caller_an_identity() {
    let page = Tree::workspace().root().join("policies/acl/README.md");
    let page = fs::read_to_string(page).unwrap();
    let mut reader = Session::new::<&str>([]);
    reader.run(session(&page)).await;
}

#[test]
fn a_trial_that_should_have_ended_is_pointed_at_and_goes_on() {
    let policy = |until: &str| {
        let text = format!(
            "policy: a\nfor: always\nrules:\n  - deny: all\n    mode: shadow\n    until: {until}\n"
        );
        Documents::new([("a.yaml", text)])
    };
    let said = exits(&mixer("validate", policy("2020-02-29").path()), 0);
    says(
        &said,
        "warning[MX3011]: in shadow until 2020-02-29, which has passed\nhelp: enforce it (`mode: enforce`), or move the date",
    );
    assert!(said.contains("a.yaml:6:12"), "{said}");
    let said = exits(&mixer("validate", policy("9999-12-31").path()), 0);
    assert!(!said.contains("warning"), "{said}");
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
