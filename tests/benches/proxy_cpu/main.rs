//! What a request costs the proxy in CPU, with a cached Check and a Report, against Envoy with access rules and an access log
//! (which does the same work for the operator) and against a hyper proxy that only passes requests on (which nothing built on
//! hyper can beat).
//!
//! `cargo bench -p mixer-tests --bench proxy_cpu [-- --rounds 5 --seconds 3]`, after `tests/servers/install`. The proxy has core
//! 0; wrk, the application and Mixer share core 1. HTTP/1.1, 50 connections, four more headers, an answer of 128 bytes.

mod backend;
mod bare;

use std::net::SocketAddr;

use mixer_tests::binaries::{How, pinned};
use mixer_tests::http::{Client, get};
use mixer_tests::measure::{CLIENT, Load, SERVER, Table, argument, memory, round, wrk};
use mixer_tests::mesh::{Documents, Mixer, ProxyConfig, counter};
use mixer_tests::ports;
use mixer_tests::process::Process;
use mixer_tests::servers::{Duties, Envoy};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PATH: &str = "/products/1";
const HEADERS: &[(&str, &str)] = &[
    ("accept", "text/html,application/xhtml+xml"),
    ("accept-language", "en-US,en;q=0.5"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("x-tester", "no"),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("serve-backend") => backend::serve(arguments),
        Some("serve-bare") => bare::serve(arguments),
        _ => {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
            runtime.block_on(measure(argument("--rounds", 5), argument("--seconds", 3)));
        }
    }
}

/// Starts this program in another role, on one core, and waits until it listens.
async fn role(core: usize, arguments: &[&str]) -> Process {
    let mut command = pinned(
        core,
        &std::env::current_exe().expect("this program has a path"),
    );
    command.args(arguments);
    let mut process = Process::start(arguments[0], command);
    process
        .line("it listens", |line| (line == "listening").then_some(()))
        .await;
    process
}

fn load(addr: SocketAddr, seconds: u32) -> Load {
    wrk(addr, PATH, HEADERS, seconds)
}

async fn measure(rounds: u32, seconds: u32) {
    println!(
        "cargo bench -p mixer-tests --bench proxy_cpu -- --rounds {rounds} --seconds {seconds}"
    );
    let (app, bare) = (ports::free(), ports::free());
    let (app_at, bare_at) = (app.to_string(), bare.to_string());
    let _app = role(CLIENT, &["serve-backend", &app_at]).await;
    let hyper = role(SERVER, &["serve-bare", &bare_at, &app_at]).await;
    let envoy = Envoy::start(app, Duties::None, Some(SERVER)).await;
    let ruled = Envoy::start(app, Duties::AccessControlAndLog, Some(SERVER)).await;

    let documents = Documents::new([("policies.yaml", policies())]);
    let mixer = Mixer::serve_as(How::Measured { core: CLIENT }, &documents).await;
    let start = async |service: &str| {
        let mut proxy =
            ProxyConfig::new(service, app, mixer.grpc).launch(How::Measured { core: SERVER });
        proxy.ready().await;
        proxy
    };
    let (mut free, mut asking) = (start("free.shop").await, start("products.shop").await);

    let candidates = [
        (
            "Envoy, 10 access rules and access log",
            ruled.addr,
            ruled.process().id(),
        ),
        ("Envoy, passing on", envoy.addr, envoy.process().id()),
        ("hyper, passing on", bare, hyper.id()),
        (
            "mixer-proxy, nothing applies",
            free.config.inbound,
            free.process().id(),
        ),
        (
            "mixer-proxy, 10 rules: cached check and report",
            asking.config.inbound,
            asking.process().id(),
        ),
    ];
    for (name, addr, _) in &candidates {
        let answer = Client::http1(*addr)
            .await
            .expect(name)
            .send(get("products", PATH))
            .await
            .expect(name);
        assert_eq!(
            (answer.status.as_u16(), answer.body.len()),
            (200, 128),
            "{name}: {answer:?}"
        );
        load(*addr, 1);
    }
    for (name, addr) in [
        ("Envoy", ruled.addr),
        ("mixer-proxy", asking.config.inbound),
    ] {
        let refused = Client::http1(addr)
            .await
            .expect(name)
            .send(get("products", "/other"))
            .await
            .expect(name);
        assert_eq!(refused.status.as_u16(), 403, "{name} decides");
    }

    let names: Vec<&str> = candidates.iter().map(|(name, ..)| *name).collect();
    let mut table = Table::new(&names);
    for _ in 0..rounds {
        for (index, (_, addr, process)) in candidates.iter().enumerate() {
            table.add(index, round(*process, || load(*addr, seconds)));
        }
    }
    println!("{}", table.compared_with(0));
    println!("{}", table.compared_with(2));
    for (name, _, process) in &candidates {
        println!("{name}: {:.1} MiB in use", memory(*process));
    }
    let metrics = mixer.admin("/metrics").await.text();
    let reported = counter(
        &metrics,
        "istio_requests_total",
        &[
            ("destination_service", "products.shop"),
            ("response_code", "200"),
        ],
    );
    let checks = counter(&metrics, "mixer_check_total", &[]);
    println!("{reported} requests to products.shop reported, {checks} checks asked");
    assert!(
        reported > 1_000.0 && checks < reported / 100.0,
        "what is measured is a cached check and a report\n{metrics}"
    );
}

/// Ten rules, the last of which allows what is asked for; the same that Envoy gets.
fn policies() -> String {
    let rules: String = (0..10)
        .map(|number| {
            let path = if number == 9 { "/products".to_owned() } else { format!("/service{number}") };
            format!("  - allow: rule {number}\n    when:\n      - request.method == \"GET\"\n      - request.path.startsWith(\"{path}\")\n")
        })
        .collect();
    format!(
        "policy: products\nfor: destination.service == \"products.shop\"\nrules:\n{rules}otherwise: deny\n"
    )
}
