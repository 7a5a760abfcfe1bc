//! What callers see when endpoints are unlike, die, hang or fail: by way of balancing, and with and without ejection and retries.
//!
//! `cargo bench -p mixer-tests --bench resilience [-- SUITE.. --rate 1000 --seconds 6]`; the suites are slow, killed, hanging and
//! failing, all by default. The callers' proxy has core 0; load, endpoints and Mixer share core 1. A service has three endpoints.

mod endpoint;
mod load;

use std::net::SocketAddr;
use std::time::Duration;

use mixer_runtime::Clock;
use mixer_tests::binaries::{How, pinned};
use mixer_tests::http::fetch;
use mixer_tests::measure::{CLIENT, SERVER, argument};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::ports;
use mixer_tests::process::Process;

use load::Sample;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SUITES: [&str; 4] = ["slow", "killed", "hanging", "failing"];

/// Keys of a service that ejects.
const OUTLIER: &str = "outlier: { consecutive_errors: 5, eject: 30s, max_ejected: 50% }\n";
/// Keys of a route's rule.
const RETRY: &str = "retry: { when: [connect-failure, reset, gateway-error], extra: 1, per_try: 250ms, budget: 20% }";
const LIMIT: &str = "timeout: 250ms";

/// What is done for a service, beside balancing: name, keys of the service, keys of its route's rule.
const CARE: [(&str, &str, &str); 4] = [
    ("nothing", "", LIMIT),
    ("ejection", OUTLIER, LIMIT),
    ("retries", "", RETRY),
    ("ejection and retries", OUTLIER, RETRY),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("serve-endpoint") {
        return endpoint::serve(arguments);
    }
    let (rate, seconds) = (argument("--rate", 1_000), argument("--seconds", 6));
    let named = |suite: &str| std::env::args().any(|argument| argument == suite);
    let all = !SUITES.iter().any(|suite| named(suite));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    for suite in SUITES.into_iter().filter(|suite| all || named(suite)) {
        println!(
            "\ncargo bench -p mixer-tests --bench resilience -- {suite} --rate {rate} --seconds {seconds}"
        );
        runtime.block_on(async {
            match suite {
                "slow" => slow(rate, seconds).await,
                "killed" => stricken(Blow::Kill, rate, seconds).await,
                "hanging" => stricken(Blow::Stop, rate, seconds).await,
                _ => failing(rate, seconds).await,
            }
        });
    }
}

/// A service's endpoints, and the proxy of one who calls it.
struct Called {
    endpoints: Vec<(Process, SocketAddr)>,
    proxy: Proxy,
    _mixer: Mixer,
    _documents: Documents,
}

impl Called {
    /// `answers`: milliseconds and status of each endpoint.
    async fn start(answers: [(u32, u16); 3], service: &str, rule: &str) -> Self {
        let mut endpoints = Vec::new();
        for (number, (millis, status)) in answers.into_iter().enumerate() {
            let addr = ports::free();
            let arguments = [
                "serve-endpoint".to_owned(),
                addr.to_string(),
                number.to_string(),
                millis.to_string(),
                status.to_string(),
            ];
            let own = std::env::current_exe().expect("this program has a path");
            let mut command = pinned(CLIENT, &own);
            command.args(arguments);
            let mut process = Process::start("endpoint", command);
            process
                .line("it listens", |line| (line == "listening").then_some(()))
                .await;
            endpoints.push((process, addr));
        }
        let addresses: Vec<String> = endpoints
            .iter()
            .map(|(_, addr)| format!("\"{addr}\""))
            .collect();
        let mut documents = format!(
            "service: called.shop\nprotocol: http\nendpoints: [{}]\n{service}\n",
            addresses.join(", ")
        );
        if !rule.is_empty() {
            documents += &format!(
                "---\nroute: called\nfor: destination.service == \"called.shop\"\nrules:\n  - name: all\n    {rule}\n"
            );
        }
        let documents = Documents::new([("mesh.yaml", documents)]);
        let mixer = Mixer::serve_as(How::Measured { core: CLIENT }, &documents).await;
        let config = ProxyConfig::new("caller.shop", ports::free(), mixer.grpc);
        let mut proxy = config.launch(How::Measured { core: SERVER });
        proxy.ready().await;
        Self {
            endpoints,
            proxy,
            _mixer: mixer,
            _documents: documents,
        }
    }

    async fn load(&self, rate: u32, seconds: u32) -> Vec<Sample> {
        load::run(self.proxy.config.outbound, "called.shop", rate, seconds).await
    }

    /// Requests that all endpoints got.
    async fn received(&self) -> u64 {
        let mut all = 0;
        for (_, addr) in &self.endpoints {
            let count = fetch(*addr, endpoint::COUNT).await.expect("it counts");
            all += count.text().parse::<u64>().expect("a number");
        }
        all
    }
}

/// One endpoint takes ten times as long as the others.
async fn slow(rate: u32, seconds: u32) {
    println!("endpoints take 5, 5 and 50 ms; {rate} requests a second");
    println!(
        "| balance | p50 ms | p90 ms | p99 ms | to the slow one | failed |\n| --- | --- | --- | --- | --- | --- |"
    );
    for balance in ["round-robin", "least-request", "ewma"] {
        let service = format!("balance: {balance}");
        let called = Called::start([(5, 200), (5, 200), (50, 200)], &service, "").await;
        called.load(rate, 1).await;
        let samples = called.load(rate, seconds).await;
        let to_slow = samples.iter().filter(|sample| sample.endpoint == Some(2));
        println!(
            "| {balance} | {} | {} | {} | {:.1} % | {} |",
            percentile(&samples, 0.5),
            percentile(&samples, 0.9),
            percentile(&samples, 0.99),
            to_slow.count() as f64 * 100.0 / samples.len() as f64,
            failed(&samples).count(),
        );
    }
}

/// What happens to an endpoint.
#[derive(Clone, Copy)]
enum Blow {
    /// Its process is gone: connections are refused.
    Kill,
    /// Its process stands still: connections are accepted, and nothing answers.
    Stop,
}

/// One of three equal endpoints is struck after a third of the time.
async fn stricken(blow: Blow, rate: u32, seconds: u32) {
    println!(
        "endpoints take 2 ms; one is struck after {} s; {rate} requests a second",
        seconds / 3
    );
    println!(
        "| in force | failed | share | first to last failure ms | p99 ms | tries beyond the first |\n| --- | --- | --- | --- | --- | --- |"
    );
    for (name, service, rule) in CARE {
        let mut called = Called::start([(2, 200); 3], service, rule).await;
        called.load(rate, 1).await;
        let (mut struck, _) = called.endpoints.pop().expect("there are three");
        let (outbound, clock) = (called.proxy.config.outbound, Clock::system());
        let load = load::run(outbound, "called.shop", rate, seconds);
        let strike = async {
            clock.sleep(Duration::from_secs((seconds / 3).into())).await;
            match blow {
                Blow::Kill => struck.kill(),
                Blow::Stop => struck.signal("STOP"),
            }
        };
        let (samples, ()) = tokio::join!(load, strike);
        let times: Vec<Duration> = failed(&samples).map(|sample| sample.due).collect();
        let between = match (times.first(), times.last()) {
            (Some(first), Some(last)) => format!("{}", (*last - *first).as_millis()),
            _ => "-".to_owned(),
        };
        let metrics = called.proxy.admin("/metrics").await.text();
        let retries = metrics
            .lines()
            .find_map(|line| line.strip_prefix("mixer_proxy_route_retries_total "));
        println!(
            "| {name} | {} of {} | {:.2} % | {between} | {} | {} |",
            times.len(),
            samples.len(),
            times.len() as f64 * 100.0 / samples.len() as f64,
            percentile(&samples, 0.99),
            retries.unwrap_or("0"),
        );
        if let Blow::Stop = blow {
            struck.signal("CONT");
        }
    }
}

/// All endpoints answer 503: retries help nobody.
async fn failing(rate: u32, seconds: u32) {
    println!("all endpoints answer 503; {rate} requests a second; retries have a budget of 20 %");
    println!(
        "| in force | answered | received by endpoints | for one request |\n| --- | --- | --- | --- |"
    );
    for (name, service, rule) in CARE {
        let called = Called::start([(2, 503); 3], service, rule).await;
        let samples = called.load(rate, seconds).await;
        let received = called.received().await;
        println!(
            "| {name} | {} | {received} | {:.2} |",
            samples.len(),
            received as f64 / samples.len() as f64,
        );
    }
}

fn failed(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(|sample| sample.failed())
}

/// Milliseconds that this share of the requests did not exceed.
fn percentile(samples: &[Sample], share: f64) -> String {
    let mut times: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    times.sort_unstable();
    let at = ((times.len() - 1) as f64 * share) as usize;
    format!("{:.1}", times[at].as_secs_f64() * 1e3)
}
