//! What is in shadow costs no answer: a sample of what the cache answered is told to Mixer afterwards.

use std::time::Duration;

use mixer_client::Verdict;
use mixer_proto::v1;

use super::*;
use crate::server::scope;

#[tokio::test]
async fn of_what_the_cache_answers_ten_a_second_are_told_where_something_is_in_shadow() {
    let bench = Bench::warm().await;
    bench.server.script.checks.usually(|asked| {
        let decision = match asked.answered() {
            v1::Verdict::Unspecified => Some(decision(v1::Verdict::Allow)),
            // Nothing comes of it, whatever it says.
            _ => Some(decision(v1::Verdict::Deny)),
        };
        Reply::Answer(v1::CheckResponse {
            decision,
            ..Default::default()
        })
    });
    let get = request("GET", &[]);
    let cached = async |expected: bool| {
        let answer = bench.ask(&get).await;
        assert_eq!((answer.verdict, answer.cached), (Verdict::Allow, expected));
        assert!(answer.shadow.is_empty());
    };
    cached(false).await;
    for _ in 0..3 {
        cached(true).await;
    }
    let shadow = v1::Scope {
        shadow: true,
        ..scope("r1")
    };
    bench.announce(shadow).await;
    for _ in 0..100 {
        cached(true).await;
    }
    let asked = bench.server.script.checks.wait_for(2).await;
    assert_eq!(asked[0].answered(), v1::Verdict::Unspecified);
    assert_eq!(asked[1].attributes, asked[0].attributes);
    assert_eq!(
        (asked[1].answered(), asked[1].answered_because()),
        (v1::Verdict::Allow, v1::Because::Matched)
    );
    assert!(!asked[1].take && asked[1].dedup_id.is_empty());

    bench.hand.advance(Duration::from_millis(100));
    for _ in 0..100 {
        cached(true).await;
    }
    bench.server.script.checks.wait_for(3).await;
    let stats = bench.client.stats();
    assert_eq!((stats.check_calls, stats.cache_hits), (1, 203));
    // One more miss is the fourth question: the sample had no others.
    bench.ask(&request("PUT", &[])).await;
    assert_eq!(bench.server.script.checks.asked().len(), 4);
}
