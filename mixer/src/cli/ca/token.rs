//! `mixer ca token DIR ID`.

use std::path::PathBuf;
use std::time::Duration;

use mixer_ca::{Directory, Tokens};
use mixer_identity::SpiffeId;
use mixer_runtime::Clock;

use super::{Failed, own, span};
use crate::cli::output::say;

/// Makes a join token: good once, for one id, for a while.
///
/// Who joins with it renews its certificate by itself, until `mixer ca remove`. Give it together with `mixer ca bundle`, on a way
/// that nobody else can read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The authority.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Whom it is for, such as spiffe://cluster.local/ns/shop/sa/cart.
    #[arg(value_name = "ID")]
    id: SpiffeId,
    /// How long it is good.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span)]
    ttl: Duration,
}

pub(super) fn run(args: Args) -> Result<(), Failed> {
    let directory = Directory::open(&args.directory)?;
    own(&directory, &args.id)?;
    let now = Clock::system().wall();
    let token = Tokens::of(&directory).create(&args.id, args.ttl, now)?;
    say(format_args!("{}\n", token.reveal()));
    eprintln!(
        "good once, for {}, until {}",
        args.id,
        mixer_identity::Timestamp(now + args.ttl)
    );
    Ok(())
}
