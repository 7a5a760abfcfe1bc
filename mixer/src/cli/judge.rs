//! Decides recorded requests by one set of documents, offline, and says where a record does not hold enough for that.
//!
//! Adapters answer what the command line says (lists that stand in the documents answer themselves), limits are not counted:
//! what was left of them at the time nobody knows. A decision counts only if what it depends on is in the record: of what it
//! read and did not find, anything that rules read must be absent and not merely unrecorded.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::vocabulary::{self as v, AttributeId};
use mixer_attributes::{OwnedBag, OwnedValue};
use mixer_cel::Expression;
use mixer_documents::{Mode, Policy, PolicySet, Quota, Rule};
use mixer_runtime::Clock;
use tokio::runtime::Runtime;

use super::loaded::Loaded;
use super::record::{Reader, Record, Request};
use super::{UNREADABLE, USAGE, answer, request};
use crate::answers::{self, Unanswered};
use crate::dispatch::{Because, Decision, Dispatcher, Verdict, side};
use crate::explanation::{name_of, place, printable, summary};

/// Time stands still.
const LEFT: Duration = Duration::from_secs(1);

/// What is said of every record.
#[derive(Debug, clap::Args)]
pub(super) struct Assumed {
    /// Sets one attribute, or one key of a map, in every request.
    #[arg(short = 'a', long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// Takes an attribute, or all of a family (`auth`), as absent where records do not speak of it.
    #[arg(long, value_name = "NAME")]
    absent: Vec<String>,
    /// What an adapter answers (match, no-match or unavailable).
    #[arg(long = "answer", value_name = "ADAPTER=ANSWER")]
    answers: Vec<answer::Given>,
}

/// One set of documents that decides.
pub(super) struct Judge {
    dispatcher: Dispatcher,
    runtime: Runtime,
    reader: Reader,
    unanswered: Unanswered,
    overlay: OwnedBag,
    absent: Vec<AttributeId>,
    /// What the enforced rules of each policy read.
    reads: Vec<Reads>,
}

type Reads = BTreeSet<(AttributeId, Option<String>)>;

/// What is decided of one record.
pub(super) struct Judged {
    /// Who asks: a SPIFFE id, `namespace/account`, or `-`.
    pub(super) who: String,
    pub(super) destination: String,
    /// Method and path.
    pub(super) what: String,
    pub(super) result: Result<Ruling, Undecided>,
}

/// A decision that the record supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    pub(super) allows: bool,
    /// In words, with the place.
    pub(super) by: String,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Undecided {
    /// The record does not speak of this attribute.
    Lacks(String),
    /// This adapter was asked, and nobody says what it answers.
    Asks(String),
}

impl Judge {
    /// By the documents of `paths`.
    pub(super) fn new(paths: &[PathBuf], assumed: &Assumed) -> Result<Self, ExitCode> {
        let (clock, _time) = Clock::manual();
        let loaded = Loaded::from(paths, clock)?;
        let set = loaded.snapshot.set.clone();
        let usage = |problem: String| {
            eprintln!("{problem}");
            ExitCode::from(USAGE)
        };
        let answers = answer::known(&assumed.answers, &loaded.snapshot).map_err(usage)?;
        let absent = absent(&assumed.absent, &set).map_err(usage)?;
        let overlay = request::read(None, &assumed.attributes, &set.vocabulary);
        let overlay = overlay.map_err(|problem| {
            eprintln!("{problem}");
            ExitCode::from(UNREADABLE)
        })?;
        let given = answers::offline(
            &loaded.snapshot,
            &loaded.registry,
            &loaded.surroundings,
            &answers,
        );
        let given = given.map_err(|problem| {
            eprintln!("{problem}");
            ExitCode::FAILURE
        })?;
        let snapshot = Arc::new(loaded.snapshot.with_adapters(given.adapters));
        Ok(Self {
            dispatcher: Dispatcher::new(snapshot, &loaded.surroundings),
            runtime: loaded.runtime,
            reader: Reader::new(&set),
            unanswered: given.unanswered,
            overlay,
            absent,
            reads: set.policies.iter().map(reads_of).collect(),
        })
    }

    /// Decides. An error says what is wrong with the record.
    pub(super) fn judge(&self, record: &Record) -> Result<Judged, String> {
        let mut request = self.reader.request(record)?;
        request.overlay(&self.overlay);
        request.assume_absent(&self.absent);
        let bag = request.attributes.bag();
        let decision = self.runtime.block_on(self.dispatcher.check(&bag, LEFT));
        let set = &self.dispatcher.snapshot().set;
        let result = match (self.unanswered.take(), self.lacks(&request, &decision)) {
            (_, Some(name)) => Err(Undecided::Lacks(name)),
            (Some(adapter), None) => Err(Undecided::Asks(adapter.to_string())),
            (None, None) => Ok(Ruling {
                allows: decision.verdict == Verdict::Allow,
                by: match place(set, &decision) {
                    Some(place) => format!("{} ({place})", printable(&summary(&decision))),
                    None => printable(&summary(&decision)),
                },
            }),
        };
        let text = |id| match request.attributes.value(id) {
            Some(OwnedValue::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let account = text(v::SOURCE_NAMESPACE).zip(text(v::SOURCE_SERVICE_ACCOUNT));
        let who = match (account, text(v::SOURCE_PRINCIPAL)) {
            (Some((namespace, account)), _) => format!("{namespace}/{account}"),
            (None, principal) => principal.unwrap_or("-").to_owned(),
        };
        Ok(Judged {
            who: printable(&who),
            destination: printable(text(v::DESTINATION_SERVICE).unwrap_or("-")),
            what: [text(v::REQUEST_METHOD), text(v::REQUEST_PATH)]
                .into_iter()
                .flatten()
                .map(printable)
                .collect::<Vec<_>>()
                .join(" "),
            result,
        })
    }

    /// The first attribute that the decision depends on and that the record does not speak of.
    fn lacks(&self, request: &Request, decision: &Decision) -> Option<String> {
        let set = &self.dispatcher.snapshot().set;
        let bag = request.attributes.bag();
        // What a rule denies for certain is denied, whatever else there was.
        let deciding = match (decision.verdict, decision.because) {
            (Verdict::Deny, Because::Matched) => rule_of(set, decision).map(reads_of_rule),
            _ => None,
        };
        let of_quota;
        let relevant: Vec<&Reads> = match &deciding {
            Some(reads) => vec![reads],
            None => {
                let quota = quota_of(set, decision).map(reads_of_quota);
                of_quota = quota.unwrap_or_default();
                let applicable = set.applicable(side(&bag), &bag);
                let policies = applicable.guards.iter().chain(&applicable.pool);
                let policies = policies.map(|at| &self.reads[*at]);
                policies.chain([&of_quota]).collect()
            }
        };
        let is_relevant = |attribute: AttributeId, key: Option<&str>| {
            let selects = v::SELECTORS.contains(&attribute);
            selects
                || relevant.iter().any(|reads| {
                    reads.iter().any(|(read, literal)| {
                        *read == attribute && (literal.is_none() || literal.as_deref() == key)
                    })
                })
        };
        let mut referenced = decision.referenced.iter();
        let unknown = referenced.find(|(reference, present)| {
            // A map of which only some keys are recorded is not known as a whole.
            (!present || reference.key.is_none())
                && !request.knows(reference)
                && is_relevant(reference.attribute, reference.key.as_deref())
        });
        unknown.map(|(reference, _)| printable(&name_of(reference, &set.vocabulary)))
    }
}

fn absent(names: &[String], set: &PolicySet) -> Result<Vec<AttributeId>, String> {
    let mut ids = Vec::new();
    for name in names {
        let family = format!("{name}.");
        let before = ids.len();
        ids.extend(
            set.vocabulary
                .iter()
                .filter(|attribute| attribute.name == *name || attribute.name.starts_with(&family))
                .map(|attribute| attribute.id),
        );
        if ids.len() == before {
            let known = set
                .vocabulary
                .iter()
                .map(|attribute| attribute.name.as_str());
            let near = mixer_documents::nearest(name, known);
            let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("--absent: no attribute is called `{name}`{near}"));
        }
    }
    Ok(ids)
}

fn rule_of<'s>(set: &'s PolicySet, decision: &Decision) -> Option<&'s Rule> {
    let mut policies = set.policies.iter();
    let policy = policies.find(|policy| policy.name == decision.policy)?;
    let mut rules = policy.rules.iter();
    rules.find(|rule| rule.sentence == decision.rule)
}

/// The quota that could not be charged.
fn quota_of<'s>(set: &'s PolicySet, decision: &Decision) -> Option<&'s Quota> {
    if decision.verdict == Verdict::Allow {
        return None;
    }
    let mut policies = set.policies.iter();
    let policy = policies.find(|policy| policy.name == decision.policy)?;
    let mut quotas = policy.quotas.iter();
    quotas.find(|quota| quota.sentence == decision.rule)
}

fn reads_of_quota(quota: &Quota) -> Reads {
    let lines = quota.when.expressions().chain(&quota.key);
    let lines = lines.chain(&quota.limit.by).chain(&quota.cost);
    lines
        .flat_map(Expression::reads)
        .map(|read| (read.attribute, read.key.clone()))
        .collect()
}

fn reads_of(policy: &Policy) -> Reads {
    let rules = policy.rules.iter();
    rules
        .filter(|rule| rule.mode == Mode::Enforce)
        .flat_map(reads_of_rule)
        .collect()
}

fn reads_of_rule(rule: &Rule) -> Reads {
    let conditions = [Some(&rule.when), rule.that.as_ref()];
    let lines = conditions
        .into_iter()
        .flatten()
        .flat_map(|condition| condition.expressions());
    let inputs = rule.ask.iter().flat_map(|ask| &ask.with);
    lines
        .chain(inputs)
        .flat_map(Expression::reads)
        .map(|read| (read.attribute, read.key.clone()))
        .collect()
}
