//! Quota: what is paid from leases, what is asked for, and what stands in when nobody can count.

use std::time::Duration;

use mixer_client::{Because, Failure, Verdict};
use mixer_proto::v1::{self, grant::Outcome};
use tonic::Status;

use super::*;
use crate::server::scope;

fn charge(quota: &str) -> v1::Charge {
    v1::Charge {
        quota: quota.into(),
        key: vec!["alice".into()],
        cost: 1,
        on_error: v1::OnError::Allow.into(),
        amount: 20,
        window: Some(v1::Time {
            seconds: 60,
            nanos: 0,
        }),
        tier: "pro".into(),
        policy: "p".into(),
        sentence: format!("{quota} per customer"),
        ..Default::default()
    }
}

fn grant(outcome: Outcome) -> v1::Grant {
    v1::Grant {
        outcome: outcome.into(),
        ..Default::default()
    }
}

fn leased(lease: u64) -> v1::Grant {
    v1::Grant {
        lease,
        lease_for: Some(v1::Time {
            seconds: 10,
            nanos: 0,
        }),
        ..grant(Outcome::Granted)
    }
}

fn refused(seconds: i64) -> v1::Grant {
    v1::Grant {
        retry_after: Some(v1::Time { seconds, nanos: 0 }),
        ..grant(Outcome::Refused)
    }
}

fn grants(grants: &[v1::Grant]) -> Reply<v1::QuotaResponse> {
    Reply::Answer(v1::QuotaResponse {
        grants: grants.to_vec(),
        ..Default::default()
    })
}

/// A client for which a GET is decided: allowed, at these charges, which the first request was granted.
async fn charged(charges: &[v1::Charge], granted: &[v1::Grant]) -> Bench {
    let bench = Bench::warm().await;
    let decision = v1::Decision {
        charges: charges.to_vec(),
        ..decision(v1::Verdict::Allow)
    };
    let answer = v1::CheckResponse {
        decision: Some(decision),
        grants: granted.to_vec(),
    };
    bench
        .server
        .script
        .checks
        .usually(move |_| Reply::Answer(answer.clone()));
    assert_eq!(
        bench.ask(&request("GET", &[])).await.verdict,
        Verdict::Allow
    );
    bench
}

#[tokio::test]
async fn a_lease_pays_without_a_call_and_is_refilled_in_the_background() {
    let bench = charged(&[charge("orders")], &[leased(4)]).await;
    bench.server.script.quotas.usually(|_| grants(&[leased(4)]));
    for _ in 0..2 {
        let answer = bench.ask(&request("GET", &[])).await;
        assert_eq!((answer.verdict, answer.cached), (Verdict::Allow, true));
    }
    assert_eq!(
        bench.server.script.quotas.asked().len(),
        0,
        "half of the lease is left"
    );
    bench.ask(&request("GET", &[])).await;
    let asked = bench.server.script.quotas.wait_for(1).await;
    let ask = &asked[0].asks[0];
    assert_eq!(
        (&*ask.quota, &*ask.key, &*ask.tier),
        ("orders", &["alice".to_owned()][..], "pro")
    );
    assert_eq!(
        (ask.cost, ask.lease, &*asked[0].client),
        (0, true, "proxy-1")
    );
    assert!(ask.per_second > 0.0 && !asked[0].dedup_id.is_empty());
    assert_eq!(
        (
            bench.client.stats().lease_hits,
            bench.client.stats().check_calls
        ),
        (3, 1)
    );
}

#[tokio::test]
async fn a_charge_without_a_lease_is_asked_for_each_time() {
    let always = v1::Charge {
        lease: Some(0),
        ..charge("orders")
    };
    let bench = charged(&[always, charge("bytes")], &[leased(0), leased(0)]).await;
    bench
        .server
        .script
        .quotas
        .usually(|_| grants(&[leased(0), leased(0)]));
    for _ in 0..2 {
        assert_eq!(
            bench.ask(&request("GET", &[])).await.verdict,
            Verdict::Allow
        );
    }
    let asked = bench.server.script.quotas.asked();
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].dedup_id, asked[1].dedup_id);
    let asks: Vec<_> = asked[0]
        .asks
        .iter()
        .map(|ask| (&*ask.quota, ask.cost, ask.lease))
        .collect();
    assert_eq!(asks, [("orders", 1, false), ("bytes", 1, true)]);
}

#[tokio::test]
async fn a_refusal_is_remembered_until_it_may_be_granted() {
    let bench = charged(&[charge("orders")], &[leased(0)]).await;
    bench
        .server
        .script
        .quotas
        .usually(|_| grants(&[refused(5)]));
    for (passed, left) in [(0, 5), (2, 3), (2, 1)] {
        bench.hand.advance(Duration::from_secs(passed));
        let denial = bench.ask(&request("GET", &[])).await;
        assert_eq!(
            (denial.verdict, denial.because),
            (Verdict::Deny, Because::Quota)
        );
        assert_eq!((denial.http_status, denial.grpc_status), (429, 8));
        assert_eq!(
            (&*denial.policy, &*denial.rule, &*denial.rule_id),
            ("p", "orders per customer", "orders")
        );
        assert_eq!(denial.retry_after, Some(Duration::from_secs(left)));
    }
    assert_eq!(
        (
            bench.server.script.quotas.asked().len(),
            bench.client.stats().refusals_remembered
        ),
        (1, 2)
    );
    bench.hand.advance(Duration::from_secs(1));
    bench.server.script.quotas.usually(|_| grants(&[leased(0)]));
    assert_eq!(
        bench.ask(&request("GET", &[])).await.verdict,
        Verdict::Allow
    );
}

#[tokio::test]
async fn a_request_that_one_counter_refuses_spends_nothing_of_the_others() {
    let bench = charged(
        &[charge("orders"), charge("bytes")],
        &[leased(2), leased(0)],
    )
    .await;
    bench
        .server
        .script
        .quotas
        .usually(|_| grants(&[refused(5)]));
    for _ in 0..5 {
        assert_eq!(
            bench.ask(&request("GET", &[])).await.because,
            Because::Quota
        );
    }
    // Both tokens of the lease are still there.
    bench.hand.advance(Duration::from_secs(5));
    bench
        .server
        .script
        .quotas
        .usually(|quota| grants(&vec![leased(0); quota.asks.len()]));
    let before = bench.client.stats().lease_hits;
    for _ in 0..2 {
        assert_eq!(
            bench.ask(&request("GET", &[])).await.verdict,
            Verdict::Allow
        );
    }
    assert_eq!(bench.client.stats().lease_hits - before, 2);
}

#[tokio::test]
async fn a_refusal_within_an_allow_refuses_and_the_decision_is_kept() {
    let bench = Bench::warm().await;
    let charges = vec![charge("orders"), charge("bytes")];
    let decision = v1::Decision {
        charges,
        ..decision(v1::Verdict::Allow)
    };
    // What is granted beside a refusal was not taken, whatever it says.
    let answer = v1::CheckResponse {
        decision: Some(decision),
        grants: vec![leased(9), refused(5)],
    };
    bench
        .server
        .script
        .checks
        .usually(move |_| Reply::Answer(answer.clone()));
    for cached in [false, true] {
        let denial = bench.ask(&request("GET", &[])).await;
        assert_eq!((denial.because, denial.cached), (Because::Quota, cached));
        assert_eq!(
            (&*denial.rule, denial.retry_after),
            ("bytes per customer", Some(Duration::from_secs(5)))
        );
    }
    assert_eq!(
        (
            bench.client.stats().check_calls,
            bench.client.stats().quota_calls
        ),
        (1, 0)
    );
    in_time(bench.client.finish(Duration::from_secs(5))).await;
    assert_eq!(
        bench.server.script.quotas.asked().len(),
        0,
        "gave back what it never had"
    );
}

#[tokio::test]
async fn idle_leases_are_given_back() {
    let bench = charged(&[charge("orders")], &[leased(9)]).await;
    bench.server.script.quotas.usually(|_| grants(&[leased(0)]));
    bench.ask(&request("GET", &[])).await;
    let quotas = &bench.server.script.quotas;
    bench
        .pass_time_until(Duration::from_millis(250), async || quotas.comes(1).await)
        .await;
    let ask = quotas.asked()[0].asks[0].clone();
    assert_eq!(
        (&*ask.quota, ask.cost, ask.lease, ask.unused),
        ("orders", 0, false, 8)
    );
}

#[tokio::test]
async fn the_end_gives_leases_back() {
    let bench = charged(
        &[charge("orders"), charge("bytes")],
        &[leased(9), leased(3)],
    )
    .await;
    bench
        .server
        .script
        .quotas
        .usually(|quota| grants(&vec![leased(0); quota.asks.len()]));
    in_time(bench.client.finish(Duration::from_secs(5))).await;
    let asked = bench.server.script.quotas.asked();
    let mut unused: Vec<_> = asked[0]
        .asks
        .iter()
        .map(|ask| (&*ask.quota, ask.unused))
        .collect();
    unused.sort_unstable();
    assert_eq!(unused, [("bytes", 3), ("orders", 9)]);
}

#[tokio::test]
async fn what_cannot_be_counted_is_decided_by_the_quota() {
    type Replies = fn() -> Reply<v1::QuotaResponse>;
    let ways: [(Replies, Option<Failure>); 4] = [
        (
            || Reply::Fail(Status::unavailable("")),
            Some(Failure::Unreachable),
        ),
        (
            || Reply::Fail(Status::resource_exhausted("")),
            Some(Failure::Overloaded),
        ),
        (
            || grants(&[grant(Outcome::Unspecified)]),
            Some(Failure::Malformed),
        ),
        (|| grants(&[grant(Outcome::Unavailable)]), None),
    ];
    for (reply, failure) in ways {
        let on_error = |on_error: v1::OnError| v1::Charge {
            on_error: on_error.into(),
            ..charge("orders")
        };

        let bench = charged(&[on_error(v1::OnError::Allow)], &[leased(0)]).await;
        bench.server.script.quotas.usually(move |_| reply());
        let answer = bench.ask(&request("GET", &[])).await;
        assert_eq!(
            (answer.verdict, answer.because, answer.failure),
            (Verdict::Allow, Because::Matched, None)
        );
        assert_eq!(bench.client.stats().quota_failed, 1);

        let bench = charged(&[on_error(v1::OnError::Deny)], &[leased(0)]).await;
        bench.server.script.quotas.usually(move |_| reply());
        let answer = bench.ask(&request("GET", &[])).await;
        assert_eq!(
            (answer.verdict, answer.because, answer.failure),
            (Verdict::Deny, Because::Unavailable, failure)
        );
        assert_eq!((answer.http_status, answer.grpc_status), (503, 14));
        assert!(answer.retry_after.is_some());

        let local = v1::Charge {
            local_percent: 10,
            ..on_error(v1::OnError::Local)
        };
        let bench = charged(&[local], &[leased(0)]).await;
        bench.server.script.quotas.usually(move |_| reply());
        let mut because = Vec::new();
        for _ in 0..3 {
            because.push(bench.ask(&request("GET", &[])).await.because);
        }
        assert_eq!(
            because,
            [Because::Matched, Because::Matched, Because::Quota],
            "10 % of 20"
        );
    }
}

#[tokio::test]
async fn a_quota_that_mixer_does_not_know_ends_the_decision() {
    let bench = charged(&[charge("orders")], &[leased(0)]).await;
    bench
        .server
        .script
        .quotas
        .usually(|_| grants(&[grant(Outcome::Unknown)]));
    bench
        .server
        .script
        .checks
        .then(decides(decision(v1::Verdict::Deny)));
    let answer = bench.ask(&request("GET", &[])).await;
    assert_eq!((answer.verdict, answer.cached), (Verdict::Deny, false));
    assert_eq!(
        (
            bench.client.stats().check_calls,
            bench.client.stats().quota_calls
        ),
        (2, 1)
    );
    let kept = bench.ask(&request("GET", &[])).await;
    assert_eq!((kept.verdict, kept.cached), (Verdict::Deny, true));
}

#[tokio::test]
async fn a_shadow_quota_never_refuses_and_says_so() {
    let shadow = v1::Charge {
        shadow: true,
        on_error: v1::OnError::Deny.into(),
        ..charge("orders")
    };
    let bench = charged(&[shadow], &[leased(0)]).await;
    bench
        .server
        .script
        .quotas
        .usually(|_| grants(&[refused(60)]));
    let first = bench.ask(&request("GET", &[])).await;
    assert_eq!(
        (first.verdict, first.shadow.len()),
        (Verdict::Allow, 0),
        "waited for a shadow"
    );
    bench.server.script.quotas.wait_for(1).await;
    let mut answer = first;
    in_time(async {
        while answer.shadow.is_empty() {
            tokio::task::yield_now().await;
            answer = bench.ask(&request("GET", &[])).await;
            assert_eq!(answer.verdict, Verdict::Allow);
        }
    })
    .await;
    let shadow = &answer.shadow[0];
    assert_eq!(
        (&*shadow.rule, shadow.would, shadow.because),
        ("orders per customer", Verdict::Deny, Because::Quota)
    );
}

#[tokio::test]
async fn the_next_check_tells_how_fast_its_destination_is_charged() {
    let bench = charged(&[charge("orders")], &[leased(0)]).await;
    bench.server.script.quotas.usually(|_| grants(&[leased(0)]));
    bench.ask(&request("GET", &[])).await;
    bench.ask(&request("POST", &[])).await;
    let checks = bench.server.script.checks.asked();
    assert!(checks[0].rates.is_empty());
    let rate = &checks[1].rates[0];
    assert_eq!(
        (&*rate.quota, &*rate.key, rate.per_second),
        ("orders", &["alice".to_owned()][..], 2.0)
    );
}

#[tokio::test]
async fn leases_outlive_a_revision() {
    let bench = charged(&[charge("orders")], &[leased(9)]).await;
    bench.announce(scope("r2")).await;
    let decision = v1::Decision {
        charges: vec![charge("orders")],
        revision: "r2".into(),
        ..decision(v1::Verdict::Allow)
    };
    let answer = v1::CheckResponse {
        decision: Some(decision),
        grants: vec![leased(0)],
    };
    bench
        .server
        .script
        .checks
        .usually(move |_| Reply::Answer(answer.clone()));
    assert!(!bench.ask(&request("GET", &[])).await.cached);
    assert!(bench.ask(&request("GET", &[])).await.cached);
    assert_eq!(
        (
            bench.client.stats().lease_hits,
            bench.client.stats().quota_calls
        ),
        (1, 0)
    );
}
