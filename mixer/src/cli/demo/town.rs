//! What the demo runs: who signs, Mixer, the shop's services, a proxy beside each, and where spans go.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use mixer_documents::Sources;
use mixer_identity::{SpiffeId, TrustDomain};
use mixer_proxy::IdentityFrom;
use mixer_runtime::{Clock, Random, Tasks};
use tempfile::TempDir;

use super::authority::Authority;
use super::collector::Collector;
use super::intruders::Intruders;
use super::load::ask_once;
use super::scrape::{Secured, secured};
use super::shop::{SERVICES, Service};
use crate::cli::INVALID;
use crate::serve::{Config, Running, Server};

/// How long the parts of the demo may take to find each other, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that runs, clients aside.
pub(super) struct Town {
    clock: Clock,
    authority: Authority,
    mixer: Running,
    /// One for each of [`SERVICES`], in their order.
    proxies: Vec<mixer_proxy::Running>,
    intruders: Intruders,
    services: Tasks,
    /// What collects spans, and renews Mixer's certificate.
    background: Tasks,
    collector: Collector,
    collects: bool,
    /// The documents that say where the services are.
    _addresses: TempDir,
}

/// What there is to say at the end.
pub(super) struct End {
    pub(super) check_rpcs: u64,
    pub(super) cache_hits: u64,
    /// How callers came to services, as Mixer's metrics say; `None` where they could not be read.
    pub(super) secured: Option<Secured>,
    pub(super) spans: u64,
    /// One trace, a line a span.
    pub(super) trace: Vec<String>,
}

impl End {
    /// How many of all requests were known by their callers' certificates. Customers sent `sent`.
    pub(super) fn how_secured(&self, sent: u64) -> String {
        match self.secured {
            Some(Secured {
                mutual_tls,
                plaintext,
            }) => format!(
                "customers sent {sent}; services took {mutual_tls} requests of each other with mutual TLS, {plaintext} without at the door"
            ),
            None => format!("customers sent {sent}; the metrics could not be read"),
        }
    }
}

/// The demo cannot go on.
#[derive(Debug)]
pub(super) struct Failed {
    why: String,
    pub(super) code: ExitCode,
}

impl Town {
    /// Starts everything and waits until requests are decided.
    pub(super) async fn build(
        policies: &Path,
        zipkin: Option<&str>,
        clock: Clock,
    ) -> Result<Self, Failed> {
        let (random, collector) = (Arc::new(Random::from_system()), Collector::default());
        let (services, background) = (Tasks::new(), Tasks::new());
        let zipkin_url = match zipkin {
            Some(url) => url.to_owned(),
            None => collector
                .start(&background)
                .await
                .map_err(Failed::internal)?,
        };
        let addresses = TempDir::with_prefix("mixer-demo-").map_err(Failed::internal)?;
        std::fs::write(addresses.path().join("tracing.yaml"), tracing(&zipkin_url))
            .map_err(Failed::internal)?;

        let domain = trust_domain(policies)?;
        let authority = Authority::start(&domain, &clock, random.clone()).await?;
        let mixer_id = workload(&domain, "mixer", "mixer")?;
        let joined = authority
            .join(&mixer_id)?
            .follow(&background, &clock, random.clone());
        let identity = joined.await.map_err(Failed::internal)?;

        let paths = vec![policies.to_owned(), addresses.path().to_owned()];
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mixer = Server::start(
            Config {
                grpc: free,
                admin: free,
                identity: Some(identity),
                ..Config::new(paths)
            },
            clock.clone(),
            random.clone(),
        )
        .await
        .map_err(Failed::start)?;

        let (mut proxies, mut documents) = (Vec::new(), String::new());
        for service in &SERVICES {
            let beside = Arc::new(OnceLock::new());
            let app = service
                .start(beside.clone(), &services)
                .await
                .map_err(Failed::internal)?;
            let id = workload(&domain, "shop", service.account)?;
            let config = mixer_proxy::Config {
                service: Some(service.name.to_owned()),
                app: Some(app),
                inbound: Some(free),
                outbound: Some(free),
                admin: None,
                identity: IdentityFrom::Join(Box::new(authority.join(&id)?)),
                mixer_id: Some(mixer_id.clone()),
                workers: 1,
                ..mixer_proxy::Config::new(mixer_proxy::Control::Mixer(mixer.grpc().to_string()))
            };
            let proxy = mixer_proxy::Proxy::start(config, clock.clone(), random.clone())
                .map_err(Failed::internal)?;
            let _ = beside.set(outbound(&proxy));
            let inbound = inbound(&proxy);
            documents += "---\n";
            documents += &service.document(inbound, &id);
            proxies.push(proxy);
        }
        std::fs::write(addresses.path().join("services.yaml"), documents)
            .map_err(Failed::internal)?;

        let [_, products, reviews] = &proxies[..] else {
            unreachable!("there is a proxy for each of the three services");
        };
        let frontend = workload(&domain, "shop", SERVICES[0].account)?;
        let intruders = Intruders::new(inbound(products), outbound(reviews), &frontend);
        let collects = zipkin.is_none();
        let town = Self {
            clock,
            authority,
            mixer,
            proxies,
            intruders,
            services,
            background,
            collector,
            collects,
            _addresses: addresses,
        };
        town.wait_for_traffic().await?;
        Ok(town)
    }

    /// Where the shop's customers come in.
    pub(super) fn door(&self) -> SocketAddr {
        inbound(&self.proxies[0])
    }

    /// Who tries to get in elsewhere.
    pub(super) fn intruders(&self) -> &Intruders {
        &self.intruders
    }

    /// Mixer's admin address.
    pub(super) fn admin(&self) -> SocketAddr {
        self.mixer.admin()
    }

    /// Answers from the proxies' caches so far.
    pub(super) fn cache_hits(&self) -> u64 {
        self.stats().map(|stats| stats.cache_hits).sum()
    }

    /// Why the newest documents are not in force, if they are not.
    pub(super) fn complaint(&self) -> Option<String> {
        self.mixer.complaint().map(|why| with_advice(&why))
    }

    /// Ends everything in the order that loses nothing, once clients have stopped: services let go of connections that proxies
    /// would wait for, proxies report what they hold, then Mixer sends what it holds.
    pub(super) async fn end(self) -> End {
        let stats: Vec<_> = self.stats().collect();
        let _ = self.services.shutdown(&self.clock, PATIENCE).await;
        for proxy in self.proxies {
            proxy.shutdown().await;
        }
        let secured = secured(self.mixer.admin(), &self.clock);
        let secured = self.clock.within(PATIENCE, secured).await;
        let spans_sent = self.mixer.shutdown(PATIENCE).await;
        let (spans, trace) = if self.collects {
            (self.collector.spans(), self.collector.show_trace())
        } else {
            (spans_sent, Vec::new())
        };
        let _ = self.background.shutdown(&self.clock, PATIENCE).await;
        self.authority.shutdown(PATIENCE).await;
        End {
            check_rpcs: stats
                .iter()
                .map(|stats| stats.check_calls + stats.quota_calls)
                .sum(),
            cache_hits: stats.iter().map(|stats| stats.cache_hits).sum(),
            secured: secured.and_then(Result::ok),
            spans,
            trace,
        }
    }

    fn stats(&self) -> impl Iterator<Item = mixer_client::Stats> + '_ {
        self.proxies.iter().filter_map(mixer_proxy::Running::stats)
    }

    async fn wait_for_traffic(&self) -> Result<(), Failed> {
        let arrived = async {
            loop {
                if let Some(why) = self.complaint() {
                    return Err(Failed {
                        why,
                        code: ExitCode::from(INVALID),
                    });
                }
                let customer = ask_once(Ipv4Addr::LOCALHOST.into(), self.door()).await.ok();
                let impostor = self.intruders.impostor().await;
                let decided = |answer: &Option<(StatusCode, String)>| {
                    answer
                        .as_ref()
                        .is_some_and(|(status, _)| status.as_u16() < 500)
                };
                if decided(&customer) && decided(&impostor) {
                    return Ok(());
                }
                self.clock.sleep(Duration::from_millis(20)).await;
            }
        };
        let late = || Failed::internal("the proxies did not come up in time");
        self.clock
            .within(PATIENCE, arrived)
            .await
            .ok_or_else(late)?
    }
}

/// Ctrl-C, or the service manager's word to end.
pub(super) async fn interrupted() {
    let mut terminate =
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(signal) => signal,
            Err(_) => return std::future::pending().await,
        };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// What the policies are refused for; the demo's own documents are no reader's fault, and not where the mistake is.
fn with_advice(why: &str) -> String {
    let own = |service: &Service| {
        let name = service.name;
        let clash = [
            "the service `{}` is there already",
            "`{}` means a service already",
        ];
        clash
            .iter()
            .any(|clash| why.contains(&clash.replace("{}", name)))
            .then(|| {
                format!(
                    "{why}\n  the demo runs {name} itself, on a free port, and writes its `service` document: take yours out of the policies"
                )
            })
    };
    SERVICES
        .iter()
        .find_map(own)
        .unwrap_or_else(|| why.to_owned())
}

fn tracing(url: &str) -> String {
    format!(
        "adapter: zipkin\ntype: zipkin\nconfig: {{ url: \"{url}\" }}\n---\ntelemetry: traces\nfor: always\ntraces: {{ to: zipkin, sample: 1% }}\n"
    )
}

/// Whose ids the policies are about.
fn trust_domain(policies: &Path) -> Result<TrustDomain, Failed> {
    let set = Sources::read(&[policies.to_owned()]).and_then(mixer_documents::load);
    // What is wrong with them, the Mixer that is started says.
    let name = set.map(|set| set.mesh.trust_domain);
    let name = name.unwrap_or_else(|_| mixer_documents::Mesh::default().trust_domain);
    TrustDomain::parse(&name).map_err(Failed::internal)
}

fn workload(domain: &TrustDomain, namespace: &str, account: &str) -> Result<SpiffeId, Failed> {
    SpiffeId::parse(&format!("{}/ns/{namespace}/sa/{account}", domain.id()))
        .map_err(Failed::internal)
}

fn inbound(proxy: &mixer_proxy::Running) -> SocketAddr {
    proxy.inbound().expect("an inbound listener was asked for")
}

fn outbound(proxy: &mixer_proxy::Running) -> SocketAddr {
    proxy
        .outbound()
        .expect("an outbound listener was asked for")
}

impl Failed {
    pub(super) fn internal(why: impl fmt::Display) -> Self {
        Self {
            why: why.to_string(),
            code: ExitCode::FAILURE,
        }
    }

    fn start(error: crate::serve::StartError) -> Self {
        Self {
            why: error.to_string(),
            code: error.exit_code(),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
