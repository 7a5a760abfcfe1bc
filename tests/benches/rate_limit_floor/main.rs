//! The rate limit service against its floor: a tonic server that decodes the same request and answers a constant.
//!
//! `cargo bench -p mixer-tests --bench rate_limit_floor [-- --rounds 5 --seconds 3]`. The server has core 0, the load has core 1;
//! rounds are interleaved. 100,000 keys, and 1, 1,000 and 10,000 limits in one domain of which one applies; and one limit with two
//! threads on both cores, whose CPU per request is compared with that of one thread. Before anything is
//! measured, Mixer's answer is read and must be what the limits say; afterwards it must have counted each call.

mod floor;
mod load;

use std::net::SocketAddr;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use mixer_tests::binaries::{How, pinned};
use mixer_tests::measure::{CLIENT, Load, SERVER, Table, argument, memory, round};
use mixer_tests::mesh::{Documents, Mixer, counter};
use mixer_tests::process::Process;
use mixer_tests::{ports, wait};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u32 = 100_000;
const LIMITS: [usize; 3] = [1, 1_000, 10_000];

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("serve-floor") => return floor::serve(arguments),
        Some("load") => return load::run(arguments),
        _ => {}
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    runtime.block_on(measure(argument("--rounds", 5), argument("--seconds", 3)));
}

async fn measure(rounds: u32, seconds: u32) {
    println!(
        "cargo bench -p mixer-tests --bench rate_limit_floor -- --rounds {rounds} --seconds {seconds}"
    );
    let names = [
        "floor",
        "1 limit",
        "1,000 limits",
        "10,000 limits",
        "1 limit, two threads",
    ];
    let sets = LIMITS.map(documents);
    let mut mixers = Vec::new();
    for set in &sets {
        let mixer = Mixer::serve_as(How::Measured { core: SERVER }, set).await;
        checked(&mixer).await;
        mixers.push(mixer);
    }
    let spread = Mixer::serve_as(How::Spread, &sets[0]).await;
    checked(&spread).await;
    mixers.push(spread);
    let addr = ports::free();
    let mut command = pinned(SERVER, &own_path());
    command.args(["serve-floor", &addr.to_string()]);
    let mut floor = Process::start("floor", command);
    floor
        .line("it listens", |line| (line == "listening").then_some(()))
        .await;

    let mut candidates = vec![(addr, floor.id())];
    for mixer in &mut mixers {
        candidates.push((mixer.grpc, mixer.process().id()));
    }
    let before: Vec<f64> = candidates
        .iter()
        .map(|(_, process)| memory(*process))
        .collect();
    let mut table = Table::new(&names);
    for (addr, _) in &candidates {
        loaded(*addr, 1);
    }
    for _ in 0..rounds {
        for (index, (addr, process)) in candidates.iter().enumerate() {
            table.add(index, round(&[*process], || loaded(*addr, seconds)));
        }
    }
    println!("{}", table.compared_with(0));
    println!("{}", table.compared_with(1));
    for ((name, (_, process)), before) in names.iter().zip(&candidates).zip(before) {
        let now = memory(*process);
        println!(
            "{name}: {now:.1} MiB in use, {:.0} B more than before for each of {KEYS} keys",
            (now - before) * 1_048_576.0 / f64::from(KEYS)
        );
    }
    for mixer in &mixers {
        let metrics = mixer.admin("/metrics").await.text();
        let counted =
            |labels: &[_]| counter(&metrics, "mixer_rate_limit_descriptors_total", labels);
        let ok = counted(&[("outcome", "ok")]);
        assert!(ok > f64::from(KEYS) && ok == counted(&[]), "{metrics}");
    }
}

fn own_path() -> std::path::PathBuf {
    std::env::current_exe().expect("this program has a path")
}

/// One round of load, from another process.
fn loaded(addr: SocketAddr, seconds: u32) -> Load {
    let mut command = pinned(CLIENT, &own_path());
    command.args([
        "load",
        &addr.to_string(),
        &seconds.to_string(),
        &KEYS.to_string(),
    ]);
    let output = command.output().expect("this program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let answered = said
        .trim()
        .strip_prefix("answered ")
        .and_then(|count| count.parse().ok());
    let answered: f64 = answered.unwrap_or_else(|| {
        panic!(
            "{command:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    Load::new(answered, answered / f64::from(seconds))
}

async fn checked(mixer: &Mixer) {
    let url = format!("http://{}", mixer.grpc);
    let mut client = wait::until("mixer takes calls", async || {
        RateLimitServiceClient::connect(url.clone()).await.ok()
    })
    .await;
    let answer = client.should_rate_limit(load::request(0)).await;
    let answer = answer.expect("mixer answers").into_inner();
    assert_eq!(answer.overall_code(), Code::Ok);
    let expected = floor::answer();
    assert_eq!(
        answer.statuses[0].current_limit, expected.statuses[0].current_limit,
        "{answer:?}"
    );
}

/// `count` limits in one domain, each for another path; a thousand in a policy and a file, which may have 1 MiB.
fn documents(count: usize) -> Documents {
    let documents = Documents::new::<&str>([]);
    let numbers: Vec<usize> = (0..count).collect();
    for (part, numbers) in numbers.chunks(1_000).enumerate() {
        let mut policy =
            format!("policy: edge {part}\nfor: rate_limit.domain == \"edge\"\nquotas:\n");
        for number in numbers {
            policy += &format!(
                r#"  - quota: limit number {number}
    when: 'rate_limit.descriptor["path"] == "/part{number}"'
    key: ['rate_limit.descriptor["user_id"]']
    limit: 1000000000 per day
"#
            );
        }
        documents.write(&format!("edge{part}.yaml"), &policy);
    }
    documents
}
