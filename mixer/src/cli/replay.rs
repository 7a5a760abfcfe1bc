//! `mixer replay`: which recorded requests would fare otherwise than they did.

use std::path::PathBuf;
use std::process::ExitCode;

use super::compare::{Compared, Comparison};
use super::diff::finish;
use super::judge::{Assumed, Judge, Ruling};
use super::output::Output;
use super::policies::Policies;
use super::record::{Outcome, Record};
use crate::explanation::printable;

/// Says which recorded requests would fare otherwise than they did; exit code 79 if some would.
///
/// Requests are lines of JSON: what the log adapter writes, access logs of Envoy or Istio, or attributes by name.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recorded requests; - is standard input.
    #[arg(value_name = "FILE")]
    requests: PathBuf,
    #[command(flatten)]
    policies: Policies,
    #[command(flatten)]
    assumed: Assumed,
    /// How it is shown.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Output,
}

/// Replays.
pub(crate) fn run(args: Args) -> ExitCode {
    let judge = args.policies.load(|paths| Judge::new(paths, &args.assumed));
    let judge = match judge {
        Ok(judge) => judge,
        Err(code) => return code,
    };
    let compared = Comparison::of(&args.requests, |record| {
        let judged = judge.judge(record)?;
        let allowed = match record.outcome() {
            Outcome::Allowed => true,
            Outcome::Denied => false,
            Outcome::OverLimit => return Ok(Compared::OverLimit),
            Outcome::Failed | Outcome::Unknown => return Ok(Compared::NoOutcome),
        };
        Ok(match &judged.result {
            Err(undecided) => Compared::Undecided(undecided.clone()),
            Ok(ruling) if ruling.allows == allowed => Compared::Same,
            Ok(Ruling { allows, by }) => Compared::Changed {
                allows: *allows,
                before: recorded(record, allowed),
                after: by.clone(),
                judged,
            },
        })
    });
    finish(compared, args.output)
}

/// What the record says became of it.
fn recorded(record: &Record, allowed: bool) -> String {
    let verdict = if allowed { "allowed" } else { "denied" };
    match (record.said("rule"), record.said("policy")) {
        (Some(rule), Some(policy)) => {
            printable(&format!("{verdict} by \"{rule}\" of policy {policy}"))
        }
        _ => verdict.to_owned(),
    }
}
