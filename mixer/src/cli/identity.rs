//! `mixer identity show FILE|ADDRESS`: who somebody is, and why a certificate is refused.

mod shown;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use mixer_identity::{
    Bundles, Leaf, Peer, SpiffeId, TrustBundle, WorkloadApi, certificates_from_pem, look,
};
use mixer_runtime::Clock;
use rustls_pki_types::{CertificateDer, ServerName};

use super::output::{Output, say, say_json};
use super::{FINDINGS, UNREADABLE, USAGE};
use shown::Shown;

/// Somebody needed cannot be reached (EX_UNAVAILABLE).
const UNAVAILABLE: u8 = 69;
/// How long somebody has to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows who somebody is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Show(Show),
}

/// Shows ids, chain and validity of certificates, and which rule a bad one breaks.
///
/// Exits with 79 when a certificate breaks a rule, or does not verify against --bundle.
#[derive(Debug, clap::Args)]
struct Show {
    /// A file of certificates in PEM; `host:port` of a server, which is asked by a TLS handshake; or `unix:///path`, the socket of
    /// a Workload API, which is asked who this process is.
    #[arg(value_name = "FILE|ADDRESS")]
    what: String,
    /// The bundle they must verify against: certificates in PEM, or SPIFFE's JSON.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// The id it must be.
    #[arg(long, value_name = "ID", requires = "bundle")]
    expect: Option<SpiffeId>,
    /// How it is shown.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Output,
}

/// Why nothing is shown.
struct Failed(u8, String);

/// A chain, and the bundle that came with it.
struct Found {
    chain: Vec<CertificateDer<'static>>,
    bundle: Option<TrustBundle>,
}

/// Looks, and shows.
pub(crate) fn run(args: Args) -> ExitCode {
    let Verb::Show(args) = args.verb;
    match show(&args, &Clock::system()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FINDINGS),
        Err(Failed(code, why)) => {
            eprintln!("{why}");
            ExitCode::from(code)
        }
    }
}

/// Whether all is well.
fn show(args: &Show, clock: &Clock) -> Result<bool, Failed> {
    let Found { chain, bundle } = found(&args.what, clock)?;
    let leaf = chain.first().and_then(|leaf| Leaf::parse(leaf).ok());
    let bundle = match &args.bundle {
        Some(path) => match &leaf {
            Some(leaf) => Some(self::bundle(path, leaf)?),
            None => None,
        },
        None => bundle,
    };
    let verified = match (&leaf, bundle) {
        (Some(leaf), Some(bundle)) => Some(verify(
            &leaf.id,
            &chain,
            bundle,
            args.expect.as_ref(),
            clock,
        )),
        (None, _) if args.bundle.is_some() => {
            Some(Err("its first certificate is no SVID".to_owned()))
        }
        _ => None,
    };
    let shown = Shown::of(&chain, verified, clock.wall());
    match args.output {
        Output::Text => say(&shown),
        Output::Json => say_json(&shown),
    }
    Ok(shown.is_good())
}

fn verify(
    id: &SpiffeId,
    chain: &[CertificateDer<'static>],
    bundle: TrustBundle,
    expected: Option<&SpiffeId>,
    clock: &Clock,
) -> Result<(), String> {
    let peer = Peer {
        id: id.clone(),
        chain: chain.to_vec(),
    };
    let bundles = Bundles::from_iter([bundle]);
    let trusted = peer.still_trusted(&bundles, clock.wall());
    trusted.map_err(|untrusted| untrusted.to_string())?;
    match expected {
        Some(expected) if expected != id => Err(format!("it is {id}, and not {expected}")),
        _ => Ok(()),
    }
}

/// What is to be shown.
fn found(what: &str, clock: &Clock) -> Result<Found, Failed> {
    let unreachable = |why: String| Failed(UNAVAILABLE, format!("{what}: {why}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed(1, format!("cannot start: {error}")))?;
    if what.starts_with("unix:") {
        let api = WorkloadApi::parse(what).map_err(|error| Failed(USAGE, error.to_string()))?;
        let asked = runtime.block_on(clock.within(PATIENCE, api.fetch(clock)));
        let asked = asked.ok_or_else(|| unreachable("no answer in 10 s".to_owned()))?;
        let identity = asked.map_err(|error| unreachable(error.to_string()))?;
        let own = identity.bundles().of(identity.id().trust_domain());
        return Ok(Found {
            chain: identity.svid().chain().to_vec(),
            bundle: own.map(|bundle| TrustBundle::clone(bundle)),
        });
    }
    let path = Path::new(what);
    let chain = if path.exists() {
        let read = certificates_from_pem(&read(path)?);
        read.map_err(|error| Failed(UNREADABLE, format!("{what}: {error}")))?
    } else {
        let host = what.rsplit_once(':').map(|(host, _)| host);
        let host = host.ok_or_else(|| {
            let why = "is neither a file, nor host:port, nor unix:///path";
            Failed(UNREADABLE, format!("{what} {why}"))
        })?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| Failed(USAGE, format!("`{host}` is no host")))?;
        let looked = runtime.block_on(clock.within(PATIENCE, look(what, name)));
        let looked = looked.ok_or_else(|| unreachable("no answer in 10 s".to_owned()))?;
        looked.map_err(|error| unreachable(error.to_string()))?
    };
    let bundle = None;
    Ok(Found { chain, bundle })
}

/// The bundle in a file, of the trust domain of the leaf that is checked against it.
fn bundle(path: &Path, leaf: &Leaf) -> Result<TrustBundle, Failed> {
    let text = read(path)?;
    let domain = leaf.id.trust_domain().clone();
    let read = match text.trim_ascii_start().starts_with(b"{") {
        true => TrustBundle::from_jwks(domain, &text),
        false => TrustBundle::from_pem(domain, &text),
    };
    read.map_err(|error| Failed(UNREADABLE, format!("{}: {error}", path.display())))
}

fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    std::fs::read(path).map_err(|error| {
        Failed(
            UNREADABLE,
            format!("cannot read {}: {error}", path.display()),
        )
    })
}
