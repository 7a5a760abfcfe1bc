//! Decisions per second and the CPU of one, on both sides, beside what the server manages for `redis-benchmark` with the smallest
//! script that counts (`INCR`, `PEXPIRE`) and with a plain `INCR`.
//!
//! `cargo bench -p mixer-redis-quota`; needs `tests/servers/install redis`, an idle machine and Linux.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mixer_adapter::{Algorithm, Ask, Inputs, Limit, Over, Registry, conformance};
use mixer_redis_quota::RedisQuota;
use mixer_runtime::Clock;
use mixer_tests::servers::{Redis, installed};
use mixer_tests::wait;
use serde_json::json;

const FOR: Duration = Duration::from_secs(3);
const KEYS: usize = 100_000;
const IN_FLIGHT: usize = 128;

/// As small as a script that counts can be: a fixed window that refuses nothing.
const SMALLEST: &str = "local n = redis.call('INCR', KEYS[1]) if n == 1 then redis.call('PEXPIRE', KEYS[1], 60000) end return n";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        println!("{KEYS} keys, {IN_FLIGHT} in flight, {FOR:?} each");
        let redis = Redis::start().await;
        println!(
            "redis-benchmark, INCR                      {}",
            rate(&redis, &["INCR", "k:__rand_int__"])
        );
        let smallest = ["EVAL", SMALLEST, "1", "k:__rand_int__"];
        println!(
            "redis-benchmark, smallest counting script  {}",
            rate(&redis, &smallest)
        );
        for (name, algorithm) in [
            ("sliding window", Algorithm::SlidingWindow),
            ("gcra", Algorithm::Gcra { burst: 1000 }),
            ("fixed window", Algorithm::FixedWindow { calendar: None }),
        ] {
            redis.ask(&["flushall"]).unwrap();
            for quotas in [1, 3] {
                decisions(&redis, name, algorithm, quotas).await;
            }
        }
    });
}

/// Requests per second that redis-benchmark gets, with as many in flight over as many connections.
fn rate(redis: &Redis, command: &[&str]) -> String {
    let output = Command::new(installed("redis-benchmark"))
        .args(["-p", &redis.addr.port().to_string(), "-q", "-c", "2"])
        .args(["-P", &(IN_FLIGHT / 2).to_string()])
        .args(["-n", "500000", "-r", &KEYS.to_string()])
        .args(command)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "\n");
    let last = text.lines().rev().find(|line| line.contains("per second"));
    let figure = last.and_then(|line| line.rsplit_once(": "));
    figure.map_or_else(|| text.clone(), |(_, figure)| figure.to_owned())
}

async fn decisions(redis: &Redis, name: &str, algorithm: Algorithm, quotas: usize) {
    let env = conformance::env("bench");
    let registry = Registry::new().with::<RedisQuota>();
    let built = registry.by_type("redis-quota").unwrap();
    let mut handler = built
        .build(json!({"url": redis.url()}), &Inputs::default(), &env)
        .unwrap();
    handler.start(&env);
    let handler = Arc::new(handler);
    wait::until("the store is connected", async || {
        handler
            .allocate(&[ask("q", &[], 0, algorithm)], "")
            .await
            .ok()
    })
    .await;
    let (clock, done) = (Clock::system(), Arc::new(AtomicU64::new(0)));
    let failed = Arc::new(AtomicU64::new(0));
    let (begun, ours, theirs) = (clock.now(), cpu(std::process::id()), cpu(redis.id()));
    let (ended, mut all_ended) = tokio::sync::mpsc::channel::<()>(1);
    for task in 0..IN_FLIGHT {
        let (handler, clock, done, failed, ended) = (
            handler.clone(),
            clock.clone(),
            done.clone(),
            failed.clone(),
            ended.clone(),
        );
        env.tasks.spawn("bench", async move {
            let names: Vec<String> = (0..quotas)
                .map(|number| format!("policy/quota {number}"))
                .collect();
            let mut at = task;
            while clock.now().since(begun) < FOR {
                at = (at * 31 + 7) % KEYS;
                let key = [format!("customer-{at:08}")];
                let asks: Vec<Ask<'_>> = names
                    .iter()
                    .map(|name| ask(name, &key, 1, algorithm))
                    .collect();
                let count = match handler.allocate(&asks, "").await {
                    Ok(_) => &done,
                    Err(_) => &failed,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
            drop(ended);
        });
    }
    drop(ended);
    while all_ended.recv().await.is_some() {}
    let (seconds, decisions) = (
        clock.now().since(begun).as_secs_f64(),
        done.load(Ordering::Relaxed),
    );
    let each = |nanos: u64| nanos as f64 / 1000.0 / decisions as f64;
    println!(
        "{name}, {quotas} quota(s) a decision: {:.0} decisions/s, CPU of one: {:.1} us here, {:.1} us in redis; {} failed",
        decisions as f64 / seconds,
        each(cpu(std::process::id()) - ours),
        each(cpu(redis.id()) - theirs),
        failed.load(Ordering::Relaxed),
    );
}

fn ask<'a>(quota: &'a str, key: &'a [String], cost: i64, algorithm: Algorithm) -> Ask<'a> {
    Ask {
        quota,
        key,
        cost,
        limit: Limit {
            amount: 1_000_000,
            window: Duration::from_secs(60),
        },
        algorithm,
        extra: 0,
        over: Over::Refuse,
        age: Duration::ZERO,
    }
}

/// Nanoseconds of CPU that the kernel charged to all threads of a process.
fn cpu(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_thread = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    threads.flatten().filter_map(of_thread).sum()
}
