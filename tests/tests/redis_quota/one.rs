//! One server.

use mixer_adapter::conformance::{self, Example};
use mixer_adapter::{Exposition, Format, Outcome};
use mixer_runtime::Clock;
use mixer_tests::servers::Redis;
use mixer_tests::wait;
use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis"]
async fn it_conforms_over_redis() {
    let redis = Redis::start().await;
    let config = json!({"url": redis.url()});
    conformance::run::<RedisQuota>(&Example::new(config.clone()).without_store()).await;
    let (handler, env) = connected(config).await;
    conformance::quota::run(&handler, &env.tasks, || {
        redis.ask(&["flushall"]).unwrap();
    })
    .await;
    let (window, clock) = (Duration::from_secs(2), Clock::system());
    let pass = async |span| clock.sleep(span).await;
    conformance::quota::tells_when(&handler, window, false, pass).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs valkey"]
async fn it_conforms_over_valkey_and_counts_exactly() {
    let valkey = Redis::valkey().await;
    let config = json!({"url": valkey.url()});
    let (handler, env) = connected(config.clone()).await;
    conformance::quota::run(&handler, &env.tasks, || {
        valkey.ask(&["flushall"]).unwrap();
    })
    .await;
    valkey.ask(&["flushall"]).unwrap();
    let granted = counting::hammered(config, Algorithm::SlidingWindow).await;
    assert_eq!(granted, 10_000);
}

#[tokio::test]
#[ignore = "needs redis"]
async fn redis_is_asked_over_a_unix_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock").display().to_string();
    let _redis = Redis::with(&["--unixsocket", &socket], &[]).await;
    let (handler, _env) = connected(json!({"url": format!("unix://{socket}")})).await;
    assert_eq!(one(&handler, ask("p/q", &[], 7)).await.remaining, 3);
    assert_eq!(
        one(&handler, ask("p/q", &[], 4)).await.outcome,
        Outcome::Refused
    );
}

#[tokio::test]
#[ignore = "needs redis"]
async fn two_mixers_count_together_in_redis() {
    let redis = Redis::start().await;
    let (one_mixer, _one) = connected(json!({"url": redis.url()})).await;
    let (other, _other) = connected(json!({"url": redis.url(), "connections": 1})).await;
    assert_eq!(one(&one_mixer, ask("p/q", &[], 7)).await.remaining, 3);
    assert_eq!(one(&other, ask("p/q", &[], 3)).await.remaining, 0);
    let refused = one(&one_mixer, ask("p/q", &[], 1)).await;
    assert_eq!(refused.outcome, Outcome::Refused);
    assert!(refused.retry_after.unwrap() > WINDOW - Duration::from_secs(600));

    let (apart, _apart) = connected(json!({"url": redis.url(), "prefix": "other"})).await;
    assert_eq!(one(&apart, ask("p/q", &[], 1)).await.remaining, 9);
    let (database, _database) = connected(json!({"url": format!("{}/3", redis.url())})).await;
    assert_eq!(one(&database, ask("p/q", &[], 1)).await.remaining, 9);
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_reload_keeps_counters_and_connection_to_redis() {
    let redis = Redis::start().await;
    let (before, env) = connected(json!({"url": redis.url()})).await;
    one(&before, ask("p/q", &[], 4)).await;
    // The same servers: it is connected as soon as it is built. Tasks of the old set are stopped and joined first.
    let after = started(json!({"url": redis.url(), "timeout": "30ms"}), &env);
    assert_eq!(one(&after, ask("p/q", &[], 1)).await.remaining, 5);
}

#[tokio::test]
#[ignore = "needs redis"]
async fn keys_expire_and_a_redis_that_forgot_its_scripts_is_given_them_again() {
    let redis = Redis::start().await;
    let (handler, _env) = connected(json!({"url": redis.url()})).await;
    let key = ["c 17|{x}".to_owned()];
    one(&handler, ask("p/q", &key, 1)).await;
    redis.ask(&["script", "flush"]).unwrap();
    assert_eq!(one(&handler, ask("p/q", &key, 1)).await.remaining, 8);
    let name = "mixer:{p}:w:p/q|c 17%7C%7Bx%7D";
    let seconds: u64 = redis.ask(&["ttl", name]).unwrap().parse().unwrap();
    assert!((86_000..=86_401).contains(&seconds), "{seconds}");
    one(&handler, ask("p/q", &key, -2)).await;
    assert_eq!(redis.ask(&["exists", name]).unwrap(), "0");
}

#[tokio::test]
#[ignore = "needs redis"]
async fn without_redis_it_is_unavailable_at_once_and_recovers_by_itself() {
    let mut redis = Redis::start().await;
    let (handler, _env) = connected_in_time(json!({"url": redis.url()})).await;
    one(&handler, ask("p/q", &[], 4)).await;
    redis.kill();
    let why = wait::until("the loss is noticed", async || {
        handler.allocate(&[ask("p/q", &[], 1)], "").await.err()
    })
    .await;
    assert!(why.retry, "{why}");
    redis.restart().await;
    // What a server without a disk held is gone with it.
    let grants = wait::until("it is connected again", async || {
        handler.allocate(&[ask("p/q", &[], 1)], "").await.ok()
    })
    .await;
    assert!(grants[0].remaining >= 8, "{grants:?}");

    // One that hangs, rather than being gone: a call ends when its time is up.
    redis.signal("STOP");
    let why = handler.allocate(&[ask("p/q", &[], 1)], "").await;
    assert!(why.unwrap_err().retry);
    redis.signal("CONT");
    wait::until("it goes on", async || {
        handler.allocate(&[ask("p/q", &[], 0)], "").await.ok()
    })
    .await;
    let mut page = Exposition::new(Format::Text);
    handler.exposition().unwrap().expose(&mut page);
    let page = page.finish();
    assert!(!page.contains("reason=\"timeout\"} 0\n"), "{page}");
    assert!(
        page.contains("mixer_redis_quota_connections{adapter=\"store\"}"),
        "{page}"
    );
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_redis_that_refuses_to_write_makes_it_unavailable_and_not_a_refusal() {
    let redis = Redis::start().await;
    let (handler, _env) = connected_in_time(json!({"url": redis.url()})).await;
    redis.ask(&["config", "set", "maxmemory", "1"]).unwrap();
    assert!(
        handler
            .allocate(&[ask("p/q", &[], 1)], "")
            .await
            .unwrap_err()
            .retry
    );
    redis.ask(&["config", "set", "maxmemory", "0"]).unwrap();
    wait::until("it goes on", async || {
        handler.allocate(&[ask("p/q", &[], 1)], "").await.ok()
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_redis_user_with_the_stated_rights_is_enough() {
    let redis = Redis::start().await;
    let rights = "+eval +evalsha +ping +select +get +set +del +time";
    let mut command = vec!["acl", "setuser", "mixer", "on", ">hunter2", "~mixer:*"];
    command.extend(rights.split(' '));
    assert_eq!(redis.ask(&command).as_deref(), Some("OK"));
    let config = json!({"url": redis.url(), "username": "mixer", "password": "hunter2"});
    let (handler, _env) = connected(config).await;
    let grants = handler.allocate(&[ask("p/q", &[], 3)], "id").await.unwrap();
    assert_eq!(grants[0].remaining, 7);
    assert_eq!(one(&handler, ask("p/q", &[], -3)).await.remaining, 10);
}
