//! `mixer ca init DIR`.

use std::path::PathBuf;
use std::time::Duration;

use mixer_ca::{Authority, Root, State};
use mixer_identity::TrustDomain;
use mixer_runtime::Clock;

use super::{Failed, read, span};
use crate::cli::output::say;

/// Makes the directory of a new authority, with a root of its own or one that is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A directory that is not there, or is empty.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Whose ids it signs: `mesh.trust_domain` of the documents.
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    trust_domain: TrustDomain,
    /// How long the root is valid.
    #[arg(long, value_name = "TIME", default_value = "3650d", value_parser = span, conflicts_with = "cert")]
    root_ttl: Duration,
    /// A root that is there: the file of its certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The file of its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<(), Failed> {
    let now = Clock::system().wall();
    let root = match (&args.cert, &args.key) {
        (Some(cert), Some(key)) => {
            let (cert, key) = (read(cert)?, read(key)?);
            Root::from_pem(&cert, &key, &args.trust_domain, now).map_err(Failed::unreadable)?
        }
        _ => Root::generate(&args.trust_domain, now, args.root_ttl)?,
    };
    let directory = Authority::create(&args.directory, &args.trust_domain, &root, now)?;
    let state = State::read(&directory)?;
    let name = state.roots().first().map_or("", |root| &root.name);
    say(format_args!(
        "{} signs for {}: root {name}\n",
        args.directory.display(),
        args.trust_domain
    ));
    Ok(())
}
