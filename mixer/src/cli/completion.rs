//! `mixer completion`: what shells need to complete the command line.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::say;

/// Writes a completion script for a shell: `source <(mixer completion bash)`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which shell.
    shell: Shell,
}

/// Writes it.
pub(crate) fn run(args: Args) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "mixer", &mut script);
    say(String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
