//! A master that Sentinels watch over.

use mixer_tests::servers::RedisWatched;
use serde_json::json;

use super::*;

#[tokio::test]
#[ignore = "needs redis"]
async fn after_a_failover_the_redis_that_is_master_then_is_asked() {
    let mut watched = RedisWatched::start().await;
    let addresses: Vec<String> = watched.sentinels.iter().map(|node| node.url()).collect();
    let config = json!({"sentinel": {"addresses": addresses, "master": "mixer"}});
    let (handler, _env) = connected_in_time(config).await;
    assert_eq!(one(&handler, ask("p/q", &[], 4)).await.remaining, 6);
    wait::until("the replica has it", async || {
        let keys = watched.servers[1].ask(&["dbsize"])?;
        (keys != "0").then_some(())
    })
    .await;
    watched.servers[0].kill();
    let grants = wait::until("the replica is master and asked", async || {
        handler.allocate(&[ask("p/q", &[], 1)], "").await.ok()
    })
    .await;
    // What was replicated is not forgotten; a call whose answer was lost with the old master may have taken too.
    assert!(grants[0].remaining <= 5, "{grants:?}");
    assert_eq!(
        watched.servers[1].ask(&["role"]).unwrap().lines().next(),
        Some("master")
    );
}
