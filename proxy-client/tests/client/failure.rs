//! Check when Mixer does not answer: tries, deadlines, what stands in for a decision.

use std::time::Duration;

use mixer_client::{At, Because, Client, Config, Failure, Verdict};
use mixer_proto::v1;
use mixer_runtime::{Clock, Random, Tasks};
use tonic::Status;

use super::*;
use crate::server::scope;

fn allow() -> v1::Decision {
    decision(v1::Verdict::Allow)
}

#[tokio::test]
async fn a_second_try_carries_the_same_id_and_another_question_another() {
    let bench = Bench::warm().await;
    bench
        .server
        .script
        .checks
        .then(Reply::Fail(Status::unavailable("going away")));
    bench.server.script.checks.usually(|_| decides(allow()));
    assert_eq!(
        bench.ask(&request("GET", &[])).await.verdict,
        Verdict::Allow
    );
    bench.ask(&request("POST", &[])).await;
    let asked = bench.server.script.checks.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0], asked[1]);
    assert!(!asked[0].dedup_id.is_empty() && asked[0].dedup_id != asked[2].dedup_id);
    assert!(
        asked
            .iter()
            .all(|request| request.take && request.client == "proxy-1")
    );
    assert!(
        bench
            .server
            .script
            .checks
            .timeouts()
            .iter()
            .all(Option::is_some),
        "a try without grpc-timeout"
    );
    let stats = bench.client.stats();
    assert_eq!((stats.check_calls, stats.retries), (2, 1));
}

#[tokio::test]
async fn silence_ends_after_two_tries() {
    let bench = Bench::warm_with(|config| {
        (config.try_timeout, config.total_timeout) =
            (Duration::from_millis(60), Duration::from_millis(150));
    })
    .await;
    bench.server.script.checks.usually(|_| Reply::Silence);
    let bag = request("GET", &[]);
    let answered = std::cell::RefCell::new(None);
    tokio::join!(
        async { *answered.borrow_mut() = Some(bench.ask(&bag).await) },
        async {
            bench.server.script.checks.wait_for(1).await;
            bench
                .pass_time_until(Duration::from_millis(60), async || {
                    bench.server.script.checks.comes(2).await
                })
                .await;
            bench
                .pass_time_until(Duration::from_millis(60), async || {
                    answered.borrow().is_some()
                })
                .await;
        }
    );
    let answer = answered.into_inner().unwrap();
    assert_eq!(
        (answer.verdict, answer.failure),
        (Verdict::Deny, Some(Failure::Unreachable))
    );
    assert_eq!(bench.server.script.checks.asked().len(), 2);
}

#[tokio::test]
async fn each_failure_has_its_own_name_and_number_of_tries() {
    let no_verdict = || decides(decision(v1::Verdict::Unspecified));
    let cases = [
        (
            "unavailable",
            Reply::Fail(Status::unavailable("")),
            Failure::Unreachable,
            2,
        ),
        (
            "cancelled",
            Reply::Fail(Status::cancelled("")),
            Failure::Unreachable,
            2,
        ),
        (
            "forbidden",
            Reply::Fail(Status::permission_denied("")),
            Failure::Unreachable,
            1,
        ),
        (
            "overloaded",
            Reply::Fail(Status::resource_exhausted("")),
            Failure::Overloaded,
            1,
        ),
        (
            "no decision",
            Reply::Answer(v1::CheckResponse::default()),
            Failure::Malformed,
            1,
        ),
        ("no verdict", no_verdict(), Failure::Malformed, 1),
        (
            "unknown verdict",
            decides(v1::Decision {
                verdict: 9,
                ..allow()
            }),
            Failure::Malformed,
            1,
        ),
    ];
    let bench = Bench::warm().await;
    let mut tries_before = 0;
    for (name, reply, failure, tries) in cases {
        bench.server.script.checks.usually(move |_| reply.clone());
        bench
            .announce(v1::Scope {
                fail: v1::Fail::Closed.into(),
                ..scope("r1")
            })
            .await;
        let closed = bench.ask(&request("GET", &[])).await;
        assert_eq!(
            (closed.verdict, closed.because),
            (Verdict::Deny, Because::Unavailable),
            "{name}"
        );
        assert_eq!(
            (closed.http_status, closed.grpc_status),
            (503, 14),
            "{name}"
        );
        assert_eq!(
            (closed.failure, closed.retry_after.is_some()),
            (Some(failure), true),
            "{name}"
        );
        bench
            .announce(v1::Scope {
                fail: v1::Fail::Open.into(),
                ..scope("r1")
            })
            .await;
        let open = bench.ask(&request("GET", &[])).await;
        // An answer that makes no sense may have been a denial.
        let verdict = match failure {
            Failure::Malformed => Verdict::Deny,
            _ => Verdict::Allow,
        };
        assert_eq!(
            (open.verdict, open.because),
            (verdict, Because::Unavailable),
            "{name}"
        );
        assert_eq!(open.failure, Some(failure), "{name}");
        let made = bench.server.script.checks.asked().len();
        assert_eq!(made - tries_before, 2 * tries, "{name}");
        tries_before = made;
    }
    let stats = bench.client.stats();
    assert_eq!(
        (
            stats.failed_unreachable,
            stats.failed_overloaded,
            stats.failed_malformed
        ),
        (6, 2, 6)
    );
    assert_eq!((stats.failed_open, stats.cache_entries), (4, 0));
}

#[tokio::test]
async fn a_caller_does_not_pass_by_sending_what_mixer_refuses_to_read() {
    let bench = Bench::warm().await;
    bench
        .announce(v1::Scope {
            fail: v1::Fail::Open.into(),
            ..scope("r1")
        })
        .await;
    for status in [Status::invalid_argument(""), Status::out_of_range("")] {
        bench.server.script.checks.then(Reply::Fail(status));
        let answer = bench.ask(&request("GET", &[])).await;
        assert_eq!(
            (answer.verdict, answer.failure),
            (Verdict::Deny, Some(Failure::Malformed))
        );
    }
    assert_eq!(
        bench.server.script.checks.asked().len(),
        2,
        "asked again what will not be understood"
    );
}

#[tokio::test]
async fn a_mixer_that_is_gone_is_unreachable() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(allow()));
    bench.ask(&request("GET", &[])).await;
    let Bench {
        server,
        client,
        _tasks,
        ..
    } = bench;
    drop(server);
    let answer =
        in_time(client.check(At::Inbound, Some("shop"), &request("POST", &[]).bag())).await;
    assert_eq!(
        (answer.verdict, answer.failure),
        (Verdict::Deny, Some(Failure::Unreachable))
    );
    let kept = in_time(client.check(At::Inbound, Some("shop"), &request("GET", &[]).bag())).await;
    assert!(kept.cached, "the last state outlives Mixer");
}

#[tokio::test]
async fn a_mixer_that_comes_back_is_found() {
    let bench = Bench::warm().await;
    let Bench {
        server,
        client,
        hand,
        _tasks,
    } = bench;
    let address = server.address;
    drop(server);
    // The port may be given up a moment after the runtime is told to end.
    let server = in_time(async {
        while std::net::TcpListener::bind(address).is_err() {
            tokio::task::yield_now().await;
        }
        Server::on(address)
    })
    .await;
    server.announce("r9");
    let bench = Bench {
        server,
        client,
        hand,
        _tasks,
    };
    let found = || {
        bench
            .client
            .state()
            .borrow()
            .as_ref()
            .is_some_and(|state| &*state.inbound.revision == "r9")
    };
    bench
        .pass_time_until(Duration::from_secs(1), async || found())
        .await;
}

#[tokio::test]
async fn calls_beyond_the_bound_are_refused_as_overload() {
    let bench = Bench::warm_with(|config| config.max_calls = 1).await;
    bench.server.script.checks.usually(|_| Reply::Silence);
    let (get, post) = (request("GET", &[]), request("POST", &[]));
    let held = bench.ask(&get);
    tokio::pin!(held);
    tokio::select! {
        _ = &mut held => panic!("silence was answered"),
        _ = bench.server.script.checks.wait_for(1) => {}
    }
    let refused = bench.ask(&post).await;
    assert_eq!(refused.failure, Some(Failure::Overloaded));
    assert_eq!(bench.client.stats().failed_overloaded, 1);
    assert_eq!(bench.server.script.checks.asked().len(), 1);
}

#[tokio::test]
async fn with_watch_lost_answers_are_used_for_a_time_and_counted() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(allow()));
    bench.ask(&request("GET", &[])).await;
    bench.server.break_watch();
    bench
        .pass_time_until(Duration::ZERO, async || !bench.client.stats().watching)
        .await;
    assert!(bench.ask(&request("GET", &[])).await.cached);
    assert_eq!(bench.client.stats().stale_answers, 1);

    // The mesh document says 60 s. A Mixer that answers is believed for the request at hand.
    bench.hand.advance(Duration::from_secs(60));
    let fresh = bench.ask(&request("GET", &[])).await;
    assert_eq!((fresh.verdict, fresh.cached), (Verdict::Allow, false));
    bench
        .server
        .script
        .checks
        .usually(|_| Reply::Fail(Status::unavailable("")));
    let answer = bench.ask(&request("GET", &[])).await;
    assert_eq!(
        (answer.verdict, answer.failure),
        (Verdict::Deny, Some(Failure::Unreachable))
    );
    assert_eq!(bench.client.stats().stale_answers, 1);
}

#[tokio::test]
#[should_panic(expected = "host:port")]
async fn an_address_that_is_none_is_said_at_the_start() {
    let (clock, _hand) = Clock::manual();
    Client::start(
        Config::new("not an address", "c"),
        clock,
        std::sync::Arc::new(Random::from_seed(1)),
        &Tasks::new(),
    );
}

#[tokio::test]
async fn watching_ends_with_the_tasks_that_watch() {
    let bench = Bench::warm().await;
    let Bench {
        server: _server,
        client,
        _tasks,
        ..
    } = bench;
    assert!(client.stats().watching);
    drop(_tasks);
    in_time(async {
        while client.stats().watching {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
