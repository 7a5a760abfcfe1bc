//! `mixer ca bundle DIR`.

use std::path::PathBuf;

use mixer_ca::{Directory, State};

use super::Failed;
use crate::cli::output::say;

/// Prints the roots of the trust domain: what is given to those who join, and to other trust domains.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The authority.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How they are written.
    #[arg(long, value_name = "FORM", default_value = "pem")]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Certificates.
    Pem,
    /// A SPIFFE bundle: JSON Web Keys, as other trust domains read them.
    Spiffe,
}

pub(super) fn run(args: Args) -> Result<(), Failed> {
    let directory = Directory::open(&args.directory)?;
    let bundle = State::read(&directory)?.bundle(&directory)?;
    match args.format {
        Format::Pem => say(bundle.to_pem()),
        Format::Spiffe => {
            let jwks = bundle.to_jwks().map_err(Failed::defect)?;
            say(format_args!("{jwks}\n"));
        }
    }
    Ok(())
}
