//! Check: when Mixer is asked and when it is not.

use std::time::Duration;

use mixer_client::{At, Because, Client, Failure, Verdict};
use mixer_proto::v1;

use super::*;
use crate::server::scope;

fn allow() -> v1::Decision {
    decision(v1::Verdict::Allow)
}

#[tokio::test]
async fn nobody_passes_before_the_first_state_and_nobody_is_asked() {
    let bench = Bench::cold();
    let answer = bench.ask(&request("GET", &[])).await;
    assert_eq!(
        (answer.verdict, answer.http_status, answer.grpc_status),
        (Verdict::Deny, 503, 14)
    );
    assert_eq!(
        (answer.failure, answer.retry_after),
        (Some(Failure::Cold), Some(Duration::from_secs(1)))
    );
    assert!(!bench.client.ready() && bench.client.state().borrow().is_none());
    assert_eq!(
        (
            bench.client.stats().failed_cold,
            bench.server.script.checks.asked().len()
        ),
        (1, 0)
    );

    bench.announce(scope("r1")).await;
    assert!(bench.client.ready() && bench.client.stats().watching);
}

#[tokio::test]
async fn where_nothing_applies_nobody_is_asked() {
    let bench = Bench::warm().await;
    bench
        .announce(v1::Scope {
            rules: false,
            quotas: false,
            ..scope("r2")
        })
        .await;
    let answer = bench.ask(&request("GET", &[])).await;
    assert_eq!(
        (answer.verdict, answer.because),
        (Verdict::Allow, Because::Nothing)
    );
    let elsewhere = in_time(
        bench
            .client
            .check(At::Outbound, None, &request("GET", &[]).bag()),
    )
    .await;
    assert_eq!(
        (elsewhere.verdict, elsewhere.because),
        (Verdict::Allow, Because::Nothing)
    );
    assert_eq!(
        (
            bench.client.stats().nothing_applies,
            bench.client.stats().check_calls
        ),
        (2, 0)
    );
}

#[tokio::test]
async fn a_proxy_says_what_it_stands_before() {
    let bench = Bench::with(|config| {
        config.inbound.set(
            vocabulary::DESTINATION_SERVICE,
            OwnedValue::String("shop".into()),
        );
    });
    bench.announce(scope("r1")).await;
    let watch = bench.server.script.watches.borrow()[0].clone();
    assert_eq!((&*watch.client, watch.inbound[0].id), ("proxy-1", 9));
    assert_eq!(
        watch.inbound[0].value,
        Some(v1::attribute::Value::String("shop".into()))
    );
}

#[tokio::test]
async fn requests_equal_in_what_was_read_are_asked_once() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(allow()));
    let first = bench.ask(&request("GET", &[("x", "1")])).await;
    let second = bench.ask(&request("GET", &[("x", "2")])).await;
    assert!(!first.cached && second.cached);
    assert_eq!(
        (&*second.policy, &*second.rule, &*second.id),
        ("p", "a sentence", "d-1")
    );
    assert!(
        !bench.ask(&request("POST", &[])).await.cached,
        "another value of what was read"
    );
    let stats = bench.client.stats();
    assert_eq!(
        (
            stats.check_calls,
            stats.cache_hits,
            stats.cache_misses,
            stats.cache_entries
        ),
        (2, 1, 2, 2)
    );
}

#[tokio::test]
async fn denials_are_kept_like_allows() {
    let bench = Bench::warm().await;
    let denial = v1::Decision {
        http_status: 451,
        message: "no".into(),
        ..decision(v1::Verdict::Deny)
    };
    bench
        .server
        .script
        .checks
        .usually(move |_| decides(denial.clone()));
    for cached in [false, true] {
        let answer = bench.ask(&request("GET", &[])).await;
        assert_eq!(
            (answer.verdict, answer.http_status, &*answer.message),
            (Verdict::Deny, 451, "no")
        );
        assert_eq!((answer.cached, answer.failure), (cached, None));
    }
}

#[tokio::test]
async fn an_answer_lives_as_long_as_it_says() {
    let bench = Bench::warm().await;
    let timed = v1::Decision {
        valid_for: Some(v1::Time {
            seconds: 5,
            nanos: 0,
        }),
        ..allow()
    };
    bench
        .server
        .script
        .checks
        .usually(move |_| decides(timed.clone()));
    bench.ask(&request("GET", &[])).await;
    bench.hand.advance(Duration::from_secs(4));
    assert!(bench.ask(&request("GET", &[])).await.cached);
    bench.hand.advance(Duration::from_secs(1));
    assert!(!bench.ask(&request("GET", &[])).await.cached);
}

#[tokio::test]
async fn an_answer_is_used_as_often_as_it_says() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| {
        decides(v1::Decision {
            valid_uses: 2,
            ..allow()
        })
    });
    let mut cached = Vec::new();
    for _ in 0..4 {
        cached.push(bench.ask(&request("GET", &[])).await.cached);
    }
    assert_eq!(cached, [false, true, false, true]);
}

#[tokio::test]
async fn an_answer_about_another_request_than_ours_is_used_but_not_kept() {
    let bench = Bench::warm().await;
    let absent = vec![v1::Reference {
        id: 18,
        present: false,
        ..Default::default()
    }];
    bench.server.script.checks.usually(move |_| {
        decides(v1::Decision {
            referenced: absent.clone(),
            ..allow()
        })
    });
    for _ in 0..2 {
        let answer = bench.ask(&request("GET", &[])).await;
        assert_eq!((answer.verdict, answer.cached), (Verdict::Allow, false));
    }
    assert_eq!(bench.client.stats().cache_entries, 0);
}

#[tokio::test]
async fn a_new_revision_ends_every_answer_of_the_old_one() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(allow()));
    bench.ask(&request("GET", &[])).await;
    assert!(bench.ask(&request("GET", &[])).await.cached);

    bench.announce(scope("r2")).await;
    // A Mixer that has not loaded it yet still answers for r1: used, not kept.
    assert!(!bench.ask(&request("GET", &[])).await.cached);
    assert!(!bench.ask(&request("GET", &[])).await.cached);
    bench.server.script.checks.usually(|_| {
        decides(v1::Decision {
            revision: "r2".into(),
            ..allow()
        })
    });
    assert!(!bench.ask(&request("GET", &[])).await.cached);
    assert!(bench.ask(&request("GET", &[])).await.cached);
}

#[tokio::test]
async fn a_state_that_leaves_the_revision_keeps_its_answers() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(allow()));
    bench.ask(&request("GET", &[])).await;
    bench
        .announce(v1::Scope {
            trace_sample: 0.5,
            ..scope("r1")
        })
        .await;
    assert!(bench.ask(&request("GET", &[])).await.cached);
}

#[tokio::test]
async fn one_client_serves_every_runtime() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(allow()));
    let ask = |client: Client, method: &'static str| {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime
                .block_on(in_time(client.check(
                    At::Inbound,
                    Some("shop"),
                    &request(method, &[]).bag(),
                )))
                .cached
        })
    };
    let cached = |method| {
        let thread = ask(bench.client.clone(), method);
        async move {
            tokio::task::spawn_blocking(move || thread.join().unwrap())
                .await
                .unwrap()
        }
    };
    assert!(!cached("GET").await);
    assert!(
        cached("GET").await,
        "what one thread learnt another does not know"
    );
    assert!(
        !cached("POST").await,
        "the runtime that connected has ended"
    );
}

#[tokio::test]
async fn an_answer_with_headers_and_shadows_is_whole() {
    let bench = Bench::warm().await;
    let decision = v1::Decision {
        headers: vec![
            v1::HeaderOperation {
                target: 1,
                name: "X-Team".into(),
                value: Some("shop".into()),
            },
            v1::HeaderOperation {
                target: 2,
                name: "server".into(),
                value: None,
            },
        ],
        shadow: vec![v1::ShadowVerdict {
            policy: "s".into(),
            rule: "later".into(),
            would: 2,
            because: 3,
        }],
        ..allow()
    };
    bench
        .server
        .script
        .checks
        .usually(move |_| decides(decision.clone()));
    let answer = bench.ask(&request("GET", &[])).await;
    let headers: Vec<_> = answer
        .headers
        .iter()
        .map(|h| (h.on_response, &*h.name, h.value.as_deref()))
        .collect();
    assert_eq!(
        headers,
        [(false, "x-team", Some("shop")), (true, "server", None)]
    );
    let shadow: Vec<_> = answer
        .shadow
        .iter()
        .map(|s| (&*s.policy, &*s.rule, s.would, s.because))
        .collect();
    assert_eq!(shadow, [("s", "later", Verdict::Deny, Because::Otherwise)]);
}
