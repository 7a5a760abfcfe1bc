//! `mixer ca issue DIR ID --out FOLDER`.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mixer_ca::{Attested, Authority, Directory};
use mixer_identity::{SpiffeId, pem};
use mixer_runtime::Clock;
use rustls_pki_types::PrivateKeyDer;

use super::{Failed, span};
use crate::cli::output::say;

/// Makes a key and its certificate, as files: for what can neither join nor reach the socket.
///
/// FOLDER gets tls.crt (leaf and intermediate), tls.key and ca.crt. Nobody renews them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The authority.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Whom it names, such as spiffe://cluster.local/ns/shop/sa/cart.
    #[arg(value_name = "ID")]
    id: SpiffeId,
    /// Where the files go.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// How long the certificate is valid, at most 90d.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span)]
    ttl: Duration,
}

/// Longer is what nobody finds again.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);

pub(super) fn run(args: Args) -> Result<(), Failed> {
    if args.ttl > LONGEST {
        return Err(Failed::usage(
            "--ttl is at most 90d: nothing revokes a certificate before it ends",
        ));
    }
    let directory = Directory::open(&args.directory)?;
    super::own(&directory, &args.id)?;
    let authority = Authority::open(directory, args.ttl, Clock::system())?;
    let svid = authority.svid(&args.id, &Attested::Operator)?;
    let PrivateKeyDer::Pkcs8(key) = svid.key() else {
        return Err(Failed::defect("the key is not PKCS#8"));
    };
    let chain: String = svid
        .chain()
        .iter()
        .map(|der| pem::certificate(der))
        .collect();
    let roots = authority.bundle().borrow().to_pem();
    let files = [
        ("tls.key", pem::private_key(key.secret_pkcs8_der()), 0o600),
        ("tls.crt", chain, 0o644),
        ("ca.crt", roots, 0o644),
    ];
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(&args.out);
    made.map_err(|error| failed(&args.out, &error))?;
    for (name, text, mode) in files {
        let path = args.out.join(name);
        write(&path, &text, mode).map_err(|error| failed(&path, &error))?;
    }
    say(format_args!(
        "{}/tls.crt: {} until {}, serial {}\n",
        args.out.display(),
        svid.id(),
        mixer_identity::Timestamp(svid.not_after()),
        svid.serial()
    ));
    Ok(())
}

/// Writes a file in the place of what is there, with this mode from the beginning.
fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

fn failed(path: &Path, error: &std::io::Error) -> Failed {
    Failed::unreadable(format!("cannot write {}: {error}", path.display()))
}
