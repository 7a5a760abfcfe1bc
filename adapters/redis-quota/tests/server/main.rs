//! The adapter against real servers: one, a Cluster, Sentinels; with TLS; counted exactly; gone and back.

#![allow(clippy::unwrap_used)]

mod cluster;
mod counting;
mod one;
mod sentinel;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use mixer_adapter::conformance;
use mixer_adapter::{Algorithm, Ask, Env, Grant, Handler, Inputs, Limit, Over, Registry};
use mixer_redis_quota::RedisQuota;
use mixer_tests::wait;
use serde_json::Value;

const WINDOW: Duration = Duration::from_secs(86_400);

/// A handler of that configuration whose connections are there.
async fn connected(config: Value) -> (Arc<Handler>, Env) {
    let env = conformance::env("store");
    let handler = started(config, &env);
    wait::until("the store is connected", async || {
        handler.allocate(&[ask("ready", &[], 0)], "").await.ok()
    })
    .await;
    (handler, env)
}

/// A handler whose background work has begun.
fn started(config: Value, env: &Env) -> Arc<Handler> {
    let registry = Registry::new().with::<RedisQuota>();
    let built = registry.by_type("redis-quota").unwrap();
    let mut handler = built.build(config, &Inputs::default(), env).unwrap();
    handler.start(env);
    Arc::new(handler)
}

/// An ask under ten a day, in a sliding window.
fn ask<'a>(quota: &'a str, key: &'a [String], cost: i64) -> Ask<'a> {
    Ask {
        quota,
        key,
        cost,
        limit: Limit {
            amount: 10,
            window: WINDOW,
        },
        algorithm: Algorithm::SlidingWindow,
        extra: 0,
        over: Over::Refuse,
        age: Duration::ZERO,
    }
}

async fn one(handler: &Handler, ask: Ask<'_>) -> Grant {
    handler.allocate(&[ask], "").await.unwrap().remove(0)
}
