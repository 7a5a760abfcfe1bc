//! `mixer test`: runs the tests that stand beside policies and routes.

mod junit;
mod shown;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use mixer_documents::Sources;
use mixer_runtime::Clock;

use super::loaded::{self, Loaded};
use super::output::{Output, say, say_json};
use super::{FAILED, FINDINGS, INVALID, UNREADABLE};
use crate::testing::{self, Choice};
use shown::{Results, Uncovered};

/// Runs the tests in documents; exit code 2 if one fails.
///
/// A test is decided against its own policy, or against all where it names another policy's sentence. Failures go to standard
/// error with the rules they are about and the values these read.
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
    /// Say which rules never decided a test, and which condition lines were never true or never false.
    #[arg(long)]
    coverage: bool,
    /// Exit with 79 when less than this of rules and conditions is covered; says what is not.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    coverage_min: Option<u8>,
    /// Write the results as JUnit XML to this file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Run them again whenever the documents change, until Ctrl-C; then exit as the last run.
    #[arg(long)]
    watch: bool,
    /// How results are shown.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Output,
}

/// Tests.
pub(crate) fn run(args: Args) -> ExitCode {
    if let Err(code) = loaded::readable(&args.paths) {
        return code;
    }
    if args.watch {
        return watch::run(&args);
    }
    match Sources::read(&args.paths) {
        Ok(sources) => once(&args, sources),
        Err(unreadable) => {
            loaded::show(&unreadable);
            ExitCode::from(INVALID)
        }
    }
}

/// Runs the tests of `sources` and shows how they went.
fn once(args: &Args, sources: Sources) -> ExitCode {
    let (clock, _time) = Clock::manual();
    let loaded = match Loaded::of(sources, clock) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let choice = Choice {
        all: args.all,
        filter: args.filter.clone(),
    };
    let stopwatch = Clock::system();
    let tests = testing::run(
        &loaded.snapshot,
        &loaded.registry,
        &loaded.surroundings,
        &choice,
        &stopwatch,
    );
    let report = loaded.runtime.block_on(tests);
    for (test, failure) in report.failures() {
        eprintln!(
            "{}: {} {}: {}: {}",
            test.place, test.kind, test.policy, test.test, failure.message
        );
        eprint!("{}", failure.why);
    }
    let covers = args.coverage || args.coverage_min.is_some();
    match args.output {
        Output::Json => say_json(&Results::of(&report, covers)),
        Output::Text => {
            if covers {
                say(Uncovered(&report.coverage));
            }
            let failed = report.failures().count();
            say(format_args!(
                "{} passed, {failed} failed\n",
                report.passed()
            ));
        }
    }
    if let Some(file) = &args.junit
        && let Err(problem) = junit::write(file, &report)
    {
        eprintln!("{problem}");
        return ExitCode::from(UNREADABLE);
    }
    if args.filter.is_some() && report.tests.is_empty() {
        eprintln!("no test has the text of --filter in its name or sentence");
        return ExitCode::from(FAILED);
    }
    if report.failures().next().is_some() {
        return ExitCode::from(FAILED);
    }
    let percent = report.coverage.reached().percent();
    match args.coverage_min {
        Some(least) if percent < least => {
            eprintln!("{percent}% is covered, less than the {least}% of --coverage-min");
            ExitCode::from(FINDINGS)
        }
        _ => ExitCode::SUCCESS,
    }
}
