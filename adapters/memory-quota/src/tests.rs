//! The adapter as Mixer uses it.

use std::time::Duration;

use mixer_adapter::conformance::{self, Example};
use mixer_adapter::{
    Algorithm, Ask, Exposition, Format, Grant, Handler, Limit, Outcome, Over, Registry,
};
use serde_json::json;

use super::*;

fn build(config: serde_json::Value, env: &Env) -> Handler {
    let registry = Registry::new().with::<MemoryQuota>();
    registry
        .by_type("memory-quota")
        .unwrap()
        .build(config, &Inputs::default(), env)
        .unwrap()
}

async fn spend(handler: &Handler, key: &str, cost: i64) -> Grant {
    let key = [key.to_owned()];
    let limit = Limit {
        amount: 10,
        window: Duration::from_secs(60),
    };
    let algorithm = Algorithm::SlidingWindow;
    let asks = [Ask {
        quota: "q",
        key: &key,
        cost,
        limit,
        algorithm,
        extra: 0,
        over: Over::Refuse,
        age: Duration::ZERO,
    }];
    handler.allocate(&asks, "").await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms() {
    conformance::run::<MemoryQuota>(&Example::new(json!({}))).await;
    conformance::run::<MemoryQuota>(&Example::new(json!({"max_keys": 1000, "full": "deny"}))).await;
    let directory = tempfile::tempdir().unwrap();
    let kept = Example::new(json!({"snapshot": {"file": "counters", "every": "1s"}}));
    conformance::run::<MemoryQuota>(&kept.directory(directory.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_tasks_get_exactly_the_limits_of_a_thousand_keys() {
    let (env, _hand) = conformance::manual_env("store");
    let handler = Arc::new(build(json!({}), &env));
    conformance::quota::is_exact_among_many(&handler, &env.tasks).await;
}

#[tokio::test]
async fn counters_survive_a_reload() {
    let (env, _hand) = conformance::manual_env("store");
    assert_eq!(spend(&build(json!({}), &env), "a", 7).await.remaining, 3);
    assert_eq!(
        spend(&build(json!({"max_keys": 5}), &env), "a", 0)
            .await
            .remaining,
        3
    );
}

#[tokio::test]
async fn when_full_new_keys_share_one_counter_or_are_refused_and_old_ones_go_on() {
    let (env, hand) = conformance::manual_env("store");
    let share = build(json!({"max_keys": 2}), &env);
    for key in ["a", "b"] {
        assert_eq!(spend(&share, key, 1).await.remaining, 9);
    }
    assert_eq!(spend(&share, "c", 6).await.remaining, 4);
    assert_eq!(spend(&share, "d", 6).await.outcome, Outcome::Refused);
    assert_eq!(spend(&share, "d", 4).await.outcome, Outcome::Granted);
    assert_eq!(spend(&share, "e", 1).await.outcome, Outcome::Refused);
    assert_eq!(spend(&share, "a", 1).await.remaining, 8);

    let mut deny = build(json!({"max_keys": 2, "full": "deny"}), &env);
    let refused = spend(&deny, "f", 1).await;
    assert_eq!(
        (refused.outcome, refused.retry_after),
        (Outcome::Refused, Some(Duration::from_secs(1)))
    );
    assert_eq!(spend(&deny, "f", 11).await.retry_after, None);
    assert_eq!(spend(&deny, "f", 0).await.outcome, Outcome::Granted);
    assert_eq!(spend(&deny, "b", 1).await.remaining, 8);

    let mut page = Exposition::new(Format::OpenMetrics);
    deny.exposition().unwrap().expose(&mut page);
    let page = page.finish();
    assert!(
        page.contains("mixer_memory_quota_keys{adapter=\"store\"} 2\n"),
        "{page}"
    );
    assert!(
        page.contains("mixer_memory_quota_overflows_total{adapter=\"store\"} 6\n"),
        "{page}"
    );

    // Idle keys make room once the sweep has come by.
    deny.start(&env);
    hand.advance(Duration::from_secs(62));
    while spend(&deny, "f", 1).await.outcome == Outcome::Refused {
        hand.advance(SWEEP.0);
        tokio::task::yield_now().await;
    }
    assert_eq!(spend(&deny, "f", 1).await.remaining, 8);
}

#[tokio::test]
async fn idle_keys_are_swept_away() {
    let (env, hand) = conformance::manual_env("store");
    let mut handler = build(json!({}), &env);
    handler.start(&env);
    for key in 0..1000 {
        spend(&handler, &key.to_string(), 1).await;
    }
    let keys = || {
        let mut page = Exposition::new(Format::Text);
        handler.exposition().unwrap().expose(&mut page);
        page.finish()
    };
    assert!(keys().contains("mixer_memory_quota_keys{adapter=\"store\"} 1000\n"));
    hand.advance(Duration::from_secs(60));
    while !keys().contains("mixer_memory_quota_keys{adapter=\"store\"} 0\n") {
        hand.advance(SWEEP.0);
        tokio::task::yield_now().await;
    }
}

#[test]
fn no_keys_at_all_is_no_configuration() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let registry = Registry::new().with::<MemoryQuota>();
    let built = registry.by_type("memory-quota").unwrap();
    let invalid = built
        .build(
            json!({"max_keys": 0}),
            &Inputs::default(),
            &conformance::env("x"),
        )
        .unwrap_err();
    assert_eq!(invalid.problems[0].field, "max_keys");
}
