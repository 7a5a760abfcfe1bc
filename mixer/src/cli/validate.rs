//! `mixer validate`: whether documents would load, without loading them anywhere.

use std::path::PathBuf;
use std::process::ExitCode;

use mixer_runtime::Clock;

use super::loaded::Loaded;

/// Checks documents and shows every problem; exit code 3 if there is an error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directories of documents (or files).
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
}

/// Validates.
pub(crate) fn run(args: Args) -> ExitCode {
    let loaded = match Loaded::from(&args.paths, Clock::system()) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let set = &loaded.snapshot.set;
    let count = |number: usize, one: &str, many: &str| {
        format!("{number} {}", if number == 1 { one } else { many })
    };
    let written = set
        .adapters
        .iter()
        .filter(|adapter| adapter.span.is_some())
        .count();
    println!(
        "valid: {}, {}, {}, {}",
        count(set.policies.len(), "policy", "policies"),
        count(written, "adapter", "adapters"),
        count(set.services.len(), "service", "services"),
        count(
            set.policies.iter().map(|policy| policy.tests.len()).sum(),
            "test",
            "tests"
        ),
    );
    ExitCode::SUCCESS
}
