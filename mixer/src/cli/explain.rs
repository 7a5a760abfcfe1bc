//! `mixer explain`: what a request would meet, rule by rule, with the values that were read.

use std::path::PathBuf;
use std::process::ExitCode;

use mixer_runtime::Clock;

use super::loaded::Loaded;
use super::output::{Output, exit_code};
use super::{UNREADABLE, answer, request};
use crate::dispatch::side;
use crate::explanation::Explanation;

/// Explains how a request would be decided.
///
/// The request is a YAML or JSON document of the form that tests have under `given`. Shown are the policies that apply, every
/// rule line by line with the values it read, what each would do alone, the steps, everything that denies, and the decision.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directories of documents (or files).
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// The request; - is standard input.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Sets one attribute, or one key of a map (`request.headers.x-tester=yes`), after the request was read.
    #[arg(short = 'a', long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// What an adapter answers (match, no-match or unavailable), instead of asking it.
    #[arg(long = "answer", value_name = "ADAPTER=ANSWER")]
    answers: Vec<answer::Given>,
    /// How it is shown.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Output,
    /// Exit with 10 when the request is denied.
    #[arg(long)]
    exit_code: bool,
}

/// Explains.
pub(crate) fn run(args: Args) -> ExitCode {
    let loaded = match Loaded::from(&args.paths, Clock::system()) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let given = match request::read(
        args.request.as_deref(),
        &args.attributes,
        &loaded.snapshot.set.vocabulary,
    ) {
        Ok(given) => given,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(UNREADABLE);
        }
    };
    let (dispatcher, runtime) = match loaded.asking(&args.answers) {
        Ok(ready) => ready,
        Err(code) => return code,
    };
    let at = side(&given.bag());
    let request = crate::testing::request(&given, at);
    let explanation = runtime.block_on(Explanation::of(&dispatcher, at, &request.bag()));
    args.output.show(&explanation);
    exit_code(explanation.decision.verdict == "deny", args.exit_code)
}
