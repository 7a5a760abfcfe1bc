//! What is reported, from both sides.

use std::collections::BTreeMap;

use mixer_attributes::{Vocabulary, standard};
use mixer_proto::v1::{ReportRequest, Scope, record_attribute::Value};

use crate::app::App;
use crate::mixer::{TestMixer, nothing, scope};
use crate::raw::{get, send, status};
use crate::{config, shop, start};

/// Requests by the labels that differ here: reporter, destination service, code, grpc status, flags.
fn counts(reports: &[ReportRequest]) -> BTreeMap<[String; 5], u64> {
    let mut counts = BTreeMap::new();
    for report in reports {
        for aggregate in &report.aggregates {
            let label = |name: &str| {
                let at = standard::LABELS
                    .iter()
                    .position(|label| *label == name)
                    .unwrap();
                report.strings[aggregate.labels[at] as usize].clone()
            };
            let key = [
                "reporter",
                "destination_service",
                "response_code",
                "grpc_response_status",
                "response_flags",
            ]
            .map(label);
            *counts.entry(key).or_default() += aggregate.requests;
        }
    }
    counts
}

fn total(reports: &[ReportRequest]) -> u64 {
    counts(reports).values().sum()
}

fn records(
    reports: &[ReportRequest],
) -> Vec<(BTreeMap<String, String>, Option<mixer_proto::v1::Trace>)> {
    let mut all = Vec::new();
    for report in reports {
        for record in &report.records {
            let text = |at: u32| report.strings[at as usize].clone();
            let mut words = BTreeMap::new();
            for attribute in &record.attributes {
                let name = Vocabulary::by_number(attribute.id).unwrap().name.clone();
                let value = match attribute.value.as_ref().unwrap() {
                    Value::String(at) => text(*at),
                    Value::Int(number) => number.to_string(),
                    Value::Bool(bit) => bit.to_string(),
                    other => format!("{other:?}"),
                };
                words.insert(name, value);
            }
            all.push((words, record.trace.clone()));
        }
    }
    all
}

#[tokio::test]
async fn every_request_is_counted_with_how_it_ended() {
    let (_held, gone) = crate::raw::refusing();
    let reviews = App::start().await;
    let documents = [
        format!(
            r#"{{"service":"reviews.shop","endpoints":["{}"]}}"#,
            reviews.address
        ),
        format!(r#"{{"service":"gone.shop","endpoints":["{gone}"]}}"#),
        r#"{"mesh":{"outbound":"deny"}}"#.to_owned(),
    ];
    let mixer = TestMixer::start(scope(), &documents, |asked| {
        match asked.get("request.path").map(String::as_str) {
            Some("/denied") => crate::mixer::deny(mixer_proto::v1::Because::Matched, 403, 7, "no"),
            Some("/limited") => crate::mixer::deny(mixer_proto::v1::Because::Quota, 429, 8, "slow"),
            _ => crate::mixer::allow(),
        }
    });
    let (mixer, _app, proxy) = shop(mixer.await).await;
    let (inbound, outbound) = (proxy.inbound().unwrap(), proxy.outbound().unwrap());
    for path in ["/", "/denied", "/limited"] {
        send(inbound, get(path, "")).await;
    }
    send(
        inbound,
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
    )
    .await;
    for host in ["reviews.shop", "gone.shop", "other"] {
        send(
            outbound,
            format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
        )
        .await;
    }
    let reports = mixer.reports(|reports| total(reports) >= 7).await;
    let expected = [
        ["destination", "products.shop", "200", "", "-"],
        ["destination", "products.shop", "400", "", "DPE"],
        ["destination", "products.shop", "403", "", "UAEX"],
        ["destination", "products.shop", "429", "", "RL"],
        ["source", "gone.shop", "503", "", "UF"],
        ["source", "reviews.shop", "200", "", "-"],
        ["source", "unknown", "403", "", "NR"],
    ];
    let expected: BTreeMap<_, _> = expected.map(|labels| (labels.map(str::to_owned), 1)).into();
    assert_eq!(counts(&reports), expected);
    let decisions: u64 = reports
        .iter()
        .flat_map(|report| &report.decisions)
        .map(|decision| decision.count)
        .sum();
    assert_eq!(decisions, 3);
}

#[tokio::test]
async fn a_caller_who_goes_away_is_counted_as_such() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, address)).await;
    let mut caller = tokio::net::TcpStream::connect(proxy.inbound().unwrap())
        .await
        .unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut caller, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let (mut server, _) = crate::soon(listener.accept()).await.unwrap();
    crate::raw::head(&mut server).await;
    drop(caller);
    let reports = mixer.reports(|reports| total(reports) >= 1).await;
    let key = ["destination", "products.shop", "0", "", "DC"].map(str::to_owned);
    assert_eq!(counts(&reports), BTreeMap::from([(key, 1)]));
}

#[tokio::test]
async fn a_record_describes_the_whole_request() {
    let inbound = Scope {
        records: true,
        ..scope()
    };
    let (mixer, _app, proxy) = shop(TestMixer::allowing(inbound, &[]).await).await;
    let request = "POST /echo?q=1 HTTP/1.1\r\nhost: products\r\nconnection: close\r\ncontent-length: 5\r\nx-tester: yes\r\n\r\nhello";
    assert_eq!(status(&send(proxy.inbound().unwrap(), request).await), 200);
    let reports = mixer.reports(|reports| !records(reports).is_empty()).await;
    let (record, trace) = records(&reports).remove(0);
    let is = |name: &str, value: &str| {
        assert_eq!(
            record.get(name).map(String::as_str),
            Some(value),
            "{name}: {record:?}"
        )
    };
    is("destination.service", "products.shop");
    is("request.method", "POST");
    is("request.path", "/echo");
    is("request.size", "5");
    is("response.code", "200");
    is("response.size", "5");
    is("response.flags", "-");
    is("check.decision", "allow");
    is("check.policy", "products");
    is("check.cached", "false");
    is("context.reporter", "destination");
    for name in [
        "response.duration",
        "response.headers",
        "request.headers",
        "request.time",
        "source.ip",
    ] {
        assert!(record.contains_key(name), "{name}");
    }
    assert_eq!(trace, None);
}

#[tokio::test]
async fn spans_of_a_chain_are_linked_when_the_application_passes_its_headers_on() {
    for forwarded in [
        &["traceparent"][..],
        &["x-b3-traceid", "x-b3-spanid", "x-b3-sampled"],
    ] {
        let sampled = || Scope {
            trace_sample: 1.0,
            ..nothing()
        };
        let products_app = App::start().await;
        let products = TestMixer::allowing(sampled(), &[]).await;
        let products_proxy = start(config(&products, products_app.address)).await;

        let service = format!(
            r#"{{"service":"products.shop","endpoints":["{}"]}}"#,
            products_proxy.inbound().unwrap()
        );
        let state = mixer_proto::v1::WatchResponse {
            version: 1,
            inbound: Some(sampled()),
            outbound_default: Some(sampled()),
            documents: vec![service],
            ..Default::default()
        };
        let frontend = TestMixer::with_state(state, |_| crate::mixer::allow()).await;
        let frontend_app = App::start().await;
        let mut frontend_config = config(&frontend, frontend_app.address);
        frontend_config.service = Some("frontend.shop".to_owned());
        let frontend_proxy = start(frontend_config).await;

        send(frontend_proxy.inbound().unwrap(), get("/", "")).await;
        let came = frontend_app.seen().remove(0);
        let more: String = forwarded
            .iter()
            .map(|name| format!("{name}: {}\r\n", came.headers[*name].to_str().unwrap()))
            .collect();
        send(
            frontend_proxy.outbound().unwrap(),
            format!("GET / HTTP/1.1\r\nhost: products.shop\r\nconnection: close\r\n{more}\r\n"),
        )
        .await;

        let spans = |reports: &[ReportRequest]| {
            records(reports)
                .into_iter()
                .filter_map(|(words, trace)| Some((words, trace?)))
                .collect::<Vec<_>>()
        };
        let front = spans(
            &frontend
                .reports(|reports| records(reports).len() >= 2)
                .await,
        );
        let back = spans(
            &products
                .reports(|reports| !records(reports).is_empty())
                .await,
        );
        let by = |side: &str| {
            front
                .iter()
                .find(|(words, _)| words["context.reporter"] == side)
                .unwrap()
                .1
                .clone()
        };
        let (root, client, server) = (by("destination"), by("source"), back[0].1.clone());
        assert!(
            root.parent_id.is_empty()
                && root.trace_id == client.trace_id
                && client.trace_id == server.trace_id
        );
        assert_eq!(
            (client.parent_id, server.parent_id),
            (root.span_id, client.span_id),
            "{forwarded:?}"
        );
    }
}

#[tokio::test]
async fn what_is_refused_is_recorded_too() {
    let every = || Scope {
        records: true,
        reads_path: true,
        ..scope()
    };
    let state = mixer_proto::v1::WatchResponse {
        version: 1,
        inbound: Some(every()),
        outbound_default: Some(every()),
        documents: vec![r#"{"mesh":{"outbound":"deny"}}"#.to_owned()],
        ..Default::default()
    };
    let mixer = TestMixer::with_state(state, |_| {
        crate::mixer::deny(mixer_proto::v1::Because::Matched, 403, 7, "no")
    })
    .await;
    let (mixer, _app, proxy) = shop(mixer).await;
    send(proxy.inbound().unwrap(), get("/denied", "")).await;
    send(proxy.inbound().unwrap(), get("/a%2fb", "")).await;
    send(proxy.outbound().unwrap(), get("/", "")).await;
    let reports = mixer.reports(|reports| records(reports).len() >= 3).await;
    let mut seen: Vec<_> = records(&reports)
        .into_iter()
        .map(|(words, _)| {
            (
                words["response.code"].clone(),
                words["response.flags"].clone(),
                words.get("check.decision").cloned(),
            )
        })
        .collect();
    seen.sort();
    let row = |code: &str, flags: &str, decision: Option<&str>| {
        (
            code.to_owned(),
            flags.to_owned(),
            decision.map(str::to_owned),
        )
    };
    assert_eq!(
        seen,
        [
            row("400", "DPE", None),
            row("403", "NR", None),
            row("403", "UAEX", Some("deny"))
        ]
    );
}
