//! A check that is answered without asking: at most 1.5 us.
//!
//! The measure to compare with is what one would write first: join the values that were read into one string and look
//! that up. It knows one shape, no revision, no expiry and no presence.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark may")]

#[path = "../tests/client/server.rs"]
#[allow(dead_code)]
mod server;

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, criterion_group, criterion_main};
use mixer_attributes::{AttributeBag, OwnedBag, OwnedValue, Value, vocabulary};
use mixer_client::{Answer, At, Client, Config, Verdict};
use mixer_proto::v1;
use mixer_runtime::{Clock, Random, Tasks};
use server::{Reply, Server, in_time};

/// What a typical decision reads.
const READ: [(u32, Option<&str>); 7] = [
    (3, None),
    (4, None),
    (9, None),
    (15, None),
    (18, None),
    (19, None),
    (24, Some("x-tenant")),
];

fn request() -> OwnedBag {
    let text = |text: &str| OwnedValue::String(text.to_owned());
    let mut bag = OwnedBag::new();
    bag.set(vocabulary::SOURCE_NAMESPACE, text("shop"));
    bag.set(vocabulary::SOURCE_SERVICE_ACCOUNT, text("frontend"));
    bag.set(vocabulary::DESTINATION_SERVICE, text("products.shop"));
    bag.set(vocabulary::CONNECTION_MTLS, OwnedValue::Bool(true));
    bag.set(vocabulary::REQUEST_METHOD, text("GET"));
    bag.set(vocabulary::REQUEST_PATH, text("/products/1"));
    let headers = ["accept", "host", "user-agent", "x-request-id", "x-tenant"];
    let headers = headers.map(|name| (name.to_owned(), format!("value of {name}")));
    bag.set(
        vocabulary::REQUEST_HEADERS,
        OwnedValue::Map(BTreeMap::from(headers)),
    );
    bag
}

fn reference((id, key): (u32, Option<&str>)) -> v1::Reference {
    v1::Reference {
        id,
        key: key.map(Into::into),
        present: true,
        ..Default::default()
    }
}

/// A decision of one shape, or of the last of eight.
fn decision(shapes: usize, charges: Vec<v1::Charge>) -> v1::CheckResponse {
    let grant = v1::Grant {
        outcome: v1::grant::Outcome::Granted.into(),
        lease: u64::MAX / 4,
        lease_for: Some(v1::Time {
            seconds: 86_400,
            nanos: 0,
        }),
        ..Default::default()
    };
    let grants = charges.iter().map(|_| grant).collect();
    let extra = |number| (24, Some(["a", "b", "c", "d", "e", "f", "g", "h"][number]));
    let mut referenced: Vec<_> = READ.map(reference).into();
    if shapes > 0 {
        referenced.push(v1::Reference {
            present: false,
            ..reference(extra(shapes))
        });
    }
    let decision = v1::Decision {
        verdict: v1::Verdict::Allow.into(),
        because: v1::Because::Matched.into(),
        policy: "products".into(),
        rule: "the shop frontend may read products".into(),
        revision: "r1".into(),
        id: "1234".into(),
        referenced,
        charges,
        ..Default::default()
    };
    v1::CheckResponse {
        decision: Some(decision),
        grants,
    }
}

/// A client that has seen the request, and one like it for each of `shapes` newer shapes.
fn warm(
    runtime: &tokio::runtime::Runtime,
    shapes: usize,
    charges: Vec<v1::Charge>,
) -> (Client, Server, Tasks) {
    runtime.block_on(async {
        let server = Server::start();
        server.announce("r1");
        let tasks = Tasks::new();
        let config = Config::new(server.address.to_string(), "bench");
        let client = Client::start(
            config,
            Clock::system(),
            Arc::new(Random::from_seed(1)),
            &tasks,
        );
        in_time(client.state().wait_for(Option::is_some))
            .await
            .unwrap();
        let mut bag = request();
        for shape in 0..=shapes {
            let answer = decision(shape, charges.clone());
            server
                .script
                .checks
                .usually(move |_| Reply::Answer(answer.clone()));
            client.check(At::Inbound, None, &bag.bag()).await;
            bag.set(
                vocabulary::REQUEST_PATH,
                OwnedValue::String(format!("/products/other/{shape}")),
            );
        }
        (client, server, tasks)
    })
}

/// An answer that needs no waiting.
fn at_once(client: &Client, bag: &AttributeBag<'_>) -> Answer {
    let check = pin!(client.check(At::Inbound, Some("products.shop"), bag));
    match check.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a cached answer waited"),
    }
}

fn check_hit(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let owned = request();
    let bag = owned.bag();
    let charge = v1::Charge {
        quota: "per-customer".into(),
        key: vec!["alice".into()],
        cost: 1,
        on_error: v1::OnError::Allow.into(),
        amount: 100,
        window: Some(v1::Time {
            seconds: 60,
            nanos: 0,
        }),
        ..Default::default()
    };
    let mut group = c.benchmark_group("check_hit");
    for (name, shapes, charges) in [
        ("one shape", 0, vec![]),
        ("eight shapes", 7, vec![]),
        ("one shape, one charge", 0, vec![charge]),
    ] {
        let (client, _server, _tasks) = warm(&runtime, shapes, charges);
        let answer = at_once(&client, &bag);
        assert!(answer.cached && answer.verdict == Verdict::Allow);
        group.bench_function(name, |b| b.iter(|| at_once(&client, black_box(&bag))));
    }

    let (client, _server, _tasks) = warm(&runtime, 0, vec![]);
    let answers = HashMap::from([(joined(&bag), at_once(&client, &bag))]);
    group.bench_function("values joined, one map", |b| {
        b.iter(|| {
            answers
                .get(&joined(black_box(&bag)))
                .cloned()
                .expect("it is there")
        });
    });
    group.finish();
}

fn joined(bag: &AttributeBag<'_>) -> String {
    let mut key = String::new();
    for (id, header) in READ {
        let id = mixer_attributes::Vocabulary::by_number(id)
            .expect("built in")
            .id;
        match (bag.value(id), header) {
            (Some(Value::Map(map)), Some(header)) => {
                if let mixer_attributes::Entry::Value(text) = map.lookup(header) {
                    key.push_str(&text);
                }
            }
            (Some(Value::String(text)), _) => key.push_str(text),
            (Some(value), _) => key.push_str(&value.to_string()),
            (None, _) => {}
        }
        key.push('\0');
    }
    key
}

criterion_group!(benches, check_hit);
criterion_main!(benches);
