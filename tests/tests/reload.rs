//! Documents change under load: good ones are in force at once and everywhere, bad ones not at all, and every request is decided
//! by the old set or the new one, never by a mixture or by none.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mixer_runtime::Clock;
use mixer_tests::http::{Client, get};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::service::Service;
use mixer_tests::wait;
use tokio::task::JoinSet;

fn policy(service: &str, sentence: &str) -> String {
    format!(
        "policy: {service}\nfor: destination.service == \"{service}.shop\"\nrules:\n  - deny: {sentence}\n    when: request.method == \"GET\"\n"
    )
}

const MESH: &str = "mesh: { denials: { show: everyone } }\n";

struct Mesh {
    mixer: Mixer,
    proxy: Proxy,
    _app: Service,
}

async fn mesh(documents: &Documents) -> Mesh {
    let app = Service::echo("products").await;
    let mixer = Mixer::serve(documents).await;
    let proxy = ProxyConfig::new("products.shop", app.addr, mixer.grpc)
        .start()
        .await;
    Mesh {
        mixer,
        proxy,
        _app: app,
    }
}

/// Which sentence denies `GET /products` now.
async fn sentence(client: &mut Client, sentences: &[&'static str]) -> &'static str {
    let answer = client.send(get("products", "/products")).await.unwrap();
    assert_eq!(
        answer.status.as_u16(),
        403,
        "both sets deny, so a request that is not denied was decided by neither: {answer:?}"
    );
    let text = answer.text();
    let said: Vec<&str> = sentences
        .iter()
        .filter(|sentence| text.contains(**sentence))
        .copied()
        .collect();
    assert_eq!(said.len(), 1, "{text}");
    sentences
        .iter()
        .find(|sentence| **sentence == said[0])
        .expect("it was found in the list")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mistake_in_five_files_refuses_them_all_and_is_pointed_at() {
    let documents = Documents::new([
        ("cart.yaml", policy("cart", "carts are closed")),
        ("mesh.yaml", MESH.to_owned()),
        ("orders.yaml", policy("orders", "orders are closed")),
        ("products.yaml", policy("products", "the old rule")),
        ("reviews.yaml", policy("reviews", "reviews are closed")),
    ]);
    let mut mesh = mesh(&documents).await;
    let mut client = Client::http1(mesh.proxy.config.inbound).await.unwrap();
    let sentences = ["the old rule", "the new rule"];
    assert_eq!(sentence(&mut client, &sentences).await, "the old rule");

    // The good change comes first, so that half a directory in force would show.
    documents.write("products.yaml", &policy("products", "the new rule"));
    documents.write(
        "reviews.yaml",
        &policy("reviews", "reviews are closed").replace("request.method", "request.metod"),
    );
    let body = wait::until("the mistake is seen", async || {
        let ready = mesh.mixer.admin("/healthz/ready").await;
        assert_eq!(ready.status.as_u16(), 200, "a good set serves");
        Some(ready.text()).filter(|text| text.contains("reviews.yaml"))
    })
    .await;
    // Line 5 of the file: `    when: request.metod == "GET"`; the attribute starts in column 11.
    assert!(body.contains("reviews.yaml:5:11"), "{body}");
    let metrics = mesh.mixer.admin("/metrics").await.text();
    assert!(
        metrics
            .lines()
            .any(|line| line == "mixer_config_last_reload_successful 0"),
        "{metrics}"
    );
    let told = |line: &str| line.contains("reviews.yaml:5:11").then_some(());
    let log = mesh.mixer.process();
    log.line("the mistake in the log", told).await;

    // Two good sets may follow each other while one is written file by file; between the mistake and its repair there is none.
    let before = sentence(&mut client, &sentences).await;
    for _ in 0..20 {
        assert_eq!(
            sentence(&mut client, &sentences).await,
            before,
            "a refused set changes nothing"
        );
    }
    documents.write("reviews.yaml", &policy("reviews", "reviews are closed"));
    wait::until("the repaired set is in force", async || {
        (sentence(&mut client, &sentences).await == "the new rule").then_some(())
    })
    .await;
    let metrics = mesh.mixer.admin("/metrics").await.text();
    assert!(
        metrics
            .lines()
            .any(|line| line == "mixer_config_last_reload_successful 1"),
        "{metrics}"
    );
    assert!(
        !mesh
            .mixer
            .admin("/healthz/ready")
            .await
            .text()
            .contains("reviews.yaml")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_set_is_refused_whole() {
    let documents = Documents::new([
        ("cart.yaml", policy("cart", "carts are closed")),
        ("mesh.yaml", MESH.to_owned()),
        ("products.yaml", policy("products", "the old rule")),
    ]);
    let mesh = mesh(&documents).await;
    let mut client = Client::http1(mesh.proxy.config.inbound).await.unwrap();
    let sentences = ["the old rule", "the new rule"];
    documents.write("cart.yaml", "policy: cart\nfor: always\nrulez: []\n");
    wait::until("the mistake is seen", async || {
        let ready = mesh.mixer.admin("/healthz/ready").await.text();
        ready.contains("cart.yaml").then_some(())
    })
    .await;
    // Now a good change beside the standing mistake.
    documents.write("products.yaml", &policy("products", "the new rule"));
    let refusals = async || {
        let metrics = mesh.mixer.admin("/metrics").await.text();
        mixer_tests::mesh::counter(
            &metrics,
            "mixer_config_reload_total",
            &[("result", "failure")],
        )
    };
    wait::until("the change is read and refused", async || {
        (refusals().await >= 2.0).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(sentence(&mut client, &sentences).await, "the old rule");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_under_load_is_in_force_at_once_and_every_request_is_decided_by_one_of_the_two() {
    const ROUNDS: usize = 5;
    const SENTENCES: [&str; ROUNDS + 1] = [
        "rule zero",
        "rule one",
        "rule two",
        "rule three",
        "rule four",
        "rule five",
    ];
    let documents = Documents::new([
        ("mesh.yaml", MESH.to_owned()),
        ("products.yaml", policy("products", SENTENCES[0])),
    ]);
    let mesh = mesh(&documents).await;
    let inbound = mesh.proxy.config.inbound;
    let clock = Clock::system();
    // The newest sentence that any client has read, and that every client has.
    let stop = Arc::new(AtomicBool::new(false));
    let seen: Vec<Arc<AtomicUsize>> = (0..4).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut clients = JoinSet::new();
    for (number, seen) in seen.iter().enumerate() {
        let (stop, seen) = (stop.clone(), seen.clone());
        clients.spawn(async move {
            let client = if number % 2 == 0 {
                Client::http1(inbound).await
            } else {
                Client::http2(inbound).await
            };
            let mut client = client.unwrap();
            let mut requests = 0;
            while !stop.load(Ordering::SeqCst) {
                let said = sentence(&mut client, &SENTENCES).await;
                let index = SENTENCES
                    .iter()
                    .position(|sentence| *sentence == said)
                    .unwrap();
                let before = seen.swap(index, Ordering::SeqCst);
                assert!(
                    index >= before,
                    "{said} after {}: an old set came back",
                    SENTENCES[before]
                );
                requests += 1;
            }
            requests
        });
    }
    for (round, sentence) in SENTENCES.iter().enumerate().skip(1) {
        let start = clock.now();
        documents.write("products.yaml", &policy("products", sentence));
        wait::until(
            &format!("{sentence} is in force for every client"),
            async || {
                assert!(clients.try_join_next().is_none(), "a client ended early");
                seen.iter()
                    .all(|seen| seen.load(Ordering::SeqCst) >= round)
                    .then_some(())
            },
        )
        .await;
        println!(
            "{sentence}: in force for every client {} ms after the file was written",
            clock.now().since(start).as_millis()
        );
    }
    stop.store(true, Ordering::SeqCst);
    let mut requests = 0;
    while let Some(client) = clients.join_next().await {
        requests += client.unwrap();
    }
    println!("{requests} requests, each decided by one set");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_with_a_mistake_does_not_start_and_exits_with_3() {
    let documents = Documents::new([(
        "products.yaml",
        policy("products", "a rule").replace("for:", "fro:"),
    )]);
    let mut command = mixer_tests::binaries::How::Tested.command("mixer");
    command.arg("serve").arg(documents.path()).args([
        "--grpc",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    let mut process = mixer_tests::process::Process::start("mixer", command);
    assert_eq!(process.ended().await.code(), Some(3));
    wait::until("it says where", async || {
        process
            .output()
            .join("\n")
            .contains("products.yaml:2:1")
            .then_some(())
    })
    .await;
}
