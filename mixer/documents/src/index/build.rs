//! Building the tree, within its bounds.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use mixer_cel::{Fact, FactTest, Question, Scalar};

use super::affixes::Affixes;
use super::{Branch, Index, Node};

/// As many conditions are evaluated as fast as a question is looked up.
const FEW: usize = 4;
/// Questions in a row.
const DEEP: usize = 8;
/// Of these, unanswered.
const UNANSWERED: usize = 2;
/// Entries for each condition and each value it compares with.
const ENTRIES: usize = 32;

pub(super) fn build(conditions: &[Vec<Fact>]) -> Index {
    let values = conditions.iter().flatten().map(|fact| fact.tests.len());
    let most = ENTRIES * (conditions.len() + values.sum::<usize>());
    let mut builder = Builder {
        conditions,
        left: most,
    };
    let all: Vec<u32> = (0..conditions.len() as u32).collect();
    let root = builder.node(&all, &Way::default());
    Index {
        root,
        entries: most - builder.left,
    }
}

struct Builder<'f> {
    conditions: &'f [Vec<Fact>],
    /// Entries that may still be made.
    left: usize,
}

/// What was asked on the way to a node.
#[derive(Clone, Default)]
struct Way<'f> {
    asked: Vec<Subject<'f>>,
    unanswered: usize,
}

/// Facts that one branch can hold: of one question, and compared alike, so that `a.startsWith(..) && a.endsWith(..)` is two.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Subject<'f>(&'f Question, std::mem::Discriminant<FactTest>);

impl<'f> Subject<'f> {
    /// `None` for a fact that no answer passes.
    fn of(fact: &'f Fact) -> Option<Self> {
        let first = fact.tests.first()?;
        Some(Self(&fact.question, std::mem::discriminant(first)))
    }
}

impl<'f> Builder<'f> {
    fn node(&mut self, members: &[u32], way: &Way<'f>) -> Node {
        if members.len() <= FEW || way.asked.len() >= DEEP || self.left < members.len() {
            return self.list(members);
        }
        let mut users: HashMap<Subject<'f>, usize> = HashMap::new();
        for condition in members {
            for (subject, _) in self.open(*condition, way) {
                *users.entry(subject).or_default() += 1;
            }
        }
        let mut here = Vec::new();
        let mut groups: Vec<(Subject<'f>, Vec<u32>)> = Vec::new();
        let mut known: HashMap<Subject<'f>, usize> = HashMap::new();
        for condition in members {
            let mut open = self.open(*condition, way);
            match open.find(|(subject, _)| users[subject] > FEW) {
                None => here.push(*condition),
                Some((subject, _)) => {
                    let at = *known.entry(subject).or_insert(groups.len());
                    if at == groups.len() {
                        groups.push((subject, Vec::new()));
                    }
                    groups[at].1.push(*condition);
                }
            }
        }
        let mut branches = Vec::new();
        for (subject, group) in groups {
            let tests: usize = group
                .iter()
                .map(|at| self.fact(*at, subject).tests.len())
                .sum();
            if group.len() <= FEW || self.left < tests {
                here.extend(group);
            } else {
                branches.push(self.branch(subject, &group, way));
            }
        }
        here.sort_unstable();
        Node {
            branches: branches.into(),
            ..self.list(&here)
        }
    }

    fn list(&mut self, members: &[u32]) -> Node {
        self.left = self.left.saturating_sub(members.len());
        Node {
            here: members.into(),
            branches: Box::default(),
        }
    }

    fn branch(&mut self, subject: Subject<'f>, group: &[u32], way: &Way<'f>) -> Branch {
        let mut way = way.clone();
        way.asked.push(subject);
        let (mut texts, mut starts, mut ends) = (ByText::new(), ByText::new(), ByText::new());
        let mut scalars: BTreeMap<Scalar, Vec<u32>> = BTreeMap::new();
        for condition in group {
            for test in &self.fact(*condition, subject).tests {
                let members = match test {
                    FactTest::Is(text) => texts.entry(text).or_default(),
                    FactTest::StartsWith(text) => starts.entry(text).or_default(),
                    FactTest::EndsWith(text) => ends.entry(text).or_default(),
                    FactTest::Equals(scalar) => scalars.entry(*scalar).or_default(),
                };
                // A value that a list names twice.
                if members.last() != Some(condition) {
                    members.push(*condition);
                }
            }
        }
        let scalars = scalars
            .into_iter()
            .map(|(scalar, members)| (scalar, self.node(&members, &way)))
            .collect();
        let texts = self.nodes(texts, &way).collect();
        let starts = Affixes::new(false, self.nodes(starts, &way).collect());
        let ends = Affixes::new(true, self.nodes(ends, &way).collect());
        way.unanswered += 1;
        let unanswered = if way.unanswered > UNANSWERED {
            self.list(group)
        } else {
            self.node(group, &way)
        };
        Branch {
            question: subject.0.clone(),
            first: group[0],
            texts,
            scalars,
            starts,
            ends,
            unanswered,
        }
    }

    fn nodes<'b>(
        &'b mut self,
        texts: ByText<'f>,
        way: &'b Way<'f>,
    ) -> impl Iterator<Item = (Box<str>, Node)> + use<'b, 'f> {
        texts
            .into_iter()
            .map(move |(text, members)| (text.into(), self.node(&members, way)))
    }

    /// The facts of a condition that were not asked yet.
    fn open<'b>(
        &self,
        condition: u32,
        way: &'b Way<'f>,
    ) -> impl Iterator<Item = (Subject<'f>, &'f Fact)> + use<'b, 'f> {
        let facts = self.conditions[condition as usize].iter();
        let subjects = facts.filter_map(|fact| Some((Subject::of(fact)?, fact)));
        subjects.filter(|(subject, _)| !way.asked.contains(subject))
    }

    /// A condition's fact on a subject it has one on.
    fn fact(&self, condition: u32, subject: Subject<'f>) -> &'f Fact {
        let mut facts = self.conditions[condition as usize].iter();
        facts
            .find(|fact| Subject::of(fact) == Some(subject))
            .expect("a group holds those that have a fact on its subject")
    }
}

/// In order, so that where the bounds fall does not change from one start to the next.
type ByText<'f> = BTreeMap<&'f str, Vec<u32>>;
