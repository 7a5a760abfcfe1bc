//! `mixer test`: runs the tests that stand beside policies.

use std::path::PathBuf;
use std::process::ExitCode;

use mixer_runtime::Clock;

use super::FAILED;
use super::loaded::Loaded;
use crate::testing::{self, Choice};

/// Runs the tests in documents; exit code 2 if one fails.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directories of documents (or files).
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Decide each test against every policy, not only its own.
    #[arg(long)]
    all: bool,
    /// Only tests whose policy, name or sentence contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

/// Tests.
pub(crate) fn run(args: Args) -> ExitCode {
    let (clock, _time) = Clock::manual();
    let loaded = match Loaded::from(&args.paths, clock) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let filtered = args.filter.is_some();
    let choice = Choice {
        all: args.all,
        filter: args.filter,
    };
    let tests = testing::run(
        &loaded.snapshot,
        &loaded.registry,
        &loaded.surroundings,
        &choice,
    );
    let report = loaded.runtime.block_on(tests);
    for failure in &report.failures {
        eprintln!(
            "{}: policy {}: {}: {}",
            failure.place, failure.policy, failure.test, failure.message
        );
    }
    println!("{} passed, {} failed", report.passed, report.failures.len());
    if filtered && report.passed == 0 && report.failures.is_empty() {
        eprintln!("no test has the text of --filter in its name or sentence");
        return ExitCode::from(FAILED);
    }
    if report.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}
