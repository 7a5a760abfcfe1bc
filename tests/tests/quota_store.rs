//! The store of quotas dies under load and comes back: what each quota's `on_error` says happens, and nothing else.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mixer_runtime::Clock;
use mixer_tests::http::{Client, get};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::servers::Redis;
use mixer_tests::service::Service;
use mixer_tests::wait;
use tokio::task::JoinSet;

/// What callers of one path saw.
type Seen = Arc<Mutex<BTreeSet<u16>>>;

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
        quota("local", 20, "{ local: 50% }"),
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
) -> Seen {
    let seen = Seen::default();
    for _ in 0..2 {
        let (seen, stop) = (seen.clone(), stop.clone());
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let status = status(inbound, path).await;
                seen.lock().unwrap().insert(status);
            }
        });
    }
    seen
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
    let recovered = async |what: &str| {
        let clock = Clock::system();
        let begun = clock.now();
        wait::until(what, async || {
            (status(inbound, "deny").await == 200).then_some(())
        })
        .await;
        println!("{what} after {:?}", clock.now().since(begun));
    };
    recovered("the store is connected").await;
    assert_eq!(statuses(inbound, "local", 5).await, [(200, 5)]);

    let (stop, mut tasks) = (Arc::default(), JoinSet::new());
    let allow = load(&mut tasks, inbound, "allow", &stop);
    let deny = load(&mut tasks, inbound, "deny", &stop);
    redis.kill();
    wait::until("callers of what denies are told so", async || {
        (status(inbound, "deny").await == 503).then_some(())
    })
    .await;
    // Each proxy lets its share pass, and no more.
    assert_eq!(statuses(inbound, "local", 25).await, [(200, 10), (429, 15)]);
    assert_eq!(statuses(inbound, "deny", 5).await, [(503, 5)]);

    redis.restart().await;
    recovered("the store is back").await;
    // A server without a disk has forgotten all: the limit begins anew.
    let after = wait::until("the store counts what was counted alone", async || {
        let counted = statuses(inbound, "local", 1).await;
        (counted[0].0 == 200).then_some(())
    });
    after.await;
    assert_eq!(statuses(inbound, "local", 25).await, [(200, 19), (429, 6)]);
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(*allow.lock().unwrap(), BTreeSet::from([200]));
    assert_eq!(*deny.lock().unwrap(), BTreeSet::from([200, 503]));
}
