//! What the metrics tell of quotas.

use mixer::serve::Config;
use mixer_proto::v1;
use mixer_proto::v1::mixer_client::MixerClient;

use crate::mesh::{Mesh, config, directory, page, start};

const QUOTA: &str = r#"
policy: spending
for: destination.service == "products.shop"
quotas:
  - { quota: per namespace, key: [source.namespace], limit: 1000 per day }
  - { quota: at once, id: flight, key: [], limit: 2, algorithm: concurrency, hold: 1h }
"#;

/// An ask of one proxy, with a lease if one is to be had.
fn asks(quota: &str, key: &[&str], cost: i64) -> v1::QuotaRequest {
    let ask = v1::Ask {
        quota: quota.to_owned(),
        key: key.iter().map(|part| (*part).to_owned()).collect(),
        cost,
        lease: true,
        per_second: 1e6,
        ..v1::Ask::default()
    };
    v1::QuotaRequest {
        client: "p".to_owned(),
        asks: vec![ask],
        ..v1::QuotaRequest::default()
    }
}

#[tokio::test]
async fn asks_are_counted_by_quota_and_outcome_and_the_busiest_keys_by_what_is_left() {
    let mut mesh = Mesh::new(&[("quota.yaml", QUOTA)]).await;
    let mut leases = Vec::new();
    for (key, cost) in [
        ("shop", 970),
        ("shop", 5),
        ("shop", 50),
        ("bank", 0),
        ("shop", -3),
    ] {
        let request = asks("spending/per namespace", &[key], cost);
        let answer = mesh.client.quota(request).await.unwrap().into_inner();
        leases.push(answer.grants[0].lease);
    }
    assert_eq!(
        leases,
        [20, 5, 0, 20, 0],
        "the second gets a part of what it should"
    );
    for outcome in ["granted", "granted", "refused"] {
        let request = asks("flight", &[], 1);
        mesh.client.quota(request).await.unwrap();
        let sample = format!(r#"mixer_quota_total{{quota="flight",outcome="{outcome}"}}"#);
        assert!(mesh.metric(&sample).await.unwrap() >= 1.0, "{sample}");
    }
    for (outcome, count) in [
        ("granted", 2.0),
        ("partial", 1.0),
        ("refused", 1.0),
        ("unavailable", 0.0),
    ] {
        let sample =
            format!(r#"mixer_quota_total{{quota="spending/per namespace",outcome="{outcome}"}}"#);
        assert_eq!(mesh.metric(&sample).await, Some(count), "{sample}");
    }
    for (quota, key, left) in [
        ("spending/per namespace", "shop", 0.0),
        ("spending/per namespace", "bank", 980.0),
        ("flight", "", 0.0),
    ] {
        let sample = format!(r#"mixer_quota_remaining{{quota="{quota}",key="{key}"}}"#);
        assert_eq!(mesh.metric(&sample).await, Some(left), "{sample}");
    }
    let calls = mesh
        .metric(r#"mixer_quota_store_seconds_count{adapter="memory"}"#)
        .await;
    assert!(calls.unwrap() >= 7.0, "{calls:?}");
}

#[tokio::test]
async fn keys_can_be_left_out_of_the_metrics() {
    let directory = directory(&[("quota.yaml", QUOTA)]);
    let config = Config {
        quota_keys: false,
        ..config(directory.path())
    };
    let mixer = start(config).await.unwrap();
    let address = format!("http://{}", mixer.grpc());
    let mut client = MixerClient::connect(address).await.unwrap();
    let request = asks("spending/per namespace", &["a secret"], 1);
    client.quota(request).await.unwrap();
    let shown = page(mixer.admin(), "/metrics", "").await.body;
    assert!(
        shown.contains(r#"mixer_quota_total{quota="spending/per namespace",outcome="granted"} 1"#)
    );
    assert!(!shown.contains("a secret"));
}
