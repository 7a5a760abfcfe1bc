//! Report: counted once, shown where documents say.

use mixer_attributes::standard::LABELS;
use mixer_attributes::vocabulary as v;
use mixer_proto::v1;
use mixer_proto::v1::record_attribute::Value;
use tonic::Code;

use crate::mesh::{Mesh, PRODUCTS};

const TELEMETRY: &str = r#"
telemetry: carts
for: destination.service == "products.shop"
metrics:
  - metric: cart_cents
    kind: counter
    value: 'int(request.headers["x-cart-cents"])'
    labels: { method: request.method, route: context.route }
    to: prometheus
"#;

/// A batch with `requests` requests to products.shop that ended with `code`.
fn batch(client: &str, sequence: u64, code: &str, requests: u64) -> v1::ReportRequest {
    let strings = [
        "",
        "destination",
        "unknown",
        "products.shop",
        code,
        "products",
        "nobody from the sandbox",
    ];
    let labels = LABELS.map(|label| match label {
        "reporter" => 1,
        "destination_service" => 3,
        "response_code" => 4,
        _ => 2,
    });
    let histogram = |bucket: usize, sum: f64| {
        let mut buckets = vec![0; bucket];
        buckets.push(requests);
        Some(v1::Histogram { buckets, sum })
    };
    v1::ReportRequest {
        client: client.to_owned(),
        sequence,
        strings: strings.map(str::to_owned).to_vec(),
        aggregates: vec![v1::Aggregate {
            labels: labels.to_vec(),
            requests,
            duration_ms: histogram(3, 4.0 * requests as f64),
            request_bytes: histogram(0, 0.0),
            response_bytes: histogram(9, 2e8),
        }],
        decisions: vec![v1::DecisionCount {
            destination: 3,
            policy: 5,
            rule: 6,
            verdict: v1::Verdict::Deny.into(),
            because: v1::Because::Matched.into(),
            cached: true,
            count: requests,
            ..v1::DecisionCount::default()
        }],
        ..v1::ReportRequest::default()
    }
}

fn requests(code: &str) -> String {
    let labels = LABELS.map(|label| {
        let value = match label {
            "reporter" => "destination",
            "destination_service" => "products.shop",
            "response_code" => code,
            _ => "unknown",
        };
        format!("{label}=\"{value}\"")
    });
    format!("istio_requests_total{{{}}}", labels.join(","))
}

#[tokio::test]
async fn a_batch_counts_once_however_often_it_comes() {
    let mut mesh = Mesh::new(&[("products.yaml", PRODUCTS)]).await;
    for (client, sequence, code, count) in [
        ("a", 1, "200", 5),
        ("a", 1, "200", 5),
        ("b", 1, "200", 2),
        ("a", 2, "503", 1),
    ] {
        let answer = mesh
            .client
            .report(batch(client, sequence, code, count))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            answer.sequence, sequence,
            "a repeated batch is acknowledged like the first"
        );
    }
    // Batches are worked on in order: with the last one shown, all are.
    mesh.until_page_says("/metrics", "response_code=\"503\"")
        .await;
    assert_eq!(mesh.metric(&requests("200")).await, Some(7.0));
    assert_eq!(mesh.metric(&requests("503")).await, Some(1.0));
    assert_eq!(
        mesh.metric(r#"mixer_report_batches_total{outcome="repeated"}"#)
            .await,
        Some(1.0)
    );
    let page = mesh.page("/stats/prometheus").await.body;
    let duration = page
        .lines()
        .filter(|line| line.starts_with("istio_request_duration_milliseconds_count"));
    let observed: f64 = duration
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert_eq!(observed, 8.0, "{page}");
    let decisions = page
        .lines()
        .find(|line| line.starts_with("mixer_decisions_total{"))
        .unwrap();
    for part in [
        "destination_service=\"products.shop\"",
        "verdict=\"deny\"",
        "because=\"matched\"",
        "cached=\"true\"",
    ] {
        assert!(decisions.contains(part), "{decisions}");
    }
    assert!(decisions.ends_with(" 8"), "{decisions}");
}

#[tokio::test]
async fn a_batch_with_a_mistake_counts_for_nothing() {
    let mut mesh = Mesh::new(&[("products.yaml", PRODUCTS)]).await;
    let mut spoiled = batch("a", 1, "200", 5);
    spoiled.decisions[0].rule = 7;
    let status = mesh.client.report(spoiled).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "decisions[0].rule: index 7 is beyond the 7 strings of the batch"
    );
    mesh.client.report(batch("a", 1, "503", 1)).await.unwrap();
    mesh.until_page_says("/metrics", "response_code=\"503\"")
        .await;
    assert_eq!(mesh.metric(&requests("200")).await, None);
}

#[tokio::test]
async fn records_make_the_metrics_that_telemetry_documents_ask_for() {
    let mut mesh = Mesh::new(&[("telemetry.yaml", TELEMETRY)]).await;
    let strings = [
        "",
        "destination",
        "products.shop",
        "GET",
        "x-cart-cents",
        "250",
        "many",
    ]
    .map(str::to_owned)
    .to_vec();
    let string = |id: mixer_attributes::AttributeId, index| v1::RecordAttribute {
        id: id.number().into(),
        name: 0,
        value: Some(Value::String(index)),
    };
    let record = |cents: u32| v1::Record {
        attributes: vec![
            string(v::CONTEXT_REPORTER, 1),
            string(v::DESTINATION_SERVICE, 2),
            string(v::REQUEST_METHOD, 3),
            v1::RecordAttribute {
                id: v::REQUEST_HEADERS.number().into(),
                name: 0,
                value: Some(Value::Map(v1::IndexMap {
                    keys: vec![4],
                    values: vec![cents],
                    ambiguous: vec![],
                })),
            },
        ],
        trace: None,
    };
    let records = vec![record(5), record(6), record(5)];
    let request = v1::ReportRequest {
        client: "a".to_owned(),
        sequence: 1,
        strings,
        records,
        ..v1::ReportRequest::default()
    };
    mesh.client.report(request).await.unwrap();
    let page = mesh
        .until_page_says("/metrics", "cart_cents_total{")
        .await
        .body;
    let sample = page
        .lines()
        .find(|line| line.starts_with("cart_cents_total{"))
        .unwrap();
    assert_eq!(
        sample,
        r#"cart_cents_total{method="GET",route="unknown"} 500"#
    );
    // Two labels that nobody set, and one value that is no number.
    assert_eq!(
        mesh.metric(r#"mixer_report_evaluation_errors_total{telemetry="carts"}"#)
            .await,
        Some(3.0)
    );
    assert_eq!(mesh.metric("mixer_report_records_total").await, Some(3.0));
}
