//! What a decision of redis-quota costs Redis, and how many a core of it makes, beside what `redis-benchmark` gets from it with
//! scripts that do less.
//!
//! `cargo bench -p mixer-tests --bench redis_quota [-- --rounds 5 --seconds 3]`, after `tests/servers/install redis`. Redis has core 0;
//! what asks has core 1, 128 decisions in flight over two connections. Rounds are interleaved. The ids are those that
//! make a retry take nothing twice: an answer is remembered under each.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mixer_adapter::conformance;
use mixer_adapter::{Algorithm, Ask, Env, Handler, Inputs, Limit, Outcome, Over, Registry};
use mixer_redis_quota::RedisQuota;
use mixer_runtime::Clock;
use mixer_tests::measure::{CLIENT, Load, SERVER, Table, argument, round};
use mixer_tests::servers::{Redis, installed};
use mixer_tests::wait;
use serde_json::json;
use tokio::runtime::Runtime;

const KEYS: usize = 100_000;
const IN_FLIGHT: usize = 128;

/// As small as a script that counts can be: a fixed window that refuses nothing.
const SMALLEST: &str = "local n = redis.call('INCR', KEYS[1]) if n == 1 then redis.call('PEXPIRE', KEYS[1], 60000) end return n";
/// As small as one can be that refuses and takes a cost: what is left is read, compared, written.
const COMPARABLE: &str = "local n = tonumber(redis.call('GET', KEYS[1]) or 0) local c = tonumber(ARGV[1]) \
    if n + c > 1000000 then return {1, 0, 1000000 - n, 1} end \
    redis.call('SET', KEYS[1], n + c, 'PX', 60000) return {0, 0, 1000000 - n - c, 0}";

/// What asks for decisions.
enum Asker {
    /// `redis-benchmark`, with a script.
    Benchmark(&'static str),
    /// The adapter.
    Ours {
        algorithm: Algorithm,
        quotas: usize,
        ids: bool,
    },
}

fn main() {
    let (rounds, seconds) = (argument("--rounds", 5), argument("--seconds", 3));
    println!(
        "cargo bench -p mixer-tests --bench redis_quota -- --rounds {rounds} --seconds {seconds}"
    );
    pin(CLIENT, std::process::id());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let redis = runtime.block_on(Redis::start());
    pin(SERVER, redis.id());
    let _entered = runtime.enter();
    let env = conformance::env("bench");
    let handler = runtime.block_on(connected(&redis, &env));

    let mut contenders = vec![
        (
            "redis-benchmark, INCR and PEXPIRE".to_owned(),
            Asker::Benchmark(SMALLEST),
        ),
        (
            "redis-benchmark, GET, compare, SET".to_owned(),
            Asker::Benchmark(COMPARABLE),
        ),
    ];
    for (name, algorithm) in [
        ("sliding window", Algorithm::SlidingWindow),
        ("gcra", Algorithm::Gcra { burst: 1_000_000 }),
    ] {
        for quotas in [1, 3] {
            for ids in [false, true] {
                let with = if ids { ", with ids" } else { "" };
                let name = format!("{name}, {quotas} quota(s){with}");
                contenders.push((
                    name,
                    Asker::Ours {
                        algorithm,
                        quotas,
                        ids,
                    },
                ));
            }
        }
    }
    let names: Vec<&str> = contenders.iter().map(|(name, _)| &**name).collect();
    let mut table = Table::new(&names);
    for turn in 0..=rounds {
        for (index, (_, asker)) in contenders.iter().enumerate() {
            redis.ask(&["flushall"]).unwrap();
            let seconds = if turn == 0 { 1 } else { seconds };
            let load = || match asker {
                Asker::Benchmark(script) => benchmark(&redis, script, seconds),
                Asker::Ours {
                    algorithm,
                    quotas,
                    ids,
                } => {
                    let asked = Asked {
                        algorithm: *algorithm,
                        quotas: *quotas,
                        ids: *ids,
                        turn,
                    };
                    decisions(&runtime, &handler, &env, asked, seconds)
                }
            };
            let measured = round(&[redis.id()], load);
            if turn > 0 {
                table.add(index, measured);
            }
        }
    }
    println!("{}", table.compared_with(1));
}

/// Keeps a process, all its threads, on one core.
fn pin(core: usize, process: u32) {
    let pinned = Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &process.to_string()])
        .output()
        .unwrap();
    assert!(pinned.status.success(), "{pinned:?}");
}

async fn connected(redis: &Redis, env: &Env) -> Arc<Handler> {
    let registry = Registry::new().with::<RedisQuota>();
    let built = registry.by_type("redis-quota").unwrap();
    let config = json!({"url": redis.url(), "timeout": "50ms"});
    let mut handler = built.build(config, &Inputs::default(), env).unwrap();
    handler.start(env);
    wait::until("the store is connected", async || {
        let asked = [ask("q", &[], 0, Algorithm::SlidingWindow)];
        handler.allocate(&asked, "").await.ok()
    })
    .await;
    Arc::new(handler)
}

/// Runs a script for about so long, by its name, pipelined as the adapter does it.
fn benchmark(redis: &Redis, script: &str, seconds: u32) -> Load {
    let name = redis.ask(&["script", "load", script]).unwrap();
    // It is told how many, not how long.
    let count = u64::from(seconds) * 200_000;
    let clock = Clock::system();
    let begun = clock.now();
    let output = Command::new(installed("redis-benchmark"))
        .args(["-p", &redis.addr.port().to_string(), "-q", "-c", "2"])
        .args(["-P", &(IN_FLIGHT / 2).to_string()])
        .args(["-n", &count.to_string(), "-r", &KEYS.to_string()])
        .args(["evalsha", name.trim(), "1", "k:__rand_int__", "1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let took = clock.now().since(begun).as_secs_f64();
    Load::new(count as f64, count as f64 / took)
}

/// What is asked of the adapter in one round.
#[derive(Clone, Copy)]
struct Asked {
    algorithm: Algorithm,
    quotas: usize,
    ids: bool,
    turn: u32,
}

fn decisions(
    runtime: &Runtime,
    handler: &Arc<Handler>,
    env: &Env,
    asked: Asked,
    seconds: u32,
) -> Load {
    let clock = Clock::system();
    let begun = clock.now();
    let done = Arc::new(AtomicU64::new(0));
    let (ended, mut all_ended) = tokio::sync::mpsc::channel::<()>(1);
    for task in 0..IN_FLIGHT {
        let (handler, clock, done, ended) =
            (handler.clone(), clock.clone(), done.clone(), ended.clone());
        env.tasks.spawn("bench", async move {
            let names: Vec<String> = (0..asked.quotas)
                .map(|number| format!("policy/quota {number}"))
                .collect();
            let (mut at, mut count) = (task, 0u64);
            while clock.now().since(begun) < Duration::from_secs(seconds.into()) {
                at = (at * 31 + 7) % KEYS;
                count += 1;
                let key = [format!("customer-{at:08}")];
                let asks = names.iter().map(|name| ask(name, &key, 1, asked.algorithm));
                let asks: Vec<Ask<'_>> = asks.collect();
                let id = if asked.ids {
                    format!("{} {task} {count}", asked.turn)
                } else {
                    String::new()
                };
                // Where its time was up nothing is known of it: it does not count.
                let Ok(grants) = handler.allocate(&asks, &id).await else {
                    continue;
                };
                assert!(grants.iter().all(|grant| grant.outcome == Outcome::Granted));
                done.fetch_add(1, Ordering::Relaxed);
            }
            drop(ended);
        });
    }
    drop(ended);
    runtime.block_on(async { while all_ended.recv().await.is_some() {} });
    let done = done.load(Ordering::Relaxed) as f64;
    Load::new(done, done / clock.now().since(begun).as_secs_f64())
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
