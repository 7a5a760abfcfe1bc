//! Two proxies one behind the other, with mutual TLS between them: the caller's speaks plaintext to the load, the application's to
//! the application. Certificates are P-256, TLS 1.3, and each side verifies the other's SPIFFE id.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mixer_identity::{
    Bundles, Expected, Identity, Source, SpiffeId, Svid, TrustBundle, TrustDomain, client_config,
};
use mixer_runtime::Clock;
use mixer_tests::binaries::{How, pinned};
use mixer_tests::issuer::{Authority, Files};
use mixer_tests::measure::{CLIENT, Load, SERVER};
use mixer_tests::mesh::{Documents, Mixer, ProxyConfig};
use mixer_tests::ports;
use mixer_tests::servers::{Envoy, HTTP2, address, spiffe_tls};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::contenders::{Contender, Held};

/// Whom the callers of all chains mean.
pub(crate) const HOST: &str = "products.shop";
const CALLER: &str = "/ns/shop/sa/caller";
const PRODUCTS: &str = "/ns/shop/sa/products";

/// Certificates of a run.
pub(crate) struct Certificates {
    authority: Authority,
    folder: tempfile::TempDir,
}

/// Chains of our own proxies.
pub(crate) struct Mesh {
    mixer: Mixer,
    inbound: SocketAddr,
    _documents: Documents,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let authority = Authority::new("cluster.local");
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        authority.write(folder.path());
        Self { authority, folder }
    }

    fn write(&self, path: &str) -> Files {
        let name = path.rsplit('/').next().unwrap_or(path);
        let issued = self.authority.issue(path, |_| {});
        issued.write(self.folder.path(), name)
    }

    /// Handshakes of a caller with the server at `to`, one after the other.
    pub(crate) fn shaken(&self, to: SocketAddr, seconds: u32) -> Load {
        let files = self.write(CALLER);
        let own = std::env::current_exe().expect("this program has a path");
        let mut command = pinned(CLIENT, &own);
        command
            .args(["shake-hands", &to.to_string(), &seconds.to_string()])
            .args([
                &files.chain,
                &files.key,
                &self.folder.path().join("authority.pem"),
            ]);
        let output = command.output().expect("it runs").stdout;
        let count: f64 = String::from_utf8_lossy(&output)
            .trim()
            .parse()
            .expect("the number of handshakes");
        Load::new(count, count / f64::from(seconds))
    }

    fn tls(&self, path: &str) -> String {
        let authority = self.folder.path().join("authority.pem");
        spiffe_tls(&self.write(path), &authority)
    }

    /// Two Envoys before `app`, between them HTTP/2 or HTTP/1.1; and where the second takes the first's.
    pub(crate) async fn envoys(
        &self,
        name: &'static str,
        app: SocketAddr,
        http2: bool,
    ) -> (Contender, SocketAddr) {
        let (first, second) = (ports::free(), ports::free());
        let transport = |context: &str, tls: String| {
            format!(
                r#"    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config: {{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{context}, {tls}}}
"#
            )
        };
        let downstream = indented(&transport(
            "DownstreamTlsContext",
            format!("require_client_certificate: true, {}", self.tls(PRODUCTS)),
        ));
        let mut upstream = transport(
            "UpstreamTlsContext",
            format!("sni: {HOST}, {}", self.tls(CALLER)),
        );
        if http2 {
            upstream += HTTP2;
        }
        let application = Envoy::configured(
            second,
            &(listener(second, &downstream) + &cluster(app, "")),
            Some(SERVER),
        )
        .await;
        let caller = Envoy::configured(
            first,
            &(listener(first, "") + &cluster(second, &upstream)),
            Some(SERVER),
        )
        .await;
        let chain = Contender {
            name,
            addr: first,
            processes: vec![application.process().id(), caller.process().id()],
            _held: Held::Envoys(caller, application),
        };
        (chain, second)
    }
}

impl Mesh {
    /// A Mixer whose policy for [`HOST`] has ten rules about the caller's certificate and the request, the last of which allows.
    pub(crate) async fn start() -> Self {
        let inbound = ports::free();
        let rules: String = (0..10)
            .map(|number| {
                let path = if number == 9 { "/products".to_owned() } else { format!("/service{number}") };
                format!("  - allow: rule {number}\n    when:\n      - source.service_account == \"caller\"\n      - request.path.startsWith(\"{path}\")\n")
            })
            .collect();
        let documents = format!(
            "service: {HOST}\nprotocol: http\nidentity: spiffe://cluster.local{PRODUCTS}\ntls: strict\nendpoints: [\"{inbound}\"]\n---\n\
             policy: products\nfor: destination.service == \"{HOST}\"\nrules:\n{rules}otherwise: deny\n"
        );
        let documents = Documents::new([("mesh.yaml", documents)]);
        Self {
            mixer: Mixer::serve_as(How::Measured { core: CLIENT }, &documents).await,
            inbound,
            _documents: documents,
        }
    }

    /// The chain, and where the application's proxy takes its callers'.
    pub(crate) async fn proxies(
        &self,
        name: &'static str,
        app: SocketAddr,
        certificates: &Certificates,
    ) -> (Contender, SocketAddr) {
        let mut started = Vec::new();
        for (service, path, app, inbound) in [
            (HOST, PRODUCTS, app, self.inbound),
            ("caller.shop", CALLER, ports::free(), ports::free()),
        ] {
            let mut config = ProxyConfig::new(service, app, self.mixer.grpc);
            let folder = certificates.folder.path().join(format!("of {service}"));
            certificates.authority.write_identity(&folder, path);
            (config.inbound, config.identity) = (inbound, Some(folder));
            let mut proxy = config.launch(How::Measured { core: SERVER });
            proxy.ready().await;
            started.push(proxy);
        }
        let chain = Contender {
            name,
            addr: started[1].config.outbound,
            processes: started
                .iter_mut()
                .map(|proxy| proxy.process().id())
                .collect(),
            _held: Held::Proxies(started),
        };
        (chain, self.inbound)
    }
}

/// Shakes hands with ADDR for SECONDS and says how often. Arguments: ADDR, SECONDS, the files of certificate, key and authority.
pub(crate) fn shake(arguments: impl Iterator<Item = String>) {
    let arguments: Vec<String> = arguments.collect();
    let [to, seconds, chain, key, authority] = &arguments[..] else {
        panic!("shake-hands ADDR SECONDS CHAIN KEY AUTHORITY");
    };
    let read = |path: &String| std::fs::read(path).expect("it was written");
    let clock = Clock::system();
    let svid = Svid::from_pem(&read(chain), &read(key), clock.wall()).expect("an SVID");
    let domain = TrustDomain::parse("cluster.local").expect("a trust domain");
    let bundle = TrustBundle::from_pem(domain, &read(authority)).expect("an authority");
    let source = Source::fixed(Identity::new(svid, Bundles::from_iter([bundle])));
    let id = SpiffeId::parse(&format!("spiffe://cluster.local{PRODUCTS}")).expect("an id");
    let config = client_config(&source, Expected::Id(id), &[b"http/1.1"]);
    let connector = TlsConnector::from(Arc::new(config));
    let until = clock.now() + Duration::from_secs(seconds.parse().expect("seconds"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be had");
    let mut count = 0u64;
    runtime.block_on(async {
        while clock.now() < until {
            let stream = TcpStream::connect(to).await.expect("it accepts");
            let name = ServerName::try_from(HOST).expect("a name");
            let shaken = connector.connect(name, stream).await;
            drop(shaken.expect("it shakes hands"));
            count += 1;
        }
    });
    println!("{count}");
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn listener(addr: SocketAddr, transport: &str) -> String {
    format!(
        r#"  listeners:
  - name: chain
    address: {addr}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: chain
          codec_type: AUTO
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: next}}}}]}}]}}
{transport}"#,
        addr = address(addr),
    )
}

fn cluster(to: SocketAddr, more: &str) -> String {
    format!(
        r#"  clusters:
  - name: next
    type: STATIC
    connect_timeout: 5s
{more}    load_assignment: {{cluster_name: next, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {to}}}}}]}}]}}
"#,
        to = address(to),
    )
}
