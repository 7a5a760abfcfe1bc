//! Check: when Mixer is asked, when it is not, and what stands in for an answer.

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
async fn nobody_passes_before_the_first_state_and_nobody_is_asked() {
    let bench = Bench::cold();
    let answer = bench.ask(&request("GET", &[])).await;
    assert_eq!((answer.verdict, answer.http_status, answer.grpc_status), (Verdict::Deny, 503, 14));
    assert_eq!((answer.failure, answer.retry_after), (Some(Failure::Cold), Some(Duration::from_secs(1))));
    assert!(!bench.client.ready() && bench.client.state().borrow().is_none());
    assert_eq!((bench.client.stats().failed_cold, bench.server.script.checks.asked().len()), (1, 0));

    bench.announce(scope("r1")).await;
    assert!(bench.client.ready() && bench.client.stats().watching);
}

#[tokio::test]
async fn where_nothing_applies_nobody_is_asked() {
    let bench = Bench::warm().await;
    bench.announce(v1::Scope { rules: false, quotas: false, ..scope("r2") }).await;
    let answer = bench.ask(&request("GET", &[])).await;
    assert_eq!((answer.verdict, answer.because), (Verdict::Allow, Because::Nothing));
    let elsewhere = in_time(bench.client.check(At::Outbound, None, &request("GET", &[]).bag())).await;
    assert_eq!((elsewhere.verdict, elsewhere.because), (Verdict::Allow, Because::Nothing));
    assert_eq!((bench.client.stats().nothing_applies, bench.client.stats().check_calls), (2, 0));
}

#[tokio::test]
async fn a_proxy_says_what_it_stands_before() {
    let bench = Bench::with(|config| {
        config.inbound.set(vocabulary::DESTINATION_SERVICE, OwnedValue::String("shop".into()));
    });
    bench.announce(scope("r1")).await;
    let watch = bench.server.script.watches.borrow()[0].clone();
    assert_eq!((&*watch.client, watch.inbound[0].id), ("proxy-1", 9));
    assert_eq!(watch.inbound[0].value, Some(v1::attribute::Value::String("shop".into())));
}

#[tokio::test]
async fn requests_equal_in_what_was_read_are_asked_once() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(allow()));
    let first = bench.ask(&request("GET", &[("x", "1")])).await;
    let second = bench.ask(&request("GET", &[("x", "2")])).await;
    assert!(!first.cached && second.cached);
    assert_eq!((&*second.policy, &*second.rule, &*second.id), ("p", "a sentence", "d-1"));
    assert!(!bench.ask(&request("POST", &[])).await.cached, "another value of what was read");
    let stats = bench.client.stats();
    assert_eq!((stats.check_calls, stats.cache_hits, stats.cache_misses, stats.cache_entries), (2, 1, 2, 2));
}

#[tokio::test]
async fn denials_are_kept_like_allows() {
    let bench = Bench::warm().await;
    let denial = v1::Decision { http_status: 451, message: "no".into(), ..decision(v1::Verdict::Deny) };
    bench.server.script.checks.usually(move |_| decides(denial.clone()));
    for cached in [false, true] {
        let answer = bench.ask(&request("GET", &[])).await;
        assert_eq!((answer.verdict, answer.http_status, &*answer.message), (Verdict::Deny, 451, "no"));
        assert_eq!((answer.cached, answer.failure), (cached, None));
    }
}

#[tokio::test]
async fn an_answer_lives_as_long_as_it_says() {
    let bench = Bench::warm().await;
    let timed = v1::Decision { valid_for: Some(v1::Time { seconds: 5, nanos: 0 }), ..allow() };
    bench.server.script.checks.usually(move |_| decides(timed.clone()));
    bench.ask(&request("GET", &[])).await;
    bench.hand.advance(Duration::from_secs(4));
    assert!(bench.ask(&request("GET", &[])).await.cached);
    bench.hand.advance(Duration::from_secs(1));
    assert!(!bench.ask(&request("GET", &[])).await.cached);
}

#[tokio::test]
async fn an_answer_is_used_as_often_as_it_says() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(v1::Decision { valid_uses: 2, ..allow() }));
    let mut cached = Vec::new();
    for _ in 0..4 {
        cached.push(bench.ask(&request("GET", &[])).await.cached);
    }
    assert_eq!(cached, [false, true, false, true]);
}

#[tokio::test]
async fn an_answer_about_another_request_than_ours_is_used_but_not_kept() {
    let bench = Bench::warm().await;
    let absent = vec![v1::Reference { id: 18, present: false, ..Default::default() }];
    bench.server.script.checks.usually(move |_| decides(v1::Decision { referenced: absent.clone(), ..allow() }));
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
    bench.server.script.checks.usually(|_| decides(v1::Decision { revision: "r2".into(), ..allow() }));
    assert!(!bench.ask(&request("GET", &[])).await.cached);
    assert!(bench.ask(&request("GET", &[])).await.cached);
}

#[tokio::test]
async fn a_state_that_leaves_the_revision_keeps_its_answers() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(allow()));
    bench.ask(&request("GET", &[])).await;
    bench.announce(v1::Scope { trace_sample: 0.5, ..scope("r1") }).await;
    assert!(bench.ask(&request("GET", &[])).await.cached);
}

#[tokio::test]
async fn a_second_try_carries_the_same_id_and_another_question_another() {
    let bench = Bench::warm().await;
    bench.server.script.checks.then(Reply::Fail(Status::unavailable("going away")));
    bench.server.script.checks.usually(|_| decides(allow()));
    assert_eq!(bench.ask(&request("GET", &[])).await.verdict, Verdict::Allow);
    bench.ask(&request("POST", &[])).await;
    let asked = bench.server.script.checks.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0], asked[1]);
    assert!(!asked[0].dedup_id.is_empty() && asked[0].dedup_id != asked[2].dedup_id);
    assert!(asked.iter().all(|request| request.take && request.client == "proxy-1"));
    assert!(bench.server.script.checks.timeouts().iter().all(Option::is_some), "a try without grpc-timeout");
    let stats = bench.client.stats();
    assert_eq!((stats.check_calls, stats.retries), (2, 1));
}

#[tokio::test]
async fn silence_ends_after_two_tries() {
    let bench = Bench::warm_with(|config| {
        (config.try_timeout, config.total_timeout) = (Duration::from_millis(60), Duration::from_millis(150));
    })
    .await;
    bench.server.script.checks.usually(|_| Reply::Silence);
    let bag = request("GET", &[]);
    let answered = std::cell::RefCell::new(None);
    tokio::join!(async { *answered.borrow_mut() = Some(bench.ask(&bag).await) }, async {
        bench.server.script.checks.wait_for(1).await;
        bench.pass_time_until(Duration::from_millis(60), async || bench.server.script.checks.comes(2).await).await;
        bench.pass_time_until(Duration::from_millis(60), async || answered.borrow().is_some()).await;
    });
    let answer = answered.into_inner().unwrap();
    assert_eq!((answer.verdict, answer.failure), (Verdict::Deny, Some(Failure::Unreachable)));
    assert_eq!(bench.server.script.checks.asked().len(), 2);
}

#[tokio::test]
async fn each_failure_has_its_own_name_and_number_of_tries() {
    let no_verdict = || decides(decision(v1::Verdict::Unspecified));
    let cases = [
        ("unavailable", Reply::Fail(Status::unavailable("")), Failure::Unreachable, 2),
        ("cancelled", Reply::Fail(Status::cancelled("")), Failure::Unreachable, 2),
        ("forbidden", Reply::Fail(Status::permission_denied("")), Failure::Unreachable, 1),
        ("overloaded", Reply::Fail(Status::resource_exhausted("")), Failure::Overloaded, 1),
        ("no decision", Reply::Answer(v1::CheckResponse::default()), Failure::Malformed, 1),
        ("no verdict", no_verdict(), Failure::Malformed, 1),
        ("unknown verdict", decides(v1::Decision { verdict: 9, ..allow() }), Failure::Malformed, 1),
    ];
    let bench = Bench::warm().await;
    let mut tries_before = 0;
    for (name, reply, failure, tries) in cases {
        bench.server.script.checks.usually(move |_| reply.clone());
        bench.announce(v1::Scope { fail: v1::Fail::Closed.into(), ..scope("r1") }).await;
        let closed = bench.ask(&request("GET", &[])).await;
        assert_eq!((closed.verdict, closed.because), (Verdict::Deny, Because::Unavailable), "{name}");
        assert_eq!((closed.http_status, closed.grpc_status), (503, 14), "{name}");
        assert_eq!((closed.failure, closed.retry_after.is_some()), (Some(failure), true), "{name}");
        bench.announce(v1::Scope { fail: v1::Fail::Open.into(), ..scope("r1") }).await;
        let open = bench.ask(&request("GET", &[])).await;
        assert_eq!((open.verdict, open.because), (Verdict::Allow, Because::Unavailable), "{name}");
        assert_eq!(open.failure, Some(failure), "{name}");
        let made = bench.server.script.checks.asked().len();
        assert_eq!(made - tries_before, 2 * tries, "{name}");
        tries_before = made;
    }
    let stats = bench.client.stats();
    assert_eq!((stats.failed_unreachable, stats.failed_overloaded, stats.failed_malformed), (6, 2, 6));
    assert_eq!((stats.failed_open, stats.cache_entries), (7, 0));
}

#[tokio::test]
async fn a_caller_does_not_pass_by_sending_what_mixer_refuses_to_read() {
    let bench = Bench::warm().await;
    bench.announce(v1::Scope { fail: v1::Fail::Open.into(), ..scope("r1") }).await;
    for status in [Status::invalid_argument(""), Status::out_of_range("")] {
        bench.server.script.checks.then(Reply::Fail(status));
        let answer = bench.ask(&request("GET", &[])).await;
        assert_eq!((answer.verdict, answer.failure), (Verdict::Deny, Some(Failure::Malformed)));
    }
    assert_eq!(bench.server.script.checks.asked().len(), 2, "asked again what will not be understood");
}

#[tokio::test]
async fn a_mixer_that_is_gone_is_unreachable() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(allow()));
    bench.ask(&request("GET", &[])).await;
    let Bench { server, client, _tasks, .. } = bench;
    drop(server);
    let answer = in_time(client.check(At::Inbound, Some("shop"), &request("POST", &[]).bag())).await;
    assert_eq!((answer.verdict, answer.failure), (Verdict::Deny, Some(Failure::Unreachable)));
    let kept = in_time(client.check(At::Inbound, Some("shop"), &request("GET", &[]).bag())).await;
    assert!(kept.cached, "the last state outlives Mixer");
}

#[tokio::test]
async fn a_mixer_that_comes_back_is_found() {
    let bench = Bench::warm().await;
    let Bench { server, client, hand, _tasks } = bench;
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
    let bench = Bench { server, client, hand, _tasks };
    let found = || bench.client.state().borrow().as_ref().is_some_and(|state| &*state.inbound.revision == "r9");
    bench.pass_time_until(Duration::from_secs(1), async || found()).await;
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
    bench.pass_time_until(Duration::ZERO, async || !bench.client.stats().watching).await;
    assert!(bench.ask(&request("GET", &[])).await.cached);
    assert_eq!(bench.client.stats().stale_answers, 1);

    // The mesh document says 60 s. A Mixer that answers is believed for the request at hand.
    bench.hand.advance(Duration::from_secs(60));
    let fresh = bench.ask(&request("GET", &[])).await;
    assert_eq!((fresh.verdict, fresh.cached), (Verdict::Allow, false));
    bench.server.script.checks.usually(|_| Reply::Fail(Status::unavailable("")));
    let answer = bench.ask(&request("GET", &[])).await;
    assert_eq!((answer.verdict, answer.failure), (Verdict::Deny, Some(Failure::Unreachable)));
    assert_eq!(bench.client.stats().stale_answers, 1);
}

#[tokio::test]
async fn one_client_serves_every_runtime() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|_| decides(allow()));
    let ask = |client: Client, method: &'static str| {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(in_time(client.check(At::Inbound, Some("shop"), &request(method, &[]).bag()))).cached
        })
    };
    let cached = |method| {
        let thread = ask(bench.client.clone(), method);
        async move { tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap() }
    };
    assert!(!cached("GET").await);
    assert!(cached("GET").await, "what one thread learnt another does not know");
    assert!(!cached("POST").await, "the runtime that connected has ended");
}

#[tokio::test]
async fn an_answer_with_headers_and_shadows_is_whole() {
    let bench = Bench::warm().await;
    let decision = v1::Decision {
        headers: vec![
            v1::HeaderOperation { target: 1, name: "X-Team".into(), value: Some("shop".into()) },
            v1::HeaderOperation { target: 2, name: "server".into(), value: None },
        ],
        shadow: vec![v1::ShadowVerdict { policy: "s".into(), rule: "later".into(), would: 2, because: 3 }],
        ..allow()
    };
    bench.server.script.checks.usually(move |_| decides(decision.clone()));
    let answer = bench.ask(&request("GET", &[])).await;
    let headers: Vec<_> = answer.headers.iter().map(|h| (h.on_response, &*h.name, h.value.as_deref())).collect();
    assert_eq!(headers, [(false, "x-team", Some("shop")), (true, "server", None)]);
    let shadow: Vec<_> = answer.shadow.iter().map(|s| (&*s.policy, &*s.rule, s.would, s.because)).collect();
    assert_eq!(shadow, [("s", "later", Verdict::Deny, Because::Otherwise)]);
}

#[tokio::test]
#[should_panic(expected = "host:port")]
async fn an_address_that_is_none_is_said_at_the_start() {
    let (clock, _hand) = Clock::manual();
    Client::start(Config::new("not an address", "c"), clock, std::sync::Arc::new(Random::from_seed(1)), &Tasks::new());
}
