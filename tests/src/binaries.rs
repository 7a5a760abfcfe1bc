//! The programs under test, built once per test process by the cargo that builds the tests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::tidy::Tree;

/// How a program is built and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Quick to build: what promises are tested with.
    Tested,
    /// As users run it, on one core: what is measured.
    Measured {
        /// The core's number.
        core: usize,
    },
    /// As users run it, on two cores, of which the load has one too: what two threads cost each other.
    Spread,
}

impl How {
    /// A command that runs the program `name`.
    pub fn command(self, name: &str) -> Command {
        match self {
            Self::Tested => Command::new(program(name, self)),
            Self::Measured { core } => pinned(core, program(name, self)),
            Self::Spread => on_cores("0,1", program(name, self)),
        }
    }
}

/// A command that runs `program` on one core; the process it starts is the program itself.
pub fn pinned(core: usize, program: &Path) -> Command {
    on_cores(&core.to_string(), program)
}

fn on_cores(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(cores).arg(program);
    command
}

/// The path of the program `name` (`mixer` or `mixer-proxy`).
///
/// # Panics
/// When it does not build, with what cargo says.
pub fn program(name: &str, how: How) -> &'static Path {
    static TESTED: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    static MEASURED: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    let built = match how {
        How::Tested => TESTED.get_or_init(|| build(&[])),
        How::Measured { .. } | How::Spread => MEASURED.get_or_init(|| build(&["--release"])),
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
