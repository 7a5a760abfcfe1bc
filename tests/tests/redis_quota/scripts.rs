//! Two scripts decide what is asked: one that can everything, and one that can only what nearly every request is. Whatever is
//! asked in whatever order, they say the same.

use mixer_runtime::Random;
use mixer_tests::servers::Redis;
use serde_json::json;

use super::*;

/// What a quota has beside its counters, where it has the same counters by another script.
const OTHER: &str = "other";

#[tokio::test]
#[ignore = "needs redis"]
async fn both_scripts_of_redis_say_the_same() {
    let redis = Redis::start().await;
    let (mixed, _mixed) = connected(json!({"url": redis.url(), "prefix": "mixed"})).await;
    let (whole, _whole) = connected(json!({"url": redis.url(), "prefix": "whole"})).await;
    let random = Random::from_seed(11);
    let below = |most: u64| random.next() % most;
    for round in 0..400 {
        let quota = format!("p/{round}");
        let amount = 1 + below(20);
        let algorithm = match below(3) {
            0 => Algorithm::SlidingWindow,
            1 => Algorithm::Gcra {
                burst: 1 + below(20),
            },
            _ => Algorithm::Concurrency { hold: WINDOW },
        };
        for step in 0..8 {
            // One more counter in the same request makes it no plain one, and is none that anybody else asks.
            let peek = below(3) == 0;
            let keys: Vec<[String; 1]> = (0..1 + below(3)).map(|key| [key.to_string()]).collect();
            let cost = 1 + below(8) as i64;
            let asks = |with_peek: bool| {
                let limit = Limit {
                    amount,
                    window: WINDOW,
                };
                let of = |key: &'_ [String; 1]| key.clone();
                let mut asks: Vec<(String, [String; 1], i64)> = keys
                    .iter()
                    .map(|key| (quota.clone(), of(key), cost))
                    .collect();
                if with_peek {
                    asks.push((format!("p/{OTHER}"), [round.to_string()], 0));
                }
                (asks, limit)
            };
            let id = if below(2) == 0 {
                String::new()
            } else {
                format!("{round} {step}")
            };
            let told = async |handler: &Handler, with_peek| {
                let (asked, limit) = asks(with_peek);
                let asked: Vec<Ask<'_>> = asked
                    .iter()
                    .map(|(quota, key, cost)| Ask {
                        limit,
                        algorithm,
                        ..ask(quota, key, *cost)
                    })
                    .collect();
                let grants = handler.allocate(&asked, &id).await.unwrap();
                let of_counters = grants.into_iter().take(keys.len());
                of_counters
                    .map(|grant| {
                        // Between the two calls some microseconds pass.
                        let wait = grant.retry_after.map(|wait| wait.as_secs_f64().round());
                        (
                            grant.outcome,
                            grant.extra,
                            grant.remaining,
                            wait.map(|wait| (wait / 60.0).round()),
                        )
                    })
                    .collect::<Vec<_>>()
            };
            let (one, other) = (told(&mixed, peek).await, told(&whole, true).await);
            assert_eq!(
                one, other,
                "{algorithm:?} {amount}: {cost} of {keys:?}, step {step}"
            );
        }
    }
}
