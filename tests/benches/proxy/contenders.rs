//! What is compared, and what it needs: the application and an authorization service on the load's core, the proxies on theirs.

use std::net::SocketAddr;

use http::Version;
use mixer_tests::binaries::{How, pinned};
use mixer_tests::measure::{CLIENT, SERVER, memory};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::ports;
use mixer_tests::process::Process;
use mixer_tests::servers::{Duties, Envoy, Nginx};

/// What takes the requests of one round.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) addr: SocketAddr,
    /// What it is made of; their CPU time is added.
    pub(crate) processes: Vec<u32>,
    pub(crate) _held: Held,
}

impl Contender {
    /// Mebibytes it has in use.
    pub(crate) fn memory(&self) -> f64 {
        self.processes.iter().map(|process| memory(*process)).sum()
    }
}

/// Ends with the contender.
#[allow(dead_code)]
pub(crate) enum Held {
    Process(Process),
    Envoy(Envoy),
    Nginx(Nginx),
    Proxy(Proxy),
    Proxies(Vec<Proxy>),
    Envoys(Envoy, Envoy),
}

/// A Mixer whose policies for `products.shop` are ten rules, the last of which allows what is asked for; the same that Envoy
/// gets. Nothing applies to `free.shop`.
pub(crate) struct Ruled {
    pub(crate) mixer: Mixer,
    _documents: Documents,
}

impl Ruled {
    /// `protocol`: what both services speak.
    pub(crate) async fn start(method: &str, protocol: &str) -> Self {
        let rules: String = (0..10)
            .map(|number| {
                let path = if number == 9 { "/products".to_owned() } else { format!("/service{number}") };
                format!("  - allow: rule {number}\n    when:\n      - request.method == \"{method}\"\n      - request.path.startsWith(\"{path}\")\n")
            })
            .collect();
        let documents = format!(
            "policy: products\nfor: destination.service == \"products.shop\"\nrules:\n{rules}otherwise: deny\n---\n\
             service: products.shop\nprotocol: {protocol}\n---\nservice: free.shop\nprotocol: {protocol}\n"
        );
        let documents = Documents::new([("policies.yaml", documents)]);
        Self {
            mixer: Mixer::serve_as(How::Measured { core: CLIENT }, &documents).await,
            _documents: documents,
        }
    }

    /// A sidecar of `service` before `app`.
    pub(crate) async fn proxy(
        &self,
        name: &'static str,
        service: &str,
        app: SocketAddr,
    ) -> Contender {
        let config = ProxyConfig::new(service, app, self.mixer.grpc);
        let mut proxy = config.launch(How::Measured { core: SERVER });
        proxy.ready().await;
        Contender {
            name,
            addr: proxy.config.inbound,
            processes: vec![proxy.process().id()],
            _held: Held::Proxy(proxy),
        }
    }
}

/// Envoy in front of `app`, which speaks `version`.
pub(crate) async fn envoy(
    name: &'static str,
    app: SocketAddr,
    version: Version,
    duties: Duties,
) -> Contender {
    let envoy = Envoy::start_for(app, version, duties, Some(SERVER)).await;
    Contender {
        name,
        addr: envoy.addr,
        processes: vec![envoy.process().id()],
        _held: Held::Envoy(envoy),
    }
}

/// nginx in front of `app`.
pub(crate) async fn nginx(name: &'static str, app: SocketAddr) -> Contender {
    let nginx = Nginx::start(app, SERVER).await;
    Contender {
        name,
        addr: nginx.addr,
        processes: vec![nginx.process().id()],
        _held: Held::Nginx(nginx),
    }
}

/// This program in the role of a proxy.
pub(crate) async fn own(name: &'static str, role: &str, app: SocketAddr) -> Contender {
    let addr = ports::free();
    let process = self::role(SERVER, &[role, &addr.to_string(), &app.to_string()]).await;
    Contender {
        name,
        addr,
        processes: vec![process.id()],
        _held: Held::Process(process),
    }
}

/// This program in a role beside the load; where it listens.
pub(crate) async fn beside(role: &str) -> (Process, SocketAddr) {
    let addr = ports::free();
    (self::role(CLIENT, &[role, &addr.to_string()]).await, addr)
}

/// Starts this program in another role, on one core, and waits until it listens.
async fn role(core: usize, arguments: &[&str]) -> Process {
    let own = std::env::current_exe().expect("this program has a path");
    let mut command = pinned(core, &own);
    command.args(arguments);
    let mut process = Process::start(arguments[0], command);
    process
        .line("it listens", |line| (line == "listening").then_some(()))
        .await;
    process
}
