//! An authority that goes away: what has a certificate goes on to its last second, who watches is told which that is, and all is
//! well again when the authority is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use mixer_ca::{Authority, Config, Directory, Entry, LEAF_LIFE, ROOT_LIFE, Root, Selectors};
use mixer_identity::{Expected, SpiffeId, TrustDomain, WorkloadApi};
use mixer_runtime::{Clock, Random, Tasks};
use mixer_tests::binaries::{How, program};
use mixer_tests::http::{Client, get};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::service::Service;
use mixer_tests::{ports, wait};

use crate::peers;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// What is left of certificates that end while the test looks on: longer than anybody waits before asking the authority again.
const LEFT: Duration = Duration::from_secs(45);
const DOCUMENTS: &str = r#"
mesh: { tls: strict, denials: { show: everyone } }
---
service: products.shop
identity: spiffe://cluster.local/ns/shop/sa/products
endpoints: ["INBOUND"]
---
policy: products
for: destination.service == "products.shop"
rules:
  - require: callers use mutual TLS
    that: connection.mtls
  - allow: the frontend reads products, and tests do
    when: source.namespace == "shop" && source.service_account in ["frontend", "tests"]
otherwise: { deny: only the frontend reads products }
"#;

fn id(account: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://cluster.local/ns/shop/sa/{account}")).unwrap()
}

/// The authority of `folder` on its socket, by this clock. All run as one user, and are told apart by the file they execute.
async fn serve(folder: &Path, clock: Clock, programs: &[(&str, PathBuf)]) -> mixer_ca::Running {
    let directory = Directory::open(&folder.join("ca")).unwrap();
    let authority = Authority::open(directory, LEAF_LIFE, clock).unwrap();
    let entry = |(account, path): &(&str, PathBuf)| Entry {
        id: id(account),
        selectors: Selectors {
            path: Some(path.clone()),
            ..Selectors::default()
        },
    };
    let config = Config {
        socket: Some(folder.join("workload.sock")),
        entries: programs.iter().map(entry).collect(),
        ..Config::default()
    };
    let random = Arc::new(Random::from_system());
    mixer_ca::Server::start(Arc::new(authority), config, random)
        .await
        .unwrap()
}

/// When the certificate of a proxy ends, as its metrics tell.
async fn end_of(proxy: &Proxy) -> SystemTime {
    let page = proxy.admin("/metrics").await.text();
    let name = "mixer_identity_expiry_timestamp_seconds ";
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    let seconds: f64 = value.expect("the metric is there").parse().unwrap();
    UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_outlive_their_authority_to_the_last_second_which_metrics_tell() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let domain = TrustDomain::parse("cluster.local").unwrap();
    // So old that an authority whose clock is a day behind may sign below it.
    let then = clock.wall() - 2 * DAY;
    let root = Root::generate(&domain, then, ROOT_LIFE).unwrap();
    Authority::create(&folder.path().join("ca"), &domain, &root, then).unwrap();
    let copy = folder.path().join("frontend-proxy");
    std::fs::copy(program("mixer-proxy", How::Tested), &copy).unwrap();
    let programs = [
        ("mixer", program("mixer", How::Tested).to_owned()),
        ("products", program("mixer-proxy", How::Tested).to_owned()),
        ("frontend", copy.clone()),
        ("tests", std::env::current_exe().unwrap()),
    ];
    let authority = serve(folder.path(), clock.clone(), &programs).await;

    let socket = format!("unix://{}/workload.sock", folder.path().display());
    let flags = [
        "--identity-socket",
        &socket,
        "--mixer-id",
        id("mixer").as_str(),
    ]
    .map(str::to_owned);
    let (app, inbound) = (Service::echo("products").await, ports::free());
    let text = DOCUMENTS.replace("INBOUND", &inbound.to_string());
    let documents = Documents::new([("mesh.yaml", text)]);
    let mixer = Mixer::serve_with(&documents, &[&flags[0], &flags[1]]).await;
    let mut products = ProxyConfig::new("products.shop", app.addr, mixer.grpc);
    (products.inbound, products.flags) = (inbound, flags.to_vec());
    let products = products.start().await;
    let mut frontend = ProxyConfig::new("frontend.shop", ports::free(), mixer.grpc);
    (frontend.program, frontend.flags) = (Some(copy), flags.to_vec());
    let frontend = frontend.start().await;
    let tasks = Tasks::new();
    let api = WorkloadApi::unix(folder.path().join("workload.sock"));
    let source = api.follow(&tasks, &clock, Arc::new(Random::from_system()));
    source.ready().await.unwrap();

    // Through both proxies, over connections that stay open; and with a handshake for each request.
    let mut client = Client::http1(frontend.config.outbound).await.unwrap();
    let mut carried = async || {
        let answer = client.send(get("products.shop", "/")).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    };
    let shaken = async || peers::ask(&source, inbound, Expected::Id(id("products"))).await;
    let works = async |answer: Result<String, String>| {
        let answer = answer.unwrap_or_else(|error| panic!("no handshake: {error}"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    carried().await;
    works(shaken().await).await;

    // The authority dies: no request does.
    drop(authority);
    let first = end_of(&products).await;
    for _ in 0..200 {
        carried().await;
        works(shaken().await).await;
    }

    // One that lives a day behind gives certificates that end soon, and dies too.
    let (behind, _hand) = Clock::manual_from(clock.wall() - DAY + LEFT);
    let authority = serve(folder.path(), behind, &programs).await;
    wait::until("all have certificates that end soon", async || {
        let ours = source.current()?.svid().not_after();
        let ends = [ours, end_of(&products).await, end_of(&frontend).await];
        ends.iter().all(|end| *end < first - DAY / 2).then_some(())
    })
    .await;
    drop(authority);
    let ours = source.current().unwrap().svid().not_after();
    let end = ours.min(end_of(&products).await);
    wait::until("handshakes fail", async || {
        carried().await;
        match shaken().await {
            Ok(answer) => works(Ok(answer)).await,
            Err(_) => {
                let now = clock.wall();
                assert!(now > end, "it failed before the end that was told");
                return Some(());
            }
        }
        None
    })
    .await;
    // What is open goes on.
    carried().await;

    // The authority is there again, and all is as before.
    let _authority = serve(folder.path(), clock.clone(), &programs).await;
    wait::until("handshakes hold again", async || {
        let known = end_of(&products).await > clock.wall() && end_of(&frontend).await > first;
        (known && shaken().await.is_ok()).then_some(())
    })
    .await;
    works(shaken().await).await;
    carried().await;
}
