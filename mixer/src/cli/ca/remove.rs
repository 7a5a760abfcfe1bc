//! `mixer ca remove DIR ID`.

use std::path::PathBuf;

use mixer_ca::{Directory, Tokens};
use mixer_identity::SpiffeId;

use super::Failed;
use crate::cli::output::say;

/// Strikes a workload off that joined with a token: it gets no other certificate.
///
/// What it has stays good until it ends, within a day: certificates are short so that none has to be revoked. Tokens for it that
/// were not used are no longer good.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The authority.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Whom.
    #[arg(value_name = "ID")]
    id: SpiffeId,
}

pub(super) fn run(args: Args) -> Result<(), Failed> {
    let tokens = Tokens::of(&Directory::open(&args.directory)?);
    if tokens.strike_off(&args.id)? {
        say(format_args!("{} is not renewed any more\n", args.id));
        return Ok(());
    }
    let members = tokens.members()?;
    let members: Vec<&str> = members.iter().map(SpiffeId::as_str).collect();
    Err(Failed::usage(match members.as_slice() {
        [] => format!("{} did not join: nobody has", args.id),
        members => format!(
            "{} did not join; these have:\n{}",
            args.id,
            members.join("\n")
        ),
    }))
}
