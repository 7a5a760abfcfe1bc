//! Five typical conditions, each beside the `cel` crate's evaluator, which is given its maps of the request already built: here
//! a request starts with making an `Evaluation`, there with nothing. The ratio is what counts; both run on the same machine.
//!
//! `cargo bench -p mixer-cel` (allocations per evaluation are a test: `tests/allocations.rs`). The sixth compiles the first.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use cel::{Context, Env, Value as CelValue};
use criterion::{Criterion, criterion_group, criterion_main};
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

fn evaluate(criterion: &mut Criterion) {
    let request = request();
    let bag = request.bag();
    for (name, source) in CONDITIONS {
        let mut compiler = Compiler::new(Vocabulary::new());
        let expression = compiler
            .expression(source, Producer::Check, Expect::Kind(Kind::Bool))
            .expect("it compiles");
        let references = compiler.finish();
        let mut group = criterion.benchmark_group(name);
        group.bench_function("mixer-cel", |bencher| {
            bencher.iter(|| {
                let mut evaluation = Evaluation::new(&bag, &references);
                assert_eq!(black_box(&expression).test(&mut evaluation), Ok(true));
            });
        });
        let env = Arc::new(Env::stdlib());
        let program = env.compile(source).expect("it parses");
        let mut context = Context::with_env(Arc::clone(&env));
        for (root, value) in as_maps() {
            context.add_variable(root, value).expect("JSON is CEL");
        }
        group.bench_function("cel", |bencher| {
            bencher.iter(|| {
                assert_eq!(
                    black_box(&program).execute(&context),
                    Ok(CelValue::Bool(true))
                )
            });
        });
        group.finish();
    }
}

/// The same request as the other evaluator reads it.
fn as_maps() -> Vec<(String, serde_json::Value)> {
    let headers: serde_json::Map<String, serde_json::Value> = (0..11)
        .map(|at| (format!("x-header-{at}"), "some value".into()))
        .chain([("tester".into(), "yes".into())])
        .collect();
    let request = json!({"method": "OPTIONS", "path": "/products/17", "headers": headers});
    let claims = json!({"groups": ["a", "b", "c", "d", "e", "f", "g", "admins"]});
    let roots = [
        ("source", json!({"namespace": "shop"})),
        ("request", request),
        ("auth", json!({"claims": claims})),
    ];
    roots
        .into_iter()
        .map(|(root, value)| (root.to_owned(), value))
        .collect()
}

fn compile(criterion: &mut Criterion) {
    let mut compiler = Compiler::new(Vocabulary::new());
    criterion.bench_function("compile", |bencher| {
        bencher.iter(|| {
            compiler
                .expression(black_box(CONDITIONS[0].1), Producer::Check, Expect::Any)
                .is_ok()
        });
    });
}

criterion_group!(benches, evaluate, compile);
criterion_main!(benches);
