//! What the README shows is what happens: its console blocks are run in order, in one directory.
//!
//! `$ cat FILE` makes the file that it shows. Any other command goes to a shell that finds `mixer`; what it prints, on both
//! outputs, must be what stands below it, where `[..]` stands for anything within a line, and alone for a line that may be missing.
//! `$ mixer serve .. &` goes on while those below it run, which ask it; its callers have spent a little.
#![allow(clippy::unwrap_used)]

#[path = "quota/serving.rs"]
mod serving;

use std::path::Path;
use std::process::{Command, Stdio};

use serving::Serving;

/// A command and what stands below it.
struct Example<'t> {
    command: &'t str,
    shown: Vec<&'t str>,
}

fn examples(page: &str) -> Vec<Example<'_>> {
    let mut examples: Vec<Example<'_>> = Vec::new();
    let blocks = page.split("```console\n").skip(1);
    for line in blocks.flat_map(|rest| rest.split("\n```").next().unwrap().lines()) {
        match (line.strip_prefix("$ "), examples.last_mut()) {
            (Some(command), _) => examples.push(Example {
                command,
                shown: Vec::new(),
            }),
            (None, Some(example)) => example.shown.push(line),
            (None, None) => panic!("a console block begins with a command, not {line:?}"),
        }
    }
    examples
}

/// A Mixer that was asked three times by the frontend and once by a cart.
fn serve(directory: &Path, arguments: &str) -> Serving {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let mixer = Serving::start(directory, &arguments);
    assert_eq!(mixer.spend("shop", "frontend", 3), 3);
    // Its namespace is what the policy asks for, its principal what is counted.
    assert_eq!(mixer.spend_as("cart", ("shop", "frontend"), 1), 1);
    mixer
}

fn run(directory: &Path, command: &str, mixer: Option<&Serving>) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_mixer"));
    let mut path = binary.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(directory)
        .env("PATH", path)
        .env_remove("MIXER_POLICIES")
        .env_remove("MIXER_ADMIN_TOKEN_FILE")
        .envs(mixer.map(|mixer| ("MIXER_ADMIN", &mixer.admin)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Whether `line` is `shown` with something for each `[..]`.
fn fits(line: &str, shown: &str) -> bool {
    let mut parts = shown.split("[..]");
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last.is_some_and(|part| part.is_empty() || line.ends_with(part))
}

fn all_fit(lines: &[&str], shown: &[&str]) -> bool {
    match (lines, shown) {
        ([], []) => true,
        (_, ["[..]", rest @ ..]) if all_fit(lines, rest) => true,
        ([line, lines @ ..], [first, shown @ ..]) => fits(line, first) && all_fit(lines, shown),
        _ => false,
    }
}

#[test]
fn every_example_of_the_readme_says_what_it_shows() {
    let directory = tempfile::tempdir().unwrap();
    let examples = examples(include_str!("../README.md"));
    assert!(examples.len() > 8, "only {} examples", examples.len());
    let mut mixer = None;
    for Example { command, shown } in examples {
        let serves = command.strip_prefix("mixer serve ");
        if let Some(arguments) = serves.and_then(|rest| rest.strip_suffix(" &")) {
            mixer = Some(serve(directory.path(), arguments));
            continue;
        }
        if let Some(file) = command.strip_prefix("cat ") {
            let file = directory.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, shown.join("\n") + "\n").unwrap();
            continue;
        }
        let said = run(directory.path(), command, mixer.as_ref());
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            all_fit(&lines, &shown),
            "$ {command}\n{said}\nbut the README shows\n{}",
            shown.join("\n")
        );
    }
}

#[test]
fn a_page_that_shows_something_else_is_found_out() {
    for (line, shown, fit) in [
        ("a b c", "a b c", true),
        ("a b c", "a [..] c", true),
        ("a b c", "[..]", true),
        ("a b c", "a b", false),
        ("a b c", "a [..] d", false),
        ("a b c d", "a [..] c", false),
    ] {
        assert_eq!(fits(line, shown), fit, "{line} as {shown}");
    }
    assert!(all_fit(&["x"], &["[..]", "x"]) && all_fit(&["w", "x"], &["[..]", "x"]));
    assert!(!all_fit(&["x"], &["x", "y"]) && !all_fit(&["x", "y"], &["x"]));
}
