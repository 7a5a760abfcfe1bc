//! The command line: flags to [`Config`], a signal to a graceful end.

mod iptables;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use mixer_identity::{Join, SpiffeId, TrustBundle, TrustDomain, WorkloadApi};
use mixer_runtime::{Clock, Random};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    AccessLog, Config, Control, IdentityFrom, LogFormat, LogTo, Proxy, Running, StartError, logging,
};

/// The flags are wrong (EX_USAGE of sysexits.h).
const USAGE: u8 = 64;
/// The documents are wrong.
const DOCUMENTS: u8 = 3;
/// Anything else.
const FAILED: u8 = 1;

/// The sidecar: asks Mixer, enforces, carries the traffic.
#[derive(Debug, Parser)]
#[command(name = "mixer-proxy", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Iptables(iptables::Iptables),
}

/// What a proxy is started with.
#[derive(Debug, Args)]
pub struct Flags {
    /// Name of the service this proxy stands before.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Its namespace, if not what follows the first dot of its name.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// A label of it; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Where the application listens.
    #[arg(long, value_name = "ADDR")]
    app: Option<String>,
    /// Where requests to the service are taken (15006 by custom).
    #[arg(long, value_name = "ADDR")]
    inbound: Option<String>,
    /// Where the application's own requests are taken (15001 by custom).
    #[arg(long, value_name = "ADDR")]
    outbound: Option<String>,
    /// Connections are redirected here (see `mixer-proxy iptables`): carry them where they were going.
    #[arg(long)]
    transparent: bool,
    /// Where health, metrics and the configuration are shown (15020 by custom).
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// A directory with this proxy's certificate, its key and the bundle of authorities to trust, watched for new ones.
    #[arg(long, value_name = "DIR")]
    identity_files: Option<PathBuf>,
    /// The socket of a SPIFFE Workload API (`mixer ca serve`, SPIRE) that gives this proxy its certificates, as unix:///PATH.
    #[arg(long, value_name = "SOCKET", conflicts_with = "identity_files")]
    identity_socket: Option<WorkloadApi>,
    #[command(flatten)]
    join: JoinFlags,
    /// A file with the token that changes through --admin take; without one they are taken on loopback.
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Where each request is logged when it is over: a file, or `-` for standard output. SIGUSR1 opens the file anew.
    #[arg(long, value_name = "PATH|-")]
    access_log: Option<PathBuf>,
    /// What its lines look like; text by default.
    #[arg(long, value_name = "FORMAT", value_enum, requires = "access_log")]
    access_log_format: Option<LogFormat>,
    /// Where Mixer listens.
    #[arg(long, value_name = "ADDR", conflicts_with = "documents")]
    mixer: Option<String>,
    /// Who Mixer must prove to be, such as spiffe://cluster.local/ns/mixer/sa/mixer: it is asked with mutual TLS.
    #[arg(long, value_name = "ID", requires = "mixer")]
    mixer_id: Option<SpiffeId>,
    /// Services and mesh from a directory, without a Mixer: nothing is checked or reported.
    #[arg(long, value_name = "DIR")]
    documents: Vec<PathBuf>,
    /// Who is asked for the names of endpoints; whom the system asks by default.
    #[arg(long, value_name = "ADDR")]
    dns: Option<String>,
    /// Threads that carry traffic; one per core by default.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    workers: usize,
    /// Where the standard metrics are shown.
    #[arg(long, value_name = "WHERE")]
    metrics: Option<String>,
    /// Milliseconds for a question to Mixer, all tries together; then the destination's `fail` decides.
    #[arg(long, value_name = "MS", default_value_t = 150, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    check_timeout_ms: u64,
}

impl Flags {
    /// The configuration they describe, or every problem in them.
    pub fn config(self) -> Result<Config, Vec<String>> {
        let mut problems = Vec::new();
        let mut address = |flag: &str, given: Option<String>| -> Option<SocketAddr> {
            let given = given?;
            let found = given
                .to_socket_addrs()
                .ok()
                .and_then(|mut found| found.next());
            if found.is_none() {
                problems.push(format!("{flag} {given}: not an address; write host:port"));
            }
            found
        };
        let app = address("--app", self.app);
        let inbound = address("--inbound", self.inbound);
        let outbound = address("--outbound", self.outbound);
        let admin = address("--admin", self.admin);
        let dns = address("--dns", self.dns);
        let mut labels = BTreeMap::new();
        for label in self.labels {
            match label.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    drop(labels.insert(key.to_owned(), value.to_owned()))
                }
                _ => problems.push(format!("--label {label}: write key=value")),
            }
        }
        let control = match (self.mixer, self.documents.is_empty()) {
            (Some(mixer), _) => Control::Mixer(mixer),
            (None, false) => Control::Documents(self.documents),
            (None, true) => {
                problems.push("one of --mixer and --documents is needed".to_owned());
                Control::Documents(Vec::new())
            }
        };
        if let Some(metrics) = self.metrics {
            problems.push(format!("--metrics {metrics}: not supported yet"));
        }
        let mut config = Config::new(control);
        (config.service, config.namespace, config.labels) = (self.service, self.namespace, labels);
        (config.app, config.inbound, config.outbound, config.admin) =
            (app, inbound, outbound, admin);
        config.admin_token = self.admin_token_file;
        config.access_log = self.access_log.map(|to| AccessLog {
            to: match to.to_str() {
                Some("-") => LogTo::Stdout,
                _ => LogTo::File(to),
            },
            format: self.access_log_format.unwrap_or_default(),
        });
        config.transparent = self.transparent;
        if let Some(directory) = self.identity_files {
            config.identity = IdentityFrom::Files(directory);
        }
        if let Some(api) = self.identity_socket {
            config.identity = IdentityFrom::WorkloadApi(api);
        }
        match self.join.join() {
            None => {}
            Some(Ok(join)) => config.identity = IdentityFrom::Join(Box::new(join)),
            Some(Err(problem)) => problems.push(problem),
        }
        config.mixer_id = self.mixer_id;
        config.dns = dns;
        config.workers = self.workers;
        config.limits.check = Duration::from_millis(self.check_timeout_ms);
        // An address that cannot be read was reported; that it is missing is no second problem.
        if problems.is_empty() {
            problems = config.validate();
        }
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }
}

/// How to join an authority on another machine.
#[derive(Debug, clap::Args)]
struct JoinFlags {
    /// The authority that gives this proxy its certificates (`mixer ca serve --listen`), as HOST:PORT; it is joined with a token.
    #[arg(
        long,
        value_name = "ADDR",
        requires_all = ["identity_bundle", "identity_directory"],
        conflicts_with_all = ["identity_files", "identity_socket"]
    )]
    identity_join: Option<String>,
    /// The file of the authority's roots (`mixer ca bundle`).
    #[arg(long, value_name = "FILE", requires = "identity_join")]
    identity_bundle: Option<PathBuf>,
    /// The file of the join token (`mixer ca token`); needed until there is a certificate.
    #[arg(long, value_name = "FILE", requires = "identity_join")]
    identity_token_file: Option<PathBuf>,
    /// Where certificate and key are kept.
    #[arg(long, value_name = "DIR", requires = "identity_join")]
    identity_directory: Option<PathBuf>,
    /// The trust domain of the authority.
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    identity_trust_domain: TrustDomain,
}

impl JoinFlags {
    /// `None`: nothing is joined.
    fn join(self) -> Option<Result<Join, String>> {
        let (address, bundle) = self.identity_join.zip(self.identity_bundle)?;
        let directory = self.identity_directory?;
        let read = |flag: &str, path: &Path| {
            std::fs::read(path)
                .map_err(|error| format!("{flag}: cannot read {}: {error}", path.display()))
        };
        // A token that was used may be gone; whether one is needed shows when there is no certificate.
        let token = self.identity_token_file.filter(|path| path.exists());
        let join = || {
            let bundle = read("--identity-bundle", &bundle)?;
            let bundle = TrustBundle::from_pem(self.identity_trust_domain, &bundle)
                .map_err(|error| format!("--identity-bundle: {error}"))?;
            let token = token.map(|path| read("--identity-token-file", &path));
            let token = token.transpose()?;
            Ok(Join {
                address,
                bundle,
                token: token.map(|token| String::from_utf8_lossy(&token).trim().to_owned()),
                directory,
            })
        };
        Some(join())
    }
}

/// What `main` does: parses the command line, runs until SIGINT or SIGTERM, and ends gracefully.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(Cli {
            verb: Some(Verb::Iptables(iptables)),
            ..
        }) => iptables.run(),
        Ok(Cli { verb: None, flags }) => run(flags),
        Err(error) => {
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(USAGE),
            }
        }
    }
}

/// Runs a proxy with these flags until a signal ends it.
pub fn run(flags: Flags) -> ExitCode {
    logging::begin();
    let config = match flags.config() {
        Ok(config) => config,
        Err(problems) => return fail(&problems.join("\n"), USAGE),
    };
    match Proxy::start(config, Clock::system(), Arc::new(Random::from_system())) {
        Ok(running) => serve(running),
        Err(error @ StartError::Config(_)) => fail(&error.to_string(), USAGE),
        Err(StartError::Documents(problems)) => fail(&problems.render(false), DOCUMENTS),
        Err(error @ StartError::NeedsMixer(_)) => fail(&error.to_string(), DOCUMENTS),
        Err(error) => fail(&error.to_string(), FAILED),
    }
}

fn serve(running: Running) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot wait for signals: {error}"), FAILED),
    };
    runtime.block_on(async {
        let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::user_defined1()].map(signal);
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut rotated)] = signals else {
            return fail("cannot wait for signals", FAILED);
        };
        let shown = |address: Option<SocketAddr>| address.map_or_else(|| "none".to_owned(), |address| address.to_string());
        let (inbound, outbound, admin) = (shown(running.inbound()), shown(running.outbound()), shown(running.admin()));
        tracing::info!(inbound, outbound, admin, "listening");
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = running.until_ending() => {}
            () = async { while rotated.recv().await.is_some() { running.reopen_access_log() } } => {}
            () = async { running.until_ready().await; tracing::info!("ready"); std::future::pending().await } => {}
        }
        tracing::info!("ending: no new connections, requests in flight may finish");
        let cut = running.shutdown().await;
        tracing::info!(cut, "ended");
        ExitCode::SUCCESS
    })
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("mixer-proxy: {message}");
    ExitCode::from(code)
}
