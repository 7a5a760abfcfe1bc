//! In-file tests: their form, `like` merged in, and the attributes they give typed by the vocabulary.

use std::collections::HashMap;
use std::sync::Arc;

use mixer_attributes::{OwnedBag, Vocabulary};

use super::given;
use crate::context::Context;
use crate::fields::{Fields, Shape};
use crate::scalar::{integer, list, name, word};
use crate::yaml::{Entry, Node, Value};
use crate::{Code, Expectation, FileId, GivenAnswer, Span, Test, TestKind};

pub(crate) const SHAPE: Shape = Shape {
    what: "a test",
    keys: &[
        "allow", "deny", "limit", "name", "like", "given", "answers", "times",
    ],
    later: &[],
};

/// How long a chain of `like` may be.
const LONGEST_CHAIN: usize = 32;

/// A test as written.
pub(super) struct Case<'n> {
    pub(super) fields: Fields<'n>,
    pub(super) name: Option<(&'n str, Span)>,
    /// Which of the documents it stands in.
    pub(super) document: usize,
    file: FileId,
}

/// The tests of each policy, given the list of each.
pub(super) fn read(
    lists: &[Option<&Node>],
    vocabulary: &Vocabulary,
    defined: &[(String, String)],
    context: &mut Context<'_>,
) -> Vec<Vec<Test>> {
    let cases = collect(lists, SHAPE, context);
    let names = Names::of(&cases, "policy", context);
    let mut tests: Vec<Vec<Test>> = lists.iter().map(|_| Vec::new()).collect();
    for at in 0..cases.len() {
        let given = names.merged(&cases, at, "given", context);
        let answers = names.merged(&cases, at, "answers", context);
        let given = given
            .map(|node| given::read(&node, vocabulary, defined, &mut context.problems))
            .unwrap_or_default();
        let answers = answers
            .map(|node| read_answers(&node, context))
            .unwrap_or_default();
        if let Some(test) = test(&cases[at], given, answers, context) {
            tests[cases[at].document].push(test);
        }
    }
    tests
}

/// The tests of several documents, given the list of each.
pub(super) fn collect<'n>(
    lists: &[Option<&'n Node>],
    shape: Shape,
    context: &mut Context<'_>,
) -> Vec<Case<'n>> {
    let mut cases = Vec::new();
    for (document, node) in lists.iter().enumerate() {
        let Some(node) = node else { continue };
        for item in list(node, "`tests`", &mut context.problems).unwrap_or_default() {
            let Some(fields) = Fields::of(item, shape, &mut context.problems) else {
                continue;
            };
            let name = fields.get("name").and_then(|node| {
                name(node, "`name`", &mut context.problems).map(|name| (name, node.span))
            });
            cases.push(Case {
                fields,
                name,
                document,
                file: item.span.file,
            });
        }
    }
    cases
}

fn test(
    case: &Case<'_>,
    given: OwnedBag,
    answers: Vec<(Arc<str>, GivenAnswer)>,
    context: &mut Context<'_>,
) -> Option<Test> {
    let fields = &case.fields;
    let problems = &mut context.problems;
    let (kind, key) = fields.one_of(&["allow", "deny", "limit"], "a test", problems)?;
    let kind = match kind {
        "allow" => TestKind::Allow,
        "deny" => TestKind::Deny,
        _ => TestKind::Limit,
    };
    let sentence = name(&key.value, "the sentence", problems).unwrap_or_default();
    let expect = match sentence {
        "any" => Expectation::Any,
        "otherwise" | "default" if kind == TestKind::Limit => {
            problems.error(
                Code::TestOfLimit,
                key.value.span,
                "`limit` takes the sentence of a quota, or `any`",
            );
            Expectation::Any
        }
        "otherwise" => Expectation::Otherwise,
        "default" => Expectation::Default,
        sentence => Expectation::Sentence(sentence.into()),
    };
    let times = match (fields.get("times"), kind) {
        (Some(node), TestKind::Limit) => {
            integer(node, "`times`", 1..=1_000_000, problems).unwrap_or(1)
        }
        (None, TestKind::Limit) => {
            let help = "`times: 101` holds when 100 requests pass and the 101st is refused";
            fields.need("times", "a test of a limit needs `times`", help, problems);
            1
        }
        _ => {
            fields.refuse("times", "is for tests of a `limit`", problems);
            1
        }
    };
    Some(Test {
        kind,
        expect,
        name: case.name.map(|(name, _)| name.into()),
        given,
        answers,
        times,
        span: key.value.span,
    })
}

fn read_answers(node: &Node, context: &mut Context<'_>) -> Vec<(Arc<str>, GivenAnswer)> {
    let entries = match &node.value {
        Value::Map(entries) => entries,
        Value::Wrong => return Vec::new(),
        _ => {
            context.problems.error(
                Code::WrongShape,
                node.span,
                format!(
                    "`answers` must be a map from adapters to answers, this is {}",
                    node.what()
                ),
            );
            return Vec::new();
        }
    };
    let words = [
        ("match", GivenAnswer::Match),
        ("no match", GivenAnswer::NoMatch),
        ("unavailable", GivenAnswer::Unavailable),
    ];
    let mut answers = Vec::new();
    for entry in entries {
        let key = entry.key_node();
        let adapter = context.adapter(&key, "an adapter");
        let answer = word(
            &entry.value,
            "an answer",
            &words,
            &[],
            &mut context.problems,
        );
        if let (Some(_), Some(answer)) = (adapter, answer) {
            answers.push((entry.key.as_str().into(), answer));
        }
    }
    answers
}

/// Which test a `like` means: one of the same document, else the only one of that name and kind in the file.
pub(super) struct Names {
    in_document: HashMap<(usize, String), usize>,
    in_file: HashMap<(FileId, String), Vec<usize>>,
}

impl Names {
    /// `kind` is that of the documents.
    pub(super) fn of(cases: &[Case<'_>], kind: &str, context: &mut Context<'_>) -> Self {
        let mut names = Self {
            in_document: HashMap::new(),
            in_file: HashMap::new(),
        };
        for (at, case) in cases.iter().enumerate() {
            let Some((name, span)) = case.name else {
                continue;
            };
            if names
                .in_document
                .insert((case.document, name.to_owned()), at)
                .is_some()
            {
                context.problems.error(
                    Code::TestTaken,
                    span,
                    format!("there is already a test `{name}` in this {kind}"),
                );
            }
            names
                .in_file
                .entry((case.file, name.to_owned()))
                .or_default()
                .push(at);
        }
        names
    }

    fn find(&self, cases: &[Case<'_>], at: usize, context: &mut Context<'_>) -> Option<usize> {
        let case = &cases[at];
        let node = case.fields.get("like")?;
        let like = name(node, "`like`", &mut context.problems)?;
        if let Some(found) = self.in_document.get(&(case.document, like.to_owned())) {
            return Some(*found);
        }
        match self
            .in_file
            .get(&(case.file, like.to_owned()))
            .map(Vec::as_slice)
        {
            Some([found]) => return Some(*found),
            Some(_) => drop(context.problems.error(
                Code::LikeUnknown,
                node.span,
                format!("several tests of this file are called `{like}`"),
            )),
            None => {
                let known = cases
                    .iter()
                    .filter(|other| other.file == case.file)
                    .filter_map(|other| other.name);
                let error = context.problems.error(
                    Code::LikeUnknown,
                    node.span,
                    format!("there is no test `{like}` in this file"),
                );
                if let Some(near) = crate::suggest::nearest(like, known.map(|(name, _)| name)) {
                    error.help(format!("did you mean `{near}`?"));
                }
            }
        }
        None
    }

    /// What a test says under `key`, over what the tests it is like say.
    pub(super) fn merged(
        &self,
        cases: &[Case<'_>],
        at: usize,
        key: &str,
        context: &mut Context<'_>,
    ) -> Option<Node> {
        let mut chain = vec![at];
        let mut last = at;
        while let Some(next) = self.find(cases, last, context) {
            if chain.contains(&next) || chain.len() == LONGEST_CHAIN {
                let span = cases[at]
                    .fields
                    .get("like")
                    .map_or(cases[at].fields.span, |like| like.span);
                context.problems.error(
                    Code::LikeItself,
                    span,
                    "this test is like itself, or the chain of `like` is too long",
                );
                return None;
            }
            chain.push(next);
            last = next;
        }
        let nodes = chain
            .iter()
            .rev()
            .filter_map(|at| cases[*at].fields.get(key));
        nodes.cloned().reduce(merge)
    }
}

/// Maps key by key; anything else is replaced.
fn merge(under: Node, over: Node) -> Node {
    match (under.value, over.value) {
        (Value::Map(under), Value::Map(over_entries)) => {
            let mut entries: Vec<Entry> = under;
            for entry in over_entries {
                match entries.iter().position(|known| known.key == entry.key) {
                    Some(at) => {
                        let known = entries.remove(at);
                        entries.insert(
                            at,
                            Entry {
                                value: merge(known.value, entry.value),
                                ..entry
                            },
                        );
                    }
                    None => entries.push(entry),
                }
            }
            Node {
                value: Value::Map(entries),
                ..over
            }
        }
        (_, value) => Node { value, ..over },
    }
}
