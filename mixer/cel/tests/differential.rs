//! Generated expressions give here what the `cel` crate's evaluator gives, or an error where it gives one.
//!
//! Types are left out of the comparison (that evaluator has none): what the checker refuses is evaluated unchecked.

use std::sync::{Arc, LazyLock};

use cel::{Context, Env, Value as Theirs};
use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{AttributeBag, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Expect, Val};
use proptest::prelude::*;
use proptest::sample::select;

/// Sources of expressions whose types mostly fit.
fn expressions() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => truth(4),
        2 => int(4),
        2 => text(4),
        1 => list(4),
        1 => double(3),
        1 => uint(4),
        1 => blob(3),
        1 => span(3),
        1 => map(3),
        1 => mixed(),
    ]
}

fn binary(
    a: BoxedStrategy<String>,
    operators: Vec<&'static str>,
    b: BoxedStrategy<String>,
) -> BoxedStrategy<String> {
    (a, select(operators), b)
        .prop_map(|(a, operator, b)| format!("({a} {operator} {b})"))
        .boxed()
}

fn truth(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec![
            "true",
            "false",
            "'a' == 'b'",
            "1/0 == 1",
            "{'a': 1}.b == 1",
        ])
        .prop_map(str::to_owned)
        .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        1 => truth(0),
        3 => binary(truth(less), vec!["&&", "||", "==", "!="], truth(less)),
        2 => binary(int(less), orders(), int(less)),
        1 => binary(double(less), orders(), double(less)),
        1 => (int(less), select(orders()), double(less)).prop_map(|(a, op, b)| format!("(dyn({a}) {op} {b})")),
        1 => binary(text(less), orders(), text(less)),
        1 => binary(list(less), vec!["==", "!="], list(less)),
        1 => binary(int(less), vec!["in"], list(less)),
        1 => truth(less).prop_map(|a| format!("!({a})")),
        1 => (text(less), select(vec!["startsWith", "endsWith", "contains"]), text(less))
            .prop_map(|(a, f, b)| format!("({a}).{f}({b})")),
        1 => (list(less), each(), int(less)).prop_map(|(a, f, b)| format!("({a}).{f}(x, x % 2 == {b})")),
        1 => (truth(less), truth(less), truth(less)).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        1 => text(less).prop_map(|a| format!("has({{'a': {a}}}.a)")),
        1 => optional(less).prop_map(|a| format!("({a}).hasValue()")),
        1 => (map(less), text(0)).prop_map(|(a, b)| format!("({b} in {a})")),
        1 => (map(less), each(), truth(less)).prop_map(|(a, f, b)| format!("({a}).{f}(k, k == 'k' || {b})")),
        1 => binary(map(less), vec!["==", "!="], map(less)),
        1 => binary(uint(less), orders(), uint(less)),
        1 => (uint(less), select(orders()), int(less)).prop_map(|(a, op, b)| format!("(dyn({a}) {op} {b})")),
        1 => binary(blob(less), orders(), blob(less)),
        1 => binary(span(less), orders(), span(less)),
        1 => absorbing(less),
    ]
    .boxed()
}

fn orders() -> Vec<&'static str> {
    vec!["==", "!=", "<", "<=", ">", ">="]
}

fn each() -> impl Strategy<Value = &'static str> {
    select(vec!["all", "exists", "exists_one"])
}

/// What errs on one side, on the other, on both, or in some turns only.
fn absorbing(depth: u32) -> BoxedStrategy<String> {
    let error = || {
        select(vec![
            "1/0 == 1",
            "[][0] == 1",
            "{}.a",
            "int('x') == 1",
            "dyn('a') > 1",
        ])
    };
    let connective = || select(vec!["&&", "||"]);
    prop_oneof![
        (error(), connective(), truth(depth)).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        (truth(depth), connective(), error()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        (error(), connective(), error()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        (error(), truth(depth), truth(depth)).prop_map(|(a, b, c)| format!("({b} ? {a} : {c})")),
        (each(), int(0), int(0))
            .prop_map(|(f, a, b)| format!("[3, 0, 1].{f}(x, 6 / x > {a} || x == {b})")),
        (each(), int(0)).prop_map(|(f, a)| format!("[1, 'a', 2u].{f}(x, x == {a})")),
    ]
    .boxed()
}

/// Optionals of ints.
fn optional(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec![
            "optional.none()",
            "optional.of(1)",
            "{'k': 2}.?k",
            "{'k': 2}.?l",
            "[5][?0]",
            "[5][?1]",
        ])
        .prop_map(str::to_owned)
        .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        1 => optional(0),
        2 => int(less).prop_map(|a| format!("optional.of({a})")),
        1 => int(less).prop_map(|a| format!("optional.ofNonZeroValue({a})")),
        2 => (map(less), select(vec![".?k", "[?'l']"])).prop_map(|(a, f)| format!("({a}){f}")),
        1 => (list(less), int(0)).prop_map(|(a, b)| format!("({a})[?{b}]")),
        2 => (optional(less), optional(0)).prop_map(|(a, b)| format!("({a}).or({b})")),
    ]
    .boxed()
}

/// Maps of text to int.
fn map(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec!["{}", "{'k': 1}", "{'k': 1, 'l': 0}"])
            .prop_map(str::to_owned)
            .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        1 => map(0),
        2 => (int(less), int(less)).prop_map(|(a, b)| format!("{{'k': {a}, 'l': {b}}}")),
        1 => (text(less), int(less)).prop_map(|(a, b)| format!("{{{a}: {b}}}")),
        1 => optional(less).prop_map(|a| format!("{{?'k': {a}, 'l': 3}}")),
    ]
    .boxed()
}

fn uint(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec!["0u", "1u", "7u", "18446744073709551615u"])
            .prop_map(str::to_owned)
            .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        1 => uint(0),
        3 => binary(uint(less), vec!["+", "-", "*", "/", "%"], uint(less)),
        1 => int(less).prop_map(|a| format!("uint({a})")),
        1 => double(less).prop_map(|a| format!("uint({a})")),
    ]
    .boxed()
}

fn blob(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec!["b''", "b'a'", "b'\\xff'", "b'\u{fc}'"])
            .prop_map(str::to_owned)
            .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        1 => blob(0),
        2 => binary(blob(less), vec!["+"], blob(less)),
        1 => text(less).prop_map(|a| format!("bytes({a})")),
    ]
    .boxed()
}

/// Spans of time of whole seconds.
fn span(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec![
            "duration('0s')",
            "duration('90s')",
            "duration('-1h')",
            "duration('9223372036s')",
        ])
        .prop_map(str::to_owned)
        .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        1 => span(0),
        2 => binary(span(less), vec!["+", "-"], span(less)),
        1 => binary(time(less), vec!["-"], time(less)),
    ]
    .boxed()
}

/// Given in UTC: the other evaluator keeps the offset of what it read, and the specification says UTC.
fn time(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec![
            "timestamp('2009-02-13T23:31:30Z')",
            "timestamp('1969-12-31T23:00:00Z')",
            "timestamp('9999-12-31T23:59:59Z')",
        ])
        .prop_map(str::to_owned)
        .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        1 => time(0),
        2 => binary(time(less), vec!["+", "-"], span(less)),
    ]
    .boxed()
}

fn int(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec!["0", "1", "-1", "2", "7", "9223372036854775807"])
            .prop_map(str::to_owned)
            .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        2 => int(0),
        3 => binary(int(less), vec!["+", "-", "*", "/", "%"], int(less)),
        1 => int(less).prop_map(|a| format!("-({a})")),
        1 => text(less).prop_map(|a| format!("size({a})")),
        1 => list(less).prop_map(|a| format!("size({a})")),
        1 => (list(less), int(0)).prop_map(|(a, b)| format!("({a})[{b}]")),
        1 => (truth(less), int(less), int(less)).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        1 => double(less).prop_map(|a| format!("int({a})")),
        1 => (int(less), int(less)).prop_map(|(a, b)| format!("{{'k': {a}, 'l': {b}}}.k")),
        1 => (int(less), int(0)).prop_map(|(a, b)| format!("{{0: {a}}}[{b}]")),
        // The other evaluator looks at an alternative that is not needed, so none of these errs.
        1 => (optional(less), int(0)).prop_map(|(a, b)| format!("({a}).orValue({b})")),
        1 => optional(less).prop_map(|a| format!("({a}).value()")),
        1 => map(less).prop_map(|a| format!("size({a})")),
        1 => blob(less).prop_map(|a| format!("size({a})")),
        1 => uint(less).prop_map(|a| format!("int({a})")),
        1 => text(less).prop_map(|a| format!("int({a})")),
        1 => (span(less), select(vec!["Seconds", "Minutes", "Hours"])).prop_map(|(a, f)| format!("({a}).get{f}()")),
        1 => (time(less), select(vec!["FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "Hours"]))
            .prop_map(|(a, f)| format!("({a}).get{f}()")),
    ]
    .boxed()
}

fn double(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec!["0.0", "1.5", "-2.0", "1e15", "0.1"])
            .prop_map(str::to_owned)
            .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        1 => double(0),
        2 => binary(double(less), vec!["+", "-", "*", "/"], double(less)),
        1 => int(less).prop_map(|a| format!("double({a})")),
    ]
    .boxed()
}

fn text(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec!["''", "'a'", "'ab'", "'b\\n'", "'\u{fc}\u{1f600}'"])
            .prop_map(str::to_owned)
            .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        2 => text(0),
        2 => binary(text(less), vec!["+"], text(less)),
        1 => int(less).prop_map(|a| format!("string({a})")),
        1 => double(0).prop_map(|a| format!("string({a})")),
        1 => (truth(less), text(less), text(less)).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
    ]
    .boxed()
}

fn list(depth: u32) -> BoxedStrategy<String> {
    if depth == 0 {
        return select(vec!["[1, 2, 3]", "[0]", "[7, 7]"])
            .prop_map(str::to_owned)
            .boxed();
    }
    let less = depth - 1;
    prop_oneof![
        1 => list(0),
        1 => binary(list(less), vec!["+"], list(less)),
        1 => (int(less), int(less)).prop_map(|(a, b)| format!("[{a}, {b}]")),
        1 => (list(less), int(less)).prop_map(|(a, b)| format!("({a}).map(x, x + {b})")),
        1 => (list(less), truth(less)).prop_map(|(a, b)| format!("({a}).filter(x, x > 1 || {b})")),
        1 => (list(less), truth(less), int(less)).prop_map(|(a, b, c)| format!("({a}).map(x, x > 1 || {b}, x - {c})")),
        1 => map(less).prop_map(|a| format!("({a}).map(k, size(k))")),
        1 => (optional(less), int(less)).prop_map(|(a, b)| format!("[?{a}, {b}]")),
    ]
    .boxed()
}

/// Anything anywhere, so that what does not fit is met too.
fn mixed() -> BoxedStrategy<String> {
    let leaf = select(vec![
        "1",
        "1u",
        "2.0",
        "18446744073709551615u",
        "true",
        "null",
        "'a'",
        "b'a'",
        "[]",
        "['a', 1]",
        "{}",
        "{1: 'x', 2: 'y'}",
        "{'a': {'b': 2}}",
        "duration('90s')",
        "timestamp('2009-02-13T23:31:30Z')",
        "int",
        "dyn(1)",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 40, 3, |inner| {
        let operators = select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]);
        let function = select(vec!["size", "int", "uint", "double", "string", "type", "dyn", "bool"]);
        let each = select(vec!["all", "exists", "exists_one", "filter", "map"]);
        prop_oneof![
            4 => (inner.clone(), operators, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            1 => (function, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            1 => inner.clone().prop_map(|a| format!("({a}).a")),
            1 => inner.clone().prop_map(|a| format!("has(({a}).a)")),
            1 => (inner.clone(), each, inner.clone()).prop_map(|(a, f, b)| format!("({a}).{f}(x, {b})")),
            1 => (inner.clone(), inner).prop_map(|(a, b)| format!("[{a}, {b}]")),
        ]
    })
    .boxed()
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
    static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));
    let program = ENV.compile(source).map_err(|error| error.to_string())?;
    let value = program
        .execute(&Context::with_env(Arc::clone(&ENV)))
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
            (Ok(ours), Ok(theirs)) => { prop_assert_eq!(ours, theirs, "{}", source)},
            (Err(_), Err(_)) => {}
            _ => prop_assert!(false, "{source}\n ours {ours:?}\n theirs {theirs:?}"),
        }
    }
}
