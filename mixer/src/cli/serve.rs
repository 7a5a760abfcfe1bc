//! `mixer serve DIR...`: answers proxies until it is told to end.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mixer_identity::{Files, WorkloadApi};
use mixer_runtime::{Clock, Random, Tasks};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::UNREADABLE;
use crate::serve::{Config, Running, Server, StartError};

/// How long each step of the end may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers proxies: may this request pass, may it spend this, this is what happened.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directories of documents; changes come into force as they are saved.
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Where proxies ask.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9091")]
    grpc: SocketAddr,
    /// Where metrics, health and the documents in force are shown.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15014")]
    admin: SocketAddr,
    /// The file of the token that changes of counters take (`mixer quota reset`, `grant`); none are taken without.
    #[arg(long, value_name = "FILE", env = "MIXER_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    /// Leave `mixer_quota_remaining`, which names keys of quotas, out of the metrics.
    #[arg(long)]
    hide_quota_keys: bool,
    /// A directory with this Mixer's certificate, its key and the bundle of authorities to trust, watched for new ones: callers
    /// must prove who they are, and `mesh.clients` says who may ask.
    #[arg(long, value_name = "DIR", conflicts_with = "insecure")]
    identity_files: Option<PathBuf>,
    /// The same from the socket of a SPIFFE Workload API (`mixer ca serve`, SPIRE), as unix:///PATH.
    #[arg(
        long,
        value_name = "SOCKET",
        conflicts_with_all = ["insecure", "identity_files"]
    )]
    identity_socket: Option<WorkloadApi>,
    /// Let other machines ask in plaintext, with nothing to prove who they are.
    #[arg(long)]
    insecure: bool,
    /// Threads that answer; default: one per core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// Log lines as JSON. MIXER_LOG says what is logged, such as `info` or `mixer=debug`.
    #[arg(long)]
    log_json: bool,
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(args: Args) -> ExitCode {
    log(args.log_json);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_name("mixer");
    if let Some(workers) = args.workers {
        runtime.worker_threads(workers.into());
    }
    let runtime = match runtime.build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> ExitCode {
    let (clock, random) = (Clock::system(), Arc::new(Random::from_system()));
    // Follows the identity until the end.
    let tasks = Tasks::new();
    let identity = match (args.identity_files, args.identity_socket) {
        (Some(directory), _) => match Files::new(directory).watch(&tasks, &clock).await {
            Ok(source) => Some(source),
            Err(error) => {
                eprintln!("--identity-files: {error}");
                return ExitCode::from(UNREADABLE);
            }
        },
        (None, Some(api)) => Some(api.follow(&tasks, &clock, random.clone())),
        (None, None) => None,
    };
    let config = Config {
        identity,
        grpc: args.grpc,
        admin: args.admin,
        admin_token: args.admin_token_file,
        quota_keys: !args.hide_quota_keys,
        insecure: args.insecure,
        ..Config::new(args.paths)
    };
    // Before anything is bound, so that a signal during the start is not lost.
    let (mut terminate, mut interrupt) = match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("cannot listen to signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let running = match Server::start(config, clock, random).await {
        Ok(running) => running,
        Err(error) => return refuse(&error),
    };
    tracing::info!(grpc = %running.grpc(), admin = %running.admin(), revision = %running.revision(), "serving");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining; a second signal ends at once");
    tokio::select! {
        () = end(running) => ExitCode::SUCCESS,
        _ = terminate.recv() => ExitCode::FAILURE,
        _ = interrupt.recv() => ExitCode::FAILURE,
    }
}

async fn end(running: Running) {
    running.shutdown(PATIENCE).await;
    tracing::info!("ended");
}

fn refuse(error: &StartError) -> ExitCode {
    match error {
        StartError::Documents(problems) => {
            eprint!("{}", problems.render(std::io::stderr().is_terminal()))
        }
        other => eprintln!("{other}"),
    }
    error.exit_code()
}

/// Logs to standard error, as MIXER_LOG says.
pub(super) fn log(json: bool) {
    let filter = EnvFilter::try_from_env("MIXER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    // The process has one log: that it is set already means that whoever runs us has set it.
    let _ = if json {
        lines.json().try_init()
    } else {
        lines.try_init()
    };
}
