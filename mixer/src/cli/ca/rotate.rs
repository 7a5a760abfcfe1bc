//! `mixer ca rotate DIR`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mixer_ca::{Directory, Rotated, State};
use mixer_identity::Timestamp;
use mixer_runtime::Clock;

use super::{Failed, span};
use crate::cli::output::say;

/// Makes the next step towards a new root; it takes two, and time between them.
///
/// First a new root is made and heard of by everybody, then it signs. The one before stays trusted until the last certificate
/// below it has ended, and goes by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The authority.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How long the new root is valid.
    #[arg(long, value_name = "TIME", default_value = "3650d", value_parser = span)]
    root_ttl: Duration,
    /// How long everybody has to hear of the new root before it signs.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span)]
    wait: Duration,
    /// Sign with the new root though `--wait` is not over: who has not heard of it will trust no new certificate.
    #[arg(long)]
    now: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failed> {
    let directory = Directory::open(&args.directory)?;
    let wait = if args.now { Duration::ZERO } else { args.wait };
    let now = Clock::system().wall();
    match State::rotate(&directory, now, args.root_ttl, wait)? {
        Rotated::Prepared(root) => say(format_args!(
            "root {root} is in the bundle; the second `mixer ca rotate` lets it sign, after {}\n",
            Timestamp(now + args.wait)
        )),
        Rotated::Signs {
            root,
            before,
            until,
        } => say(format_args!(
            "root {root} signs; root {before} stays in the bundle until {}\n",
            Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(until))
        )),
    }
    Ok(())
}
