//! The adapter against a server that takes spans, or does not.

use std::sync::Mutex;
use std::time::SystemTime;

use mixer_adapter::conformance::backend::{Backend, answer};
use mixer_adapter::conformance::{self, Example};
use mixer_adapter::{Format, HttpClient, Span, SpanKind};
use mixer_runtime::{Clock, ManualClock};
use serde_json::{Value, json};

use super::*;

/// A server that remembers the spans of every post, and answers with `status`.
async fn server(
    status: impl Fn(usize) -> u16 + Send + Sync + 'static,
) -> (Backend, Arc<Mutex<Vec<Vec<Value>>>>) {
    let posts: Arc<Mutex<Vec<Vec<Value>>>> = Arc::default();
    let remembered = posts.clone();
    let backend = Backend::start(move |request| {
        assert_eq!(
            (request.method().as_str(), request.uri().path()),
            ("POST", "/api/v2/spans")
        );
        assert_eq!(request.headers()["content-type"], "application/json");
        let mut posts = remembered.lock().unwrap();
        posts.push(serde_json::from_slice(request.body()).unwrap());
        answer(status(posts.len()), "")
    })
    .await;
    (backend, posts)
}

fn env() -> (Env, ManualClock) {
    let (env, hand) = conformance::manual_env("zipkin");
    (
        Env {
            http: HttpClient::new(Clock::system()),
            ..env
        },
        hand,
    )
}

fn started(backend: &Backend, more: Value, env: &Env) -> Handler {
    let mut config = json!({"url": format!("{}/api/v2/spans", backend.address())});
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let registry = mixer_adapter::Registry::new().with::<Zipkin>();
    let mut handler = registry
        .by_type("zipkin")
        .unwrap()
        .build(config, &Inputs::default(), env)
        .unwrap();
    handler.start(env);
    handler
}

async fn report(handler: &Handler, ids: std::ops::Range<u64>) {
    let span = |id| Span {
        trace_id: 7,
        id,
        parent: None,
        shared: false,
        kind: SpanKind::Client,
        service: "frontend".into(),
        peer: Some("products".into()),
        name: "get".into(),
        start: SystemTime::UNIX_EPOCH,
        duration: Duration::from_millis(1),
        error: false,
        tags: Vec::new(),
    };
    let spans: Vec<Span<'_>> = ids.map(span).collect();
    handler.report(Batch::Spans(&spans)).await.unwrap();
}

fn shows(handler: &Handler, line: &str) -> bool {
    let mut page = Exposition::new(Format::Text);
    handler.exposition().unwrap().expose(&mut page);
    page.finish().lines().any(|shown| shown == line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms() {
    let (backend, _) = server(|_| 202).await;
    let url = format!("{}/api/v2/spans", backend.address());
    conformance::run::<Zipkin>(&Example::new(json!({"url": url}))).await;
    // Nobody listens.
    let example =
        Example::new(json!({"url": "http://127.0.0.1:1/t0ken", "queue": 1})).secret("t0ken");
    conformance::run::<Zipkin>(&example).await;
}

#[tokio::test]
async fn spans_are_sent_in_batches_and_the_last_when_it_is_flushed() {
    let (backend, posts) = server(|_| 202).await;
    let (env, _hand) = env();
    let handler = started(&backend, json!({"batch": 10}), &env);
    report(&handler, 1..26).await;
    handler.flush().await;
    let posts = posts.lock().unwrap();
    let sizes: Vec<_> = posts.iter().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 25);
    assert!(sizes.iter().all(|size| *size <= 10), "{sizes:?}");
    assert_eq!(posts[0][0]["id"], "0000000000000001");
    assert_eq!(
        posts[0][0]["remoteEndpoint"],
        json!({"serviceName": "products"})
    );
    assert!(shows(
        &handler,
        "mixer_zipkin_spans_sent_total{adapter=\"zipkin\"} 25"
    ));
    assert!(shows(
        &handler,
        "mixer_zipkin_spans_waiting{adapter=\"zipkin\"} 0"
    ));
}

#[tokio::test]
async fn a_server_that_stumbles_gets_the_batch_again() {
    let (backend, posts) = server(|post| if post < 3 { 503 } else { 202 }).await;
    let env = conformance::env("zipkin");
    let handler = started(&backend, json!({}), &env);
    report(&handler, 1..4).await;
    handler.flush().await;
    let posts = posts.lock().unwrap();
    assert_eq!(posts.len(), 3);
    assert!(posts.iter().all(|post| post == &posts[0]));
    assert!(shows(
        &handler,
        "mixer_zipkin_spans_sent_total{adapter=\"zipkin\"} 3"
    ));
}

#[tokio::test]
async fn what_the_server_refuses_is_dropped_and_counted_at_once() {
    let (backend, posts) = server(|_| 400).await;
    let (env, _hand) = env();
    let handler = started(&backend, json!({}), &env);
    report(&handler, 1..4).await;
    handler.flush().await;
    assert_eq!(posts.lock().unwrap().len(), 1);
    assert!(shows(
        &handler,
        "mixer_zipkin_spans_dropped_total{adapter=\"zipkin\",reason=\"backend\"} 3"
    ));
}

#[tokio::test]
async fn what_nobody_takes_is_dropped_after_a_few_tries() {
    let (backend, posts) = server(|_| 500).await;
    let env = conformance::env("zipkin");
    let handler = started(&backend, json!({}), &env);
    report(&handler, 1..4).await;
    handler.flush().await;
    assert_eq!(posts.lock().unwrap().len(), 3);
    assert!(shows(
        &handler,
        "mixer_zipkin_spans_dropped_total{adapter=\"zipkin\",reason=\"backend\"} 3"
    ));
}

#[tokio::test]
async fn what_does_not_fit_the_queue_is_dropped_and_counted() {
    let (backend, posts) = server(|_| 202).await;
    let (env, _hand) = env();
    let handler = started(&backend, json!({"queue": 5}), &env);
    report(&handler, 1..9).await;
    assert!(shows(
        &handler,
        "mixer_zipkin_spans_dropped_total{adapter=\"zipkin\",reason=\"queue\"} 3"
    ));
    handler.flush().await;
    assert_eq!(posts.lock().unwrap().iter().map(Vec::len).sum::<usize>(), 5);
}

#[tokio::test]
async fn what_is_queued_is_sent_when_the_tasks_are_told_to_stop_and_counts_survive() {
    let (backend, posts) = server(|_| 202).await;
    let (env, _hand) = env();
    let handler = started(&backend, json!({}), &env);
    report(&handler, 1..9).await;
    env.tasks
        .shutdown(&Clock::system(), Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(posts.lock().unwrap().iter().map(Vec::len).sum::<usize>(), 8);
    let after = Env {
        tasks: mixer_runtime::Tasks::new(),
        ..env
    };
    let handler = started(&backend, json!({}), &after);
    assert!(shows(
        &handler,
        "mixer_zipkin_spans_sent_total{adapter=\"zipkin\"} 8"
    ));
}

#[tokio::test]
async fn large_spans_become_several_bodies() {
    let (backend, posts) = server(|_| 202).await;
    let (env, _hand) = env();
    let handler = started(&backend, json!({"batch": 10_000}), &env);
    for id in 1..2000 {
        let tags: Vec<_> = (0..3)
            .map(|tag| (format!("tag{tag}").into(), "x".repeat(1000).into()))
            .collect();
        let span = Span {
            trace_id: 7,
            id,
            parent: None,
            shared: false,
            kind: SpanKind::Server,
            service: "s".into(),
            peer: None,
            name: "n".into(),
            start: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            error: false,
            tags,
        };
        handler.report(Batch::Spans(&[span])).await.unwrap();
    }
    handler.flush().await;
    let posts = posts.lock().unwrap();
    assert_eq!(posts.iter().map(Vec::len).sum::<usize>(), 1999);
    assert!(posts.len() >= 6, "{}", posts.len());
}

#[tokio::test]
async fn every_problem_of_a_configuration_is_told() {
    let registry = mixer_adapter::Registry::new().with::<Zipkin>();
    let built = registry.by_type("zipkin").unwrap();
    for (config, fields) in [
        (json!({}), vec![""]),
        (
            json!({"url": "127.0.0.1:9411", "batch": 0, "queue": 2_000_000}),
            vec!["url", "batch", "queue"],
        ),
        (json!({"url": "http://h/", "flush": "soon"}), vec!["flush"]),
    ] {
        let problems = built
            .build(config, &Inputs::default(), &conformance::env("zipkin"))
            .unwrap_err()
            .problems;
        let blamed: Vec<_> = problems
            .iter()
            .map(|problem| problem.field.as_str())
            .collect();
        assert_eq!(blamed, fields, "{problems:?}");
    }
}
