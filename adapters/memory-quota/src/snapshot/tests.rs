//! The adapter over a restart: what is written when, what is put aside, what is told of it.

use mixer_adapter::conformance::manual_env;
use mixer_adapter::{Algorithm, Ask, Format, Handler, Inputs, Limit, Over, Registry};
use mixer_runtime::ManualClock;
use serde_json::json;

use super::*;
use crate::MemoryQuota;

/// One process.
struct Run {
    handler: Handler,
    env: Env,
    hand: ManualClock,
}

impl Run {
    fn in_directory(directory: &Path) -> Self {
        Self::with(directory, json!({ "file": "counters" }))
    }

    fn with(directory: &Path, snapshot: serde_json::Value) -> Self {
        let (env, hand) = manual_env("store");
        let env = Env {
            directory: directory.to_owned(),
            ..env
        };
        let registry = Registry::new().with::<MemoryQuota>();
        let built = registry.by_type("memory-quota").unwrap();
        let config = json!({ "snapshot": snapshot });
        let mut handler = built.build(config, &Inputs::default(), &env).unwrap();
        handler.start(&env);
        Self { handler, env, hand }
    }

    async fn left(&self, cost: i64) -> u64 {
        let asks = [Ask {
            quota: "q",
            key: &[],
            cost,
            limit: Limit {
                amount: 10,
                window: Duration::from_secs(365 * 86_400),
            },
            algorithm: Algorithm::SlidingWindow,
            extra: 0,
            over: Over::Refuse,
            age: Duration::ZERO,
        }];
        let grants = self.handler.allocate(&asks, "").await.unwrap();
        grants[0].remaining
    }

    fn metric(&self, sample: &str) -> f64 {
        let mut page = Exposition::new(Format::Text);
        self.handler.exposition().unwrap().expose(&mut page);
        let page = page.finish();
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("no {sample} in\n{page}"))
            .parse()
            .unwrap()
    }

    async fn ended(self) {
        let patience = Duration::from_secs(3_600);
        let ended = self.env.tasks.shutdown(&self.env.clock, patience).await;
        assert!(ended.is_ok(), "{ended:?}");
    }
}

#[tokio::test]
async fn counters_are_written_at_the_end_and_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::in_directory(directory.path());
    assert_eq!(run.left(7).await, 3);
    run.ended().await;
    let run = Run::in_directory(directory.path());
    assert_eq!(run.left(0).await, 3);
    assert_eq!(
        run.metric(r#"mixer_memory_quota_restored_keys{adapter="store"}"#),
        1.0
    );
    assert_eq!(
        run.metric(r#"mixer_memory_quota_keys{adapter="store"}"#),
        1.0
    );
}

#[tokio::test]
async fn counters_are_written_now_and_then_for_nobody_else_to_read() {
    let directory = tempfile::tempdir().unwrap();
    // What a Mixer that was killed while it wrote left.
    std::fs::write(directory.path().join("counters.new"), "half").unwrap();
    let run = Run::with(
        directory.path(),
        json!({ "file": "counters", "every": "5s" }),
    );
    run.left(7).await;
    let written = r#"mixer_memory_quota_snapshot_timestamp_seconds{adapter="store"}"#;
    assert_eq!(run.metric(written), 0.0);
    while run.metric(written) == 0.0 {
        run.hand.advance(Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
    let file = directory.path().join("counters");
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!(
        run.metric(r#"mixer_memory_quota_snapshot_bytes{adapter="store"}"#),
        metadata.len() as f64
    );
    assert_eq!(
        std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777,
        0o600
    );
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
    // Killed: nothing is written any more.
    drop(run);
    assert_eq!(Run::in_directory(directory.path()).left(0).await, 3);
}

#[tokio::test]
async fn a_reload_restores_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::in_directory(directory.path());
    run.left(7).await;
    let registry = Registry::new().with::<MemoryQuota>();
    let built = registry.by_type("memory-quota").unwrap();
    let config = json!({ "snapshot": { "file": "counters" } });
    let mut after = built.build(config, &Inputs::default(), &run.env).unwrap();
    std::fs::write(directory.path().join("counters"), "not read").unwrap();
    after.start(&run.env);
    let run = Run {
        handler: after,
        ..run
    };
    assert_eq!(run.left(0).await, 3);
    run.ended().await;
    assert_eq!(
        Run::in_directory(directory.path()).left(0).await,
        3,
        "it was written over"
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_put_aside_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::in_directory(directory.path());
    run.left(7).await;
    run.ended().await;
    let file = directory.path().join("counters");
    let whole = std::fs::read(&file).unwrap();
    for (bytes, reason) in [
        (&whole[..whole.len() - 9], "torn"),
        (b"something else", "foreign"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let run = Run::in_directory(directory.path());
        assert_eq!(run.left(0).await, 10, "all begin with nothing spent");
        let refused = format!(
            r#"mixer_memory_quota_snapshot_refused_total{{adapter="store",reason="{reason}"}}"#
        );
        assert_eq!(run.metric(&refused), 1.0);
        let aside = std::fs::read(directory.path().join("counters.refused")).unwrap();
        assert_eq!(aside, bytes);
        assert!(!file.exists());
    }
    std::fs::create_dir(&file).unwrap();
    let run = Run::in_directory(directory.path());
    let refused =
        r#"mixer_memory_quota_snapshot_refused_total{adapter="store",reason="unreadable"}"#;
    assert_eq!(run.metric(refused), 1.0);
}

#[tokio::test]
async fn where_nothing_can_be_written_it_counts_and_tells() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::with(
        directory.path(),
        json!({ "file": "no/such/directory/counters", "every": "1s" }),
    );
    let failures = r#"mixer_memory_quota_snapshot_failures_total{adapter="store"}"#;
    while run.metric(failures) == 0.0 {
        run.hand.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    assert_eq!(run.left(7).await, 3);
}

#[tokio::test]
async fn a_place_that_cannot_be_is_no_configuration() {
    let registry = Registry::new().with::<MemoryQuota>();
    let built = registry.by_type("memory-quota").unwrap();
    let (env, _hand) = manual_env("store");
    for (snapshot, field) in [
        (json!({ "file": "" }), "snapshot.file"),
        (json!({ "file": "x", "every": "999ms" }), "snapshot.every"),
    ] {
        let config = json!({ "snapshot": snapshot });
        let invalid = built.build(config, &Inputs::default(), &env).unwrap_err();
        assert_eq!(invalid.problems[0].field, field);
    }
}
