//! Generated expressions give here what the `cel` crate's evaluator gives, or an error where it gives one.
//!
//! Types are left out of the comparison (that evaluator has none): what the checker refuses is evaluated unchecked.

use cel::{Context, Program, Value as Theirs};
use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{AttributeBag, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Expect, Val};
use proptest::prelude::*;
use proptest::sample::select;

/// Sources of expressions of all types, nested.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "0",
        "1",
        "-1",
        "2",
        "7",
        "9223372036854775807",
        "1u",
        "3u",
        "18446744073709551615u",
        "0.0",
        "1.5",
        "-2.0",
        "2.0",
        "true",
        "false",
        "null",
        "''",
        "'a'",
        "'ab'",
        "'b'",
        "'\u{fc}\u{1f600}'",
        "b'a'",
        "[]",
        "[1, 2, 3]",
        "['a', 'b']",
        "{}",
        "{'a': 1}",
        "{1: 'x', 2: 'y'}",
        "{'a': {'b': 2}}",
        "duration('90s')",
        "timestamp('2009-02-13T23:31:30Z')",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 40, 3, |inner| {
        let binary =
            select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"]);
        let function = select(vec!["size", "int", "uint", "double", "string", "type", "dyn", "bool"]);
        let method = select(vec!["startsWith", "endsWith", "contains"]);
        let each = select(vec!["all", "exists", "exists_one", "filter", "map"]);
        prop_oneof![
            4 => (inner.clone(), binary, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            1 => (function, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            1 => (inner.clone(), method, inner.clone()).prop_map(|(a, f, b)| format!("({a}).{f}({b})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            1 => inner.clone().prop_map(|a| format!("({a}).a")),
            1 => inner.clone().prop_map(|a| format!("has(({a}).a)")),
            1 => (inner.clone(), each, inner.clone()).prop_map(|(a, f, b)| format!("({a}).{f}(x, {b})")),
            1 => (inner.clone(), each_of_x(), inner.clone()).prop_map(|(a, f, b)| format!("({a}).{f} {b})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            1 => (inner.clone(), inner).prop_map(|(a, b)| format!("{{'k': {a}, 'l': {b}}}")),
        ]
    })
}

fn each_of_x() -> impl Strategy<Value = &'static str> {
    select(vec![
        "all(x, x !=",
        "exists(x, x ==",
        "exists_one(x, x ==",
        "filter(x, x <",
        "map(x, x +",
    ])
}

fn ours(source: &str) -> Result<String, String> {
    let mut compiler = Compiler::new(Vocabulary::new());
    let checked = compiler.expression(source, Producer::Check, Expect::Any);
    compiler.skip_type_checks();
    let expression =
        match checked.or_else(|_| compiler.expression(source, Producer::Check, Expect::Any)) {
            Ok(expression) => expression,
            Err(problems) => return Err(problems[0].message.clone()),
        };
    let references = compiler.finish();
    let bag = AttributeBag::new();
    let value = expression.evaluate(&mut Evaluation::new(&bag, &references));
    value
        .map(|value| shown(&value))
        .map_err(|error| error.to_string())
}

fn shown(value: &Val<'_>) -> String {
    match value {
        Val::List(list) => format!(
            "[{}]",
            list.iter()
                .map(|item| shown(&item))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        Val::Map(map) => {
            let entries = map.entries().unwrap_or_default();
            let mut entries: Vec<_> = entries
                .iter()
                .map(|(k, v)| format!("{}: {}", shown(k), shown(v)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Val::Double(number) => format!("{number:?}"),
        Val::Uint(number) => format!("{number}u"),
        Val::String(text) => format!("{:?}", &**text),
        Val::Type(name) => format!("{name:?}"),
        other => other.to_text(),
    }
}

fn theirs(source: &str) -> Result<String, String> {
    let program = Program::compile(source).map_err(|error| error.to_string())?;
    let value = program
        .execute(&Context::default())
        .map_err(|error| error.to_string())?;
    Ok(shown_theirs(&value))
}

fn shown_theirs(value: &Theirs) -> String {
    match value {
        Theirs::List(list) => format!(
            "[{}]",
            list.iter().map(shown_theirs).collect::<Vec<_>>().join(", ")
        ),
        Theirs::Map(map) => {
            let entries = map.map.iter();
            let mut entries: Vec<_> = entries
                .map(|(k, v)| format!("{}: {}", shown_theirs(&Theirs::from(k)), shown_theirs(v)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Theirs::Int(number) => number.to_string(),
        Theirs::UInt(number) => format!("{number}u"),
        Theirs::Float(number) => format!("{number:?}"),
        Theirs::String(text) => format!("{text:?}"),
        Theirs::Bytes(bytes) => bytes.escape_ascii().to_string(),
        Theirs::Bool(bit) => bit.to_string(),
        Theirs::Null => "null".to_owned(),
        Theirs::Duration(span) => format!("{}s", span.num_seconds()),
        Theirs::Timestamp(time) => time.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        other => format!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_expressions_mean_the_same_in_both(source in expressions()) {
        let (ours, theirs) = (ours(&source), theirs(&source));
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs, "{}", source),
            (Err(_), Err(_)) => {}
            _ => prop_assert!(false, "{source}\n ours {ours:?}\n theirs {theirs:?}"),
        }
    }
}
