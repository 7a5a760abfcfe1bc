//! The client library against Mixer: what one side writes the other reads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mixer::serve::{Config, Running};
use mixer_adapter::{
    Adapter, Batch, Env, Handler, Inputs, Invalid, MetricDefinition, Report, Unavailable,
};
use mixer_attributes::standard::LABELS;
use mixer_attributes::{OwnedBag, OwnedValue, Timestamp, vocabulary as v};
use mixer_client::{At, Client, DecisionSample, StandardSample, TraceContext, Verdict};
use mixer_runtime::{Clock, Random, Tasks};

use crate::mesh::{Nothing, PATIENCE, config, directory, page, start};

const DOCUMENTS: &str = r#"
policy: products
for: destination.service == "products.shop"
rules:
  - deny: nobody from the sandbox
    when: request.headers[?"x-from"].orValue("") == "sandbox"
quotas:
  - quota: three per caller
    id: three
    key: ['request.headers["x-from"]']
    limit: 3 per day
---
adapter: tape
type: tape
config: {}
---
telemetry: everything
for: always
logs: { to: tape, when: response.code >= 400 }
traces: { to: tape, sample: 100% }
"#;

/// What the tape adapter was told.
static TAPE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Writes down spans and log lines.
pub(crate) struct Tape;

impl Adapter for Tape {
    const NAME: &'static str = "tape";
    type Config = Nothing;

    fn build(_: Nothing, _: &Inputs, _: &Env) -> Result<Handler, Invalid> {
        Ok(Handler::new().with_report(Arc::new(Tape)))
    }
}

impl Report for Tape {
    fn declare(&self, _: &[MetricDefinition]) -> Result<(), Invalid> {
        Ok(())
    }

    async fn report(&self, batch: Batch<'_>) -> Result<(), Unavailable> {
        let mut tape = TAPE.lock().unwrap();
        match batch {
            Batch::Metrics(_) => {}
            Batch::Logs(lines) => tape.extend(lines.iter().map(|line| {
                let field = |name: &str| {
                    line.fields
                        .iter()
                        .find(|(field, _)| field == name)
                        .map(|(_, value)| value.borrow())
                };
                format!(
                    "line {:?} {:?} {:?}",
                    field("path"),
                    field("response_code"),
                    field("rule")
                )
            })),
            Batch::Spans(spans) => tape.extend(spans.iter().map(|span| {
                let tag = |name: &str| {
                    span.tags
                        .iter()
                        .find(|(tag, _)| tag == name)
                        .map(|(_, value)| value.to_string())
                };
                format!(
                    "span {:?} {} -> {:?} {:?} error={} parent={:?} took={:?} status={:?}",
                    span.kind,
                    span.service,
                    span.peer,
                    span.name,
                    span.error,
                    span.parent,
                    span.duration,
                    tag("http.status_code")
                )
            })),
        }
        Ok(())
    }

    async fn flush(&self) {}
}

fn request(reporter: &str, from: &str) -> OwnedBag {
    let headers = BTreeMap::from([("x-a", "1"), ("x-from", from), ("x-b", "2")]);
    let headers = headers
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let mut bag = OwnedBag::new();
    bag.set(v::CONTEXT_REPORTER, OwnedValue::String(reporter.to_owned()))
        .set(
            v::DESTINATION_SERVICE,
            OwnedValue::String("products.shop".to_owned()),
        )
        .set(v::REQUEST_METHOD, OwnedValue::String("GET".to_owned()))
        .set(
            v::REQUEST_PATH,
            OwnedValue::String("/products/1".to_owned()),
        )
        .set(v::REQUEST_HEADERS, OwnedValue::Map(headers))
        .set(v::SOURCE_IP, OwnedValue::Ip("10.0.0.1".parse().unwrap()))
        .set(
            v::REQUEST_TIME,
            OwnedValue::Timestamp(Timestamp {
                seconds: 1_800_000_000,
                nanos: 5,
            }),
        );
    bag
}

async fn client(mixer: &Running, service: &str, tasks: &Tasks) -> Client {
    let mut inbound = OwnedBag::new();
    inbound.set(
        v::DESTINATION_SERVICE,
        OwnedValue::String(service.to_owned()),
    );
    let config = mixer_client::Config {
        inbound,
        // The machine of a test may be slow; what is asked is not how fast.
        try_timeout: PATIENCE,
        total_timeout: PATIENCE,
        ..mixer_client::Config::new(mixer.grpc().to_string(), format!("proxy of {service}"))
    };
    let client = Client::start(
        config,
        Clock::system(),
        Arc::new(Random::from_seed(3)),
        tasks,
    );
    let mut states = client.state();
    let told = Clock::system()
        .within(PATIENCE, states.wait_for(Option::is_some))
        .await;
    told.expect("a first state comes").unwrap();
    client
}

async fn metrics(admin: SocketAddr) -> String {
    page(admin, "/metrics", "").await.body
}

#[tokio::test]
async fn the_client_library_and_mixer_understand_each_other() {
    let directory = directory(&[("all.yaml", DOCUMENTS)]);
    let mut config: Config = config(directory.path());
    config.registry = config.registry.with::<Tape>();
    let mixer = start(config).await.unwrap();
    let (admin, tasks) = (mixer.admin(), Tasks::new());
    let products = client(&mixer, "products.shop", &tasks).await;
    let frontend = client(&mixer, "frontend.shop", &tasks).await;

    let mut answers = Vec::new();
    for from in ["shop", "shop", "sandbox", "shop", "shop"] {
        let bag = request("destination", from);
        let answer = products
            .check(At::Inbound, Some("products.shop"), &bag.bag())
            .await;
        products.reporter().decision(&DecisionSample {
            destination: "products.shop",
            answer: &answer,
        });
        answers.push((
            answer.verdict,
            answer.because,
            answer.rule.to_string(),
            answer.failure,
        ));
    }
    use mixer_client::Because::{Default, Matched, Quota};
    let expected = [
        (Verdict::Allow, Default, ""),
        (Verdict::Allow, Default, ""),
        (Verdict::Deny, Matched, "nobody from the sandbox"),
        (Verdict::Allow, Default, ""),
        (Verdict::Deny, Quota, "three per caller"),
    ];
    let expected =
        expected.map(|(verdict, because, rule)| (verdict, because, rule.to_owned(), None));
    assert_eq!(answers, expected);

    let took = Duration::from_millis(7);
    let labels = LABELS.map(|label| if label == "response_code" { "403" } else { "x" });
    products.reporter().standard(&StandardSample {
        labels,
        duration: took,
        request_bytes: 0,
        response_bytes: 20,
    });
    for (client, reporter, at, span_id, parent_id) in [
        (&products, "destination", At::Inbound, 2, Some(1)),
        (&frontend, "source", At::Outbound, 1, None),
    ] {
        let mut bag = request(reporter, "sandbox");
        bag.set(v::RESPONSE_CODE, OwnedValue::Int(403))
            .set(v::RESPONSE_DURATION, OwnedValue::Duration(took.into()))
            .set(
                v::CHECK_RULE,
                OwnedValue::String("nobody from the sandbox".to_owned()),
            );
        client.reporter().record(
            at,
            &bag.bag(),
            Some(TraceContext {
                trace_id: 9,
                span_id,
                parent_id,
                shared: false,
            }),
        );
    }
    products.finish(PATIENCE).await;
    frontend.finish(PATIENCE).await;
    let told = async {
        while TAPE.lock().unwrap().len() < 3 {
            // Each look is a round trip to Mixer, which works on reports meanwhile.
            metrics(admin).await;
        }
    };
    Clock::system()
        .within(PATIENCE, told)
        .await
        .expect("reports are worked on");

    let mut tape = TAPE.lock().unwrap().clone();
    tape.sort();
    assert_eq!(
        tape,
        [
            "line Some(\"/products/1\") Some(403) Some(\"nobody from the sandbox\")",
            "span Client frontend.shop -> Some(\"products.shop\") \"GET products.shop\" error=false parent=None took=7ms status=Some(\"403\")",
            "span Server products.shop -> None \"GET products.shop\" error=false parent=Some(1) took=7ms status=Some(\"403\")",
        ]
    );
    let page = metrics(admin).await;
    let decided = |part: &str| {
        let lines = page
            .lines()
            .filter(|line| line.starts_with("mixer_decisions_total{") && line.contains(part));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>()
    };
    assert_eq!(
        (decided("verdict=\"allow\""), decided("verdict=\"deny\"")),
        (3.0, 2.0),
        "{page}"
    );
    assert_eq!(
        decided("rule=\"three\"") + decided("rule=\"three per caller\""),
        1.0,
        "{page}"
    );
    assert!(
        page.lines()
            .any(|line| line.starts_with("istio_requests_total{")
                && line.contains("response_code=\"403\""))
    );
    assert_eq!(mixer.shutdown(PATIENCE).await, 2, "spans that were told");
}
