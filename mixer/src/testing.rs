//! Runs the tests that stand beside policies.
//!
//! A test is decided by the same [`Dispatcher`] that serves, against its own policy and all documents that are not policies; a
//! test that names another policy's sentence speaks of how they act together and is decided against all. What would leave the
//! process is replaced: adapters answer what the test gives (but for lists whose entries stand in the documents), quota stores
//! are fresh memory, and time stands still.

mod given;

use std::sync::Arc;
use std::time::Duration;

use mixer_adapter::Registry;
use mixer_attributes::{AttributeBag, OwnedBag, OwnedValue, vocabulary};
use mixer_documents::{Applicable, At, Expectation, Otherwise, Policy, Test, TestKind};

use crate::dispatch::{Because, Decided, Decision, Dispatcher, Source, Verdict};
use crate::snapshot::{Snapshot, Surroundings};

/// Which tests are run, and against what.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Against every policy.
    pub all: bool,
    /// Only tests whose policy, name or sentence contains this.
    pub filter: Option<String>,
}

/// How the tests went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many hold.
    pub passed: usize,
    /// Those that do not, in document order.
    pub failures: Vec<Failure>,
}

/// A test that does not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// `path:line:column` of the test.
    pub place: String,
    /// Its policy.
    pub policy: Arc<str>,
    /// Its name, or what it claims.
    pub test: String,
    /// What happened instead.
    pub message: String,
}

/// Runs the tests of `snapshot`, which was built in `surroundings`; their clock must stand still.
pub async fn run(
    snapshot: &Snapshot,
    registry: &Registry,
    surroundings: &Surroundings,
    choice: &Choice,
) -> Report {
    let mut report = Report::default();
    for (at, policy) in snapshot.set.policies.iter().enumerate() {
        for test in policy
            .tests
            .iter()
            .filter(|test| is_chosen(policy, test, choice))
        {
            let one = One {
                snapshot,
                registry,
                surroundings,
                policy,
                at,
                test,
            };
            match one.run(choice.all).await {
                Ok(()) => report.passed += 1,
                Err(message) => report.failures.push(Failure {
                    place: snapshot.set.warnings.sources.place(test.span),
                    policy: policy.name.clone(),
                    test: title(test),
                    message,
                }),
            }
        }
    }
    report
}

/// What a test is called: its name, else its claim.
pub(crate) fn title(test: &Test) -> String {
    match &test.name {
        Some(name) => name.to_string(),
        None => claim(test),
    }
}

fn claim(test: &Test) -> String {
    let kind = match test.kind {
        TestKind::Allow => "allow",
        TestKind::Deny => "deny",
        TestKind::Limit => "limit",
    };
    match &test.expect {
        Expectation::Sentence(sentence) => format!("{kind}: {sentence}"),
        Expectation::Otherwise => format!("{kind}: otherwise"),
        Expectation::Default => format!("{kind}: default"),
        Expectation::Any => format!("{kind}: any"),
    }
}

fn is_chosen(policy: &Policy, test: &Test, choice: &Choice) -> bool {
    choice.filter.as_ref().is_none_or(|filter| {
        policy.name.contains(&**filter)
            || title(test).contains(&**filter)
            || claim(test).contains(&**filter)
    })
}

/// One test.
struct One<'a> {
    snapshot: &'a Snapshot,
    registry: &'a Registry,
    surroundings: &'a Surroundings,
    policy: &'a Policy,
    at: usize,
    test: &'a Test,
}

/// Nobody waits in a test: time stands still.
const LEFT: Duration = Duration::from_secs(1);

impl One<'_> {
    async fn run(&self, all: bool) -> Result<(), String> {
        let all = all || self.speaks_of_others()?;
        let given = given::adapters(
            self.snapshot,
            self.registry,
            self.surroundings,
            &self.test.answers,
        )?;
        let snapshot = Arc::new(self.snapshot.with_adapters(given.adapters));
        let dispatcher = Dispatcher::new(snapshot, &self.surroundings.fresh());
        let request = request(&self.test.given, self.policy.at);
        let bag = request.bag();
        let applicable = self.snapshot.set.applicable(self.policy.at, &bag);
        let applicable = if all {
            applicable
        } else {
            Arc::new(self.snapshot.set.alone(&applicable, self.at))
        };
        let held = match self.test.kind {
            TestKind::Allow | TestKind::Deny => {
                let decided = dispatcher
                    .decide_and_take(&applicable, self.policy.at, &bag, LEFT)
                    .await;
                self.holds(&decided, &applicable)
            }
            TestKind::Limit => self.limit(&dispatcher, &applicable, &bag).await,
        };
        match given.unanswered.first() {
            Some(adapter) => Err(format!(
                "it asks the adapter `{adapter}`: say what that answers, such as `answers: {{ {adapter}: match }}`"
            )),
            None => held,
        }
    }

    /// Whether the sentence it names is another policy's; a sentence that nobody has is an error.
    fn speaks_of_others(&self) -> Result<bool, String> {
        let Expectation::Sentence(sentence) = &self.test.expect else {
            return Ok(false);
        };
        if says(self.policy, sentence) {
            return Ok(false);
        }
        if self
            .snapshot
            .set
            .policies
            .iter()
            .any(|policy| says(policy, sentence))
        {
            return Ok(true);
        }
        Err(format!(
            "no rule, otherwise or quota of any policy is called \"{sentence}\""
        ))
    }

    fn holds(&self, decided: &Decided, applicable: &Applicable) -> Result<(), String> {
        let Decided { decision, by } = decided;
        let wanted = match self.test.kind {
            TestKind::Allow => Verdict::Allow,
            TestKind::Deny | TestKind::Limit => Verdict::Deny,
        };
        let source = match &self.test.expect {
            Expectation::Sentence(sentence) => decision.rule == *sentence && *by != Source::Default,
            Expectation::Otherwise => *by == Source::Otherwise,
            Expectation::Default => *by == Source::Default,
            Expectation::Any => *by != Source::Panic,
        };
        if decision.verdict == wanted && source {
            return Ok(());
        }
        let mut message = format!(
            "expected {}, but it is {}",
            claim(self.test),
            described(decision)
        );
        let policies = [&applicable.guards, &applicable.pool, &applicable.shadow];
        if !policies.into_iter().flatten().any(|at| *at == self.at) {
            message.push_str("; its own policy does not apply to what is given (see its `for`)");
        }
        Err(message)
    }

    async fn limit(
        &self,
        dispatcher: &Dispatcher,
        applicable: &Applicable,
        bag: &AttributeBag<'_>,
    ) -> Result<(), String> {
        let times = self.test.times;
        for request in 1..=times {
            let decided = dispatcher
                .decide_and_take(applicable, self.policy.at, bag, LEFT)
                .await;
            let decision = &decided.decision;
            let refused = decision.verdict == Verdict::Deny && decision.because == Because::Quota;
            let by_it = match &self.test.expect {
                Expectation::Sentence(sentence) => decision.rule == *sentence,
                _ => true,
            };
            match (request == times, refused) {
                (true, true) if by_it => return Ok(()),
                (false, false) if decision.verdict == Verdict::Allow => {}
                _ => {
                    let expected = if request == times {
                        "refused"
                    } else {
                        "passed"
                    };
                    return Err(format!(
                        "expected request {request} of {times} to be {expected} ({}), but it is {}",
                        claim(self.test),
                        described(decision)
                    ));
                }
            }
        }
        Err("`times` must be at least 1".to_owned())
    }
}

fn says(policy: &Policy, sentence: &str) -> bool {
    let otherwise = match &policy.otherwise {
        Some(Otherwise::Deny { sentence, .. }) => Some(&**sentence),
        _ => None,
    };
    policy.rules.iter().any(|rule| &*rule.sentence == sentence)
        || policy
            .quotas
            .iter()
            .any(|quota| &*quota.sentence == sentence)
        || otherwise == Some(sentence)
}

/// What is given, as the proxy of that side would send it.
pub(crate) fn request(given: &OwnedBag, at: At) -> OwnedBag {
    let mut request = given.clone();
    if request.value(vocabulary::CONTEXT_REPORTER).is_none() {
        let reporter = match at {
            At::Inbound => "destination",
            At::Outbound => "source",
        };
        request.set(
            vocabulary::CONTEXT_REPORTER,
            OwnedValue::String(reporter.to_owned()),
        );
    }
    request
}

/// A decision in one line.
pub(crate) fn described(decision: &Decision) -> String {
    let verdict = match decision.verdict {
        Verdict::Allow => "allowed",
        Verdict::Deny => "denied",
    };
    let by = match decision.because {
        Because::Default => "by the mesh's default".to_owned(),
        _ if decision.policy.is_empty() => "by nothing".to_owned(),
        _ => format!("by \"{}\" of policy {}", decision.rule, decision.policy),
    };
    let because = match decision.because {
        Because::Matched | Because::Otherwise | Because::Default => "",
        Because::Undetermined => " (undetermined)",
        Because::Quota => " (over the limit)",
        Because::Unavailable => " (unavailable)",
    };
    let detail = decision
        .detail
        .as_ref()
        .map_or(String::new(), |detail| format!(": {detail}"));
    format!("{verdict} {by}{because}{detail}")
}

impl Dispatcher {
    /// As [`Dispatcher::check_and_take`] among `applicable`, and a refusal is the decision.
    async fn decide_and_take(
        &self,
        applicable: &Applicable,
        at: At,
        bag: &AttributeBag<'_>,
        left: Duration,
    ) -> Decided {
        let mut decided = self.check_against(applicable, at, bag, left).await;
        if decided.decision.verdict == Verdict::Allow {
            let taken = self
                .take(&decided.decision.charges, "test", &[], "", left)
                .await;
            if let Some(denied) = self.refusal(&decided.decision, &taken) {
                decided = Decided {
                    decision: denied,
                    by: Source::Quota,
                };
            }
        }
        decided
    }
}

#[cfg(test)]
mod tests;
