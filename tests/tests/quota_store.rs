//! The store of quotas dies under load and comes back: what each quota's `on_error` says happens, and nothing else.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mixer_runtime::Clock;
use mixer_tests::http::{Client, get};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::servers::Redis;
use mixer_tests::service::Service;
use mixer_tests::wait;
use tokio::task::JoinSet;

/// How the store was when a request began.
const PHASES: [&str; 3] = ["before", "while it is away", "after"];

/// While it goes and comes.
const BETWEEN: usize = PHASES.len();

/// How many answers, by path, phase and status.
type Counts = BTreeMap<(&'static str, usize, u16), usize>;

/// What callers saw of the quotas that are asked under load: how many answers of each status, by path and phase.
#[derive(Clone, Default)]
struct Seen {
    phase: Arc<AtomicUsize>,
    counts: Arc<Mutex<Counts>>,
}

impl Seen {
    fn note(&self, path: &'static str, phase: usize, status: u16) {
        *self
            .counts
            .lock()
            .unwrap()
            .entry((path, phase, status))
            .or_default() += 1;
    }

    /// The statuses of a path in a phase, with how often.
    fn of(&self, path: &str, phase: usize) -> Vec<(u16, usize)> {
        let counts = self.counts.lock().unwrap();
        let found = counts
            .iter()
            .filter(|((of, at, _), _)| (*of, *at) == (path, phase));
        found
            .map(|((.., status), count)| (*status, *count))
            .collect()
    }

    fn statuses(&self, path: &str) -> Vec<u16> {
        let mut statuses: Vec<u16> = (0..PHASES.len())
            .flat_map(|phase| self.of(path, phase))
            .map(|(status, _)| status)
            .collect();
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    fn print(&self) {
        println!(
            "| on_error | {} |\n| --- | --- | --- | --- |",
            PHASES.join(" | ")
        );
        for path in PATHS {
            let cells = [0, 1, 2].map(|phase| {
                let seen = self.of(path, phase);
                let words = seen
                    .iter()
                    .map(|(status, count)| format!("{count} x {status}"));
                words.collect::<Vec<_>>().join(", ")
            });
            println!("| {path} | {} |", cells.join(" | "));
        }
    }
}

/// A quota each, called as its `on_error`.
const PATHS: [&str; 3] = ["allow", "deny", "local"];

fn documents(redis: &Redis) -> Documents {
    let quota = |path: &str, limit: u64, on_error: &str| {
        format!(
            "  - quota: {path}\n    key: []\n    when: request.path == \"/{path}\"\n    limit: {limit} per day\n    \
             store: shared\n    lease: 0\n    on_error: {on_error}\n"
        )
    };
    let policy = [
        "policy: products\nfor: destination.service == \"products.shop\"\nquotas:\n".to_owned(),
        quota("allow", 1_000_000, "allow"),
        quota("deny", 1_000_000, "deny"),
        quota("local", 100, "{ local: 10% }"),
    ]
    .concat();
    let adapter = format!(
        "adapter: shared\ntype: redis-quota\nconfig: {{ url: \"{}\" }}\n",
        redis.url()
    );
    Documents::new([("policy.yaml", policy), ("shared.yaml", adapter)])
}

async fn status(inbound: SocketAddr, path: &str) -> u16 {
    let mut client = Client::http1(inbound).await.unwrap();
    let answer = client.send(get("products.shop", &format!("/{path}"))).await;
    answer.unwrap().status.as_u16()
}

/// How many of `times` requests were answered with each status, in the order they first came.
async fn statuses(inbound: SocketAddr, path: &str, times: usize) -> Vec<(u16, usize)> {
    let mut counted: Vec<(u16, usize)> = Vec::new();
    for _ in 0..times {
        let status = status(inbound, path).await;
        match counted.iter_mut().find(|(seen, _)| *seen == status) {
            Some((_, count)) => *count += 1,
            None => counted.push((status, 1)),
        }
    }
    counted
}

/// Asks again and again until told to stop, and writes down what it saw.
fn load(
    tasks: &mut JoinSet<()>,
    inbound: SocketAddr,
    path: &'static str,
    stop: &Arc<AtomicBool>,
    seen: &Seen,
) {
    for _ in 0..2 {
        let (seen, stop) = (seen.clone(), stop.clone());
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let phase = seen.phase.load(Ordering::Relaxed);
                let status = status(inbound, path).await;
                // What began in one phase and ended in another is of neither.
                if seen.phase.load(Ordering::Relaxed) == phase {
                    seen.note(path, phase, status);
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis"]
async fn when_redis_dies_under_load_on_error_decides_and_all_recovers() {
    let mut redis = Redis::start().await;
    let documents = documents(&redis);
    let app = Service::echo("products").await;
    let mixer = Mixer::serve(&documents).await;
    let proxy: Proxy = ProxyConfig::new("products.shop", app.addr, mixer.grpc)
        .start()
        .await;
    let inbound = proxy.config.inbound;
    let clock = Clock::system();
    let until = async |status_is: u16, what: &str| -> Duration {
        let begun = clock.now();
        wait::until(what, async || {
            (status(inbound, "deny").await == status_is).then_some(())
        })
        .await;
        clock.now().since(begun)
    };
    until(200, "the store is connected").await;
    let seen = Seen::default();
    let ask_local = async |times: usize, phase: usize| {
        let seen_now = statuses(inbound, "local", times).await;
        for (status, count) in &seen_now {
            (0..*count).for_each(|_| seen.note("local", phase, *status));
        }
        seen_now
    };
    assert_eq!(ask_local(5, 0).await, [(200, 5)]);

    let (stop, mut tasks) = (Arc::default(), JoinSet::new());
    for path in ["allow", "deny"] {
        load(&mut tasks, inbound, path, &stop, &seen);
    }
    wait::until("there was load before", async || {
        (!seen.of("deny", 0).is_empty() && !seen.of("allow", 0).is_empty()).then_some(())
    })
    .await;
    seen.phase.store(BETWEEN, Ordering::Relaxed);
    redis.kill();
    let noticed = until(503, "callers of what denies are told so").await;
    seen.phase.store(1, Ordering::Relaxed);
    // Each proxy lets its share of 100 pass, and no more.
    assert_eq!(ask_local(25, 1).await, [(200, 10), (429, 15)]);
    wait::until("there was load meanwhile", async || {
        (!seen.of("deny", 1).is_empty() && !seen.of("allow", 1).is_empty()).then_some(())
    })
    .await;

    seen.phase.store(BETWEEN, Ordering::Relaxed);
    redis.restart().await;
    let recovered = until(200, "the store is back").await;
    seen.phase.store(2, Ordering::Relaxed);
    wait::until("the store counts what was counted alone", async || {
        (status(inbound, "local").await == 200).then_some(())
    })
    .await;
    // A server without a disk has forgotten all: the limit begins anew.
    assert_eq!(ask_local(110, 2).await, [(200, 99), (429, 11)]);
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    seen.print();
    println!(
        "denied after {noticed:?} without a store; counted again {recovered:?} after it was back"
    );
    assert_eq!(seen.statuses("allow"), [200]);
    for (phase, statuses) in [(0, 200), (1, 503), (2, 200)] {
        let seen: Vec<u16> = seen
            .of("deny", phase)
            .iter()
            .map(|(status, _)| *status)
            .collect();
        assert_eq!(seen, [statuses], "{}", PHASES[phase]);
    }
}
