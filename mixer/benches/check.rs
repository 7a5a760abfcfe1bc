//! A decision inside Mixer, without the network: one policy, the same among 1,000 others, one that asks a list, one that is
//! charged. Beside them what no decision can do without: copying what it says of the request into a new value.
//!
//! `cargo bench -p mixer --bench check`

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mixer::dispatch::Dispatcher;
use mixer::snapshot::{Snapshot, Surroundings};
use mixer_attributes::OwnedBag;
use mixer_documents::Sources;
use mixer_runtime::{Clock, Random};

const LEFT: Duration = Duration::from_millis(60);

const PRODUCTS: &str = r#"
policy: products
for: destination.service == "products.shop"
rules:
  - deny: nobody from the sandbox
    when: source.namespace == "sandbox"
  - allow: the shop frontend may read products
    when:
      - source.namespace == "shop" && source.service_account == "frontend"
      - request.method == "GET"
      - request.path.startsWith("/products")
otherwise: { deny: only the shop frontend may read products }
"#;

const ASKING: &str = r#"
adapter: blocklist
type: list
config: { entries: [10.66.0.0/16] }
---
policy: asking
for: destination.service == "products.shop"
rules: [ { deny: blocked addresses, ask: blocklist, with: { value: request.client_ip } } ]
"#;

const CHARGED: &str = r#"
policy: charged
for: destination.service == "products.shop"
quotas: [ { quota: per client, key: [request.client_ip], limit: 100000000 per minute } ]
"#;

const REQUEST: &str = "
destination: { service: products.shop }
context: { reporter: destination }
source: { namespace: shop, service_account: frontend }
request: { method: GET, path: /products/1, client_ip: 10.1.1.1 }
";

fn thousand() -> String {
    let mut documents = PRODUCTS.to_owned();
    for at in 0..1000 {
        let other = PRODUCTS
            .replace("policy: products", &format!("policy: other {at}"))
            .replace("products.shop", &format!("s{at}.shop"));
        write!(documents, "---\n{other}").expect("a String takes all that is written");
    }
    documents
}

fn dispatcher(documents: &str, surroundings: &Surroundings) -> (Dispatcher, OwnedBag) {
    let sources = Sources::from_texts([("bench.yaml", documents)]);
    let built = Snapshot::build(sources, &mixer_adapters::builtin(), surroundings);
    let snapshot = built.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let request = mixer_documents::request("request", REQUEST, &snapshot.set.vocabulary);
    let request = request.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    (Dispatcher::new(Arc::new(snapshot), surroundings), request)
}

fn check(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the machine has threads");
    let surroundings = Surroundings::new(
        Clock::system(),
        Random::from_seed(1),
        runtime.handle().clone(),
    );
    let mut group = criterion.benchmark_group("check");
    let thousand = thousand();
    for (name, documents) in [
        ("one policy", PRODUCTS),
        ("one of 1,000 policies", &thousand),
        ("asks a list", ASKING),
        ("is charged", CHARGED),
    ] {
        let (dispatcher, request) = dispatcher(documents, &surroundings);
        let bag = request.bag();
        group.bench_function(name, |bencher| {
            bencher.iter(|| poll_once(dispatcher.check(black_box(&bag), LEFT)));
        });
        if name == "one policy" {
            let decision = poll_once(dispatcher.check(&bag, LEFT));
            group.bench_function("copying its decision", |bencher| {
                bencher.iter(|| black_box(&decision).clone())
            });
        }
    }
    group.finish();
}

/// No decision here waits for anybody.
fn poll_once<T>(work: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(work).poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => unreachable!("nobody is waited for"),
    }
}

criterion_group!(benches, check);
criterion_main!(benches);
