//! An identity from files: what cert-manager, SPIRE's helpers or a Kubernetes Secret write into a directory.
//!
//! The directory is read again and again rather than watched. A Secret is swapped by a symlink two levels up, a network file
//! system tells nobody, and three small files cost nothing to read; a watch would need a second way for what it misses. An
//! update that does not hold (half written, another's key, expired) is logged once and the identity in use stays.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mixer_runtime::{Clock, Tasks};

use crate::{
    Bundles, Identity, InvalidBundle, InvalidId, InvalidSvid, Source, Svid, TrustBundle,
    TrustDomain,
};

/// How certificate chain, key and bundle are called: cert-manager and Secrets, SPIRE's spiffe-helper, Istio's agent.
const NAMES: [[&str; 3]; 3] = [
    ["tls.crt", "tls.key", "ca.crt"],
    ["svid.pem", "svid_key.pem", "svid_bundle.pem"],
    ["cert-chain.pem", "key.pem", "root-cert.pem"],
];
/// Bundles of other trust domains: `partner.example.bundle.pem`, or in SPIFFE's format with `.json`.
const OTHER_PEM: &str = ".bundle.pem";
const OTHER_JWKS: &str = ".bundle.json";
/// No certificate file comes near; more is a mistake that should not be read into memory.
const LARGEST: u64 = 4 * 1024 * 1024;

/// A directory with an identity.
#[derive(Clone, Debug)]
pub struct Files {
    /// Where the files are.
    pub directory: PathBuf,
    /// How often to look for changes.
    pub every: Duration,
}

/// Why a directory holds no identity.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFiles {
    /// Nothing there by a name we know.
    #[error(
        "{0} has no certificate: name the files tls.crt, tls.key and ca.crt (or svid.pem, svid_key.pem, svid_bundle.pem; or cert-chain.pem, key.pem, root-cert.pem)"
    )]
    NoCertificate(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// Larger than any certificate.
    #[error("{0} has {1} bytes, more than a certificate file can have")]
    TooLarge(PathBuf, u64),
    /// Certificate or key.
    #[error("{0}: {1}")]
    Svid(PathBuf, InvalidSvid),
    /// A bundle.
    #[error("{0}: {1}")]
    Bundle(PathBuf, InvalidBundle),
    /// A bundle whose file name names no trust domain.
    #[error("{0}: the file's name must be a trust domain and .bundle.pem or .bundle.json: {1}")]
    Name(PathBuf, InvalidId),
}

/// The bytes of all files that matter, with their paths.
#[derive(PartialEq, Eq)]
struct Read {
    chain: (PathBuf, Vec<u8>),
    key: (PathBuf, Vec<u8>),
    bundle: (PathBuf, Vec<u8>),
    others: Vec<(PathBuf, Vec<u8>)>,
}

impl Files {
    /// A directory, looked at every second.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            every: Duration::from_secs(1),
        }
    }

    /// Reads the identity once.
    pub async fn load(&self, clock: &Clock) -> Result<Identity, InvalidFiles> {
        self.read().await?.identity(clock.wall())
    }

    /// Reads the identity and keeps it current for as long as the tasks run. Fails when it cannot be read now: a process that
    /// starts without the identity it was told to have has a problem to show.
    pub async fn watch(self, tasks: &Tasks, clock: &Clock) -> Result<Source, InvalidFiles> {
        let mut seen = self.read().await?;
        let (publisher, source) = Source::updated();
        publisher.publish(seen.identity(clock.wall())?);
        let clock = clock.clone();
        tasks.spawn_until_stop("identity-files", async move {
            let mut problem = None;
            loop {
                clock.sleep(self.every).await;
                let read = match self.read().await {
                    Ok(read) if read == seen => continue,
                    Ok(read) => read,
                    Err(error) => {
                        complain(&mut problem, &error);
                        continue;
                    }
                };
                match read.identity(clock.wall()) {
                    Ok(identity) => {
                        problem = None;
                        let (id, until) = (identity.id().clone(), identity.svid().not_after());
                        tracing::info!(%id, until = %crate::Timestamp(until), "new identity");
                        publisher.publish(identity);
                        seen = read;
                    }
                    Err(error) => complain(&mut problem, &error),
                }
            }
        });
        Ok(source)
    }

    async fn read(&self) -> Result<Read, InvalidFiles> {
        let mut names = Vec::new();
        let unreadable = |error| InvalidFiles::Read(self.directory.clone(), error);
        let mut entries = tokio::fs::read_dir(&self.directory)
            .await
            .map_err(unreadable)?;
        while let Some(entry) = entries.next_entry().await.map_err(unreadable)? {
            names.extend(entry.file_name().into_string());
        }
        names.sort_unstable();
        let [chain, key, bundle] = NAMES
            .into_iter()
            .find(|[chain, ..]| names.iter().any(|name| name == chain))
            .ok_or_else(|| InvalidFiles::NoCertificate(self.directory.clone()))?;
        let mut others = Vec::new();
        for name in &names {
            if name.ends_with(OTHER_PEM) || name.ends_with(OTHER_JWKS) {
                others.push(self.file(name).await?);
            }
        }
        Ok(Read {
            chain: self.file(chain).await?,
            key: self.file(key).await?,
            bundle: self.file(bundle).await?,
            others,
        })
    }

    async fn file(&self, name: &str) -> Result<(PathBuf, Vec<u8>), InvalidFiles> {
        let path = self.directory.join(name);
        let unreadable = |error| InvalidFiles::Read(path.clone(), error);
        let length = tokio::fs::metadata(&path).await.map_err(unreadable)?.len();
        if length > LARGEST {
            return Err(InvalidFiles::TooLarge(path, length));
        }
        let bytes = tokio::fs::read(&path).await.map_err(unreadable)?;
        Ok((path, bytes))
    }
}

impl Read {
    fn identity(&self, now: SystemTime) -> Result<Identity, InvalidFiles> {
        let svid = Svid::from_pem(&self.chain.1, &self.key.1, now).map_err(|error| {
            let path = match error {
                InvalidSvid::Key(_) => &self.key.0,
                _ => &self.chain.0,
            };
            InvalidFiles::Svid(path.clone(), error)
        })?;
        let own = svid.id().trust_domain().clone();
        let mut bundles = Bundles::new();
        for (path, bytes) in &self.others {
            bundles.insert(other(path, bytes)?);
        }
        bundles.insert(
            TrustBundle::from_pem(own, &self.bundle.1)
                .map_err(|error| InvalidFiles::Bundle(self.bundle.0.clone(), error))?,
        );
        Ok(Identity::new(Arc::new(svid), Arc::new(bundles)))
    }
}

/// The bundle of another trust domain, which the file's name tells.
fn other(path: &Path, bytes: &[u8]) -> Result<TrustBundle, InvalidFiles> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let (trust_domain, pem) = match name.strip_suffix(OTHER_PEM) {
        Some(trust_domain) => (trust_domain, true),
        None => (name.trim_end_matches(OTHER_JWKS), false),
    };
    let trust_domain = TrustDomain::parse(trust_domain)
        .map_err(|error| InvalidFiles::Name(path.to_owned(), error))?;
    match pem {
        true => TrustBundle::from_pem(trust_domain, bytes),
        false => TrustBundle::from_jwks(trust_domain, bytes),
    }
    .map_err(|error| InvalidFiles::Bundle(path.to_owned(), error))
}

/// Says each problem once, not once a second.
fn complain(last: &mut Option<String>, error: &InvalidFiles) {
    let text = error.to_string();
    if last.as_deref() != Some(&text) {
        tracing::error!("the identity in use stays: {text}");
        *last = Some(text);
    }
}
