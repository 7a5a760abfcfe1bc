//! No change to the application: on hosts whose connections are redirected, applications that know of no mesh are protected,
//! balanced and counted; what is excluded is not touched; and taking the rules away leaves nothing behind.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mixer_tests::binaries::{How, program};
use mixer_tests::issuer::Authority;
use mixer_tests::mesh::{Documents, counter};
use mixer_tests::netns::{Host, Network};
use mixer_tests::process::Process;
use mixer_tests::wait;

/// The application's own ports: what listens there is behind a proxy.
const DOCUMENTS: &str = r#"
mesh: { denials: { show: everyone }, outbound: OUTBOUND, opaque_ports: [2525] }
---
service: products.shop
hosts: [products]
endpoints: ["10.77.0.2:8080", "[fd77::2]:8080"]
balance: round-robin
---
service: database.shop
protocol: tcp
endpoints: ["10.77.0.3:5432", "10.77.0.4:5432"]
balance: round-robin
---
service: cellar.shop
protocol: tcp
endpoints: ["10.77.0.3:5433"]
---
service: ledger.shop
protocol: tcp
endpoints: ["10.77.0.3:5434"]
subsets:
  old: { endpoints: ["10.77.0.3:5434"] }
  new: { endpoints: ["10.77.0.4:5434"] }
---
route: ledger
for: destination.service == "ledger.shop"
rules:
  - { when: '!has(request.path)', to: { old: 100 } }
  - { when: source.ip == "10.77.0.9", to: { old: 100 } }
  - { to: { new: 100 } }
---
service: spare.shop
protocol: tcp
endpoints: ["10.77.0.9:2526", "10.77.0.9:2527"]
---
policy: products
for: destination.service == "products.shop"
rules:
  - deny: nobody reads the admin pages
    when: request.path.startsWith("/admin")
---
policy: cellar
for: destination.service == "cellar.shop"
at: outbound
rules:
  - deny: the cellar is closed
    when: always
"#;

/// What only one caller may reach, and that over mutual TLS alone.
const SECURED: &str = r#"
mesh: { outbound: allow }
---
service: database.shop
protocol: tcp
tls: strict
identity: spiffe://cluster.local/ns/shop/sa/database
endpoints: ["10.77.0.3:5432"]
---
policy: database
for: destination.service == "database.shop"
rules:
  - allow: the client reads the database
    when: source.service_account == "client"
otherwise: { deny: only the client reads the database }
"#;

/// Three hosts with proxies that redirect, and one without, where Mixer is.
struct Mesh {
    client: Host,
    shop: Host,
    database: Host,
    outside: Host,
    documents: Documents,
    /// A copy that the proxy's user may run.
    proxy: PathBuf,
    rules: Vec<&'static str>,
    /// Who gives the proxies their identities, if they have any.
    authority: Option<Authority>,
    running: Vec<Process>,
    _folder: tempfile::TempDir,
    _network: Network,
}

fn documents(outbound: &str) -> String {
    DOCUMENTS.replace("OUTBOUND", outbound)
}

impl Mesh {
    async fn start(rules: &[&'static str]) -> Self {
        Self::with(rules, &documents("allow"), None).await
    }

    async fn with(rules: &[&'static str], documents: &str, authority: Option<Authority>) -> Self {
        let network = Network::new(&[
            ("client", &["10.77.0.1/24", "fd77::1/64"]),
            ("shop", &["10.77.0.2/24", "fd77::2/64"]),
            ("database", &["10.77.0.3/24", "10.77.0.4/24"]),
            ("outside", &["10.77.0.9/24", "fd77::9/64"]),
        ]);
        let [client, shop, database, outside] = network.hosts();
        let documents = Documents::new([("all.yaml", documents)]);
        let folder = tempfile::tempdir().unwrap();
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), readable).unwrap();
        let proxy = folder.path().join("mixer-proxy");
        std::fs::copy(program("mixer-proxy", How::Tested), &proxy).unwrap();
        let mut mesh = Self {
            client,
            shop,
            database,
            outside,
            documents,
            proxy,
            rules: rules.to_vec(),
            authority,
            running: Vec::new(),
            _folder: folder,
            _network: network,
        };
        mesh.start_mixer().await;
        mesh.start_apps().await;
        // The rules let the user pass, and the group of another.
        for (service, host, ids) in [
            ("client.shop", mesh.client.clone(), ["1337", "1337"]),
            ("products.shop", mesh.shop.clone(), ["1337", "1337"]),
            ("database.shop", mesh.database.clone(), ["4000", "1337"]),
        ] {
            mesh.start_proxy(service, &host, ids).await;
        }
        mesh
    }

    async fn start_mixer(&mut self) {
        let path = self.documents.path().to_str().unwrap();
        let arguments = ["serve", path, "--insecure", "--grpc", "0.0.0.0:9091"];
        let mixer = self.outside.start("mixer", &arguments);
        self.running.push(mixer);
        let ready = ["get", "127.0.0.1:15014", "localhost", "/healthz/ready"];
        answers(&self.outside, &ready, "200 OK").await;
    }

    async fn start_apps(&mut self) {
        for (host, kind, addresses) in [
            (&self.shop, "http", &["0.0.0.0:8080", "[fd77::2]:8080"][..]),
            (
                &self.database,
                "greeter",
                &[
                    "0.0.0.0:5432",
                    "0.0.0.0:5433",
                    "0.0.0.0:5434",
                    "0.0.0.0:9999",
                ],
            ),
            (
                &self.outside,
                "greeter",
                &[
                    "0.0.0.0:2525",
                    "[fd77::9]:2525",
                    "0.0.0.0:2527",
                    "0.0.0.0:53",
                ],
            ),
            (&self.outside, "http", &["0.0.0.0:80"]),
            (&self.outside, "echo", &["0.0.0.0:53"]),
        ] {
            self.running.push(host.serve(kind, addresses).await);
        }
    }

    /// A proxy as an operator starts it, and the rules that lead to it.
    async fn start_proxy(&mut self, service: &str, host: &Host, ids: [&str; 2]) {
        let mut arguments = vec![
            "--transparent",
            "--service",
            service,
            "--inbound",
            "0.0.0.0:15006",
            "--outbound",
            "127.0.0.1:15001",
            "--admin",
            "127.0.0.1:15020",
            "--mixer",
            "10.77.0.9:9091",
            "--check-timeout-ms",
            "5000",
        ];
        let name = service.split('.').next().unwrap();
        let identity = self._folder.path().join(name);
        if let Some(authority) = &self.authority {
            authority.write_identity(&identity, &format!("/ns/shop/sa/{name}"));
            arguments.extend(["--identity-files", identity.to_str().unwrap()]);
        }
        self.running
            .push(host.start_proxy(&self.proxy, ids, &arguments));
        let ready = ["get", "127.0.0.1:15020", "localhost", "/healthz/ready"];
        answers(host, &ready, "200 OK").await;
        self.iptables(host, "apply");
    }

    fn iptables(&self, host: &Host, verb: &str) {
        let mut arguments = vec!["iptables", verb];
        arguments.extend(&self.rules);
        host.run(&self.proxy, &arguments);
    }

    /// How many requests and connections Mixer counted with these labels.
    fn counted(&self, labels: &[(&str, &str)]) -> f64 {
        let metrics = ["get", "127.0.0.1:15014", "localhost", "/metrics"];
        let metrics = self.outside.app(&metrics).unwrap();
        counter(&metrics, "istio_requests_total", labels)
    }

    async fn is_counted(&self, count: u32, labels: &[(&str, &str)]) {
        wait::until(&format!("{labels:?} is {count}"), async || {
            let counted = self.counted(labels);
            assert!(counted <= f64::from(count), "{labels:?}: {counted}");
            (counted == f64::from(count)).then_some(())
        })
        .await;
    }
}

/// Waits until an application that does `arguments` sees `what`.
async fn answers(host: &Host, arguments: &[&str], what: &str) {
    wait::until(&format!("{arguments:?} yields {what}"), async || {
        let said = host.app(arguments).unwrap_or_else(|said| said);
        said.contains(what).then_some(())
    })
    .await;
}

/// Where the server says that it was reached, and from where.
fn ends(said: &str) -> (String, String) {
    let after = |words: &str| {
        let (_, rest) = said
            .split_once(words)
            .unwrap_or_else(|| panic!("no {words:?}: {said}"));
        rest.split_whitespace().next().unwrap().to_owned()
    };
    (after("here is "), after("you are "))
}

/// Whether a server answered to what its own proxy sent it.
fn is_of_proxy(said: &str) -> bool {
    let of_proxy = ["you are 127.0.0.6:", "you are [::1]:"];
    said.contains("200 OK") && of_proxy.iter().any(|address| said.contains(address))
}

/// Whether the server saw the very connection that the client made.
fn is_direct(said: &str) -> bool {
    let me = said
        .lines()
        .find_map(|line| line.strip_prefix("I am "))
        .unwrap();
    said.contains(&format!("you are {me}"))
}

/// Rules of the NAT table and of nft, without what changes by itself.
fn rules_of(host: &Host) -> String {
    let saved = ["iptables-save", "ip6tables-save"].map(|save| {
        let rules = host.run(Path::new(save), &["-t", "nat"]);
        let rules = rules
            .lines()
            .filter(|line| line.starts_with("-A") || line.contains("MIXER"));
        rules.map(|line| format!("{line}\n")).collect::<String>()
    });
    let tables = host.run(Path::new("nft"), &["list", "tables"]);
    let tables = tables.lines().filter(|table| table.contains("mixer"));
    saved.concat() + &tables.collect::<String>()
}

async fn redirected_applications_are_in_the_mesh(rules: &[&'static str]) {
    let mesh = Mesh::start(rules).await;

    // HTTP over both versions of IP: allowed and denied, counted on both sides, balanced over the service's endpoints.
    let addresses = ["10.77.0.2:8080", "[fd77::2]:8080"];
    let mut reached = BTreeSet::new();
    for address in addresses.repeat(2) {
        let said = mesh.client.app(&["get", address, "products", "/"]).unwrap();
        assert!(
            is_of_proxy(&said) && said.contains("host: products"),
            "{said}"
        );
        reached.insert(ends(&said).0);
    }
    for address in addresses.repeat(2) {
        let said = mesh
            .client
            .app(&["get", address, "products", "/admin"])
            .unwrap();
        let denied = "nobody reads the admin pages";
        assert!(
            said.contains("403 Forbidden") && said.contains(denied),
            "{said}"
        );
    }
    assert_eq!(reached, BTreeSet::from(addresses.map(str::to_owned)));
    for reporter in ["source", "destination"] {
        for code in ["200", "403"] {
            let labels = [
                ("reporter", reporter),
                ("destination_service", "products.shop"),
                ("response_code", code),
            ];
            mesh.is_counted(4, &labels).await;
        }
    }

    // By its address alone a service is the service.
    let said = mesh
        .client
        .app(&["get", "10.77.0.2:8080", "10.77.0.2:8080", "/admin"])
        .unwrap();
    assert!(said.contains("403 Forbidden"), "{said}");
    let by_address = [
        ("reporter", "source"),
        ("destination_service", "products.shop"),
        ("response_code", "403"),
    ];
    mesh.is_counted(5, &by_address).await;

    // The server speaks first, connections are balanced, and counted on both sides.
    let mut reached = Vec::new();
    for _ in 0..4 {
        let said = mesh.client.app(&["greet", "10.77.0.3:5432"]).unwrap();
        assert!(said.contains("\nhello"), "{said}");
        reached.push(ends(&said).0);
    }
    reached.sort();
    let (first, second) = ("10.77.0.3:5432", "10.77.0.4:5432");
    assert_eq!(reached, [first, first, second, second]);
    for reporter in ["source", "destination"] {
        let labels = [
            ("reporter", reporter),
            ("destination_service", "database.shop"),
            ("request_protocol", "tcp"),
        ];
        mesh.is_counted(4, &labels).await;
    }

    // Where nobody answers, another endpoint is tried.
    for _ in 0..3 {
        let said = mesh.client.app(&["greet", "10.77.0.9:2526"]).unwrap();
        assert_eq!(ends(&said).0, "10.77.0.9:2527", "{said}");
    }

    // A route sends a connection to a part of its service.
    for _ in 0..3 {
        let said = mesh.client.app(&["greet", "10.77.0.3:5434"]).unwrap();
        assert_eq!(ends(&said).0, "10.77.0.4:5434", "{said}");
    }

    // A policy on the way out is asked about a connection.
    let said = mesh.client.app(&["greet", "10.77.0.3:5433"]).unwrap_err();
    assert!(said.contains("it ended"), "{said}");
    let denied = [
        ("destination_service", "cellar.shop"),
        ("response_flags", "UAEX"),
    ];
    mesh.is_counted(1, &denied).await;

    // Nobody's service: carried where it was going, whatever it calls itself; a port that is not to be read does not wait.
    for address in ["10.77.0.9:2525", "[fd77::9]:2525"] {
        let said = mesh.client.app(&["greet", address]).unwrap();
        assert_eq!(ends(&said).0, address, "{said}");
        assert!(!is_direct(&said), "{said}");
    }
    let stranger = ["get", "10.77.0.9:80", "nowhere.invalid", "/"];
    let said = mesh.client.app(&stranger).unwrap();
    assert!(
        said.contains("200 OK") && said.contains("host: nowhere.invalid"),
        "{said}"
    );

    // Whom a request names is whom it is sent to. Here that is the host itself: it comes in like any other's.
    for _ in 0..2 {
        let said = mesh
            .shop
            .app(&["get", "10.77.0.9:80", "products", "/"])
            .unwrap();
        assert!(is_of_proxy(&said), "{said}");
        let said = mesh
            .shop
            .app(&["get", "10.77.0.9:80", "products", "/admin"])
            .unwrap();
        assert!(said.contains("403 Forbidden"), "{said}");
    }

    // DNS is not touched, be it over TCP.
    assert!(is_direct(
        &mesh.client.app(&["greet", "10.77.0.9:53"]).unwrap()
    ));
    assert!(
        mesh.client
            .app(&["ask", "10.77.0.9:53"])
            .unwrap()
            .contains("you are 10.77.0.1:")
    );

    // What the mesh does not admit is closed.
    mesh.documents.write("all.yaml", &documents("deny"));
    answers(&mesh.client, &stranger, "403 Forbidden").await;
    let said = mesh.client.app(&["greet", "10.77.0.9:2525"]).unwrap_err();
    assert!(said.contains("it ended"), "{said}");

    // Nothing of it is left.
    for host in [&mesh.client, &mesh.database] {
        assert!(rules_of(host).to_lowercase().contains("mixer"));
        mesh.iptables(host, "clean");
        mesh.iptables(host, "clean");
        assert_eq!(rules_of(host), "");
    }
    let said = mesh.client.app(&["greet", "10.77.0.3:5432"]).unwrap();
    assert!(is_direct(&said), "{said}");
}

#[tokio::test]
#[ignore = "needs netns"]
async fn netns_applications_are_in_the_mesh_with_iptables() {
    redirected_applications_are_in_the_mesh(&[]).await;
}

#[tokio::test]
#[ignore = "needs netns"]
async fn netns_applications_are_in_the_mesh_with_nft() {
    redirected_applications_are_in_the_mesh(&["--tool", "nft"]).await;
}

#[tokio::test]
#[ignore = "needs netns"]
async fn netns_what_is_excluded_and_what_is_not_included_passes() {
    let rules = [
        "--exclude-outbound-ports",
        "9999",
        "--exclude-inbound-ports",
        "9999",
        "--exclude-outbound-ranges",
        "10.77.0.9/32",
        "--include-outbound-ranges",
        "10.77.0.0/24",
    ];
    let mesh = Mesh::start(&rules).await;
    for address in ["10.77.0.3:9999", "10.77.0.9:2525", "[fd77::9]:2525"] {
        let said = mesh.client.app(&["greet", address]).unwrap();
        assert!(is_direct(&said), "{address}: {said}");
    }
    let said = mesh.client.app(&["greet", "10.77.0.3:5432"]).unwrap();
    assert!(!is_direct(&said), "{said}");
}

#[tokio::test]
#[ignore = "needs netns"]
async fn netns_a_proxy_that_is_not_let_pass_ends_its_own_connections() {
    let network = Network::new(&[
        ("client", &["10.77.0.1/24"]),
        ("outside", &["10.77.0.9/24"]),
    ]);
    let [client, outside] = network.hosts();
    let _http = outside.serve("http", &["0.0.0.0:80"]).await;
    let _greeter = outside.serve("greeter", &["0.0.0.0:2525"]).await;
    let documents = Documents::new([("mesh.yaml", "mesh: { opaque_ports: [2525] }\n")]);
    let outbound = ["--transparent", "--outbound", "127.0.0.1:15001"];
    let admin = ["--admin", "127.0.0.1:15020"];
    let documents = ["--documents", documents.path().to_str().unwrap()];
    let as_root = [&outbound[..], &admin, &documents].concat();
    let mut proxy = client.start("mixer-proxy", &as_root);
    proxy
        .line("ready", |line| line.contains("ready").then_some(()))
        .await;
    client.run(program("mixer-proxy", How::Tested), &["iptables", "apply"]);
    let said = client
        .app(&["get", "10.77.0.9:80", "anywhere", "/"])
        .unwrap();
    assert!(said.contains("503 Service Unavailable"), "{said}");
    let said = client.app(&["greet", "10.77.0.9:2525"]).unwrap_err();
    assert!(
        said.contains("it ended") || said.contains("reset"),
        "{said}"
    );
    let told = "it must run as the user that they let pass";
    assert!(proxy.output().iter().any(|line| line.contains(told)));
}

#[tokio::test]
#[ignore = "needs netns"]
async fn netns_rules_come_and_go_without_touching_those_of_others() {
    let network = Network::new(&[("host", &["10.77.0.1/24"])]);
    let [host] = network.hosts();
    let proxy = program("mixer-proxy", How::Tested);
    let theirs = "*nat\n:THEIRS - [0:0]\n-A PREROUTING -p tcp -j THEIRS\n-A THEIRS -p tcp --dport 7 -j RETURN\nCOMMIT\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), theirs).unwrap();
    let path = file.path().to_str().unwrap();
    host.run(Path::new("iptables-restore"), &["--noflush", path]);
    let before = rules_of(&host);
    assert!(before.contains("THEIRS"));

    host.run(proxy, &["iptables", "apply"]);
    let once = rules_of(&host);
    host.run(proxy, &["iptables", "apply"]);
    assert_eq!(rules_of(&host), once, "twice is the same as once");
    host.run(proxy, &["iptables", "apply", "--offset", "100"]);
    host.run(
        proxy,
        &["iptables", "apply", "--exclude-outbound-ports", "25"],
    );
    assert!(rules_of(&host).contains("MIXER_OUTPUT -p tcp -m tcp --dport 25 -j RETURN"));
    host.run(proxy, &["iptables", "clean"]);
    let left = rules_of(&host);
    assert!(
        left.contains("MIXER_100_OUTPUT") && !left.contains("MIXER_OUTPUT"),
        "{left}"
    );
    host.run(proxy, &["iptables", "clean", "--offset", "100"]);
    assert_eq!(rules_of(&host), before);

    host.run(proxy, &["iptables", "apply", "--tool", "nft"]);
    assert!(rules_of(&host).contains("table ip6 mixer"));
    host.run(proxy, &["iptables", "clean", "--tool", "nft"]);
    assert_eq!(rules_of(&host), before);
}

#[tokio::test]
#[ignore = "needs netns"]
async fn netns_bytes_that_nobody_reads_go_over_mutual_tls() {
    let authority = Authority::new("cluster.local");
    let mesh = Mesh::with(&[], SECURED, Some(authority)).await;
    // The server speaks first; neither application knows of TLS.
    let said = mesh.client.app(&["greet", "10.77.0.3:5432"]).unwrap();
    assert!(said.contains("\nhello"), "{said}");
    let metrics = ["get", "127.0.0.1:15020", "localhost", "/metrics"];
    let metrics = mesh.database.app(&metrics).unwrap();
    assert!(
        metrics.contains("mixer_proxy_tls_connections_total 1"),
        "{metrics}"
    );
    // Another of the mesh, and one that is not of the mesh.
    for host in [&mesh.shop, &mesh.outside] {
        let said = host.app(&["greet", "10.77.0.3:5432"]).unwrap_err();
        assert!(said.contains("it ended"), "{said}");
    }
    for (reporter, flags) in [
        ("source", "-"),
        ("destination", "-"),
        ("destination", "UAEX"),
    ] {
        let labels = [
            ("reporter", reporter),
            ("destination_service", "database.shop"),
            ("response_flags", flags),
        ];
        let count = if (reporter, flags) == ("source", "-") {
            2
        } else {
            1
        };
        mesh.is_counted(count, &labels).await;
    }
}
