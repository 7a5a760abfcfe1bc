//! A whole Mixer: documents, listeners, and an end that loses nothing. What `mixer serve` runs, and what the demo and tests
//! run in their own process.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mixer_adapter::{HttpClient, Keep, Registry};
use mixer_documents::{Clients, Diagnostics, Sources};
use mixer_identity::Source;
use mixer_runtime::{Clock, Drain, Guard, Random, Tasks};
use tokio::net::TcpListener;

use crate::dispatch::Ledger;
use crate::live::{Live, explained};
use crate::server::admin::{self, Admin};
use crate::server::listen;
use crate::server::metrics::Metrics;
use crate::server::mixer::Service;
use crate::server::rate_limit_quota;
use crate::server::reports::Reports;
use crate::server::trials::Trials;
use crate::server::watch::Subscribers;
use crate::snapshot::{Snapshot, Surroundings};

/// What a Mixer is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directories of documents.
    pub paths: Vec<PathBuf>,
    /// Where proxies ask: 127.0.0.1:9091. Port 0: a free one.
    pub grpc: SocketAddr,
    /// Metrics and health: 127.0.0.1:15014.
    pub admin: SocketAddr,
    /// The file of the token that changes through the admin listener take; `None`: it takes none.
    pub admin_token: Option<PathBuf>,
    /// Whether metrics name the busiest keys of quotas; true.
    pub quota_keys: bool,
    /// Who this Mixer is, and whom it trusts: callers must prove who they are, and `mesh.clients` says who may ask. `None`:
    /// everybody may, in plaintext.
    pub identity: Option<Source>,
    /// Whether proxies on other machines may ask in plaintext.
    pub insecure: bool,
    /// The adapters that documents may name.
    pub registry: Registry,
    /// How much at once.
    pub limits: Limits,
}

/// Buckets of rate limit quotas that all Envoys together may report.
const QUOTA_BUCKETS: usize = 131_072;

/// How much a Mixer does at once; more is refused as overloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls of Check and Quota that are being answered: 4,096.
    pub in_flight: usize,
    /// Proxies that watch: 16,384.
    pub subscribers: usize,
    /// Envoys that stream usage of rate limit quotas: 4,096.
    pub quota_streams: usize,
    /// Buckets that one of them may report: 4,096.
    pub quota_buckets: usize,
    /// Bytes of reports that wait to be worked on: 64 MiB.
    pub report_bytes: usize,
}

impl Config {
    /// The defaults, with the adapters that come with Mixer.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            grpc: SocketAddr::from(([127, 0, 0, 1], 9091)),
            admin: SocketAddr::from(([127, 0, 0, 1], 15014)),
            admin_token: None,
            quota_keys: true,
            identity: None,
            insecure: false,
            registry: mixer_adapters::builtin(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 4_096,
            subscribers: 16_384,
            quota_streams: 4_096,
            quota_buckets: 4_096,
            report_bytes: 64 << 20,
        }
    }
}

/// Why a Mixer did not start.
#[derive(Debug)]
pub enum StartError {
    /// The documents; nothing of them is in force.
    Documents(Diagnostics),
    /// Plaintext beyond this machine was not asked for.
    Insecure(SocketAddr),
    /// The admin token cannot be had: why not.
    Token(String),
    /// An address cannot be listened on.
    Listen {
        /// The flag that names it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
}

impl StartError {
    /// What a command ends with: 3 for documents, 64 for usage, 65 for a token that cannot be read, 69 for an address that cannot be had.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            StartError::Documents(_) => 3,
            StartError::Insecure(_) => 64,
            StartError::Token(_) => 65,
            StartError::Listen { .. } => 69,
        })
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Documents(problems) => f.write_str(problems.render(false).trim_end()),
            StartError::Insecure(address) => write!(
                f,
                "--grpc {address} would let other machines ask in plaintext, with nothing to prove who they are; \
                 give this Mixer an identity (--identity-files, --identity-socket), listen on a loopback address, or say --insecure"
            ),
            StartError::Token(reason) => f.write_str(reason),
            StartError::Listen {
                flag,
                address,
                error,
            } if error.kind() == std::io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{flag} {address} is taken: another process listens there"
                )
            }
            StartError::Listen {
                flag,
                address,
                error,
            } => write!(f, "cannot listen on {flag} {address}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Starts Mixers.
#[derive(Debug)]
pub struct Server;

/// A Mixer that runs. Dropping it ends it at once; [`Running::shutdown`] ends it well.
#[derive(Debug)]
pub struct Running {
    grpc: SocketAddr,
    admin: SocketAddr,
    live: Arc<Live>,
    reports: Arc<Reports>,
    metrics: Arc<Metrics>,
    drain: Drain,
    clock: Clock,
    serving: Tasks,
    background: Tasks,
    pages: Tasks,
}

impl Server {
    /// Loads the documents, then binds both addresses, then serves. Nothing is bound when the documents have an error.
    pub async fn start(
        config: Config,
        clock: Clock,
        random: Arc<Random>,
    ) -> Result<Running, StartError> {
        let Config {
            paths,
            grpc,
            admin,
            admin_token,
            quota_keys,
            identity,
            insecure,
            registry,
            limits,
        } = config;
        let plaintext = identity.is_none();
        if plaintext && !grpc.ip().is_loopback() && !insecure {
            return Err(StartError::Insecure(grpc));
        }
        let guard = Guard::new(admin_token, admin).map_err(StartError::Token)?;
        let surroundings = Surroundings {
            http: HttpClient::new(clock.clone()),
            clock: clock.clone(),
            random,
            keep: Keep::default(),
            ledger: Arc::new(Ledger::default()),
            tallies: Arc::default(),
            handle: tokio::runtime::Handle::current(),
        };
        let sources = Sources::read(&paths).map_err(StartError::Documents)?;
        let snapshot = Snapshot::build(sources.clone(), &registry, &surroundings)
            .map_err(StartError::Documents)?;
        for line in snapshot.set.warnings.lines() {
            tracing::warn!("{line}");
        }
        let (grpc_listener, grpc) = bind("--grpc", grpc).await?;
        let (admin_listener, admin) = bind("--admin", admin).await?;
        if plaintext && snapshot.set.mesh.clients != Clients::default() {
            tracing::warn!(
                "`mesh.clients` is not enforced: without --identity-files or --identity-socket nobody proves who it is"
            );
        }
        if plaintext && !grpc.ip().is_loopback() {
            tracing::warn!(
                "--insecure: whoever reaches {grpc} may ask and report in plaintext, as any client"
            );
        }

        let (serving, background, pages) = (Tasks::new(), Tasks::new(), Tasks::new());
        let (metrics, drain) = (Arc::new(Metrics::default()), Drain::new());
        let live = Live::start(
            snapshot,
            registry,
            surroundings,
            metrics.clone(),
            background.clone(),
        );
        let subscribers = Arc::new(Subscribers::new(limits.subscribers, metrics.clone()));
        let reports = Arc::new(Reports::start(
            limits.report_bytes,
            clock.clone(),
            metrics.clone(),
            &background,
        ));
        let service = Service {
            live: live.clone(),
            subscribers: subscribers.clone(),
            reports: reports.clone(),
            quotas: rate_limit_quota::Common::new(
                live.clone(),
                metrics.clone(),
                clock.clone(),
                rate_limit_quota::Most {
                    streams: limits.quota_streams,
                    buckets: QUOTA_BUCKETS,
                    of_one: limits.quota_buckets,
                },
            ),
            trials: Trials::start(clock.clone(), metrics.clone(), &background),
            metrics: metrics.clone(),
            clock: clock.clone(),
            most_in_flight: limits.in_flight,
        };
        listen::serve(
            grpc_listener,
            identity.as_ref(),
            Arc::new(service),
            drain.clone(),
            clock.clone(),
            &serving,
        );
        let shown = Admin {
            live: live.clone(),
            subscribers,
            metrics: metrics.clone(),
            drain: drain.clone(),
            guard,
            clock: clock.clone(),
            quota_keys,
        };
        pages.spawn_until_stop("admin", async move {
            if let Err(error) = axum::serve(admin_listener, admin::router(shown)).await {
                tracing::error!("the admin listener ended: {error}");
            }
        });
        live.follow(paths, sources);
        Ok(Running {
            grpc,
            admin,
            live,
            reports,
            metrics,
            drain,
            clock,
            serving,
            background,
            pages,
        })
    }
}

async fn bind(
    flag: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |error| StartError::Listen {
        flag,
        address,
        error,
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

impl Running {
    /// Where proxies ask.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where the admin pages are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Names the documents in force.
    pub fn revision(&self) -> Arc<str> {
        self.live.current().revision.clone()
    }

    /// Why the newest documents are not in force, one line per problem; `None`: they are.
    pub fn complaint(&self) -> Option<String> {
        self.live
            .refused()
            .map(|problems| explained(&problems).join("\n"))
    }

    /// Ends in the order that loses nothing: readiness says no, calls are answered to their end, streams end, what was
    /// reported is worked on, adapters send what they hold. Each step has `deadline`. How many spans adapters took in all.
    pub async fn shutdown(self, deadline: Duration) -> u64 {
        self.live.end_news();
        let open = self.drain.finish(&self.clock, deadline).await;
        if open > 0 {
            tracing::warn!("{open} connection(s) did not end in time and were cut");
        }
        let _ = self.serving.shutdown(&self.clock, deadline).await;
        let waiting = self.reports.finish(deadline).await;
        if waiting > 0 {
            tracing::warn!("{waiting} batch(es) of reports could not be worked on in time");
        }
        self.live.finish(deadline).await;
        let _ = self.background.shutdown(&self.clock, deadline).await;
        let _ = self.pages.shutdown(&self.clock, deadline).await;
        self.metrics.spans.read()
    }
}

/// The tasks hold what they serve, and that holds them: somebody must let go.
impl Drop for Running {
    fn drop(&mut self) {
        for tasks in [&self.serving, &self.background, &self.pages] {
            tasks.stop().cancel();
        }
    }
}
