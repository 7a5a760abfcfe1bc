//! `mixer eval`: what an expression comes to for a request; with `--cases`, what many come to, as JSON.

pub(super) mod asked;
pub(super) mod caret;
mod cases;

use std::path::PathBuf;
use std::process::ExitCode;

use mixer_attributes::Vocabulary;

use self::asked::Asked;
use super::{FAILED, INVALID, UNREADABLE, request};

/// Evaluates a CEL expression over the attributes of a request.
///
/// The value is written as CEL writes it. An expression that has no value for the request, because of what it lacks or of an
/// error, ends with exit code 2; one that does not compile with 3.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The expression.
    #[arg(
        value_name = "EXPRESSION",
        required_unless_present = "cases",
        conflicts_with = "cases"
    )]
    expression: Option<String>,
    /// Sets one attribute, or one key of a map (`request.headers.x-tester=yes`), after the request was read.
    #[arg(
        short = 'a',
        long = "attribute",
        value_name = "NAME=VALUE",
        conflicts_with = "cases"
    )]
    attributes: Vec<String>,
    /// The request, in the form that tests have under `given`; - is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "cases")]
    request: Option<PathBuf>,
    /// Shows what each part of the expression came to.
    #[arg(long, conflicts_with = "cases")]
    explain: bool,
    /// Shows what was read, whether it was there or not.
    #[arg(long)]
    referenced: bool,
    /// Reads one case a line as JSON (`expr`, `bindings`, `type_env`, `container`, `flags`), from a file or standard input, and
    /// answers each with a line: `{"value": {"t": .., "v": ..}}`, or `{"error": .., "kind": "parse|check|eval|unsupported"}`.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    cases: Option<PathBuf>,
}

/// Evaluates.
pub(crate) fn run(args: Args) -> ExitCode {
    if let Some(cases) = &args.cases {
        return cases::run(cases, args.referenced);
    }
    let vocabulary = Vocabulary::new();
    let request = match request::read(args.request.as_deref(), &args.attributes, &vocabulary) {
        Ok(request) => request,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(UNREADABLE);
        }
    };
    let expression = args.expression.unwrap_or_default();
    let asked = match Asked::compile(&expression, vocabulary) {
        Ok(asked) => asked,
        Err(problems) => {
            eprint!("{}", caret::shown(&expression, &problems));
            return ExitCode::from(INVALID);
        }
    };
    let bag = request.bag();
    let answer = asked.answer(&bag);
    let code = match &answer.value {
        Ok(value) => {
            println!("{value}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(FAILED)
        }
    };
    if args.explain {
        print!("{}", asked.explanation(&bag));
    }
    if args.referenced {
        for line in &answer.referenced {
            println!("{line}");
        }
    }
    code
}
