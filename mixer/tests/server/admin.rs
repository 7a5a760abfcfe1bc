//! The admin pages: both formats of metrics, what is in force, nothing secret.

use std::collections::{HashMap, HashSet};

use mixer_proto::v1;
use serde_json::Value;

use crate::mesh::{Mesh, PRODUCTS, SERVICE, page, request_from, watch_products};

/// Checks the text of a page of metrics: families said once and whole, samples of a family that was said, numbers.
fn parse(text: &str, openmetrics: bool) -> HashMap<String, f64> {
    let mut kinds: HashMap<&str, &str> = HashMap::new();
    let mut ended = HashSet::new();
    let (mut samples, mut current) = (HashMap::new(), "");
    for line in text.lines() {
        if line == "# EOF" {
            assert!(openmetrics, "the classic format has no end");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kinds.insert(name, kind).is_none(), "{name} is said twice");
            ended.insert(current);
            current = name;
        } else if !line.starts_with("# HELP ") {
            let end = line.find(['{', ' ']).unwrap();
            let name = &line[..end];
            let family = ["_total", "_bucket", "_count", "_sum", ""]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|family| kinds.contains_key(family))
                .unwrap_or_else(|| panic!("{line} belongs to no family"));
            assert_eq!(family, current, "{line} stands apart from its family");
            if openmetrics && kinds[family] == "counter" {
                assert_eq!(name, format!("{family}_total"));
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(
                samples
                    .insert(series.to_owned(), value.parse().unwrap())
                    .is_none(),
                "{series} is there twice"
            );
        }
    }
    assert_eq!(text.matches("# EOF").count(), usize::from(openmetrics));
    assert_eq!(text.ends_with("# EOF\n"), openmetrics);
    samples
}

#[tokio::test]
async fn metrics_are_whole_in_both_formats() {
    let mut mesh = Mesh::new(&[("products.yaml", PRODUCTS)]).await;
    mesh.check(request_from("sandbox")).await;
    let accept = "application/openmetrics-text;version=1.0.0;q=0.8, text/plain;version=0.0.4;q=0.5";
    let open = page(mesh.mixer.admin(), "/metrics", accept).await;
    assert_eq!(
        (open.status, &*open.content_type),
        (
            200,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        )
    );
    let classic = mesh.page("/stats/prometheus").await;
    assert_eq!(
        (classic.status, &*classic.content_type),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    for samples in [parse(&open.body, true), parse(&classic.body, false)] {
        assert_eq!(
            samples[r#"mixer_check_total{verdict="deny",because="matched"}"#],
            1.0
        );
        assert_eq!(samples["mixer_config_last_reload_successful"], 1.0);
        assert_eq!(
            samples[r#"mixer_adapter_calls_total{adapter="prometheus",outcome="answered"}"#],
            0.0
        );
        assert!(samples["process_resident_memory_bytes"] > 0.0 || !cfg!(target_os = "linux"));
    }
}

#[tokio::test]
async fn only_get_is_answered_and_only_on_pages_there_are() {
    let mesh = Mesh::new(&[("products.yaml", PRODUCTS)]).await;
    assert_eq!(mesh.page("/healthz/live").await.status, 200);
    assert_eq!(mesh.page("/healthz/ready").await.status, 200);
    assert_eq!(mesh.page("/").await.status, 404);
    assert_eq!(mesh.page("/config_dump/../metrics").await.status, 404);
}

#[tokio::test]
async fn the_dump_shows_what_is_in_force_and_no_secret() {
    let list = r#"
adapter: blocklist
type: list
config: { entries: ["10.0.0.0/8"] }
"#;
    let asking = PRODUCTS.to_owned()
        + "  - deny: blocked\n    ask: blocklist\n    with: { value: source.ip }\n    mode: shadow\n    until: 2099-12-31\n    body: { no: \"{source.port}\", ip: \"{source.ip}\" }\n    headers: { x-a: \"{source.ip}\" }\n";
    let mut mesh = Mesh::new(&[
        ("a.yaml", list),
        ("products.yaml", &asking),
        ("service.yaml", SERVICE),
    ])
    .await;
    let mut states = mesh
        .client
        .watch(watch_products("proxy-7"))
        .await
        .unwrap()
        .into_inner();
    let revision = states
        .message()
        .await
        .unwrap()
        .unwrap()
        .inbound
        .unwrap()
        .revision;
    let dump = mesh.page("/config_dump").await;
    assert_eq!(
        (dump.status, &*dump.content_type),
        (200, "application/json")
    );
    let dump: Value = serde_json::from_str(&dump.body).unwrap();
    assert_eq!(dump["revision"], &*mesh.mixer.revision());
    assert_eq!(
        dump["destinations"]["inbound"]["products.shop"]["revision"],
        revision
    );
    assert_eq!(
        dump["documents"]["policies"][0]["rules"][1]["ask"],
        "blocklist"
    );
    let blocked = &dump["documents"]["policies"][0]["rules"][1];
    assert_eq!(blocked["until"], "2099-12-31");
    assert_eq!(
        blocked["reply"],
        serde_json::json!({
            "status": 403, "grpc": 7, "location": null, "message": null,
            "headers": { "x-a": "{source.ip}" },
            "body": { "content_type": "application/json", "text": r#"{"no":"{source.port}","ip":"{source.ip}"}"# },
        })
    );
    assert_eq!(dump["adapters"][0]["name"], "blocklist");
    assert_eq!(dump["subscribers"][0]["client"], "proxy-7");
    assert_eq!(dump["subscribers"][0]["revision"], revision);
    drop(states);
    mesh.until_page_says("/config_dump", "\"subscribers\": []")
        .await;
}

#[tokio::test]
async fn answers_of_asked_adapters_are_counted() {
    let list = "adapter: blocklist\ntype: list\nconfig: { entries: [\"sandbox\"] }\n";
    let asking = PRODUCTS.replace(
        "    when: source.namespace == \"sandbox\"\n",
        "    ask: blocklist\n    with: { value: source.namespace }\n",
    );
    let mut mesh = Mesh::new(&[("a.yaml", list), ("products.yaml", &asking)]).await;
    assert_eq!(
        mesh.check(request_from("sandbox")).await.verdict(),
        v1::Verdict::Deny
    );
    assert_eq!(
        mesh.check(request_from("shop")).await.verdict(),
        v1::Verdict::Allow
    );
    assert_eq!(
        mesh.metric(r#"mixer_adapter_calls_total{adapter="blocklist",outcome="answered"}"#)
            .await,
        Some(2.0)
    );
}
