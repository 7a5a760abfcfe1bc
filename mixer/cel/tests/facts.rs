//! Facts: what an index may call false is false, and what is told of common conditions.

use mixer_attributes::vocabulary::{self as v, Producer};
use mixer_attributes::{AttributeBag, Dynamic, Entry, StringMap, Value, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Expect, Expression, Fact, FactTest, Kind, Said};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Whether the facts make a condition false for `bag`: what an index does with them.
fn is_false(facts: &[Fact], bag: &AttributeBag<'_>) -> bool {
    facts.iter().any(|fact| {
        let passes = |test: &FactTest| match (fact.question.said(bag), test) {
            (Said::Text(text), FactTest::Is(is)) => *text == **is,
            (Said::Text(text), FactTest::StartsWith(start)) => text.starts_with(&**start),
            (Said::Text(text), FactTest::EndsWith(end)) => text.ends_with(&**end),
            (Said::Scalar(scalar), FactTest::Equals(equals)) => scalar == *equals,
            (Said::Text(_) | Said::Scalar(_), _) => false,
            (Said::Error | Said::Anything, _) => true,
        };
        !fact.tests.iter().any(passes)
    })
}

/// A map with one key given twice.
struct Twice;

impl StringMap for Twice {
    fn lookup(&self, key: &str) -> Entry<'_> {
        match key {
            "q" => Entry::Ambiguous,
            _ => Entry::Absent,
        }
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)> {
        vec![("q".into(), Entry::Ambiguous)]
    }
}

fn compile(source: &str) -> (Expression, mixer_cel::References) {
    let mut compiler = Compiler::new(Vocabulary::new());
    let expression = compiler.expression(source, Producer::Check, Expect::Kind(Kind::Bool));
    let expression = expression.unwrap_or_else(|problems| panic!("{source}: {problems:?}"));
    (expression, compiler.finish())
}

/// Conditions, and how many of the bags below their facts rule out.
const CONDITIONS: &[(&str, usize)] = &[
    (r#"request.method == "GET""#, 3),
    (r#"request.method in ["GET", "PUT"]"#, 2),
    (r#"request.method != "GET""#, 0),
    (r#"request.path.startsWith("/a")"#, 2),
    (r#"request.path.endsWith("z")"#, 3),
    (r#"request.path.contains("z")"#, 0),
    (
        r#"request.path == "/a" || request.path.startsWith("/b")"#,
        2,
    ),
    (r#"request.path == "/a" || request.method == "GET""#, 0),
    (
        r#"(request.path == "/x" && connection.mtls) || request.path == "/y""#,
        4,
    ),
    (r#"request.headers["x"] == "1""#, 1),
    (r#"request.headers[?"x"].orValue("") == "1""#, 4),
    (r#"request.headers[?"x"].orValue("1") == "1""#, 1),
    (r#"has(request.headers.x) && request.headers.x == "1""#, 4),
    (r#""x" in request.headers"#, 2),
    (r#"!("x" in request.headers)"#, 2),
    (r#"!has(request.method)"#, 4),
    (r#"connection.mtls"#, 1),
    (r#"!connection.mtls"#, 1),
    (r#"!(connection.mtls && request.method == "GET")"#, 0),
    (r#"connection.mtls == false"#, 1),
    (r#"destination.port == 80"#, 1),
    (r#"destination.port in [80, 443]"#, 1),
    (r#"source.ip == "10.0.0.1""#, 1),
    (r#"auth.claims.level == 7"#, 1),
    (r#"auth.claims.level == "7""#, 0),
    (r#"auth.claims[?"level"].orValue("") == "7""#, 3),
    (r#"request.query["q"] == "v""#, 0),
    (r#""q" in request.query"#, 0),
    (r#"source.namespace == "a" && request.method == "GET""#, 3),
    (
        r#"request.headers.exists(name, name == "x") && request.method == "GET""#,
        3,
    ),
    (r#"[1].size() == 1 ? request.method == "GET" : false"#, 0),
    ("true", 0),
];

#[test]
fn what_facts_call_false_is_false() {
    let headers = |value: &str| BTreeMap::from([("x".to_owned(), value.to_owned())]);
    let (one, two, none) = (headers("1"), headers("2"), BTreeMap::new());
    let claims = |level| Dynamic::Map(vec![("level".to_owned(), level)]);
    let (seven, eight) = (claims(Dynamic::Double(7.0)), claims(Dynamic::Int(8)));
    let mut bags: Vec<AttributeBag<'_>> = Vec::new();
    for (method, path) in [
        ("GET", "/a/z"),
        ("PUT", "/b"),
        ("POST", "/c"),
        ("HEAD", "/a"),
    ] {
        let mut bag = AttributeBag::new();
        bag.set(v::REQUEST_METHOD, Value::String(method));
        bag.set(v::REQUEST_PATH, Value::String(path));
        bags.push(bag);
    }
    bags[0].set(v::REQUEST_HEADERS, Value::Map(&one));
    bags[1].set(v::REQUEST_HEADERS, Value::Map(&two));
    bags[2].set(v::REQUEST_HEADERS, Value::Map(&none));
    bags[3].set(v::REQUEST_HEADERS, Value::Map(&none));
    bags[0].set(v::CONNECTION_MTLS, Value::Bool(true));
    bags[1].set(v::CONNECTION_MTLS, Value::Bool(false));
    bags[0].set(v::DESTINATION_PORT, Value::Int(80));
    bags[1].set(v::DESTINATION_PORT, Value::Int(8080));
    bags[0].set(v::SOURCE_IP, Value::Ip([10, 0, 0, 1].into()));
    bags[1].set(v::SOURCE_IP, Value::Ip([10, 0, 0, 2].into()));
    bags[0].set(v::AUTH_CLAIMS, Value::Dynamic(&seven));
    bags[1].set(v::AUTH_CLAIMS, Value::Dynamic(&eight));
    bags[0].set(v::REQUEST_QUERY, Value::Map(&Twice));
    // Nothing at all.
    bags.push(AttributeBag::new());
    for (source, expected) in CONDITIONS {
        let (expression, references) = compile(source);
        let facts = expression.facts();
        let mut ruled_out = 0;
        for bag in &bags {
            if is_false(&facts, bag) {
                ruled_out += 1;
                let value = expression.test(&mut Evaluation::new(bag, &references));
                assert_eq!(value, Ok(false), "{source} for {bag:?}");
            }
        }
        assert_eq!(ruled_out, *expected, "{source}: {facts:?}");
    }
}

#[test]
fn asking_a_question_notes_what_was_read() {
    let (expression, references) = compile(r#"request.headers[?"x"].orValue("") == "1""#);
    let (bag, facts) = (AttributeBag::new(), expression.facts());
    let mut evaluation = Evaluation::new(&bag, &references);
    assert_eq!(
        facts[0].question.ask(&mut evaluation),
        Said::Text("".into())
    );
    let referenced = evaluation.referenced();
    assert_eq!(referenced.len(), 1);
    assert_eq!(referenced[0].0.attribute, v::REQUEST_HEADERS);
    assert_eq!(referenced[0].0.key.as_deref(), Some("x"));
}
