//! The adapter as Mixer uses it.

use std::borrow::Cow;
use std::time::Duration;

use mixer_adapter::conformance::{self, Example};
use mixer_adapter::{Format, MetricKind, Sample, SampleValue};
use serde_json::json;

use super::*;

fn build(env: &Env) -> Handler {
    let registry = mixer_adapter::Registry::new().with::<Prometheus>();
    let handler = registry.by_type("prometheus").unwrap().build(
        json!({"max_series": 2}),
        &Inputs::default(),
        env,
    );
    handler.unwrap()
}

fn requests(labels: &[&str]) -> MetricDefinition {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    MetricDefinition {
        name: "requests".to_owned(),
        help: "Requests.".to_owned(),
        kind: MetricKind::Counter,
        labels,
    }
}

async fn add(handler: &Handler, metric: &MetricDefinition, labels: &[&'static str]) {
    let labels = labels.iter().map(|label| Cow::Borrowed(*label)).collect();
    let sample = Sample {
        metric,
        labels,
        value: SampleValue::Add(1.0),
    };
    handler.report(Batch::Metrics(&[sample])).await.unwrap();
}

fn shows(handler: &Handler, line: &str) -> bool {
    let mut page = Exposition::new(Format::OpenMetrics);
    handler.exposition().unwrap().expose(&mut page);
    let page = page.finish();
    page.lines().any(|shown| shown == line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms() {
    conformance::run::<Prometheus>(&Example::new(json!({}))).await;
    conformance::run::<Prometheus>(&Example::new(json!({"max_series": 1, "expire": "5m"}))).await;
}

#[tokio::test]
async fn conflicting_declarations_are_refused_as_a_whole() {
    let handler = build(&conformance::env("prometheus"));
    handler.declare(&[requests(&["code"])]).unwrap();
    handler.declare(&[requests(&["code"])]).unwrap();
    let other = MetricDefinition {
        name: "fine".to_owned(),
        ..requests(&[])
    };
    let invalid = handler
        .declare(&[other.clone(), requests(&["path"])])
        .unwrap_err();
    assert_eq!(invalid.problems[0].field, "requests");
    // `fine` was not declared with it, so that it still can be anything.
    handler
        .declare(&[MetricDefinition {
            kind: MetricKind::Gauge,
            ..other
        }])
        .unwrap();
}

#[tokio::test]
async fn misfits_and_folded_samples_are_counted_and_shown() {
    let handler = build(&conformance::env("metrics"));
    let metric = requests(&["path"]);
    add(&handler, &metric, &["undeclared"]).await;
    handler.declare(std::slice::from_ref(&metric)).unwrap();
    add(&handler, &metric, &["a", "too many"]).await;
    for path in ["a", "b", "c", "d"] {
        add(&handler, &metric, &[path]).await;
    }
    assert!(shows(&handler, "requests_total{path=\"other\"} 2"));
    assert!(shows(
        &handler,
        "mixer_prometheus_misfit_samples_total{adapter=\"metrics\"} 2"
    ));
    assert!(shows(
        &handler,
        "mixer_prometheus_folded_samples_total{adapter=\"metrics\",metric=\"requests\"} 2"
    ));
    assert!(shows(
        &handler,
        "mixer_prometheus_series{adapter=\"metrics\",metric=\"requests\"} 3"
    ));
}

#[tokio::test]
async fn a_reload_keeps_what_is_declared_as_before() {
    let env = conformance::env("prometheus");
    let metric = requests(&["code"]);
    let mut first = build(&env);
    first.declare(std::slice::from_ref(&metric)).unwrap();
    first.start(&env);
    add(&first, &metric, &["200"]).await;

    // A set that declares it otherwise and is then refused changes nothing.
    let refused = build(&env);
    refused.declare(&[requests(&["path"])]).unwrap();
    drop(refused);

    let mut second = build(&env);
    second.declare(std::slice::from_ref(&metric)).unwrap();
    second.start(&env);
    // A report that was on its way to the old set still counts.
    add(&first, &metric, &["200"]).await;
    add(&second, &metric, &["200"]).await;
    assert!(shows(&second, "requests_total{code=\"200\"} 3"));

    let mut third = build(&env);
    third.declare(&[requests(&["path"])]).unwrap();
    third.start(&env);
    add(&third, &requests(&["path"]), &["/"]).await;
    assert!(shows(&third, "requests_total{path=\"/\"} 1"));
    assert!(!shows(&third, "requests_total{code=\"200\"} 3"));
}

#[tokio::test]
async fn bounds_that_make_no_sense_are_refused() {
    let env = conformance::env("prometheus");
    let registry = mixer_adapter::Registry::new().with::<Prometheus>();
    let built = registry.by_type("prometheus").unwrap();
    for (config, field) in [
        (json!({"max_series": 0}), "max_series"),
        (json!({"expire": "1s"}), "expire"),
        (json!({"expire": 5}), "expire"),
    ] {
        let invalid = built.build(config, &Inputs::default(), &env).unwrap_err();
        assert_eq!(invalid.problems[0].field, field);
    }
    assert_eq!(Config::default().expire.0, Duration::from_secs(3600));
}
