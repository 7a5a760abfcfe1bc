//! Five typical conditions beside the `cel` crate's evaluator, and what loading one costs: `cargo bench -p mixer-cel`.
//!
//! The other evaluator is given its best case: one environment, names flat as written, every value of the request built before
//! the clock starts. Here a decision starts from nothing but the request's bag. Each figure is the least of many short batches,
//! because on a shared machine the rest is noise of others; the ratios are what counts.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cel::{Context, Env, Value as CelValue};
use criterion::measurement::{Measurement, WallTime};
use mixer_attributes::vocabulary::{self as v, Producer};
use mixer_attributes::{Dynamic, OwnedBag, OwnedValue, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Expect, Kind};
use serde_json::json;

const CONDITIONS: [(&str, &str); 5] = [
    (
        "equality, in, prefix",
        r#"source.namespace == "shop" && request.method in ["GET", "HEAD", "OPTIONS"] && request.path.startsWith("/products")"#,
    ),
    (
        "header",
        r#"has(request.headers.tester) && request.headers["tester"] == "yes""#,
    ),
    (
        "ten alternatives",
        r#"source.namespace == "a" || source.namespace == "b" || source.namespace == "c" || source.namespace == "d" || source.namespace == "e" || source.namespace == "f" || source.namespace == "g" || source.namespace == "h" || source.namespace == "i" || source.namespace == "shop""#,
    ),
    ("pattern", r#"request.path.matches("^/products/[0-9]+$")"#),
    ("claims", r#"auth.claims.groups.exists(g, g == "admins")"#),
];

/// Batches of which the fastest counts, and how long one takes: less than the time a scheduler gives at once.
const BATCHES: usize = 1_000;
const BATCH: Duration = Duration::from_micros(500);

fn main() {
    println!("| condition | mixer-cel | allocations | cel 0.15 | allocations | ratio |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let request = request();
    let bag = request.bag();
    let env = Arc::new(Env::stdlib());
    let mut context = Context::with_env(Arc::clone(&env));
    for (name, value) in built() {
        context.add_variable(name, value).expect("JSON is CEL");
    }
    for (name, source) in CONDITIONS {
        let mut compiler = Compiler::new(Vocabulary::new());
        let expression = compiler
            .expression(source, Producer::Check, Expect::Kind(Kind::Bool))
            .expect("it compiles");
        let references = compiler.finish();
        let ours = measure(|| {
            let mut evaluation = Evaluation::new(&bag, &references);
            assert_eq!(black_box(&expression).test(&mut evaluation), Ok(true));
        });
        let program = env.compile(source).expect("it parses");
        let theirs = measure(|| {
            let value = black_box(&program).execute(&context);
            assert_eq!(value, Ok(CelValue::Bool(true)));
        });
        println!(
            "| {name} | {:.0} ns | {} | {:.0} ns | {} | {:.0} |",
            ours.0,
            ours.1,
            theirs.0,
            theirs.1,
            theirs.0 / ours.0
        );
    }
    let mut compiler = Compiler::new(Vocabulary::new());
    let mut at = 0_u64;
    let (nanoseconds, allocations) = measure(|| {
        // Each another, because the tree of a text that comes again is remembered.
        at += 1;
        let source = format!("{} && request.size != {at}", black_box(CONDITIONS[0].1));
        let compiled = compiler.expression(&source, Producer::Check, Expect::Any);
        assert!(compiled.is_ok());
    });
    println!(
        "\ncompiling the first with a fourth term: {:.0} us, {allocations} allocations",
        nanoseconds / 1000.0
    );
}

/// Nanoseconds of one run in the fastest batch, and the allocations of one run.
fn measure(mut run: impl FnMut()) -> (f64, u64) {
    run();
    let allocations = allocation_counter::measure(&mut run).count_total;
    let mut fastest = f64::INFINITY;
    let mut runs = 1_u32;
    for _ in 0..BATCHES {
        let start = WallTime.start();
        for _ in 0..runs {
            run();
        }
        let took = WallTime.end(start);
        // Only a batch that is long against the clock's steps counts.
        if took * 2 > BATCH {
            fastest = fastest.min(took.as_secs_f64() * 1e9 / f64::from(runs));
        }
        let fitting = BATCH.as_secs_f64() / took.as_secs_f64().max(1e-9) * f64::from(runs);
        runs = (fitting as u32).clamp(1, 10_000_000);
    }
    (fastest, allocations)
}

fn request() -> OwnedBag {
    let headers: BTreeMap<String, String> = (0..11)
        .map(|at| (format!("x-header-{at}"), "some value".to_owned()))
        .chain([("tester".to_owned(), "yes".to_owned())])
        .collect();
    let groups = ["a", "b", "c", "d", "e", "f", "g", "admins"];
    let groups = groups
        .iter()
        .map(|group| Dynamic::String((*group).to_owned()))
        .collect();
    let claims = Dynamic::Map(vec![("groups".to_owned(), Dynamic::List(groups))]);
    let mut bag = OwnedBag::new();
    bag.set(v::SOURCE_NAMESPACE, OwnedValue::String("shop".into()))
        .set(v::REQUEST_METHOD, OwnedValue::String("OPTIONS".into()))
        .set(v::REQUEST_PATH, OwnedValue::String("/products/17".into()))
        .set(v::REQUEST_HEADERS, OwnedValue::Map(headers))
        .set(v::AUTH_CLAIMS, OwnedValue::Dynamic(claims));
    bag
}

/// The same request as the other evaluator reads it.
fn built() -> [(&'static str, serde_json::Value); 5] {
    let headers: serde_json::Map<String, serde_json::Value> = (0..11)
        .map(|at| (format!("x-header-{at}"), "some value".into()))
        .chain([("tester".into(), "yes".into())])
        .collect();
    [
        ("source.namespace", json!("shop")),
        ("request.method", json!("OPTIONS")),
        ("request.path", json!("/products/17")),
        ("request.headers", json!(headers)),
        (
            "auth.claims",
            json!({"groups": ["a", "b", "c", "d", "e", "f", "g", "admins"]}),
        ),
    ]
}
