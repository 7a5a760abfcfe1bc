//! The adapter as Mixer uses it, writing to files.

use std::path::Path;
use std::time::SystemTime;

use mixer_adapter::conformance::{self, Example};
use mixer_adapter::{Format, LogEntry};
use mixer_attributes::OwnedValue;
use mixer_runtime::Clock;
use serde_json::{Value, json};

use super::*;

fn built(config: Value, env: &Env) -> Result<Handler, Invalid> {
    let registry = mixer_adapter::Registry::new().with::<Log>();
    registry
        .by_type("log")
        .unwrap()
        .build(config, &Inputs::default(), env)
}

fn started(config: Value, env: &Env) -> Handler {
    let mut handler = built(config, env).unwrap();
    handler.start(env);
    handler
}

fn env(directory: &Path) -> Env {
    Env {
        directory: directory.to_owned(),
        ..conformance::manual_env("access").0
    }
}

async fn report(handler: &Handler, codes: std::ops::Range<i64>) {
    let entry = |code| LogEntry {
        time: SystemTime::UNIX_EPOCH,
        fields: vec![("code".into(), OwnedValue::Int(code))],
    };
    let entries: Vec<_> = codes.map(entry).collect();
    handler.report(Batch::Logs(&entries)).await.unwrap();
}

fn codes(file: &Path) -> Vec<i64> {
    let text = std::fs::read_to_string(file).unwrap();
    let code = |line| {
        serde_json::from_str::<Value>(line).unwrap()["code"]
            .as_i64()
            .unwrap()
    };
    text.lines().map(code).collect()
}

fn shows(handler: &Handler, line: &str) -> bool {
    let mut page = Exposition::new(Format::Text);
    handler.exposition().unwrap().expose(&mut page);
    page.finish().lines().any(|shown| shown == line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let file = Example::new(json!({"to": {"file": "access.log"}})).directory(directory.path());
    conformance::run::<Log>(&file).await;
    let nowhere = Example::new(json!({"to": {"file": "no/such/directory"}, "queue": 3}))
        .directory(directory.path());
    conformance::run::<Log>(&nowhere).await;
}

#[tokio::test]
async fn lines_are_appended_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (env, file) = (env(directory.path()), directory.path().join("access.log"));
    std::fs::write(&file, "{\"code\":0}\n").unwrap();
    let handler = started(json!({"to": {"file": "access.log"}}), &env);
    report(&handler, 1..2000).await;
    handler.flush().await;
    assert_eq!(codes(&file), (0..2000).collect::<Vec<_>>());
    assert!(shows(
        &handler,
        "mixer_log_lines_written_total{adapter=\"access\"} 1999"
    ));
}

#[tokio::test]
async fn what_is_queued_is_written_when_the_tasks_are_told_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    let env = env(directory.path());
    let handler = started(json!({"to": {"file": "access.log"}}), &env);
    report(&handler, 0..1500).await;
    env.tasks
        .shutdown(&Clock::system(), Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(codes(&directory.path().join("access.log")).len(), 1500);
}

#[tokio::test]
async fn what_does_not_fit_the_queue_is_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let env = env(directory.path());
    let handler = started(json!({"to": {"file": "access.log"}, "queue": 5}), &env);
    report(&handler, 0..8).await;
    handler.flush().await;
    assert_eq!(codes(&directory.path().join("access.log")), [0, 1, 2, 3, 4]);
    assert!(shows(
        &handler,
        "mixer_log_lines_dropped_total{adapter=\"access\",reason=\"queue\"} 3"
    ));
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_and_the_file_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let env = env(directory.path());
    let handler = started(json!({"to": {"file": "later/access.log"}}), &env);
    report(&handler, 0..3).await;
    handler.flush().await;
    assert!(shows(
        &handler,
        "mixer_log_lines_dropped_total{adapter=\"access\",reason=\"write\"} 3"
    ));
    std::fs::create_dir(directory.path().join("later")).unwrap();
    report(&handler, 3..5).await;
    handler.flush().await;
    assert_eq!(codes(&directory.path().join("later/access.log")), [3, 4]);
}

#[tokio::test]
async fn configurations_that_make_no_sense_are_refused() {
    for (config, field) in [
        (json!({"queue": 0}), "queue"),
        (json!({"to": {"file": ""}}), "to.file"),
        (json!({"to": "syslog"}), "to"),
        (json!({"to": {"path": "x"}}), "to"),
    ] {
        let invalid = built(config.clone(), &conformance::env("log")).unwrap_err();
        assert_eq!(invalid.problems[0].field, field, "{config}: {invalid:?}");
    }
    assert!(built(json!(null), &conformance::env("log")).is_ok());
}
