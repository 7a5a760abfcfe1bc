//! What a request costs the sidecar in CPU, and what that does to latency and memory, beside others that do the same for the
//! operator or less.
//!
//! `cargo bench -p mixer-tests --bench proxy [-- SUITE.. --rounds 5 --seconds 3]`, after `tests/servers/install`; the suites are
//! http1, http2, grpc, paced, mtls and memory, all by default. The proxy has core 0; load, application, Mixer and authorization service
//! share core 1. Rounds are interleaved. Before anything is measured, each contender has to pass and, if it decides, to refuse.

mod authorizer;
mod backend;
mod backend_http2;
mod bare;
mod chain;
mod contenders;
mod epoll;

use std::net::SocketAddr;

use http::Version;
use mixer_tests::http::{Answer, Client, get};
use mixer_tests::measure::{Load, Table, argument, h2load, h2load_get, paced, round, wrk};
use mixer_tests::mesh::{Mixer, counter};
use mixer_tests::servers::Duties;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use chain::{Certificates, HOST, Mesh};
use contenders::{Contender, Ruled, beside, envoy, nginx, own};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PATH: &str = "/products/1";
const GRPC_PATH: &str = "/products.Products/Get";
const HEADERS: &[(&str, &str)] = &[
    ("accept", "text/html,application/xhtml+xml"),
    ("accept-language", "en-US,en;q=0.5"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("x-tester", "no"),
];
const SUITES: [&str; 6] = ["http1", "http2", "grpc", "paced", "mtls", "memory"];

/// Names of contenders that are in several suites.
const RULED_ENVOY: &str = "Envoy, 10 access rules and access log";
const RULED_PROXY: &str = "mixer-proxy, 10 rules: cached check and report";

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("serve-backend") => return backend::serve(arguments),
        Some("serve-backend-http2") => return backend_http2::serve(arguments),
        Some("serve-bare") => return bare::serve(arguments),
        Some("serve-epoll") => return epoll::serve(arguments),
        Some("serve-authorizer") => return authorizer::serve(arguments),
        Some("shake-hands") => return chain::shake(arguments),
        _ => {}
    }
    let (rounds, seconds) = (argument("--rounds", 5), argument("--seconds", 3));
    let named = |suite: &str| std::env::args().any(|argument| argument == suite);
    let all = !SUITES.iter().any(|suite| named(suite));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    for suite in SUITES.into_iter().filter(|suite| all || named(suite)) {
        println!(
            "\ncargo bench -p mixer-tests --bench proxy -- {suite} --rounds {rounds} --seconds {seconds}"
        );
        runtime.block_on(async {
            match suite {
                "http1" => http1(rounds, seconds).await,
                "http2" => http2(rounds, seconds).await,
                "grpc" => grpc(rounds, seconds).await,
                "paced" => at_a_pace(rounds, seconds).await,
                "mtls" => mutual_tls(rounds, seconds).await,
                _ => connections().await,
            }
        });
    }
}

/// 50 connections, four more headers, an answer of 128 bytes.
async fn http1(rounds: u32, seconds: u32) {
    let (_app, app) = beside("serve-backend").await;
    let (_authorizer, authorizer) = beside("serve-authorizer").await;
    let ruled = Ruled::start("GET", "http").await;
    let version = Version::HTTP_11;
    let contenders = [
        envoy(
            RULED_ENVOY,
            app,
            version,
            Duties::AccessControlAndLog("GET"),
        )
        .await,
        envoy(
            "Envoy, asking ext_authz, and access log",
            app,
            version,
            Duties::ExternalAuthorization(authorizer),
        )
        .await,
        envoy("Envoy, passing on", app, version, Duties::None).await,
        nginx("nginx, passing on, and access log", app).await,
        own("epoll, bytes unread", "serve-epoll", app).await,
        own("hyper, passing on", "serve-bare", app).await,
        ruled
            .proxy("mixer-proxy, nothing applies", "free.shop", app)
            .await,
        ruled.proxy(RULED_PROXY, "products.shop", app).await,
    ];
    for contender in &contenders {
        passes(contender).await;
    }
    refuses(&contenders).await;
    let load = |addr, seconds| wrk(addr, PATH, HEADERS, seconds);
    let table = measured(&contenders, rounds, seconds, load);
    for base in [0, 1, 4] {
        println!("{}", table.compared_with(base));
    }
    reported(&ruled.mixer).await;
}

/// 4 connections of 16 streams.
async fn http2(rounds: u32, seconds: u32) {
    let (_app, app) = beside("serve-backend-http2").await;
    let ruled = Ruled::start("GET", "http2").await;
    let version = Version::HTTP_2;
    let contenders = [
        envoy(
            RULED_ENVOY,
            app,
            version,
            Duties::AccessControlAndLog("GET"),
        )
        .await,
        envoy("Envoy, passing on", app, version, Duties::None).await,
        ruled
            .proxy("mixer-proxy, nothing applies", "free.shop", app)
            .await,
        ruled.proxy(RULED_PROXY, "products.shop", app).await,
    ];
    for contender in &contenders {
        passes(contender).await;
    }
    refuses(&contenders).await;
    let load = |addr, seconds| h2load_get(addr, PATH, HEADERS, seconds);
    let table = measured(&contenders, rounds, seconds, load);
    println!("{}", table.compared_with(0));
    reported(&ruled.mixer).await;
}

/// Unary calls, 4 connections of 32 streams.
async fn grpc(rounds: u32, seconds: u32) {
    let (_app, app) = beside("serve-backend-http2").await;
    let ruled = Ruled::start("POST", "grpc").await;
    let version = Version::HTTP_2;
    let contenders = [
        envoy(
            RULED_ENVOY,
            app,
            version,
            Duties::AccessControlAndLog("POST"),
        )
        .await,
        envoy("Envoy, passing on", app, version, Duties::None).await,
        ruled
            .proxy("mixer-proxy, nothing applies", "free.shop", app)
            .await,
        ruled.proxy(RULED_PROXY, "products.shop", app).await,
    ];
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let message = folder.path().join("message");
    std::fs::write(&message, [&[0, 0, 0, 0, 64][..], &[b'x'; 64]].concat())
        .expect("it can be written");
    let load = |addr, seconds| h2load(addr, GRPC_PATH, &message, seconds);
    let table = measured(&contenders, rounds, seconds, load);
    println!("{}", table.compared_with(0));
    reported(&ruled.mixer).await;
}

/// Two proxies in chain; applications speak HTTP/1.1. What the proxies speak between them is HTTP/2 where it is said.
async fn mutual_tls(rounds: u32, seconds: u32) {
    let (_app, app) = beside("serve-backend").await;
    let certificates = Certificates::new();
    let mesh = Mesh::start().await;
    let (ours, inbound) = mesh
        .proxies(
            "two mixer-proxies, 10 rules, HTTP/2 between",
            app,
            &certificates,
        )
        .await;
    let (http1, envoys_inbound) = certificates
        .envoys("two Envoys, HTTP/1.1 between", app, false)
        .await;
    let (http2, _) = certificates
        .envoys("two Envoys, HTTP/2 between", app, true)
        .await;
    let contenders = [http1, http2, ours];
    for contender in &contenders {
        let mut client = Client::http1(contender.addr).await.expect("it accepts");
        let answer = client.send(get(HOST, PATH)).await.expect(contender.name);
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 128));
    }
    let headers = [HEADERS, &[("host", HOST)]].concat();
    let load = |addr, seconds| wrk(addr, PATH, &headers, seconds);
    let table = measured(&contenders, rounds, seconds, load);
    println!("{}", table.compared_with(0));
    // Each application's proxy alone, by callers that come back with every request.
    let servers = [(0, envoys_inbound), (2, inbound)];
    let mut table = Table::new(&["handshakes with Envoy", "handshakes with mixer-proxy"]);
    for _ in 0..rounds {
        for (index, (contender, addr)) in servers.iter().enumerate() {
            let process = &contenders[*contender].processes[..1];
            let shaken = || certificates.shaken(*addr, seconds);
            table.add(index, round(process, shaken));
        }
    }
    println!("{}", table.compared_with(0));
}

/// What is offered is the same to all: 4,000 requests a second, and half of what Envoy can do.
async fn at_a_pace(rounds: u32, seconds: u32) {
    let (_app, app) = beside("serve-backend").await;
    let ruled = Ruled::start("GET", "http").await;
    let contenders = [
        envoy(
            RULED_ENVOY,
            app,
            Version::HTTP_11,
            Duties::AccessControlAndLog("GET"),
        )
        .await,
        ruled.proxy(RULED_PROXY, "products.shop", app).await,
    ];
    let full = round(&contenders[0].processes, || {
        wrk(contenders[0].addr, PATH, HEADERS, 2)
    });
    for rate in [4_000, (full.rate / 2.0) as u32] {
        let names = contenders.each_ref().map(|contender| contender.name);
        let mut table = Table::new(&names);
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (index, contender) in contenders.iter().enumerate() {
                let mut took = Vec::new();
                let measured = round(&contender.processes, || {
                    let (load, times) = paced(contender.addr, PATH, HEADERS, rate, seconds);
                    took = times;
                    load
                });
                table.add(index, measured);
                times[index].append(&mut took);
            }
        }
        println!(
            "{rate} requests a second over 20 connections:\n{}",
            table.compared_with(0)
        );
        for (name, times) in names.iter().zip(&mut times) {
            times.sort_unstable();
            let share = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
            println!("{name}: p50 {} us, p99 {} us", share(0.5), share(0.99));
        }
    }
}

/// Memory with connections that each carried a request and stay open.
async fn connections() {
    let (_app, app) = beside("serve-backend").await;
    let ruled = Ruled::start("GET", "http").await;
    let contenders = [
        envoy(
            RULED_ENVOY,
            app,
            Version::HTTP_11,
            Duties::AccessControlAndLog("GET"),
        )
        .await,
        nginx("nginx, passing on, and access log", app).await,
        ruled.proxy(RULED_PROXY, "products.shop", app).await,
    ];
    println!("| | MiB at first | with 50 connections | with 5,000 |\n| --- | --- | --- | --- |");
    for contender in &contenders {
        let mut sizes = vec![contender.memory()];
        let mut held = Vec::new();
        for most in [50, 5_000] {
            while held.len() < most {
                held.push(used(contender.addr).await);
            }
            sizes.push(contender.memory());
        }
        println!(
            "| {} | {:.1} | {:.1} | {:.1} |",
            contender.name, sizes[0], sizes[1], sizes[2]
        );
    }
}

/// A connection that carried a request.
async fn used(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.expect("it accepts");
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: products\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = [0; 1_024];
    let count = stream.read(&mut answer).await.expect("it answers");
    assert!(
        answer[..count].starts_with(b"HTTP/1.1 200"),
        "{}",
        answer[..count].escape_ascii()
    );
    stream
}

/// Rounds of each, in turn, after one that is not counted.
fn measured(
    contenders: &[Contender],
    rounds: u32,
    seconds: u32,
    load: impl Fn(SocketAddr, u32) -> Load,
) -> Table {
    let names: Vec<&str> = contenders.iter().map(|contender| contender.name).collect();
    let mut table = Table::new(&names);
    for contender in contenders {
        load(contender.addr, 1);
    }
    for _ in 0..rounds {
        for (index, contender) in contenders.iter().enumerate() {
            table.add(
                index,
                round(&contender.processes, || load(contender.addr, seconds)),
            );
        }
    }
    table
}

async fn answer(contender: &Contender, path: &str) -> Answer {
    let mut client = Client::http1(contender.addr).await.expect(contender.name);
    client
        .send(get("products", path))
        .await
        .expect(contender.name)
}

async fn passes(contender: &Contender) {
    let answer = answer(contender, PATH).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.len()),
        (200, 128),
        "{}: {answer:?}",
        contender.name
    );
}

async fn refuses(contenders: &[Contender]) {
    let decide = |contender: &&Contender| [RULED_ENVOY, RULED_PROXY].contains(&contender.name);
    for contender in contenders.iter().filter(decide) {
        let refused = answer(contender, "/other").await;
        assert_eq!(refused.status.as_u16(), 403, "{} decides", contender.name);
    }
}

/// What was measured was a cached check and a report.
async fn reported(mixer: &Mixer) {
    let metrics = mixer.admin("/metrics").await.text();
    let labels = [
        ("destination_service", "products.shop"),
        ("response_code", "200"),
    ];
    let reported = counter(&metrics, "istio_requests_total", &labels);
    let checks = counter(&metrics, "mixer_check_total", &[]);
    println!("{reported} requests to products.shop reported, {checks} checks asked");
    assert!(reported > 1_000.0 && checks < reported / 100.0, "{metrics}");
}
