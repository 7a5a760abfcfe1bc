//! The command line: one file per verb.
//!
//! Exit codes, the same for every verb: 0 done, 1 a defect of ours, 2 tests failed or an expression has no value, 3 documents
//! or expressions do not compile, 64 wrong usage, 65 input that cannot be read, 69 somebody needed cannot be reached, 79
//! findings; with `--exit-code`, 10 is a denial. What was asked for goes to standard output, everything else to standard error.

mod answer;
mod asking;
mod attributes;
mod bench;
mod ca;
mod can;
mod compare;
mod completion;
mod demo;
mod diff;
mod eval;
mod explain;
mod facts;
mod fmt;
mod identity;
mod import;
mod judge;
mod loaded;
mod output;
mod policies;
mod quota;
mod record;
mod repl;
mod replay;
mod request;
mod schema;
mod serve;
mod test;
mod tls;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tests failed, or an expression has no value for the request.
pub(crate) const FAILED: u8 = 2;
/// Documents do not compile.
pub(crate) const INVALID: u8 = 3;
/// Wrong usage (EX_USAGE).
pub(crate) const USAGE: u8 = 64;
/// Input that cannot be read (EX_DATAERR).
pub(crate) const UNREADABLE: u8 = 65;
/// It was done, and something was found.
pub(crate) const FINDINGS: u8 = 79;

/// The policy and telemetry service of a service mesh.
#[derive(Debug, Parser)]
#[command(name = "mixer", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Validate(validate::Args),
    Fmt(fmt::Args),
    Schema(schema::Args),
    Test(test::Args),
    Can(can::Args),
    Explain(explain::Args),
    Diff(diff::Args),
    Replay(replay::Args),
    Bench(bench::Args),
    Import(import::Args),
    Attributes(attributes::Args),
    Completion(completion::Args),
    Eval(eval::Args),
    Repl(repl::Args),
    Quota(quota::Args),
    Serve(serve::Args),
    Ca(ca::Args),
    Identity(identity::Args),
    Tls(tls::Args),
    Demo(demo::Args),
}

/// Does what the arguments of this process say.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // The terminal may be gone; the exit code still tells.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cli.verb {
        Verb::Validate(args) => validate::run(args),
        Verb::Fmt(args) => fmt::run(args),
        Verb::Schema(args) => schema::run(args),
        Verb::Test(args) => test::run(args),
        Verb::Can(args) => can::run(args),
        Verb::Explain(args) => explain::run(args),
        Verb::Diff(args) => diff::run(args),
        Verb::Replay(args) => replay::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Import(args) => import::run(args),
        Verb::Attributes(args) => attributes::run(args),
        Verb::Completion(args) => completion::run(args),
        Verb::Eval(args) => eval::run(args),
        Verb::Repl(args) => repl::run(args),
        Verb::Quota(args) => quota::run(args),
        Verb::Serve(args) => serve::run(args),
        Verb::Ca(args) => ca::run(args),
        Verb::Identity(args) => identity::run(args),
        Verb::Tls(args) => tls::run(args),
        Verb::Demo(args) => demo::run(args),
    }
}
