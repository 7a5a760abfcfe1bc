//! The adapter against real servers: one, a Cluster, Sentinels; with TLS; counted exactly; gone and back.

#![allow(clippy::unwrap_used)]

mod cluster;
mod counting;
mod one;
mod scripts;
mod sentinel;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mixer_adapter::conformance;
use mixer_adapter::{Algorithm, Ask, Env, Grant, Handler, Inputs, Limit, Over, Registry};
use mixer_redis_quota::RedisQuota;
use mixer_tests::wait;
use serde_json::Value;

const WINDOW: Duration = Duration::from_secs(86_400);

/// A connected handler on a clock that stands still: no call's time is up, however busy the machine.
async fn connected(config: Value) -> (Arc<Handler>, Env) {
    connected_on(conformance::manual_env("store").0, config).await
}

/// A connected handler on the system's clock, for what needs connections to be looked after.
async fn connected_in_time(config: Value) -> (Arc<Handler>, Env) {
    connected_on(conformance::env("store"), config).await
}

async fn connected_on(env: Env, config: Value) -> (Arc<Handler>, Env) {
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

/// The grant, as soon as there is one. Under an id, so that a call whose time was up has not taken beside it.
async fn one(handler: &Handler, ask: Ask<'_>) -> Grant {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = format!("one {}", NEXT.fetch_add(1, Ordering::Relaxed));
    let answered = wait::until("an answer", async || {
        handler.allocate(std::slice::from_ref(&ask), &id).await.ok()
    });
    answered.await.remove(0)
}
