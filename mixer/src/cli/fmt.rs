//! `mixer fmt`: documents in one layout.

use std::path::PathBuf;
use std::process::ExitCode;

use mixer_documents::Sources;

use super::loaded::{readable, show};
use super::output::say;
use super::{FINDINGS, INVALID, UNREADABLE};

/// Lays documents out: keys in the order of the reference, no white space at the ends of lines.
///
/// Comments, quotes and indentation stay as they are. Files are written only where the documents mean the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directories of documents (or files).
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Write nothing; print the names of files that would change, and exit with 79 if there are any.
    #[arg(long)]
    check: bool,
}

/// Formats.
pub(crate) fn run(args: Args) -> ExitCode {
    if let Err(code) = readable(&args.paths) {
        return code;
    }
    let formatted = Sources::read(&args.paths).and_then(mixer_documents::format);
    let formatted = match formatted {
        Ok(formatted) => formatted,
        Err(problems) => {
            show(&problems);
            return ExitCode::from(INVALID);
        }
    };
    for path in &formatted.kept {
        eprintln!("{path} is left as it is: laid out otherwise it would not mean the same");
    }
    let changed: Vec<_> = formatted.changed().map(|(path, _)| path).collect();
    for path in &changed {
        say(format_args!("{}\n", path.display()));
    }
    if args.check {
        return match changed.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(FINDINGS),
        };
    }
    if let Err((path, error)) = formatted.write() {
        eprintln!("cannot write {}: {error}", path.display());
        return ExitCode::from(UNREADABLE);
    }
    ExitCode::SUCCESS
}
