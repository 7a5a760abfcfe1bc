//! Whether a decision grows with what cannot match: 10, 100, 1,000 and 10,000 policies, each for a service of its own or all
//! for one, where the first matches, the last, or none. Beside it what loading them takes: processor time of all threads.
//!
//! `cargo bench -p mixer --bench scale`. Times are the least of several rounds; the ratios compare with ten policies.

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use mixer::dispatch::{Because, Dispatcher};
use mixer::snapshot::{Snapshot, Surroundings};
use mixer_attributes::OwnedBag;
use mixer_documents::Sources;
use mixer_runtime::{Clock, Random};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LEFT: Duration = Duration::from_millis(60);
const COUNTS: [usize; 4] = [10, 100, 1_000, 10_000];
const ROUNDS: usize = 30;
const TURNS: u32 = 2_000;

/// Two rules a policy, told apart by a prefix, behind a method that all of them name.
fn documents(count: usize, one_service: bool) -> String {
    let mut documents = String::new();
    for at in 0..count {
        let service = if one_service { 0 } else { at };
        write!(
            documents,
            r#"---
policy: policy{at}
for: destination.service == "s{service}.shop"
rules:
  - deny: nobody deletes below {at}
    when: [ 'request.method == "DELETE"', 'request.path.startsWith("/part{at}/")' ]
  - allow: reading below {at}
    when: [ 'request.method == "GET"', 'request.path.startsWith("/part{at}/")' ]
otherwise: {{ deny: nothing else below {at} }}
"#
        )
        .expect("a String takes all that is written");
    }
    documents
}

struct Row {
    count: usize,
    one_service: bool,
    load: Duration,
    bytes: u64,
    /// First, last, none.
    decisions: [Duration; 3],
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the machine has threads");
    let clock = Clock::system();
    let surroundings = Surroundings::new(
        clock.clone(),
        Random::from_seed(1),
        runtime.handle().clone(),
    );
    let mut rows = Vec::new();
    for one_service in [false, true] {
        for count in COUNTS {
            rows.push(measure(count, one_service, &clock, &surroundings));
        }
    }
    println!(
        "policies  services  first ns  last ns  none ns  against ten       load CPU ms  KiB a policy"
    );
    for (at, row) in rows.iter().enumerate() {
        let ten = &rows[at - at % COUNTS.len()];
        let ratio =
            |which: usize| row.decisions[which].as_secs_f64() / ten.decisions[which].as_secs_f64();
        let [first, last, none] = row.decisions.map(|took| took.as_nanos());
        println!(
            "{:>8}  {:>8}  {first:>8}  {last:>7}  {none:>7}  {:.2} {:.2} {:.2}  {:>12.1}  {:>12.2}",
            row.count,
            if row.one_service { 1 } else { row.count },
            ratio(0),
            ratio(1),
            ratio(2),
            row.load.as_secs_f64() * 1e3,
            row.bytes as f64 / 1024.0 / row.count as f64,
        );
    }
}

fn measure(count: usize, one_service: bool, clock: &Clock, surroundings: &Surroundings) -> Row {
    let before = resident();
    let begun = processor();
    let sources = Sources::from_texts([("scale.yaml", documents(count, one_service))]);
    let built = Snapshot::build(sources, &mixer_adapters::builtin(), surroundings);
    let snapshot = built.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let load = processor().saturating_sub(begun);
    let request = |at: usize, path: &str| -> OwnedBag {
        let service = if one_service { 0 } else { at };
        let text = format!(
            "{{ destination: {{ service: s{service}.shop }}, context: {{ reporter: destination }}, source: {{ namespace: shop }}, \
             request: {{ method: GET, path: {path} }} }}"
        );
        let read = mixer_documents::request("request", &text, &snapshot.set.vocabulary);
        read.unwrap_or_else(|problems| panic!("{}", problems.render(false)))
    };
    let requests = [
        (request(0, "/part0/x"), Because::Matched),
        (
            request(count - 1, &format!("/part{}/x", count - 1)),
            Because::Matched,
        ),
        (request(count / 2, "/other"), Because::Otherwise),
    ];
    let dispatcher = Dispatcher::new(Arc::new(snapshot), surroundings);
    let decisions = requests.map(|(request, because)| {
        let bag = request.bag();
        assert_eq!(poll_once(dispatcher.check(&bag, LEFT)).because, because);
        let round = |_| {
            let begun = clock.now();
            for _ in 0..TURNS {
                black_box(poll_once(dispatcher.check(black_box(&bag), LEFT)));
            }
            clock.now().since(begun) / TURNS
        };
        (0..ROUNDS).map(round).min().unwrap_or_default()
    });
    let bytes = resident().saturating_sub(before);
    Row {
        count,
        one_service,
        load,
        bytes,
        decisions,
    }
}

/// Bytes this process holds, where the system says (proc_pid_statm(5)); 0 elsewhere.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or_default() * 4096
}

/// Processor time of this process, threads that ended included, to ten milliseconds (proc_pid_stat(5)); 0 where the system does
/// not say.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// No decision here waits for anybody.
fn poll_once<T>(work: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(work).poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => unreachable!("nobody is waited for"),
    }
}
