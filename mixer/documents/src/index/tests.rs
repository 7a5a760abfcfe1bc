//! What an index finds: every rule that can act, and of the others as few as promised.

use mixer_attributes::vocabulary::{self as v, Producer};
use mixer_attributes::{AttributeBag, Value, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Expect, Expression, Kind, References};

use super::Index;

struct Conditions {
    list: Vec<Expression>,
    references: References,
    index: Index,
}

impl Conditions {
    fn new(sources: impl IntoIterator<Item = String>) -> Self {
        let mut compiler = Compiler::new(Vocabulary::new());
        let compile = |source: String| {
            let compiled = compiler.expression(&source, Producer::Check, Expect::Kind(Kind::Bool));
            compiled.unwrap_or_else(|problems| panic!("{source}: {problems:?}"))
        };
        let list: Vec<Expression> = sources.into_iter().map(compile).collect();
        let facts: Vec<_> = list.iter().map(Expression::facts).collect();
        Self {
            index: Index::new(&facts),
            list,
            references: compiler.finish(),
        }
    }

    /// The candidates for a request, and how many references were read to find them.
    fn candidates(&self, bag: &AttributeBag<'_>, errors: bool) -> (Vec<usize>, usize) {
        let mut evaluation = Evaluation::new(bag, &self.references);
        let mut walk = self.index.walk();
        let found = std::iter::from_fn(|| walk.next(&mut evaluation, errors)).collect();
        (found, evaluation.referenced().len())
    }
}

fn request<'a>(namespace: Option<&'a str>, method: &'a str, path: &'a str) -> AttributeBag<'a> {
    let mut bag = AttributeBag::new();
    if let Some(namespace) = namespace {
        bag.set(v::SOURCE_NAMESPACE, Value::String(namespace));
    }
    bag.set(v::REQUEST_METHOD, Value::String(method));
    bag.set(v::REQUEST_PATH, Value::String(path));
    bag
}

#[test]
fn of_a_thousand_conditions_only_those_that_can_hold_are_candidates() {
    let conditions = Conditions::new((0..200).map(|at| {
        let method = if at % 2 == 0 { "GET" } else { "PUT" };
        format!(r#"request.method == "{method}" && request.path.startsWith("/part{at}/")"#)
    }));
    let candidates = |method, path| conditions.candidates(&request(None, method, path), true);
    assert_eq!(candidates("GET", "/part12/x"), (vec![12], 2));
    assert_eq!(candidates("PUT", "/part12/x"), (vec![], 2));
    assert_eq!(candidates("GET", "/other"), (vec![], 2));
    // Nothing has the method: the path is not read.
    assert_eq!(candidates("POST", "/part12/x"), (vec![], 1));
}

#[test]
fn what_an_absent_attribute_leaves_open_is_told_apart_by_the_rest() {
    let conditions = Conditions::new(
        (0..100).map(|at| format!(r#"source.namespace == "n{at}" && request.path == "/{at}""#)),
    );
    let absent = request(None, "GET", "/7");
    assert_eq!(conditions.candidates(&absent, true), (vec![7], 2));
    // An error is no match for an allow rule.
    assert_eq!(conditions.candidates(&absent, false), (vec![], 1));
    let known = request(Some("n7"), "GET", "/7");
    assert_eq!(conditions.candidates(&known, true), (vec![7], 1));
}

#[test]
fn candidates_come_in_order_each_once_and_read_nothing_ahead() {
    let mut sources = vec!["connection.mtls".to_owned(); 3];
    for at in 0..6 {
        sources.push(format!(r#"source.namespace in ["a", "n{at}"]"#));
    }
    for at in 0..6 {
        sources.push(format!(
            r#"request.path.startsWith("/a") || request.path == "/a/{at}" || request.path.endsWith("/{at}")"#
        ));
    }
    let conditions = Conditions::new(sources);
    let bag = request(Some("a"), "GET", "/a/5");
    let all: Vec<usize> = (0..15).collect();
    assert_eq!(conditions.candidates(&bag, true), (all, 2));
    let mut evaluation = Evaluation::new(&bag, &conditions.references);
    let mut walk = conditions.index.walk();
    for at in 0..3 {
        assert_eq!(walk.next(&mut evaluation, true), Some(at));
    }
    assert!(evaluation.referenced().is_empty());
    assert_eq!(walk.next(&mut evaluation, true), Some(3));
    assert_eq!(evaluation.referenced().len(), 1);
}

#[test]
fn beginnings_and_ends_are_found_through_their_chain() {
    let affixes = ["", "/", "/a", "/a/b", "/ab", "/b", "/a/b/c/d", "/é"];
    for (function, is) in [
        (
            "startsWith",
            (|text: &str, start: &str| text.starts_with(start)) as fn(&str, &str) -> bool,
        ),
        ("endsWith", |text: &str, end: &str| text.ends_with(end)),
    ] {
        let sources = affixes.map(|affix| format!(r#"request.path.{function}("{affix}")"#));
        let conditions = Conditions::new(sources);
        for text in [
            "", "/", "/a", "/a/b/c", "/a/b/c/d", "/abc", "/c/b", "x/b", "/é", "/è", "/ab/a/b",
        ] {
            let holds = (0..affixes.len()).filter(|at| is(text, affixes[*at]));
            let found = conditions.candidates(&request(None, "GET", text), true).0;
            assert_eq!(found, holds.collect::<Vec<_>>(), "{function} {text}");
        }
    }
}

#[test]
fn an_index_stays_within_its_bounds_and_finds_the_same() {
    let list = (0..60)
        .map(|at| format!("\"v{at}\""))
        .collect::<Vec<_>>()
        .join(", ");
    let deep = |at: usize| {
        let names = [
            "source.namespace",
            "request.method",
            "request.path",
            "request.host",
        ];
        let terms = names.map(|name| format!("{name} in [{list}]")).join(" && ");
        format!(r#"{terms} && request.scheme == "s{at}""#)
    };
    let conditions = Conditions::new((0..40).map(deep));
    let values = 40 * (4 * 60 + 1);
    assert!(conditions.index.entries() <= 33 * (40 + values));
    let mut bag = request(Some("v1"), "v2", "v3");
    bag.set(v::REQUEST_HOST, Value::String("v4"));
    bag.set(v::REQUEST_SCHEME, Value::String("s5"));
    let found = conditions.candidates(&bag, true).0;
    assert!(found.contains(&5));
    let mut evaluation = Evaluation::new(&bag, &conditions.references);
    for (at, condition) in conditions.list.iter().enumerate() {
        assert!(condition.test(&mut evaluation) == Ok(false) || found.contains(&at));
    }
}
