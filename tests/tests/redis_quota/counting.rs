//! What is counted: never more than the limit, whoever asks.

use mixer_adapter::{CalendarWindow, Outcome};
use mixer_tests::servers::Redis;
use serde_json::json;

use super::*;

pub(super) const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::SlidingWindow,
    Algorithm::Gcra { burst: 10 },
    Algorithm::FixedWindow { calendar: None },
    Algorithm::FixedWindow {
        calendar: Some(CalendarWindow {
            number: 1_767_225_600,
            ends_in: WINDOW,
        }),
    },
    Algorithm::Concurrency { hold: WINDOW },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis"]
async fn a_thousand_keys_hammered_by_64_tasks_get_exactly_their_limits_from_redis() {
    let redis = Redis::start().await;
    for algorithm in ALGORITHMS {
        assert_eq!(
            hammered(json!({"url": redis.url()}), algorithm).await,
            10_000
        );
        redis.ask(&["flushall"]).unwrap();
    }
}

/// Tokens granted of a thousand keys with a limit of ten a day, to 64 tasks that each ask every key.
pub(super) async fn hammered(config: Value, algorithm: Algorithm) -> u64 {
    let (handler, env) = connected(config).await;
    let granted = Arc::new(AtomicU64::new(0));
    let (done, mut all_done) = tokio::sync::mpsc::channel::<()>(1);
    for task in 0..64usize {
        let (handler, granted, done) = (handler.clone(), granted.clone(), done.clone());
        env.tasks.spawn("hammer", async move {
            for at in 0..1000 {
                let key = [((at * (2 * task + 1) + task) % 1000).to_string()];
                let ask = Ask {
                    algorithm,
                    ..ask("p/hammered", &key, 1)
                };
                // A time that is up counts for nothing here: ask again, under an id, so that nothing is taken twice.
                let id = format!("{task} {at}");
                let grants = loop {
                    if let Ok(grants) = handler.allocate(std::slice::from_ref(&ask), &id).await {
                        break grants;
                    }
                };
                let took = grants[0].outcome == Outcome::Granted;
                granted.fetch_add(u64::from(took), Ordering::Relaxed);
            }
            drop(done);
        });
    }
    drop(done);
    while all_done.recv().await.is_some() {}
    granted.load(Ordering::Relaxed)
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_window_of_many_spendings_is_counted_as_it_slides_in_redis() {
    let redis = Redis::start().await;
    let (handler, _env) = connected(json!({"url": redis.url()})).await;
    // A short window spent all the time: whatever interval is looked at, the spending in it stays within the limit.
    let clock = mixer_runtime::Clock::system();
    let window = Duration::from_millis(200);
    let mut granted: Vec<(u64, u64)> = Vec::new();
    let begun = clock.now();
    while clock.now().since(begun) < window * 5 {
        let short = Ask {
            limit: Limit { amount: 50, window },
            ..ask("p/sliding", &[], 1)
        };
        let before = clock.now().as_nanos();
        if let Ok(grants) = handler.allocate(&[short], "").await
            && grants[0].outcome == Outcome::Granted
        {
            granted.push((before, clock.now().as_nanos()));
        }
    }
    assert!(granted.len() > 100, "{}", granted.len());
    // The 51st comes no earlier than a window after the first, as the server saw both; its clock may be slewed a little.
    for ((sent, _), (_, answered)) in granted.iter().zip(&granted[50..]) {
        assert!(answered - sent + 1_000_000 >= window.as_nanos() as u64);
    }
}

#[tokio::test]
#[ignore = "needs redis"]
async fn a_live_key_takes_the_memory_that_is_stated_in_redis() {
    let redis = Redis::start().await;
    let (handler, _env) = connected(json!({"url": redis.url()})).await;
    let used = || -> u64 {
        let info = redis.ask(&["info", "memory"]).unwrap();
        let line = info.lines().find(|line| line.starts_with("used_memory:"));
        line.unwrap()["used_memory:".len()..]
            .trim()
            .parse()
            .unwrap()
    };
    for algorithm in ALGORITHMS {
        redis.ask(&["flushall"]).unwrap();
        let before = used();
        for customer in 0..10_000 {
            let key = [format!("customer-{customer:08}")];
            let ask = Ask {
                algorithm,
                ..ask("products/requests per customer", &key, 1)
            };
            // Without an id, which would be remembered.
            handler.allocate(&[ask], "").await.unwrap();
        }
        let bytes = (used() - before) / 10_000;
        println!("{algorithm:?}: {bytes} bytes per key");
        assert!(bytes <= 300, "{algorithm:?}: {bytes} bytes per key");
    }
}

#[tokio::test]
#[ignore = "needs redis"]
async fn what_is_owed_or_counted_though_refused_keeps_others_out_in_redis() {
    let redis = Redis::start().await;
    let (handler, _env) = connected(json!({"url": redis.url()})).await;
    for (number, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let quotas = [format!("p/owed {number}"), format!("p/counted {number}")];
        let of = |quota: usize, cost, over| Ask {
            algorithm,
            over,
            ..ask(&quotas[quota], &[], cost)
        };
        let owed = one(&handler, of(0, 25, Over::Owe)).await;
        assert_eq!((owed.outcome, owed.remaining), (Outcome::Granted, 0));
        let back = one(&handler, of(0, -15, Over::Refuse)).await;
        assert_eq!(back.remaining, 0, "{algorithm:?}: ten are still spent");
        let back = one(&handler, of(0, -1, Over::Refuse)).await;
        assert_eq!(back.remaining, 1, "{algorithm:?}");

        one(&handler, of(1, 10, Over::Refuse)).await;
        for _ in 0..3 {
            let refused = one(&handler, of(1, 6, Over::Count)).await;
            assert_eq!(refused.outcome, Outcome::Refused);
            assert!(refused.retry_after.unwrap() > Duration::ZERO);
        }
        // Twenty are counted, however often it was asked.
        let back = one(&handler, of(1, -15, Over::Refuse)).await;
        assert_eq!(back.remaining, 5, "{algorithm:?}");
    }
}

#[tokio::test]
#[ignore = "needs redis"]
async fn what_is_forgotten_is_not_given_back_to_redis_once_more() {
    let redis = Redis::start().await;
    let (handler, _env) = connected(json!({"url": redis.url()})).await;
    for (number, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let quota = format!("p/old {number}");
        let of = |cost, age, algorithm| Ask {
            algorithm,
            age,
            ..ask(&quota, &[], cost)
        };
        one(&handler, of(4, Duration::ZERO, algorithm)).await;
        let (old, expected) = match algorithm {
            // A bucket does not ask.
            Algorithm::Gcra { .. } => (algorithm, 10),
            Algorithm::FixedWindow {
                calendar: Some(now),
            } => {
                let number = now.number - 1;
                let before = CalendarWindow { number, ..now };
                let calendar = Some(before);
                (Algorithm::FixedWindow { calendar }, 6)
            }
            other => (other, 6),
        };
        let back = one(&handler, of(-4, WINDOW, old)).await;
        assert_eq!(back.remaining, expected, "{algorithm:?}");
        let back = one(&handler, of(-4, Duration::ZERO, algorithm)).await;
        assert_eq!(back.remaining, 10, "{algorithm:?}");
    }
}
