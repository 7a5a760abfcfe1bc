//! Results and coverage, as they are shown.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::testing::Report;
use crate::testing::coverage::{Coverage, LineCoverage, PartCoverage, Reached};

/// The results for programs.
#[derive(Serialize)]
pub(super) struct Results<'r> {
    passed: usize,
    failed: usize,
    tests: Vec<One<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Covered<'r>>,
}

#[derive(Serialize)]
struct One<'r> {
    kind: &'r str,
    policy: &'r str,
    test: &'r str,
    place: &'r str,
    passed: bool,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'r str>,
    /// The rules it is about, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<&'r str>,
}

#[derive(Serialize)]
struct Covered<'r> {
    percent: u8,
    #[serde(flatten)]
    reached: Reached,
    #[serde(flatten)]
    coverage: &'r Coverage,
}

impl<'r> Results<'r> {
    pub(super) fn of(report: &'r Report, covers: bool) -> Self {
        let tests = report.tests.iter().map(|test| One {
            kind: test.kind,
            policy: &test.policy,
            test: &test.test,
            place: &test.place,
            passed: test.failure.is_none(),
            seconds: test.took.as_secs_f64(),
            message: test.failure.as_ref().map(|failure| &*failure.message),
            why: test
                .failure
                .iter()
                .flat_map(|failure| failure.why.lines().map(str::trim_end))
                .collect(),
        });
        let reached = report.coverage.reached();
        Self {
            passed: report.passed(),
            failed: report.failures().count(),
            tests: tests.collect(),
            coverage: covers.then(|| Covered {
                percent: reached.percent(),
                reached,
                coverage: &report.coverage,
            }),
        }
    }
}

/// What tests did not reach, for people.
pub(super) struct Uncovered<'r>(pub(super) &'r Coverage);

impl Display for Uncovered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for policy in &self.0.policies {
            let missing: Vec<&PartCoverage> = policy
                .parts
                .iter()
                .filter(|part| !part.decided || part.lines.iter().any(|line| gap(line).is_some()))
                .collect();
            if missing.is_empty() {
                continue;
            }
            writeln!(f, "{} {} ({})", policy.kind, policy.policy, policy.place)?;
            for part in missing {
                let never = if part.decided {
                    ""
                } else {
                    ": never decided a test"
                };
                writeln!(
                    f,
                    "  {} \"{}\" ({}){never}",
                    part.kind, part.sentence, part.place
                )?;
                for line in &part.lines {
                    if let Some(gap) = gap(line) {
                        writeln!(
                            f,
                            "    {} {} ({}): {gap}",
                            line.role, line.expression, line.place
                        )?;
                    }
                }
            }
        }
        let reached = self.0.reached();
        writeln!(
            f,
            "coverage: {} of {} rules decided, {} of {} outcomes of conditions, {}% in all",
            reached.decided,
            reached.parts,
            reached.outcomes,
            reached.possible,
            reached.percent()
        )
    }
}

/// What a line never was.
fn gap(line: &LineCoverage) -> Option<&'static str> {
    match (line.was_true, line.was_false, line.was_undetermined) {
        (true, true, _) => None,
        (true, false, _) => Some("never false"),
        (false, true, _) => Some("never true"),
        (false, false, true) => Some("never decided"),
        (false, false, false) => Some("never reached"),
    }
}
