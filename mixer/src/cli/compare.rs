//! What changes between two ways of deciding the same requests: who would newly be denied or allowed, by what, how often.
//!
//! The counts are exact however long the input is; what is kept of it is bounded.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};
use std::path::Path;

use serde::Serialize;

use super::judge::{Judged, Undecided};
use super::record::{Lines, Record};
use crate::explanation::printable;

/// How many groups are told apart.
const MOST_GROUPS: usize = 10_000;
/// How many attributes that records lack are told apart.
const MOST_LACKING: usize = 1_000;
/// How many malformed lines are named.
const MOST_NAMED: usize = 20;

/// One request's fate before and after.
pub(super) enum Compared {
    Same,
    Changed {
        judged: Judged,
        /// After.
        allows: bool,
        before: String,
        after: String,
    },
    Undecided(Undecided),
    /// A limit refused it, which is not replayed.
    OverLimit,
    /// The record does not say what became of it.
    NoOutcome,
}

/// The sum of all requests.
#[derive(Debug, Default, Serialize)]
pub(super) struct Comparison {
    pub(super) requests: u64,
    pub(super) same: u64,
    pub(super) newly_denied: u64,
    pub(super) newly_allowed: u64,
    /// By what their records lack.
    lacking: BTreeMap<String, u64>,
    /// By the adapter they ask, of which nobody says what it answers.
    asking: BTreeMap<String, u64>,
    over_limit: u64,
    no_outcome: u64,
    malformed: u64,
    /// The first of them.
    malformed_lines: Vec<Malformed>,
    /// Most frequent first.
    changes: Vec<Change>,
    /// Changed requests beyond the groups that are told apart.
    ungrouped: u64,
    #[serde(skip)]
    groups: HashMap<(String, String, String, bool), usize>,
}

#[derive(Debug, Serialize)]
struct Malformed {
    line: u64,
    problem: String,
}

/// Requests that change alike.
#[derive(Debug, Serialize)]
struct Change {
    /// `denied` or `allowed`.
    newly: &'static str,
    who: String,
    destination: String,
    count: u64,
    before: String,
    after: String,
    example: Example,
}

#[derive(Debug, Serialize)]
struct Example {
    line: u64,
    request: String,
}

impl Comparison {
    /// Of every line of `file`, as `compare` has it; an error of that is what is wrong with a line.
    pub(super) fn of(
        file: &Path,
        compare: impl Fn(&Record) -> Result<Compared, String>,
    ) -> Result<Self, String> {
        let mut sum = Self::default();
        let mut lines = Lines::open(file)?;
        while let Some(line) = lines.next()? {
            let record = line.text.and_then(|text| Record::read(&text));
            match record.and_then(|record| compare(&record)) {
                Ok(compared) => sum.add(line.number, compared),
                Err(problem) => sum.malformed(line.number, problem),
            }
        }
        if sum.requests == 0 {
            let first = sum.malformed_lines.first();
            let why = first.map_or("it has no lines".to_owned(), |first| {
                format!("line {}: {}", first.line, first.problem)
            });
            return Err(format!("no requests in {}: {why}", file.display()));
        }
        sum.changes
            .sort_by_key(|change| std::cmp::Reverse(change.count));
        Ok(sum)
    }

    /// Whether some request would fare otherwise.
    pub(super) fn changed(&self) -> bool {
        self.newly_denied + self.newly_allowed > 0
    }

    fn add(&mut self, line: u64, compared: Compared) {
        self.requests += 1;
        match compared {
            Compared::Same => self.same += 1,
            Compared::Undecided(Undecided::Lacks(name)) => {
                let is_known = self.lacking.contains_key(&name);
                // A key that an expression computes may be another one each time.
                let name = if is_known || self.lacking.len() < MOST_LACKING {
                    name
                } else {
                    "something else".to_owned()
                };
                *self.lacking.entry(name).or_default() += 1;
            }
            Compared::Undecided(Undecided::Asks(name)) => {
                *self.asking.entry(name).or_default() += 1
            }
            Compared::OverLimit => self.over_limit += 1,
            Compared::NoOutcome => self.no_outcome += 1,
            Compared::Changed {
                judged,
                allows,
                before,
                after,
            } => {
                if allows {
                    self.newly_allowed += 1;
                } else {
                    self.newly_denied += 1;
                }
                self.group(line, judged, allows, before, after);
            }
        }
    }

    fn group(&mut self, line: u64, judged: Judged, allows: bool, before: String, after: String) {
        let Judged {
            who,
            destination,
            what,
            ..
        } = judged;
        let key = (who.clone(), destination.clone(), after.clone(), allows);
        if let Some(at) = self.groups.get(&key) {
            self.changes[*at].count += 1;
        } else if self.changes.len() < MOST_GROUPS {
            self.groups.insert(key, self.changes.len());
            self.changes.push(Change {
                newly: if allows { "allowed" } else { "denied" },
                who,
                destination,
                count: 1,
                before,
                after,
                example: Example {
                    line,
                    request: what,
                },
            });
        } else {
            self.ungrouped += 1;
        }
    }

    fn malformed(&mut self, line: u64, problem: String) {
        self.malformed += 1;
        if self.malformed_lines.len() < MOST_NAMED {
            let problem = printable(&problem);
            self.malformed_lines.push(Malformed { line, problem });
        }
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests: {} the same, {} newly denied, {} newly allowed",
            self.requests, self.same, self.newly_denied, self.newly_allowed
        )?;
        for newly in ["denied", "allowed"] {
            let mut changes = self
                .changes
                .iter()
                .filter(|change| change.newly == newly)
                .peekable();
            if changes.peek().is_some() {
                writeln!(f, "newly {newly}:")?;
            }
            for change in changes {
                writeln!(
                    f,
                    "  {} x {} -> {}: {}\n    before: {}\n    such as line {}: {}",
                    change.count,
                    change.who,
                    change.destination,
                    change.after,
                    change.before,
                    change.example.line,
                    change.example.request
                )?;
            }
        }
        if self.ungrouped > 0 {
            writeln!(f, "and {} in groups beyond {MOST_GROUPS}", self.ungrouped)?;
        }
        let undecided = self
            .lacking
            .values()
            .chain(self.asking.values())
            .sum::<u64>();
        if undecided + self.over_limit + self.no_outcome > 0 {
            writeln!(f, "not compared:")?;
        }
        for (name, count) in &self.lacking {
            writeln!(
                f,
                "  {count} depend on {name}, which their records do not tell"
            )?;
        }
        for (name, count) in &self.asking {
            writeln!(
                f,
                "  {count} ask {name}: say --answer {name}=match or no-match"
            )?;
        }
        if self.over_limit > 0 {
            writeln!(
                f,
                "  {} were over a limit, which is not replayed",
                self.over_limit
            )?;
        }
        if self.no_outcome > 0 {
            writeln!(f, "  {} do not say what became of them", self.no_outcome)?;
        }
        if self.malformed > 0 {
            writeln!(f, "malformed: {}", self.malformed)?;
            for line in &self.malformed_lines {
                writeln!(f, "  line {}: {}", line.line, line.problem)?;
            }
        }
        Ok(())
    }
}
