//! `mixer diff`: which recorded requests two sets of documents decide differently.

use std::path::PathBuf;
use std::process::ExitCode;

use super::compare::{Compared, Comparison};
use super::judge::{Assumed, Judge};
use super::output::Output;
use super::{FINDINGS, UNREADABLE};

/// Says which requests would fare otherwise under other documents; exit code 79 if some would.
///
/// Requests are lines of JSON: what the log adapter writes, access logs of Envoy or Istio, or attributes by name.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The documents before.
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The documents after.
    #[arg(value_name = "B")]
    after: PathBuf,
    /// The requests; - is standard input.
    #[arg(long, value_name = "FILE")]
    requests: PathBuf,
    #[command(flatten)]
    assumed: Assumed,
    /// How it is shown.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Output,
}

/// Compares.
pub(crate) fn run(args: Args) -> ExitCode {
    let judge = |path: &PathBuf| Judge::new(std::slice::from_ref(path), &args.assumed);
    let (before, after) = match (judge(&args.before), judge(&args.after)) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let compared = Comparison::of(&args.requests, |record| {
        let (was, is) = (before.judge(record)?, after.judge(record)?);
        Ok(match (was.result, &is.result) {
            (Err(undecided), _) => Compared::Undecided(undecided),
            (_, Err(undecided)) => Compared::Undecided(undecided.clone()),
            (Ok(was), Ok(now)) if was.allows == now.allows => Compared::Same,
            (Ok(was), Ok(now)) => Compared::Changed {
                allows: now.allows,
                before: was.by,
                after: now.by.clone(),
                judged: is,
            },
        })
    });
    finish(compared, args.output)
}

/// Shows what was found, if anything could be read.
pub(super) fn finish(compared: Result<Comparison, String>, output: Output) -> ExitCode {
    match compared {
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(UNREADABLE)
        }
        Ok(comparison) => {
            output.show(&comparison);
            if comparison.changed() {
                ExitCode::from(FINDINGS)
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}
