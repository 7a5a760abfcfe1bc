//! `mixer ca serve DIR [DOCUMENTS...]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mixer_ca::{Authority, Config, Directory, Entry, Running, Selectors, Server};
use mixer_documents::{PolicySet, Sources, Watcher, Workload};
use mixer_identity::{Bundles, SpiffeId, TrustBundle, TrustDomain};
use mixer_runtime::{Clock, Random, Tasks};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failed, INVALID, span};
use crate::cli::loaded;
use crate::live::explained;

/// How long each step of the end may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gives certificates to the workloads of this host and of others, until it is told to end.
///
/// Processes of this host ask on the socket (the SPIFFE Workload API) and are recognised by the `workload:` documents. Workloads of
/// other hosts ask on --listen, with a join token at first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The authority.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Directories of documents, of which the `workload` ones count; changes come into force as they are saved.
    #[arg(value_name = "DOCUMENTS", requires = "socket")]
    documents: Vec<PathBuf>,
    /// The socket of the Workload API; without it, no process of this host is served.
    #[arg(long, value_name = "PATH", requires = "documents")]
    socket: Option<PathBuf>,
    /// Where workloads of other hosts join, and other trust domains fetch https://ADDR/bundle.
    #[arg(long, value_name = "ADDR", required_unless_present = "socket")]
    listen: Option<SocketAddr>,
    /// Where the bundle is served in plaintext, on a loopback address, to a proxy that has a certificate of the web.
    #[arg(long, value_name = "ADDR")]
    bundle_http: Option<SocketAddr>,
    /// The bundle of another trust domain, in PEM or as SPIFFE's JSON: the workloads of this host are told it.
    #[arg(long, value_name = "DOMAIN=FILE", value_parser = federated)]
    federate: Vec<(TrustDomain, PathBuf)>,
    /// How long certificates are valid; they are renewed at half of it.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span)]
    leaf_ttl: Duration,
    /// Log lines as JSON. MIXER_LOG says what is logged, such as `info` or `mixer_ca=debug`.
    #[arg(long)]
    log_json: bool,
}

/// What lives shorter is renewed more often than it is worth, longer stays good too long after it was lost.
const LIVES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(7 * 86_400);

pub(super) fn run(args: Args) -> Result<(), Failed> {
    if !LIVES.contains(&args.leaf_ttl) {
        return Err(Failed::usage("--leaf-ttl is from 60s to 7d"));
    }
    crate::cli::serve::log(args.log_json);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("mixer-ca")
        .build()
        .map_err(|error| Failed::defect(format!("cannot start threads: {error}")))?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> Result<(), Failed> {
    let clock = Clock::system();
    let directory = Directory::open(&args.directory)?;
    let authority = Arc::new(Authority::open(directory, args.leaf_ttl, clock.clone())?);
    let documents = match args.documents.as_slice() {
        [] => None,
        paths => Some(read(paths, authority.trust_domain())?),
    };
    let (sources, entries) = documents.unzip();
    let config = Config {
        socket: args.socket,
        listen: args.listen,
        bundle: args.bundle_http,
        entries: entries.unwrap_or_default(),
        others: others(&args.federate)?,
        ..Config::default()
    };
    // Before anything is bound, so that a signal during the start is not lost.
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return Err(Failed::defect("cannot listen to signals"));
    };
    let random = Arc::new(Random::from_system());
    let running = Arc::new(Server::start(authority, config, random).await?);
    let address = |address: Option<SocketAddr>| address.map(tracing::field::display);
    tracing::info!(
        trust_domain = %running.authority().trust_domain(),
        socket = running.socket().map(|path| tracing::field::display(path.display())),
        listen = address(running.listen()),
        bundle = address(running.bundle()),
        "serving"
    );
    let tasks = Tasks::new();
    if let Some(sources) = sources {
        follow(args.documents, sources, running.clone(), &clock, &tasks);
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending");
    let _ = tasks.shutdown(&clock, PATIENCE).await;
    if let Some(running) = Arc::into_inner(running) {
        running.shutdown(PATIENCE).await;
    }
    Ok(())
}

/// Documents that hold, and the workloads in them.
fn read(paths: &[PathBuf], domain: &TrustDomain) -> Result<(Sources, Vec<Entry>), Failed> {
    let invalid = |why: String| Failed { code: INVALID, why };
    let rendered = |problems: mixer_documents::Diagnostics| {
        invalid(problems.render(loaded::in_color(&std::io::stderr())))
    };
    loaded::readable(paths).map_err(|_| Failed::unreadable("the documents are not there"))?;
    let sources = Sources::read(paths).map_err(rendered)?;
    let set = mixer_documents::load(sources.clone()).map_err(rendered)?;
    let entries = entries(&set, domain).map_err(invalid)?;
    Ok((sources, entries))
}

/// What the authority recognises by the `workload` documents of a set.
fn entries(set: &PolicySet, domain: &TrustDomain) -> Result<Vec<Entry>, String> {
    if set.mesh.trust_domain != domain.as_str() {
        return Err(format!(
            "the documents are of the trust domain `{}` (`mesh.trust_domain`), and the authority signs for `{domain}`",
            set.mesh.trust_domain
        ));
    }
    let entry = |workload: &Workload| {
        let id = SpiffeId::parse(&workload.id).map_err(|error| error.to_string())?;
        let attest = &workload.attest;
        let selectors = Selectors {
            uid: attest.uid,
            gid: attest.gid,
            path: attest.path.clone(),
        };
        Ok(Entry { id, selectors })
    };
    set.workloads.iter().map(entry).collect()
}

/// Takes over changed documents as they come; those with a mistake are said and change nothing.
fn follow(
    paths: Vec<PathBuf>,
    sources: Sources,
    running: Arc<Running>,
    clock: &Clock,
    tasks: &Tasks,
) {
    let mut changes = Watcher::start(paths, sources, clock.clone(), tasks).changes;
    tasks.spawn_until_stop("documents", async move {
        while changes.changed().await.is_ok() {
            let changed = changes.borrow_and_update().clone();
            let loaded = match changed {
                Some(Ok(sources)) => mixer_documents::load(sources),
                Some(Err(problems)) => Err(problems),
                None => continue,
            };
            let taken = loaded
                .map_err(|problems| explained(&problems).join("; "))
                .and_then(|set| entries(&set, running.authority().trust_domain()))
                .and_then(|entries| {
                    let count = entries.len();
                    let taken = running.recognise(entries).map(|()| count);
                    taken.map_err(|error| error.to_string())
                });
            match taken {
                Ok(workloads) => tracing::info!(workloads, "changed documents are in force"),
                Err(why) => tracing::error!("the changed documents are not in force: {why}"),
            }
        }
    });
}

fn federated(text: &str) -> Result<(TrustDomain, PathBuf), String> {
    let (domain, file) = text
        .split_once('=')
        .ok_or("write the trust domain, `=` and the file of its bundle")?;
    let domain = TrustDomain::parse(domain).map_err(|error| error.to_string())?;
    Ok((domain, file.into()))
}

fn others(files: &[(TrustDomain, PathBuf)]) -> Result<Bundles, Failed> {
    let bundle = |(domain, path): &(TrustDomain, PathBuf)| {
        let text = super::read(path)?;
        let read = if text.trim_start().starts_with('{') {
            TrustBundle::from_jwks(domain.clone(), text.as_bytes())
        } else {
            TrustBundle::from_pem(domain.clone(), text.as_bytes())
        };
        read.map_err(|error| Failed::unreadable(format!("{}: {error}", path.display())))
    };
    files.iter().map(bundle).collect()
}
