//! `mixer bench`: what each rule and a whole decision cost.
//!
//! Conditions are evaluated over and over on the requests that tests give (or a file's records), and the median of many samples
//! is shown. Figures hold for one machine and one build: they are to be compared with each other.

mod measure;

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::{AttributeBag, OwnedBag};
use mixer_cel::Evaluation;
use mixer_documents::{At, PolicySet, Rule, RuleKind};
use mixer_runtime::Clock;
use serde::Serialize;

use super::loaded::Loaded;
use super::output::Output;
use super::record::{Lines, Reader, Record};
use super::{UNREADABLE, answer};
use crate::answers;
use crate::dispatch::{Dispatcher, side};
use measure::median;

/// The most requests that are taken of a file: more make no figure better.
const MOST_REQUESTS: usize = 1_000;
/// Adapters answer at once.
const LEFT: Duration = Duration::from_secs(1);

/// Measures what rules and decisions cost, dearest first.
///
/// Compare the figures with each other, not with those of another machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directories of documents (or files).
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Requests as `mixer replay` reads them (the first 1,000), instead of those that tests give; - is standard input.
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// How many rules are shown; 0: all.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// What an adapter answers (match, no-match or unavailable); what is not given is unavailable.
    #[arg(long = "answer", value_name = "ADAPTER=ANSWER")]
    answers: Vec<answer::Given>,
    /// How it is shown.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Output,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    requests: usize,
    /// Median of a whole decision, adapters' own time excluded.
    decision_ns: f64,
    /// Median of finding out which policies apply, which is part of it.
    applicable_ns: f64,
    /// Dearest first.
    rules: Vec<Figure>,
    /// Rules of policies that no request is about.
    not_measured: usize,
    /// Of all rules with conditions that were measured.
    measured: usize,
}

#[derive(Debug, Serialize)]
struct Figure {
    ns: f64,
    kind: &'static str,
    rule: Arc<str>,
    policy: Arc<str>,
    place: String,
}

/// Measures.
pub(crate) fn run(args: Args) -> ExitCode {
    let (still, _time) = Clock::manual();
    let loaded = match Loaded::from(&args.paths, still) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let set = loaded.snapshot.set.clone();
    let refuse = |code: u8, problem: String| {
        eprintln!("{problem}");
        ExitCode::from(code)
    };
    let given = match requests(&args, &set) {
        Ok(given) => given,
        Err(problem) => return refuse(UNREADABLE, problem),
    };
    let adapters = answer::known(&args.answers, &loaded.snapshot);
    let adapters = match adapters {
        Ok(answers) => answers::offline(
            &loaded.snapshot,
            &loaded.registry,
            &loaded.surroundings,
            &answers,
        ),
        Err(problem) => return refuse(super::USAGE, problem),
    };
    let adapters = match adapters {
        Ok(given) => given.adapters,
        Err(problem) => return refuse(1, problem),
    };
    let snapshot = Arc::new(loaded.snapshot.with_adapters(adapters));
    let dispatcher = Dispatcher::new(snapshot, &loaded.surroundings);
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: the figures say little about a release build");
    }
    let bags: Vec<AttributeBag<'_>> = given.iter().map(OwnedBag::bag).collect();
    let clock = Clock::system();
    let mut rules = rules(&set, &bags, &clock);
    let all: usize = set
        .policies
        .iter()
        .map(|policy| conditions(&policy.rules))
        .sum();
    let measured = rules.len();
    rules.sort_by(|a, b| b.ns.total_cmp(&a.ns));
    if args.top > 0 {
        rules.truncate(args.top);
    }
    let figures = Figures {
        requests: bags.len(),
        decision_ns: loaded
            .runtime
            .block_on(decisions(&dispatcher, &bags, &clock)),
        applicable_ns: median(&clock, bags.len(), || {
            for bag in &bags {
                black_box(set.applicable(side(bag), black_box(bag)));
            }
        }),
        rules,
        not_measured: all - measured,
        measured,
    };
    args.output.show(&figures);
    ExitCode::SUCCESS
}

/// Of the file, or of the tests.
fn requests(args: &Args, set: &PolicySet) -> Result<Vec<OwnedBag>, String> {
    let (requests, whence) = match &args.requests {
        Some(file) => (recorded(file, set)?, file.display().to_string()),
        None => {
            let tests = set.policies.iter().flat_map(|policy| {
                let tests = policy.tests.iter();
                tests.map(|test| crate::testing::request(&test.given, policy.at))
            });
            let all: Vec<OwnedBag> = tests.collect();
            (all, "the tests of these documents".to_owned())
        }
    };
    if requests.is_empty() {
        return Err(format!(
            "no requests in {whence}: say --requests FILE, or write tests"
        ));
    }
    Ok(requests)
}

fn recorded(file: &Path, set: &PolicySet) -> Result<Vec<OwnedBag>, String> {
    let (reader, mut lines) = (Reader::new(set), Lines::open(file)?);
    let mut requests = Vec::new();
    let mut malformed = None;
    while let Some(line) = lines.next()? {
        if requests.len() == MOST_REQUESTS {
            break;
        }
        let record = line.text.and_then(|text| Record::read(&text));
        match record.and_then(|record| reader.request(&record)) {
            Ok(request) => requests.push(request.attributes),
            Err(problem) => {
                malformed.get_or_insert(format!("line {}: {problem}", line.number));
            }
        }
    }
    match malformed {
        Some(problem) if requests.is_empty() => Err(format!("{}: {problem}", file.display())),
        _ => Ok(requests),
    }
}

fn conditions(rules: &[Rule]) -> usize {
    rules.iter().filter(|rule| has_condition(rule)).count()
}

fn has_condition(rule: &Rule) -> bool {
    !rule.when.is_always() || rule.that.is_some()
}

/// Each rule that has a condition, on the requests its policy is about.
fn rules(set: &PolicySet, bags: &[AttributeBag<'_>], clock: &Clock) -> Vec<Figure> {
    let mut about: HashMap<usize, Vec<&AttributeBag<'_>>> = HashMap::new();
    for bag in bags {
        for at in [At::Inbound, At::Outbound] {
            if at != side(bag) {
                continue;
            }
            let applicable = set.applicable(at, bag);
            let policies = applicable.guards.iter().chain(&applicable.pool);
            for policy in policies.chain(&applicable.shadow) {
                about.entry(*policy).or_default().push(bag);
            }
        }
    }
    let mut figures = Vec::new();
    for (at, policy) in set.policies.iter().enumerate() {
        let Some(requests) = about.get(&at) else {
            continue;
        };
        for rule in policy.rules.iter().filter(|rule| has_condition(rule)) {
            let mut evaluations: Vec<Evaluation<'_>> = requests
                .iter()
                .map(|bag| Evaluation::new(bag, &set.references))
                .collect();
            let ns = median(clock, evaluations.len(), || {
                for evaluation in &mut evaluations {
                    let when = rule.when.test(evaluation);
                    if let (Ok(true), Some(that)) = (&when, &rule.that) {
                        black_box(that.test(evaluation).is_ok());
                    }
                    black_box(when.is_ok());
                }
            });
            figures.push(Figure {
                ns,
                kind: match rule.kind {
                    RuleKind::Deny => "deny",
                    RuleKind::Require => "require",
                    RuleKind::Allow => "allow",
                },
                rule: rule.sentence.clone(),
                policy: policy.name.clone(),
                place: set.warnings.sources.place(rule.span),
            });
        }
    }
    figures
}

/// A whole decision, as Check makes it.
async fn decisions(dispatcher: &Dispatcher, bags: &[AttributeBag<'_>], clock: &Clock) -> f64 {
    let mut samples = measure::Samples::new(bags.len());
    while let Some(rounds) = samples.rounds() {
        let begin = clock.now();
        for _ in 0..rounds {
            for bag in bags {
                black_box(dispatcher.check(black_box(bag), LEFT).await);
            }
        }
        samples.took(clock.now().since(begin));
    }
    samples.median()
}

impl Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "a whole decision: {:.0} ns, {:.0} of them to find what applies (median, {} requests)",
            self.decision_ns, self.applicable_ns, self.requests
        )?;
        writeln!(f, "conditions, dearest first (ns):")?;
        for figure in &self.rules {
            writeln!(
                f,
                "{:>8.0}  {} \"{}\" of policy {} ({})",
                figure.ns, figure.kind, figure.rule, figure.policy, figure.place
            )?;
        }
        let hidden = self.measured - self.rules.len();
        if hidden > 0 {
            writeln!(f, "and {hidden} more (--top 0)")?;
        }
        if self.not_measured > 0 {
            writeln!(
                f,
                "{} not measured: no request is about their policies",
                self.not_measured
            )?;
        }
        writeln!(
            f,
            "compare them with each other: another machine has other figures"
        )
    }
}
