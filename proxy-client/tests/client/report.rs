//! Report: everything once, whatever is lost on the way.

use std::time::Duration;

use mixer_client::{At, DecisionSample, StandardSample, TraceContext};
use mixer_proto::v1;
use tonic::Status;

use super::*;
use crate::server::scope;

const SECOND: Duration = Duration::from_secs(1);

fn sample(destination: &str) -> StandardSample<'_> {
    let mut labels = ["unknown"; 12];
    labels[4] = destination;
    StandardSample {
        labels,
        duration: Duration::from_millis(3),
        request_bytes: 0,
        response_bytes: 512,
    }
}

/// Requests counted for a destination in all these batches, each sequence once, as Mixer does.
fn requests(batches: &[v1::ReportRequest], destination: &str) -> u64 {
    let mut seen = std::collections::HashSet::new();
    let new = batches.iter().filter(|batch| seen.insert(batch.sequence));
    let rows = new.flat_map(|batch| batch.aggregates.iter().map(move |row| (batch, row)));
    rows.filter(|(batch, row)| batch.strings[row.labels[4] as usize] == destination)
        .map(|(_, row)| row.requests)
        .sum()
}

#[tokio::test]
async fn increments_are_sent_each_interval_and_only_increments() {
    let bench = Bench::cold();
    let reports = &bench.server.script.reports;
    bench.client.reporter().standard(&sample("shop"));
    bench.client.reporter().standard(&sample("shop"));
    bench.client.reporter().standard(&sample("cart"));
    bench
        .pass_time_until(SECOND, async || reports.comes(1).await)
        .await;
    let batch = reports.asked()[0].clone();
    assert_eq!((&*batch.client, batch.sequence), ("proxy-1", 1));
    assert_eq!(
        (
            requests(std::slice::from_ref(&batch), "shop"),
            requests(std::slice::from_ref(&batch), "cart")
        ),
        (2, 1)
    );
    let row = &batch.aggregates[0];
    let duration = row.duration_ms.as_ref().unwrap();
    assert_eq!(duration.buckets.last(), Some(&row.requests));
    assert_eq!(
        duration.buckets.len(),
        4,
        "3 ms belongs to the bucket up to 5 ms"
    );

    bench.client.reporter().standard(&sample("cart"));
    bench
        .pass_time_until(SECOND, async || reports.comes(2).await)
        .await;
    let batches = reports.asked();
    assert_eq!(
        (requests(&batches, "shop"), requests(&batches, "cart")),
        (2, 2)
    );
    assert_eq!(
        batches[1].aggregates.len(),
        1,
        "a series without increments was sent"
    );
}

#[tokio::test]
async fn nothing_is_sent_when_nothing_happened() {
    let bench = Bench::cold();
    in_time(bench.client.finish(SECOND)).await;
    assert!(bench.server.script.reports.asked().is_empty());
}

#[tokio::test]
async fn a_batch_is_the_same_until_it_is_acknowledged() {
    let bench = Bench::cold();
    let reports = &bench.server.script.reports;
    reports.then(Reply::Fail(Status::unavailable("")));
    reports.then(Reply::Answer(v1::ReportResponse { sequence: 0 }));
    bench.client.reporter().standard(&sample("shop"));
    bench
        .pass_time_until(SECOND, async || reports.comes(1).await)
        .await;
    // What happens meanwhile belongs to the next batch.
    bench.client.reporter().standard(&sample("shop"));
    bench
        .pass_time_until(SECOND, async || reports.comes(4).await)
        .await;
    let batches = reports.asked();
    assert_eq!(batches[0], batches[1]);
    assert_eq!(
        batches[0], batches[2],
        "an acknowledgement of another batch was taken for its own"
    );
    assert_eq!((batches[0].sequence, batches[3].sequence), (1, 2));
    assert_eq!(requests(&batches, "shop"), 2);
    let stats = bench.client.stats();
    assert_eq!(
        (
            stats.report_batches,
            stats.report_retries,
            stats.report_dropped
        ),
        (2, 2, 0)
    );
}

#[tokio::test]
async fn a_batch_that_mixer_will_never_read_is_given_up_and_counted() {
    let bench = Bench::cold();
    let reports = &bench.server.script.reports;
    reports.then(Reply::Fail(Status::invalid_argument("")));
    bench.client.reporter().standard(&sample("shop"));
    bench
        .pass_time_until(SECOND, async || reports.comes(1).await)
        .await;
    bench
        .pass_time_until(SECOND, async || reports.comes(2).await)
        .await;
    assert_eq!(
        (reports.asked()[1].sequence, reports.asked()[1].dropped),
        (2, 1)
    );
}

#[tokio::test]
async fn the_end_sends_what_is_left() {
    let bench = Bench::cold();
    bench
        .server
        .script
        .reports
        .then(Reply::Fail(Status::unavailable("")));
    bench.client.reporter().standard(&sample("shop"));
    bench
        .client
        .reporter()
        .record(At::Inbound, &super::request("GET", &[]).bag(), None);
    let (finished, reports) = (std::cell::Cell::new(false), &bench.server.script.reports);
    tokio::join!(
        async {
            in_time(bench.client.finish(Duration::from_secs(3_600))).await;
            finished.set(true);
        },
        bench.pass_time_until(Duration::from_millis(10), async || finished.get()),
    );
    let batches = reports.asked();
    assert_eq!(
        (requests(&batches, "shop"), batches[0].records.len()),
        (1, 1)
    );
    assert_eq!(batches[0], batches[1]);
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let bench = Bench::cold();
    bench.server.script.reports.usually(|_| Reply::Silence);
    bench.client.reporter().standard(&sample("shop"));
    let finished = std::cell::Cell::new(false);
    tokio::join!(
        async {
            in_time(bench.client.finish(Duration::from_secs(1))).await;
            finished.set(true);
        },
        bench.pass_time_until(Duration::from_millis(100), async || finished.get()),
    );
}

#[tokio::test]
async fn records_beyond_the_queue_are_dropped_and_counted() {
    let bench = Bench::with(|config| config.report_queue = 3);
    let bag = super::request("GET", &[("a", "1")]);
    let trace = TraceContext {
        trace_id: 7,
        span_id: 8,
        parent_id: None,
        shared: false,
    };
    for _ in 0..5 {
        bench
            .client
            .reporter()
            .record(At::Inbound, &bag.bag(), Some(trace));
    }
    assert_eq!(bench.client.stats().report_dropped, 2);
    // Half full: sent without waiting for the interval.
    let batch = bench.server.script.reports.wait_for(1).await.remove(0);
    assert_eq!((batch.records.len(), batch.dropped), (3, 2));
    assert_eq!(
        batch.records[0].trace.as_ref().unwrap().span_id,
        8u64.to_be_bytes()
    );
    bench
        .client
        .reporter()
        .record(At::Inbound, &bag.bag(), None);
    assert_eq!(
        bench.client.stats().report_dropped,
        2,
        "a sent record still takes room"
    );
}

#[tokio::test]
async fn series_beyond_the_bound_are_dropped_and_counted() {
    let bench = Bench::with(|config| config.report_series = 2);
    for destination in ["a", "b", "c", "a"] {
        bench.client.reporter().standard(&sample(destination));
    }
    assert_eq!(bench.client.stats().report_dropped, 1);
    let reports = &bench.server.script.reports;
    bench
        .pass_time_until(SECOND, async || reports.comes(1).await)
        .await;
    let batch = reports.asked().remove(0);
    assert_eq!((batch.aggregates.len(), batch.dropped), (2, 1));
}

#[tokio::test]
async fn decisions_are_counted_with_their_reason_and_shadows_apart() {
    let bench = Bench::warm().await;
    let shadow = v1::ShadowVerdict {
        policy: "s".into(),
        rule: "later".into(),
        would: 2,
        because: 1,
    };
    let decision = v1::Decision {
        shadow: vec![shadow],
        rule_id: "pinned".into(),
        ..decision(v1::Verdict::Deny)
    };
    bench
        .server
        .script
        .checks
        .usually(move |_| decides(decision.clone()));
    let count = |answer| {
        bench.client.reporter().decision(&DecisionSample {
            destination: "shop",
            answer: &answer,
        })
    };
    count(bench.ask(&super::request("GET", &[])).await);
    count(bench.ask(&super::request("GET", &[])).await);
    count(bench.ask(&super::request("GET", &[])).await);
    bench
        .server
        .script
        .checks
        .usually(|_| Reply::Fail(Status::unavailable("")));
    count(bench.ask(&super::request("POST", &[])).await);
    bench
        .announce(v1::Scope {
            rules: false,
            quotas: false,
            ..scope("r2")
        })
        .await;
    count(bench.ask(&super::request("GET", &[])).await);

    let reports = &bench.server.script.reports;
    bench
        .pass_time_until(SECOND, async || reports.comes(1).await)
        .await;
    let batch = reports.asked().remove(0);
    let text = |at: u32| &*batch.strings[at as usize];
    let mut rows: Vec<_> = batch
        .decisions
        .iter()
        .map(|row| {
            (
                text(row.policy),
                text(row.rule),
                text(row.failure),
                row.cached,
                row.shadow,
                row.count,
            )
        })
        .collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [
            ("", "", "unreachable", false, false, 1),
            ("p", "pinned", "", false, false, 1),
            ("p", "pinned", "", true, false, 2),
            ("s", "later", "", false, true, 1),
            ("s", "later", "", true, true, 2),
        ]
    );
    assert!(
        batch
            .decisions
            .iter()
            .all(|row| text(row.destination) == "shop")
    );
}

#[tokio::test]
async fn a_report_that_hangs_does_not_delay_check() {
    let bench = Bench::warm().await;
    let reports = &bench.server.script.reports;
    reports.usually(|_| Reply::Silence);
    bench
        .server
        .script
        .checks
        .usually(|_| decides(decision(v1::Verdict::Allow)));
    bench.client.reporter().standard(&sample("shop"));
    bench
        .pass_time_until(SECOND, async || reports.comes(1).await)
        .await;
    assert_eq!(bench.ask(&super::request("GET", &[])).await.failure, None);
}
