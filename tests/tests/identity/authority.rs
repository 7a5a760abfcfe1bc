//! Our authority, judged by others: a client library of the Workload API that nobody here wrote, OpenSSL, and the kernel.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use mixer_ca::{Authority, Config, Directory, Entry, LEAF_LIFE, Root, Running, Selectors, State};
use mixer_identity::{SpiffeId, TrustDomain, WorkloadApi};
use mixer_runtime::{Clock, ManualClock, Random, Tasks};
use mixer_tests::binaries::How;
use mixer_tests::http::{Client, get};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::process::Process;
use mixer_tests::servers::installed;
use mixer_tests::service::Service;
use mixer_tests::{ports, wait};
use serde_json::Value;

use crate::peers::Server;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/identity/authority.py");
const ID: &str = "spiffe://cluster.local/ns/shop/sa/tests";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority in this process, for whoever runs the test.
struct Place {
    folder: tempfile::TempDir,
    clock: Clock,
    running: Running,
}

impl Place {
    async fn new(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let domain = TrustDomain::parse("cluster.local").unwrap();
        let root = Root::generate(&domain, clock.wall(), 3650 * DAY).unwrap();
        let path = folder.path().join("ca");
        let directory = Authority::create(&path, &domain, &root, clock.wall()).unwrap();
        let authority = Authority::open(directory, LEAF_LIFE, clock.clone()).unwrap();
        let owner = std::fs::metadata(folder.path()).unwrap();
        let selectors = Selectors {
            uid: Some(std::os::unix::fs::MetadataExt::uid(&owner)),
            ..Selectors::default()
        };
        let id = SpiffeId::parse(ID).unwrap();
        let config = Config {
            socket: Some(folder.path().join("workload.sock")),
            entries: vec![Entry { id, selectors }],
            ..Config::default()
        };
        let random = Arc::new(Random::from_seed(1));
        let running = mixer_ca::Server::start(Arc::new(authority), config, random);
        Self {
            running: running.await.unwrap(),
            folder,
            clock,
        }
    }

    fn socket(&self) -> &Path {
        self.running.socket().unwrap()
    }

    fn rotate(&self) {
        let directory = Directory::open(&self.folder.path().join("ca")).unwrap();
        State::rotate(&directory, self.clock.wall(), 3650 * DAY, Duration::ZERO).unwrap();
        self.running.authority().refresh().unwrap();
    }
}

fn python(verb: &str, socket: &Path) -> Command {
    let mut command = Command::new(installed("spiffe-python"));
    command.args(["-u", SCRIPT, verb]).arg(socket);
    command
}

/// What the client said as its message of this number.
async fn heard(client: &Process, number: usize) -> Value {
    wait::until(&format!("message {number}"), async || {
        let lines = client.output();
        let mut messages = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        messages.nth(number - 1)
    })
    .await
}

#[tokio::test]
#[ignore = "needs spiffe"]
async fn a_spiffe_client_of_others_hears_of_every_change() {
    let (clock, hand): (Clock, ManualClock) = Clock::manual_from(Clock::system().wall());
    let place = Place::new(clock).await;
    let client = Process::start("client", python("watch", place.socket()));
    let first = heard(&client, 1).await;
    assert_eq!(first["ids"], serde_json::json!([ID]));
    assert_eq!((&first["chain"], &first["roots"]), (&2.into(), &1.into()));
    // More than half of its life is over.
    hand.advance(DAY * 6 / 10);
    let second = heard(&client, 2).await;
    assert_ne!(second["serial"], first["serial"]);
    assert_eq!(second["ids"], first["ids"]);
    place.rotate();
    let third = heard(&client, 3).await;
    assert_eq!(
        (&third["roots"], &third["serial"]),
        (&2.into(), &second["serial"])
    );
    place.rotate();
    let fourth = heard(&client, 4).await;
    assert_eq!(fourth["roots"], 2);
    hand.advance(DAY * 6 / 10);
    let fifth = heard(&client, 5).await;
    assert_ne!(fifth["serial"], third["serial"]);
    place.running.recognise(Vec::new()).unwrap();
    let last = heard(&client, 6).await;
    let error = last["error"].as_str().unwrap();
    assert!(error.contains("PERMISSION_DENIED"), "{error}");
}

#[tokio::test]
#[ignore = "needs spiffe"]
async fn what_a_spiffe_client_of_others_gets_works_in_openssl_against_our_server() {
    let place = Place::new(Clock::system()).await;
    let tasks = Tasks::new();
    let random = Arc::new(Random::from_seed(2));
    let source = WorkloadApi::unix(place.socket()).follow(&tasks, &place.clock, random);
    source.ready().await.unwrap();
    let server = Server::start(&source).await;
    for _ in 0..3 {
        let mut command = python("ask", place.socket());
        command.arg(server.addr.to_string()).arg(ID);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}\n{}", error(&output));
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["id"], ID);
        assert!(said["answer"].as_str().unwrap().ends_with(ID), "{said}");
        assert_eq!(server.refused(), Vec::<String>::new());
        // Before, while, and after another root takes over.
        place.rotate();
    }
}

#[tokio::test]
#[ignore = "needs spiffe"]
async fn what_a_spiffe_client_of_others_gets_is_known_to_policies_behind_our_proxy() {
    let place = Place::new(Clock::system()).await;
    let app = Service::echo("products").await;
    let documents = Documents::new([(
        "mesh.yaml",
        format!(
            "service: products.shop\nidentity: {ID}\ntls: strict\n---\n\
             policy: products\nfor: destination.service == \"products.shop\"\nrules:\n  \
             - allow: the tests\n    when: source.principal == \"{ID}\" && connection.mtls\n\
             otherwise: {{ deny: nobody else }}\n"
        ),
    )]);
    let mixer = Mixer::serve(&documents).await;
    let mut config = ProxyConfig::new("products.shop", app.addr, mixer.grpc);
    let socket = format!("unix://{}", place.socket().display());
    config.flags = vec!["--identity-socket".to_owned(), socket];
    let proxy = config.start().await;
    let inbound = proxy.config.inbound.to_string();
    for round in 1..=3 {
        let mut command = python("ask", place.socket());
        command.arg(&inbound).arg(ID);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}\n{}", error(&output));
        let said: Value = serde_json::from_str(&said).unwrap();
        let answer = said["answer"].as_str().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(app.received(), round);
        if round == 1 {
            // Another root is trusted from now on; the old one goes on signing.
            place.rotate();
        }
    }
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `mixer` where every user may run it.
fn public(folder: &Path) -> PathBuf {
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, all.clone()).unwrap();
    let program = folder.join("mixer");
    std::fs::copy(How::Tested.command("mixer").get_program(), &program).unwrap();
    std::fs::set_permissions(&program, all).unwrap();
    program
}

#[tokio::test]
#[ignore = "needs users"]
async fn of_several_users_each_gets_what_is_its_own_and_a_stranger_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = public(folder.path());
    let socket = folder.path().join("run/workload.sock");
    let documents = folder.path().join("documents");
    std::fs::create_dir(&documents).unwrap();
    let document = |name: &str, attest: String| {
        format!(
            "workload: {name}\nid: spiffe://cluster.local/{name}\nattest: {{ {attest} }}\n---\n"
        )
    };
    let text = document("cart", "uid: 64001".to_owned())
        + &document("products", "uid: 64002, gid: 64102".to_owned())
        + &document("mixer", format!("uid: 64003, path: {}", program.display()));
    std::fs::write(documents.join("workloads.yaml"), text).unwrap();
    let mixer = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(folder.path());
        command
    };
    assert!(
        mixer(&["ca", "init", "ca"])
            .output()
            .unwrap()
            .status
            .success()
    );
    let mut serve = mixer(&["ca", "serve", "ca", "documents", "--socket"]);
    serve.arg(&socket);
    let mut authority = Process::start("authority", serve);
    authority
        .line("it serves", |line| line.contains("serving").then_some(()))
        .await;
    let other = folder.path().join("other");
    std::fs::copy(&program, &other).unwrap();
    let asked = format!("unix://{}", socket.display());
    let shown = |program: &Path, user: u32, group: u32| {
        let mut command = Command::new(program);
        command.args(["identity", "show", &asked]);
        command.uid(user).gid(group).current_dir("/");
        let output = command.output().unwrap();
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        let name = names.lines().next().map(str::to_owned);
        (
            output.status.code().unwrap(),
            name.unwrap_or_default(),
            error(&output),
        )
    };
    for (user, group, id) in [
        (64001, 64001, "leaf spiffe://cluster.local/cart"),
        (64002, 64102, "leaf spiffe://cluster.local/products"),
        (64003, 64003, "leaf spiffe://cluster.local/mixer"),
    ] {
        let (code, name, error) = shown(&program, user, group);
        assert_eq!((code, name.as_str()), (0, id), "{error}");
    }
    for (program, user, group) in [
        (&program, 64004, 64001),
        (&program, 64002, 64002),
        (&other, 64003, 64003),
    ] {
        let (code, name, error) = shown(program, user, group);
        assert_eq!((code, name.as_str()), (69, ""));
        assert!(
            error.contains("no workload document is recognised"),
            "{error}"
        );
    }
    // What it keeps is for its own user.
    let key = mixer(&["ca", "bundle", "ca"])
        .uid(64001)
        .gid(64001)
        .output()
        .unwrap();
    assert_eq!(key.status.code(), Some(65), "{}", error(&key));
    assert!(authority.terminate().await.success());
    assert!(!socket.exists());
}

const SHOP: &str = r#"
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
  - allow: the frontend reads products
    when: source.namespace == "shop" && source.service_account == "frontend"
otherwise: { deny: only the frontend reads products }
"#;

/// `mixer ca` in a folder of its own.
struct Ca(tempfile::TempDir);

impl Ca {
    fn new() -> Self {
        let ca = Self(tempfile::tempdir().unwrap());
        ca.run(&["init", "ca"]);
        std::fs::write(ca.path("bundle.pem"), ca.run(&["bundle", "ca"])).unwrap();
        ca
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = How::Tested.command("mixer");
        command.arg("ca").args(arguments).current_dir(self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{}", error(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Flags of a proxy that joins as a service account of the shop.
    fn joins(&self, account: &str, address: &str) -> Vec<String> {
        let id = format!("spiffe://cluster.local/ns/shop/sa/{account}");
        let token = self.path(&format!("{account}.token"));
        std::fs::write(&token, self.run(&["token", "ca", &id])).unwrap();
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        [
            ("--identity-join", address.to_owned()),
            ("--identity-bundle", path(self.path("bundle.pem"))),
            ("--identity-token-file", path(token)),
            ("--identity-directory", path(self.path(account))),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }
}

#[tokio::test]
async fn proxies_of_one_host_and_another_get_certificates_and_know_each_other_by_them() {
    let ca = Ca::new();
    std::fs::create_dir(ca.path("workloads")).unwrap();
    // All run as one user, and are told apart by what they execute.
    let workload = |name: &str, program: &str| {
        let command = How::Tested.command(program);
        let path = std::fs::canonicalize(command.get_program()).unwrap();
        format!(
            "workload: {name}\nid: spiffe://cluster.local/ns/shop/sa/{name}\nattest: {{ path: {} }}\n---\n",
            path.display()
        )
    };
    let workloads = workload("mixer", "mixer") + &workload("products", "mixer-proxy");
    std::fs::write(ca.path("workloads/all.yaml"), workloads).unwrap();
    let (socket, address) = (ca.path("workload.sock"), ports::free().to_string());
    let mut serve = ca.command(&["serve", "ca", "workloads", "--listen", &address, "--socket"]);
    serve.arg(&socket);
    let mut authority = Process::start("authority", serve);
    authority
        .line("it serves", |line| line.contains("serving").then_some(()))
        .await;
    let socket = format!("unix://{}", socket.display());

    let (app, inbound) = (Service::echo("products").await, ports::free());
    let text = SHOP.replace("INBOUND", &inbound.to_string());
    let documents = Documents::new([("mesh.yaml", text)]);
    let mixer = Mixer::serve_with(&documents, &["--identity-socket", &socket]).await;
    let asks = ["--mixer-id", "spiffe://cluster.local/ns/shop/sa/mixer"].map(str::to_owned);
    let mut products = ProxyConfig::new("products.shop", app.addr, mixer.grpc);
    products.inbound = inbound;
    products.flags = vec!["--identity-socket".to_owned(), socket];
    products.flags.extend(asks.clone());
    let products = products.start().await;
    let mut callers = Vec::new();
    for account in ["frontend", "cart"] {
        let service = format!("{account}.shop");
        let mut config = ProxyConfig::new(&service, ports::free(), mixer.grpc);
        config.flags = ca.joins(account, &address);
        config.flags.extend(asks.clone());
        callers.push(config.start().await);
    }
    let statuses = async || {
        let mut statuses = Vec::new();
        for caller in &callers {
            let mut client = Client::http1(caller.config.outbound).await.unwrap();
            let answer = client.send(get("products.shop", "/")).await.unwrap();
            statuses.push(answer.status.as_u16());
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 403]);
    // Another root takes over: all hear of it, first that it is there and then that it signs.
    let before = authorities(&products).await;
    for _ in 0..2 {
        ca.run(&["rotate", "ca", "--now"]);
        for proxy in callers.iter().chain([&products]) {
            wait::until("it has heard of the next root", async || {
                let now = authorities(proxy).await;
                (now.len() == 2 && now.contains(&before[0])).then_some(())
            })
            .await;
        }
        assert_eq!(statuses().await, [200, 403]);
    }
    // And without an authority what is there goes on.
    authority.kill();
    assert_eq!(statuses().await, [200, 403]);
    drop(products);
}

/// The serial numbers of the roots that a proxy trusts.
async fn authorities(proxy: &Proxy) -> Vec<String> {
    let certs = proxy.admin("/certs").await.json();
    let authorities = certs["bundles"]["cluster.local"]["authorities"].as_array();
    let serials = authorities.into_iter().flatten();
    serials.map(|one| one["serial"].to_string()).collect()
}

#[tokio::test]
async fn changed_workloads_are_in_force_and_wrong_ones_are_not() {
    let ca = Ca::new();
    std::fs::create_dir(ca.path("workloads")).unwrap();
    let program = How::Tested.command("mixer").get_program().to_owned();
    let program = std::fs::canonicalize(program).unwrap();
    let write = |id: &str| {
        let path = program.display();
        let text = format!("workload: w\nid: spiffe://{id}\nattest: {{ path: {path} }}\n");
        let beside = ca.path("all.yaml");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, ca.path("workloads/all.yaml")).unwrap();
    };
    write("cluster.local/first");
    let socket = ca.path("workload.sock");
    let mut serve = ca.command(&["serve", "ca", "workloads", "--socket"]);
    serve.arg(&socket);
    let mut authority = Process::start("authority", serve);
    authority
        .line("it serves", |line| line.contains("serving").then_some(()))
        .await;
    let id = || {
        let mut show = Command::new(&program);
        show.args(["identity", "show"]);
        let output = show.arg(format!("unix://{}", socket.display())).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(id(), "leaf spiffe://cluster.local/first");
    write("other/second");
    let refused = |line: &str| line.contains("not in force").then(|| line.to_owned());
    let refused = authority.line("it says what is wrong", refused).await;
    assert!(refused.contains("all.yaml:2:5"), "{refused}");
    assert_eq!(id(), "leaf spiffe://cluster.local/first");
    write("cluster.local/second");
    wait::until("the change is in force", async || {
        (id() == "leaf spiffe://cluster.local/second").then_some(())
    })
    .await;
    assert!(authority.terminate().await.success());
}
