//! `mixer validate`: whether documents would load, and what in them is hardly meant, without loading them anywhere.

use std::path::PathBuf;
use std::process::ExitCode;

use mixer_adapter::Registry;
use mixer_documents::{Code, Diagnostics, PolicySet, Sources};
use mixer_runtime::{Clock, Random};

use super::loaded::{readable, show};
use super::output::say;
use super::{FINDINGS, INVALID, UNREADABLE, USAGE};
use crate::snapshot::{Snapshot, Surroundings};

/// Checks documents and shows every problem; exit code 3 if there is an error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directories of documents (or files).
    #[arg(required_unless_present = "explain", value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// How problems are told. Text goes to standard error, all else to standard output.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
    /// Exit code 79 if there are warnings.
    #[arg(long)]
    deny_warnings: bool,
    /// Fix what can be fixed without knowing what was meant; files are written only if nothing gets worse.
    #[arg(long)]
    fix: bool,
    /// Print what a code means, such as MX2011, and how to remedy it.
    #[arg(long, value_name = "CODE", conflicts_with_all = ["paths", "fix"])]
    explain: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// With the lines and a caret.
    Text,
    /// One object: `version`, `errors`, `warnings`, `problems`.
    Json,
    /// SARIF 2.1.0, for code hosts and editors.
    Sarif,
    /// Workflow commands of GitHub Actions.
    Github,
}

/// Validates.
pub(crate) fn run(args: Args) -> ExitCode {
    if let Some(code) = &args.explain {
        return explain(code);
    }
    if let Err(code) = readable(&args.paths) {
        return code;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let surroundings = Surroundings::new(
        Clock::system(),
        Random::from_system(),
        runtime.handle().clone(),
    );
    let registry = mixer_adapters::builtin();
    let mut counts = None;
    let problems = match Sources::read(&args.paths) {
        Err(unreadable) => unreadable,
        Ok(sources) if args.fix => {
            let fixed = mixer_documents::fix(sources, |sources| {
                check(sources, &registry, &surroundings, &mut counts)
            });
            if let Err((path, error)) = fixed.write() {
                eprintln!("cannot write {}: {error}", path.display());
                return ExitCode::from(UNREADABLE);
            }
            for change in &fixed.applied {
                eprintln!(
                    "fixed {}: {}: {} -> {}",
                    change.place, change.code, change.old, change.new
                );
            }
            for place in &fixed.left {
                eprintln!("left {place}: the fix would show other errors");
            }
            fixed.problems
        }
        Ok(sources) => check(sources, &registry, &surroundings, &mut counts),
    };
    tell(args.output, &problems);
    if problems.errors() > 0 {
        return ExitCode::from(INVALID);
    }
    if args.output == Form::Text
        && let Some(counts) = counts
    {
        say(format_args!("valid: {counts}\n"));
    }
    if args.deny_warnings && !problems.list.is_empty() {
        return ExitCode::from(FINDINGS);
    }
    ExitCode::SUCCESS
}

/// Everything that is wrong with some documents, and how many there are when nothing is.
fn check(
    sources: Sources,
    registry: &Registry,
    surroundings: &Surroundings,
    counts: &mut Option<String>,
) -> Diagnostics {
    match Snapshot::build(sources, registry, surroundings) {
        Ok(snapshot) => {
            *counts = Some(count(&snapshot.set));
            mixer_documents::lint(&snapshot.set)
        }
        Err(problems) => problems,
    }
}

fn tell(form: Form, problems: &Diagnostics) {
    match form {
        Form::Text => show(problems),
        Form::Json => say(format_args!("{:#}\n", problems.json())),
        Form::Sarif => say(format_args!("{:#}\n", problems.sarif())),
        Form::Github => say(problems.github()),
    }
}

fn count(set: &PolicySet) -> String {
    let count = |number: usize, one: &str, many: &str| {
        format!("{number} {}", if number == 1 { one } else { many })
    };
    let written = set
        .adapters
        .iter()
        .filter(|adapter| adapter.span.is_some())
        .count();
    let of_policies = set.policies.iter().map(|policy| policy.tests.len());
    let of_routes = set.routes.iter().map(|route| route.tests.len());
    let tests = of_policies.chain(of_routes).sum();
    let mut counts = vec![
        count(set.policies.len(), "policy", "policies"),
        count(written, "adapter", "adapters"),
        count(set.services.len(), "service", "services"),
    ];
    if !set.routes.is_empty() {
        counts.push(count(set.routes.len(), "route", "routes"));
    }
    if !set.jwts.is_empty() {
        counts.push(count(set.jwts.len(), "issuer", "issuers"));
    }
    counts.push(count(tests, "test", "tests"));
    counts.join(", ")
}

fn explain(id: &str) -> ExitCode {
    let Some(code) = Code::find(id) else {
        eprintln!("there is no code `{id}`; they are MX and four digits, such as MX2011");
        return ExitCode::from(USAGE);
    };
    let (title, text) = (code.title(), code.explanation());
    say(format_args!("{code}: {title}\n\n{text}\n"));
    ExitCode::SUCCESS
}
