//! Limits of how many at once, and costs that are known afterwards.

use std::time::Duration;

use mixer_client::{Failure, NotCounted, Verdict};
use mixer_proto::v1::{self, grant::Outcome};

use super::*;

fn charge(quota: &str) -> v1::Charge {
    v1::Charge {
        quota: quota.into(),
        key: vec!["alice".into()],
        cost: 2,
        on_error: v1::OnError::Allow.into(),
        amount: 20,
        window: Some(seconds(30)),
        lease: Some(0),
        tier: "pro".into(),
        policy: "p".into(),
        sentence: format!("{quota} per customer"),
        hold: Some(seconds(30)),
        ..Default::default()
    }
}

fn seconds(seconds: i64) -> v1::Time {
    v1::Time { seconds, nanos: 0 }
}

fn grant(outcome: Outcome) -> v1::Grant {
    v1::Grant {
        outcome: outcome.into(),
        retry_after: (outcome == Outcome::Refused).then(|| seconds(30)),
        ..Default::default()
    }
}

/// A client for which a GET is decided: allowed, at these charges, all of which are granted.
async fn charged(charges: &[v1::Charge]) -> Bench {
    let bench = Bench::warm_with(|config| {
        config.total_timeout = Duration::from_secs(5);
    })
    .await;
    let answer = v1::CheckResponse {
        decision: Some(v1::Decision {
            charges: charges.to_vec(),
            ..decision(v1::Verdict::Allow)
        }),
        grants: vec![grant(Outcome::Granted); charges.len()],
    };
    bench
        .server
        .script
        .checks
        .usually(move |_| Reply::Answer(answer.clone()));
    answers(&bench, Outcome::Granted);
    bench
}

fn answers(bench: &Bench, outcome: Outcome) {
    bench.server.script.quotas.usually(move |request| {
        Reply::Answer(v1::QuotaResponse {
            grants: vec![grant(outcome); request.asks.len()],
            ..Default::default()
        })
    });
}

/// What was asked of Quota that frees: quota, cost, age in seconds.
fn freed(bench: &Bench) -> Vec<(String, i64, i64)> {
    let asked = bench.server.script.quotas.asked();
    let asks = asked.into_iter().flat_map(|request| request.asks);
    asks.filter(|ask| ask.cost < 0)
        .map(|ask| (ask.quota, ask.cost, ask.age.unwrap().seconds))
        .collect()
}

async fn wait_for_freed(bench: &Bench, count: usize) {
    in_time(async {
        while freed(bench).len() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_in_flight_is_freed_when_the_last_of_its_answer_is_dropped() {
    let plain = v1::Charge {
        hold: None,
        ..charge("plain")
    };
    let shadow = v1::Charge {
        shadow: true,
        ..charge("shadow")
    };
    let bench = charged(&[charge("orders"), plain, shadow]).await;
    let first = bench.ask(&request("GET", &[])).await;
    let second = bench.ask(&request("GET", &[])).await;
    assert_eq!((first.cached, second.cached), (false, true));
    let in_flight = first.in_flight.clone();
    drop(first);
    bench.hand.advance(Duration::from_secs(3));
    drop(second);
    wait_for_freed(&bench, 1).await;
    drop(in_flight);
    wait_for_freed(&bench, 2).await;
    // Older by as much as the call may take, so that nothing is freed that has ended by itself.
    let once = ("orders".to_owned(), -2, 3 + 5);
    assert_eq!(freed(&bench), [once.clone(), once]);
    let ids = bench.server.script.quotas.asked();
    assert!(ids.iter().all(|request| !request.dedup_id.is_empty()));
}

#[tokio::test]
async fn what_took_longer_than_its_hold_or_was_refused_is_not_freed() {
    let bench = charged(&[charge("orders")]).await;
    let long = bench.ask(&request("GET", &[])).await;
    bench.hand.advance(Duration::from_secs(30));
    drop(long);
    answers(&bench, Outcome::Refused);
    for _ in 0..3 {
        let refused = bench.ask(&request("GET", &[])).await;
        assert_eq!(refused.verdict, Verdict::Deny);
    }
    answers(&bench, Outcome::Granted);
    let passed = bench.ask(&request("GET", &[])).await;
    assert_eq!(passed.verdict, Verdict::Allow, "no refusal was remembered");
    drop(passed);
    wait_for_freed(&bench, 1).await;
    bench.client.finish(Duration::from_secs(60)).await;
    assert_eq!(freed(&bench).len(), 1);
}

#[tokio::test]
async fn what_ends_together_is_freed_together_and_finishing_frees_the_rest() {
    let bench = charged(&[charge("orders")]).await;
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(bench.ask(&request("GET", &[])).await);
    }
    let before = bench.server.script.quotas.asked().len();
    drop(answers);
    bench.client.finish(Duration::from_secs(60)).await;
    wait_for_freed(&bench, 50).await;
    let calls = bench.server.script.quotas.asked().len() - before;
    assert!(calls <= 2, "{calls} calls to free 50");
}

#[tokio::test]
async fn a_refusal_that_counts_is_asked_for_each_time() {
    let counts = v1::Charge {
        hold: None,
        counts_denied: true,
        ..charge("orders")
    };
    let bench = charged(&[counts]).await;
    bench.ask(&request("GET", &[])).await;
    answers(&bench, Outcome::Refused);
    for _ in 0..4 {
        let refused = bench.ask(&request("GET", &[])).await;
        assert_eq!(refused.verdict, Verdict::Deny);
    }
    assert_eq!(bench.server.script.quotas.asked().len(), 4);
    assert_eq!(bench.client.stats().refusals_remembered, 0);
}

#[tokio::test]
async fn an_estimate_is_reserved_and_the_actual_cost_committed() {
    let bench = Bench::warm().await;
    let script = &bench.server.script.quotas;
    script.usually(|request| {
        let settled = |commit: &v1::Commit| match &*commit.reservation {
            "r-1" => grant(Outcome::Granted),
            _ => grant(Outcome::Unknown),
        };
        Reply::Answer(v1::QuotaResponse {
            grants: vec![grant(Outcome::Granted); request.asks.len()],
            commits: request.commits.iter().map(settled).collect(),
            reservations: vec!["r-1".into(); request.asks.len()],
            reserved_for: Some(seconds(600)),
        })
    });
    let key = ["alice".to_owned()];
    let reserved = in_time(bench.client.reserve("tokens", &key, "pro", 500)).await;
    let reservation = reserved.unwrap();
    assert_eq!(reservation.valid_for, Duration::from_secs(600));
    assert_eq!(
        in_time(bench.client.commit(&reservation.id, 720)).await,
        Ok(())
    );
    let unknown = in_time(bench.client.commit("r-2", 0)).await;
    assert_eq!(unknown, Err(NotCounted::Unknown));
    let asked = script.asked();
    let ask = &asked[0].asks[0];
    assert_eq!((&*ask.quota, &*ask.tier, ask.cost), ("tokens", "pro", 500));
    assert!(ask.reserve && ask.key == key && !asked[0].dedup_id.is_empty());
    let commit = v1::Commit {
        reservation: "r-1".into(),
        actual: 720,
    };
    assert_eq!((asked[1].asks.len(), &asked[1].commits), (0, &vec![commit]));

    answers(&bench, Outcome::Refused);
    let refused = in_time(bench.client.reserve("tokens", &key, "", 500)).await;
    let retry_after = Some(Duration::from_secs(30));
    assert_eq!(refused, Err(NotCounted::Refused { retry_after }));
    script.usually(|_| Reply::Fail(tonic::Status::resource_exhausted("full")));
    let failed = in_time(bench.client.commit("r-1", 1)).await;
    assert_eq!(failed, Err(NotCounted::Failed(Failure::Overloaded)));
}
