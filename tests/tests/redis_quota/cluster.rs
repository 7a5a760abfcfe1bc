//! A Cluster of three nodes.

use mixer_adapter::Outcome;
use mixer_adapter::conformance;
use mixer_tests::servers::RedisCluster;
use serde_json::json;

use super::*;

fn config(cluster: &RedisCluster, spread: u64) -> Value {
    let addresses: Vec<String> = cluster.nodes[..2].iter().map(|node| node.url()).collect();
    json!({"cluster": {"addresses": addresses, "spread": spread}})
}

fn flush(cluster: &RedisCluster) {
    for node in &cluster.nodes {
        node.ask(&["flushall"]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis"]
async fn it_conforms_over_a_redis_cluster() {
    let cluster = RedisCluster::start().await;
    for spread in [1, 64] {
        let (handler, env) = connected(config(&cluster, spread)).await;
        conformance::quota::run(&handler, &env.tasks, || flush(&cluster)).await;
        flush(&cluster);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis"]
async fn a_thousand_keys_get_exactly_their_limits_from_a_redis_cluster() {
    let cluster = RedisCluster::start().await;
    for algorithm in counting::ALGORITHMS {
        flush(&cluster);
        let granted = counting::hammered(config(&cluster, 64), algorithm).await;
        assert_eq!(granted, 10_000, "{algorithm:?}");
    }
    for node in &cluster.nodes {
        let keys: u64 = node.ask(&["dbsize"]).unwrap().parse().unwrap();
        assert!(keys > 100, "the keys are spread: {keys}");
    }
}

#[tokio::test]
#[ignore = "needs redis"]
async fn counters_on_several_nodes_of_a_redis_cluster_are_taken_all_or_not_at_all() {
    let cluster = RedisCluster::start().await;
    let (handler, _env) = connected(config(&cluster, 1)).await;
    // Policies of their own, on all nodes.
    let quotas: Vec<String> = (0..20).map(|policy| format!("policy {policy}/q")).collect();
    let full = quotas.len() - 5;
    one(&handler, ask(&quotas[full], &[], 10)).await;
    let asks: Vec<Ask<'_>> = quotas.iter().map(|quota| ask(quota, &[], 2)).collect();
    for id in ["", "id", "id"] {
        let grants = handler.allocate(&asks, id).await.unwrap();
        for (at, grant) in grants.iter().enumerate() {
            let expected = if at == full {
                (Outcome::Refused, 0)
            } else {
                (Outcome::Granted, 10)
            };
            assert_eq!((grant.outcome, grant.remaining), expected, "{at}");
        }
    }
    for (at, quota) in quotas.iter().enumerate().filter(|(at, _)| *at != full) {
        let left = one(&handler, ask(quota, &[], 0)).await.remaining;
        assert_eq!(left, 10, "{at}");
    }
}

#[tokio::test]
#[ignore = "needs redis"]
async fn when_a_node_of_a_redis_cluster_dies_nothing_stays_taken_and_it_comes_back() {
    let mut cluster = RedisCluster::start().await;
    for node in &cluster.nodes {
        let set = node.ask(&["config", "set", "cluster-require-full-coverage", "no"]);
        assert_eq!(set.as_deref(), Some("OK"));
    }
    let (handler, _env) = connected_in_time(config(&cluster, 1)).await;
    let on = |node: usize, cluster: &RedisCluster| {
        let slots = [0..5461u32, 5461..10_923, 10_923..16_384];
        (0..100)
            .map(|policy| format!("policy {policy}"))
            .find(|policy| {
                let slot = cluster.nodes[0].ask(&["cluster", "keyslot", policy]);
                slots[node].contains(&slot.unwrap().parse().unwrap())
            })
            .unwrap()
    };
    let (stays, dies) = (on(0, &cluster), on(2, &cluster));
    let asks = [ask(&stays, &[], 3), ask(&dies, &[], 3)];
    cluster.nodes[2].kill();
    for id in ["", "a try", "a try"] {
        assert!(handler.allocate(&asks, id).await.unwrap_err().retry);
    }
    wait::until("what was taken is given back", async || {
        let left = handler.allocate(&[ask(&stays, &[], 0)], "").await.ok()?;
        (left[0].remaining == 10).then_some(())
    })
    .await;
    cluster.nodes[2].restart().await;
    let grants = wait::until("the node is back", async || {
        handler.allocate(&asks, "a try").await.ok()
    })
    .await;
    let left: Vec<u64> = grants.iter().map(|grant| grant.remaining).collect();
    assert_eq!(left[0], 7, "{grants:?}");
}
