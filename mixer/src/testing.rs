//! Runs the tests that stand beside policies and routes.
//!
//! A test is decided by the same [`Dispatcher`] that serves, against its own policy and all documents that are not policies; a
//! test that names another policy's sentence speaks of how they act together and is decided against all. What would leave the
//! process is replaced: adapters answer what the test gives (but for lists whose entries stand in the documents), quota stores
//! are fresh memory, and time stands still.

pub mod coverage;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use mixer_adapter::Registry;
use mixer_attributes::{AttributeBag, OwnedBag, OwnedValue, vocabulary};
use mixer_documents::{Applicable, At, Expectation, Otherwise, Policy, PolicySet, Test, TestKind};
use mixer_runtime::Clock;

use self::coverage::Coverage;
use crate::answers;
use crate::dispatch::{Because, Decided, Decision, Dispatcher, Source, Verdict};
use crate::explanation::{Explanation, place, summary};
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
#[derive(Clone, Debug)]
pub struct Report {
    /// Every test that was run, in document order.
    pub tests: Vec<Ran>,
    /// What of the policies they reached.
    pub coverage: Coverage,
}

/// A test that was run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// `path:line:column` of the test.
    pub place: String,
    /// What it is a test of: a policy or a route.
    pub kind: &'static str,
    /// The name of that.
    pub policy: Arc<str>,
    /// Its name, or what it claims.
    pub test: String,
    /// How long it took, by the clock that was given for that.
    pub took: Duration,
    /// Why it does not hold.
    pub failure: Option<Failure>,
}

/// Why a test does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was expected and what happened instead, in one line.
    pub message: String,
    /// The rules it is about, line by line with the values they read; perhaps empty.
    pub why: String,
}

impl Report {
    /// Tests that do not hold, in document order.
    pub fn failures(&self) -> impl Iterator<Item = (&Ran, &Failure)> {
        let tests = self.tests.iter();
        tests.filter_map(|test| Some((test, test.failure.as_ref()?)))
    }

    /// How many hold.
    pub fn passed(&self) -> usize {
        self.tests.len() - self.failures().count()
    }
}

/// Runs the tests of `snapshot`, which was built in `surroundings`; their clock must stand still. `stopwatch` says how long
/// each took.
pub async fn run(
    snapshot: &Snapshot,
    registry: &Registry,
    surroundings: &Surroundings,
    choice: &Choice,
    stopwatch: &Clock,
) -> Report {
    let mut tests = Vec::new();
    let mut coverage = Coverage::of(&snapshot.set);
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
            let begin = stopwatch.now();
            let failure = one.run(choice.all, &mut coverage).await.err();
            tests.push(Ran {
                place: snapshot.set.warnings.sources.place(test.span),
                kind: "policy",
                policy: policy.name.clone(),
                test: title(test),
                took: stopwatch.now().since(begin),
                failure,
            });
        }
    }
    routes::run(&snapshot.set, choice, stopwatch, &mut tests, &mut coverage);
    Report { tests, coverage }
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
    async fn run(&self, all: bool, coverage: &mut Coverage) -> Result<(), Failure> {
        let all = all || self.speaks_of_others()?;
        let given = answers::offline(
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
        let (decided, problem) = match self.test.kind {
            TestKind::Allow | TestKind::Deny => {
                let decided = dispatcher
                    .decide_and_take(&applicable, self.policy.at, &bag, LEFT)
                    .await;
                let problem = self.holds(&decided, &applicable).err();
                (decided, problem)
            }
            TestKind::Limit => self.limit(&dispatcher, &applicable, &bag).await,
        };
        let unanswered = given.unanswered.take();
        let enforced = (decided.decision.verdict, decided.decision.because);
        let shadows = dispatcher.shadow(&bag, enforced, LEFT).await;
        coverage.note(
            &self.snapshot.set,
            &applicable,
            &bag,
            &decided.decision,
            &shadows,
        );
        if let Some(adapter) = unanswered {
            return Err(Failure::from(format!(
                "it asks the adapter `{adapter}`: say what that answers, such as `answers: {{ {adapter}: match }}`"
            )));
        }
        let Some(message) = problem else {
            return Ok(());
        };
        let story = Explanation::around(
            &dispatcher,
            &applicable,
            self.policy.at,
            &bag,
            &decided.decision,
        );
        let expected = match &self.test.expect {
            Expectation::Sentence(sentence) => Some(&**sentence),
            _ => None,
        };
        let why = story.await.about(expected);
        Err(Failure { message, why })
    }

    /// Whether the sentence it names is another policy's; a sentence that nobody has is an error.
    fn speaks_of_others(&self) -> Result<bool, String> {
        let Expectation::Sentence(sentence) = &self.test.expect else {
            return Ok(false);
        };
        if sentences(self.policy).any(|said| said == &**sentence) {
            return Ok(false);
        }
        let policies = &self.snapshot.set.policies;
        let mut all = policies.iter().flat_map(sentences);
        if all.any(|said| said == &**sentence) {
            return Ok(true);
        }
        let own = mixer_documents::nearest(sentence, sentences(self.policy));
        let near =
            own.or_else(|| mixer_documents::nearest(sentence, policies.iter().flat_map(sentences)));
        let near = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        Err(format!(
            "no rule, otherwise or quota of any policy is called \"{sentence}\"{near}"
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
            "expected {}, but it is {}{}",
            claim(self.test),
            summary(decision),
            stands(&self.snapshot.set, decision)
        );
        let policies = [&applicable.guards, &applicable.pool, &applicable.shadow];
        if !policies.into_iter().flatten().any(|at| *at == self.at) {
            message.push_str("; its own policy does not apply to what is given (see its `for`)");
        }
        Err(message)
    }

    /// The last decision, and what is wrong with it.
    async fn limit(
        &self,
        dispatcher: &Dispatcher,
        applicable: &Applicable,
        bag: &AttributeBag<'_>,
    ) -> (Decided, Option<String>) {
        let mut request = 1;
        loop {
            let last = request >= self.test.times;
            let decided = dispatcher
                .decide_and_take(applicable, self.policy.at, bag, LEFT)
                .await;
            let decision = &decided.decision;
            let refused = decision.verdict == Verdict::Deny && decision.because == Because::Quota;
            let by_it = match &self.test.expect {
                Expectation::Sentence(sentence) => decision.rule == *sentence,
                _ => true,
            };
            match (last, refused) {
                (true, true) if by_it => return (decided, None),
                (false, false) if decision.verdict == Verdict::Allow => request += 1,
                _ => {
                    let problem = format!(
                        "expected request {request} of {} to be {} ({}), but it is {}{}",
                        self.test.times,
                        if last { "refused" } else { "passed" },
                        claim(self.test),
                        summary(decision),
                        stands(&self.snapshot.set, decision)
                    );
                    return (decided, Some(problem));
                }
            }
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        let why = String::new();
        Self { message, why }
    }
}

/// ` (path:line:column)` of what decided.
fn stands(set: &PolicySet, decision: &Decision) -> String {
    place(set, decision).map_or(String::new(), |place| format!(" ({place})"))
}

/// What a test may name of `policy`.
fn sentences(policy: &Policy) -> impl Iterator<Item = &str> {
    let otherwise = match &policy.otherwise {
        Some(Otherwise::Deny { sentence, .. }) => Some(&**sentence),
        _ => None,
    };
    let rules = policy.rules.iter().map(|rule| &*rule.sentence);
    let quotas = policy.quotas.iter().map(|quota| &*quota.sentence);
    rules.chain(quotas).chain(otherwise)
}

/// What is given, as the proxy of that side would send it.
pub(crate) fn request(given: &OwnedBag, at: At) -> OwnedBag {
    let mut request = given.clone();
    let reporter = match at {
        At::Inbound => "destination",
        At::Outbound => "source",
        // Its messages say nothing of it.
        At::RateLimit => return request,
    };
    if request.value(vocabulary::CONTEXT_REPORTER).is_none() {
        request.set(
            vocabulary::CONTEXT_REPORTER,
            OwnedValue::String(reporter.to_owned()),
        );
    }
    request
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
