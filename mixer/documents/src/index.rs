//! Which of many conditions can hold, found by what the request says and not by asking each.
//!
//! A condition is known to be false where one of its [`Fact`]s is. Conditions that ask the same question stand in one branch,
//! under the answers they can hold for: a hash map for whole values, sorted lists for beginnings and ends of texts. Those that
//! share an answer are told apart by their next fact, and so on: a tree whose questions come in the order in which the
//! conditions ask them, so that walking it reads what evaluating all of them would read, and hardly anything else.
//!
//! It knows polarity. Where the answer is an error (the attribute is absent) a condition of a deny, require or quota is
//! undetermined unless another of its facts makes it false: the branch keeps a second tree of all its conditions for that. A
//! `for` does not hold then, and of allow rules only the first is of interest.
//!
//! A walk gives candidates in order and asks a question only when the first condition of its branch is due: what stands
//! behind the rule that decides is not read. Candidates are then evaluated as if there were no index.
//!
//! Refused: one index over all destinations (popular answers make its lists as long as the documents), and one fact per
//! condition (a thousand rules that begin with `request.method == "GET"` would stay a list). Bounds: eight questions deep, two
//! of them unanswered, and 32 entries for each condition and each value it compares with; beyond these, and for up to four
//! conditions, it is a list.

mod affixes;
mod build;

use hashbrown::HashMap;
use mixer_attributes::AttributeBag;
use mixer_cel::{Evaluation, Fact, Question, Said, Scalar};

use self::affixes::Affixes;

/// Over conditions 0, 1, 2, ..
#[derive(Debug, Default)]
pub(crate) struct Index {
    root: Node,
    entries: usize,
}

#[derive(Debug, Default)]
struct Node {
    /// Conditions that are not told apart further, rising.
    here: Box<[u32]>,
    branches: Box<[Branch]>,
}

/// Conditions that ask one question.
#[derive(Debug)]
struct Branch {
    question: Question,
    /// The first of them.
    first: u32,
    texts: HashMap<Box<str>, Node>,
    scalars: HashMap<Scalar, Node>,
    starts: Affixes,
    ends: Affixes,
    /// All of them, by what else they ask.
    unanswered: Node,
}

impl Index {
    /// Over conditions with these facts.
    pub(crate) fn new(conditions: &[Vec<Fact>]) -> Self {
        build::build(conditions)
    }

    /// One in which each of `count` conditions is always a candidate.
    pub(crate) fn list(count: usize) -> Self {
        Self {
            root: Node {
                here: (0..count as u32).collect(),
                branches: Box::default(),
            },
            entries: count,
        }
    }

    /// How much it holds: conditions, once for each place they stand in.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// The candidates, in order.
    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk {
            list: &self.root.here,
            ahead: {
                let branches = &self.root.branches;
                // Room for what they lead to, as a rule.
                let mut ahead = Vec::with_capacity(if branches.is_empty() {
                    0
                } else {
                    branches.len() + 4
                });
                ahead.extend(branches.iter().map(|branch| branch.ahead(false)));
                ahead
            },
            last: None,
        }
    }

    /// The candidates for whom an error is false.
    pub(crate) fn candidates(&self, bag: &AttributeBag<'_>) -> Vec<usize> {
        let mut candidates = Vec::new();
        let mut nodes = vec![&self.root];
        while let Some(node) = nodes.pop() {
            candidates.extend(node.here.iter().map(|condition| *condition as usize));
            for branch in &node.branches {
                let said = branch.question.said(bag);
                if said != Said::Error {
                    branch.answers(&said, |node| nodes.push(node));
                }
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }
}

impl Branch {
    fn ahead(&self, error: bool) -> Ahead<'_> {
        Ahead {
            next: self.first,
            error,
            what: What::Branch(self),
        }
    }

    /// The conditions that can hold, given the answer.
    fn answers<'i>(&'i self, said: &Said<'_>, mut visit: impl FnMut(&'i Node)) {
        match said {
            Said::Text(text) => {
                self.texts.get(&**text).into_iter().for_each(&mut visit);
                self.starts.of(text, &mut visit);
                self.ends.of(text, &mut visit);
            }
            Said::Scalar(scalar) => self.scalars.get(scalar).into_iter().for_each(visit),
            Said::Error | Said::Anything => visit(&self.unanswered),
        }
    }
}

/// The conditions that can hold for one request, in order.
#[derive(Debug)]
pub(crate) struct Walk<'i> {
    /// What stands at the root, so that the walk of a mere list allocates nothing.
    list: &'i [u32],
    ahead: Vec<Ahead<'i>>,
    last: Option<u32>,
}

/// What a walk has not come to yet.
#[derive(Debug)]
struct Ahead<'i> {
    /// The first condition in it.
    next: u32,
    /// Each is an error or false.
    error: bool,
    what: What<'i>,
}

#[derive(Debug)]
enum What<'i> {
    /// Those behind `next`.
    Conditions(&'i [u32]),
    Branch(&'i Branch),
}

impl<'i> Walk<'i> {
    /// The next candidate; without those that could only be errors, if `errors` are of no interest.
    pub(crate) fn next(&mut self, evaluation: &mut Evaluation<'_>, errors: bool) -> Option<usize> {
        loop {
            let ahead = self.ahead.iter().enumerate();
            let least = ahead.min_by_key(|(_, ahead)| ahead.next);
            let at = match (self.list.split_first(), least) {
                (Some((first, rest)), least)
                    if least.is_none_or(|(_, least)| *first <= least.next) =>
                {
                    self.list = rest;
                    self.last = Some(*first);
                    return Some(*first as usize);
                }
                (_, Some((at, _))) => at,
                (_, None) => return None,
            };
            let Ahead { next, error, what } = &mut self.ahead[at];
            if *error && !errors {
                self.ahead.swap_remove(at);
                continue;
            }
            match *what {
                What::Branch(branch) => {
                    let error = *error;
                    self.ahead.swap_remove(at);
                    let said = branch.question.ask(evaluation);
                    let error = error || said == Said::Error;
                    branch.answers(&said, |node| self.enter(node, error));
                }
                What::Conditions(rest) => {
                    let condition = *next;
                    match rest.split_first() {
                        Some((first, rest)) => (*next, *what) = (*first, What::Conditions(rest)),
                        None => drop(self.ahead.swap_remove(at)),
                    }
                    // One that two answers lead to.
                    if self.last != Some(condition) {
                        self.last = Some(condition);
                        return Some(condition as usize);
                    }
                }
            }
        }
    }

    fn enter(&mut self, node: &'i Node, error: bool) {
        if let Some((next, rest)) = node.here.split_first() {
            self.ahead.push(Ahead {
                next: *next,
                error,
                what: What::Conditions(rest),
            });
        }
        self.ahead
            .extend(node.branches.iter().map(|branch| branch.ahead(error)));
    }
}

#[cfg(test)]
mod tests;
