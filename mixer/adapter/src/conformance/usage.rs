//! Everything an adapter can be asked and told, once.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use mixer_attributes::OwnedValue;

use crate::{
    Algorithm, Ask, Batch, Handler, Instance, Limit, LogEntry, MetricDefinition, MetricKind, Over,
    Sample, SampleValue, Span, SpanKind,
};

/// Asks with `values` and tells. What the adapter cannot do must be an error, not a panic.
pub(super) async fn use_once(handler: &Handler, values: &[OwnedValue]) {
    let checked = handler.check(&Instance { values }).await;
    assert!(
        handler.can_check() || checked.is_err(),
        "what cannot check must say so"
    );
    let limit = Limit {
        amount: 1000,
        window: Duration::from_secs(3600),
    };
    let (cost, algorithm) = (1, Algorithm::SlidingWindow);
    let asks = [Ask {
        quota: "use",
        key: &[],
        cost,
        limit,
        algorithm,
        extra: 0,
        over: Over::Refuse,
        age: Duration::ZERO,
    }];
    let counted = handler.allocate(&asks, "").await;
    assert!(
        handler.can_quota() || counted.is_err(),
        "what cannot count must say so"
    );

    let metric = MetricDefinition {
        name: "conformance".to_owned(),
        help: "Of the conformance kit.".to_owned(),
        kind: MetricKind::Counter,
        labels: vec!["side".to_owned()],
    };
    let declared = handler.declare(std::slice::from_ref(&metric));
    assert!(
        handler.can_report() || declared.is_err(),
        "what cannot be told must say so"
    );
    let text = Cow::Borrowed;
    let value = SampleValue::Add(1.0);
    let sample = Sample {
        metric: &metric,
        labels: vec![text("source")],
        value,
    };
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let fields = vec![(text("code"), OwnedValue::Int(200))];
    let span = Span {
        trace_id: 1,
        id: 2,
        parent: None,
        shared: false,
        kind: SpanKind::Server,
        service: text("products"),
        peer: None,
        name: text("GET /products/*"),
        start: time,
        duration: Duration::from_millis(3),
        error: false,
        tags: Vec::new(),
    };
    let told = [
        handler.report(Batch::Metrics(&[sample])).await,
        handler
            .report(Batch::Logs(&[LogEntry { time, fields }]))
            .await,
        handler.report(Batch::Spans(&[span])).await,
    ];
    assert_eq!(
        handler.can_report(),
        told.iter().any(Result::is_ok),
        "who reports takes at least one kind of batch"
    );
}
