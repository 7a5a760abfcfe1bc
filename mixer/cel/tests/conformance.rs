//! The CEL specification's own cases: no wrong answer, and nearly all of them answered.
//!
//! The data lies beside the repository; without it the test says what it skipped.

use std::collections::BTreeMap;
use std::path::Path;

use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{AttributeBag, Duration, Timestamp, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Expect, Kind, List, Map, Val};
use serde_json::Value as Json;

/// What cannot be asked of an evaluator without protobuf messages, host functions, or blocks.
const OUT_OF_SCOPE: [&str; 4] = [
    "needs_proto",
    "needs_function_decl",
    "needs_block",
    "check_only",
];

/// Of every hundred cases in scope, so many must be answered right.
const FLOOR: usize = 97;

enum Outcome {
    Right,
    /// Refused when it was compiled.
    Refused(String),
    Wrong(String),
}

#[test]
fn no_case_of_the_specification_is_answered_wrong() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/cel_conformance.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: the conformance data is not there (about 1000 cases)");
        return;
    };
    let data: Json = serde_json::from_str(&text).expect("the data is JSON");
    let cases = data["cases"].as_array().expect("a list of cases");
    let mut files: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let (mut refused, mut wrong) = (Vec::new(), Vec::new());
    for case in cases {
        let flags = strings(&case["flags"]);
        if flags.iter().any(|flag| OUT_OF_SCOPE.contains(flag)) {
            continue;
        }
        let counts = files
            .entry(case["file"].as_str().expect("the form of the data"))
            .or_default();
        let shown = |reason: String| format!("{} {}\n    {reason}", case["file"], case["expr"]);
        match run(case, flags.contains(&"disable_check")) {
            Outcome::Right => counts[0] += 1,
            Outcome::Refused(reason) => {
                counts[1] += 1;
                refused.push(shown(reason));
            }
            Outcome::Wrong(reason) => {
                counts[2] += 1;
                wrong.push(shown(reason));
            }
        }
    }
    for (file, [right, refused, wrong]) in &files {
        println!("{file:16} {right:4} right {refused:3} refused {wrong:3} wrong");
    }
    let all: usize = files.values().flatten().sum();
    let right: usize = files.values().map(|counts| counts[0]).sum();
    println!(
        "{right} of {all} right\nrefused:\n  {}",
        refused.join("\n  ")
    );
    assert!(
        wrong.is_empty(),
        "{} wrong:\n  {}",
        wrong.len(),
        wrong.join("\n  ")
    );
    assert!(right * 100 >= all * FLOOR, "only {right} of {all} right");
}

fn run(case: &Json, unchecked: bool) -> Outcome {
    let mut compiler = Compiler::new(Vocabulary::new());
    compiler.set_container(case["container"].as_str().unwrap_or_default());
    if unchecked {
        compiler.skip_type_checks();
    }
    let mut values = Vec::new();
    let none = serde_json::Map::new();
    let types = case["type_env"].as_object().unwrap_or(&none);
    let bindings = case["bindings"].as_object().unwrap_or(&none);
    for name in types
        .keys()
        .chain(bindings.keys().filter(|name| !types.contains_key(*name)))
    {
        compiler.variable(
            name,
            types.get(name).map_or(Kind::Dyn, |kind| {
                kind_of(kind.as_str().expect("the form of the data"))
            }),
        );
        values.push(
            bindings
                .get(name)
                .map(|binding| value_of(&binding["value"])),
        );
    }
    let source = case["expr"].as_str().expect("an expression");
    let wants_error = case["expect"].get("error").is_some();
    let expression = match compiler.expression(source, Producer::Report, Expect::Any) {
        Ok(expression) => expression,
        Err(_) if wants_error => return Outcome::Right,
        Err(problems) => return Outcome::Refused(problems[0].message.clone()),
    };
    let references = compiler.finish();
    let bag = AttributeBag::new();
    let mut evaluation = Evaluation::with_variables(&bag, &references, &values);
    match expression.evaluate(&mut evaluation) {
        Err(_) if wants_error => Outcome::Right,
        Err(error) => Outcome::Wrong(format!("error {error}, wanted {}", case["expect"]["value"])),
        Ok(value) if wants_error => Outcome::Wrong(format!("{value:?}, wanted an error")),
        Ok(value) if same(&value, &case["expect"]["value"]) => Outcome::Right,
        Ok(value) => Outcome::Wrong(format!("{value:?}, wanted {}", case["expect"]["value"])),
    }
}

fn strings(list: &Json) -> Vec<&str> {
    list.as_array().map_or(Vec::new(), |list| {
        list.iter().filter_map(Json::as_str).collect()
    })
}

fn kind_of(name: &str) -> Kind {
    match name {
        "null" => Kind::Null,
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "uint" => Kind::Uint,
        "double" => Kind::Double,
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "list(int)" => Kind::List(Box::new(Kind::Int)),
        "map(string, string)" => Kind::Map(Box::new(Kind::String), Box::new(Kind::String)),
        _ => Kind::Dyn,
    }
}

fn value_of(json: &Json) -> Val<'static> {
    let v = &json["v"];
    let text = || v.as_str().unwrap_or_default().to_owned();
    match json["t"].as_str().expect("a type") {
        "null" => Val::Null,
        "bool" => Val::Bool(v.as_bool().expect("the form of the data")),
        "int" => Val::Int(text().parse().expect("the form of the data")),
        "uint" => Val::Uint(text().parse().expect("the form of the data")),
        "double" => Val::Double(text().parse().expect("the form of the data")),
        "string" => Val::from(text()),
        "bytes" => Val::Bytes(base64(&text()).into()),
        "list" => Val::List(
            v.as_array()
                .expect("the form of the data")
                .iter()
                .map(value_of)
                .collect::<List<'_>>(),
        ),
        "map" => {
            let entries = v
                .as_array()
                .expect("the form of the data")
                .iter()
                .map(|entry| (value_of(&entry[0]), value_of(&entry[1])));
            Val::Map(Map::build(entries.collect()).expect("the form of the data"))
        }
        "duration" => Val::Duration(Duration {
            seconds: v[0].as_i64().expect("the form of the data"),
            nanos: v[1].as_u64().expect("the form of the data") as u32,
        }),
        "timestamp" => Val::Timestamp(Timestamp {
            seconds: v[0].as_i64().expect("the form of the data"),
            nanos: v[1].as_u64().expect("the form of the data") as u32,
        }),
        other => panic!("a value of type {other}"),
    }
}

fn same(value: &Val<'_>, json: &Json) -> bool {
    if json["t"] == "type" {
        return matches!(value, Val::Type(name) if json["v"] == **name);
    }
    exactly(value, &value_of(json))
}

/// The same type and value; as doubles, NaN is itself and the sign of zero counts.
fn exactly(a: &Val<'_>, b: &Val<'_>) -> bool {
    match (a, b) {
        (Val::Double(a), Val::Double(b)) => {
            a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
        }
        (Val::List(a), Val::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| exactly(&a, &b))
        }
        (Val::Map(a), Val::Map(b)) => {
            let (a, b) = (
                a.entries().expect("the form of the data"),
                b.entries().expect("the form of the data"),
            );
            a.len() == b.len()
                && a.iter()
                    .zip(&b)
                    .all(|(a, b)| exactly(&a.0, &b.0) && exactly(&a.1, &b.1))
        }
        _ => format!("{a:?}") == format!("{b:?}") && a.type_name() == b.type_name(),
    }
}

fn base64(text: &str) -> Vec<u8> {
    let mut compiler = Compiler::new(Vocabulary::new());
    let source = format!("base64.decode({text:?})");
    let expression = compiler
        .expression(&source, Producer::Check, Expect::Any)
        .expect("the form of the data");
    let references = compiler.finish();
    let bag = AttributeBag::new();
    match expression.evaluate(&mut Evaluation::new(&bag, &references)) {
        Ok(Val::Bytes(bytes)) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}
