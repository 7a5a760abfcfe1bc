//! The programs under test, built once per test process by the cargo that builds the tests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::tidy::Tree;

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build: what promises are tested with.
    Dev,
    /// What users run: what is measured.
    Release,
}

/// The path of the program `name` (`mixer`, `mixer-proxy`, or a program of this crate).
///
/// # Panics
/// When it does not build, with what cargo says.
pub fn program(name: &str, profile: Profile) -> &'static Path {
    static DEV: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    static RELEASE: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    let built = match profile {
        Profile::Dev => DEV.get_or_init(|| build(&[])),
        Profile::Release => RELEASE.get_or_init(|| build(&["--release"])),
    };
    built
        .get(name)
        .unwrap_or_else(|| panic!("cargo builds no program {name}, only {:?}", built.keys()))
}

fn build(extra: &[&str]) -> HashMap<String, PathBuf> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "build",
            "--locked",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(extra);
    command.args([
        "-p",
        "mixer",
        "-p",
        "mixer-proxy",
        "-p",
        "mixer-tests",
        "--bins",
    ]);
    let output = command
        .current_dir(Tree::workspace().root())
        .output()
        .expect("the cargo that builds this runs");
    assert!(
        output.status.success(),
        "{command:?}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let artifacts = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok());
    let programs = artifacts.filter_map(|artifact: serde_json::Value| {
        let path = PathBuf::from(artifact["executable"].as_str()?);
        Some((artifact["target"]["name"].as_str()?.to_owned(), path))
    });
    programs.collect()
}
