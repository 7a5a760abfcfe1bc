//! The roots of a trust domain over time, and how one takes the place of another without anybody noticing.
//!
//! A new root is first only in the bundle ([`Stage::Next`]), until everybody has heard of it. Then it signs, and the one before
//! is retired: its key is gone at once, its certificate stays in the bundle until the last leaf below it is over. At every moment
//! each certificate that is in use verifies against the bundle of that moment and against the one before.

use std::time::{Duration, SystemTime};

use mixer_identity::{TrustBundle, TrustDomain};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::certificate::{self, Root, SigningFailed, seconds};
use crate::directory::Lock;
use crate::{Directory, DirectoryError};

const FILE: &str = "state.json";
/// What a retired root stays beyond its last leaf: another process may have signed a little later.
const GRACE: u64 = 600;

/// What the authority knows beside its keys: which roots there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    trust_domain: String,
    sequence: u64,
    roots: Vec<RootState>,
}

/// One root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootState {
    /// The beginning of its digest.
    pub name: String,
    /// What it does.
    pub stage: Stage,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The longest life of a leaf below it, in seconds.
    pub longest_leaf: u64,
}

/// What a root does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It is in the bundle.
    Next,
    /// It signs.
    Signing,
    /// It is in the bundle until then, in seconds since 1970.
    Retired(u64),
}

/// What a step of the rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// This root is in the bundle now.
    Prepared(String),
    /// This root signs now; the one before stays in the bundle until then, in seconds since 1970.
    Signs {
        /// The new root.
        root: String,
        /// The one before.
        before: String,
        /// Until when that stays.
        until: u64,
    },
}

/// Why a step of the rotation is not made.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Not everybody may have heard of the next root.
    #[error(
        "the next root {root} has been in the bundle for {} min only; it signs when everybody has heard of it: wait until it has been there for {} min",
        waited.as_secs() / 60, wait.as_secs() / 60
    )]
    TooEarly {
        /// The next root.
        root: String,
        /// For how long it has been there.
        waited: Duration,
        /// For how long it must be there.
        wait: Duration,
    },
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A new root cannot be made.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
}

impl State {
    /// That of a new authority with this root.
    pub(crate) fn create(
        directory: &Directory,
        trust_domain: &TrustDomain,
        root: &Root,
        now: SystemTime,
    ) -> Result<(), DirectoryError> {
        keep(directory, root)?;
        Self {
            trust_domain: trust_domain.as_str().to_owned(),
            sequence: 1,
            roots: vec![RootState::new(root, Stage::Signing, now)],
        }
        .write(directory)
    }

    /// What the directory says.
    pub fn read(directory: &Directory) -> Result<Self, DirectoryError> {
        let text = directory
            .read(FILE)?
            .ok_or_else(|| DirectoryError::Missing(directory.path("")))?;
        let state: Self =
            serde_json::from_str(&text).map_err(|error| directory.damaged(FILE, error))?;
        let signing = state
            .roots
            .iter()
            .filter(|root| root.stage == Stage::Signing);
        match signing.count() {
            1 => Ok(state),
            other => Err(directory.damaged(FILE, format!("{other} roots sign"))),
        }
    }

    /// Its roots: the one that signs, the next, those that are retired.
    pub fn roots(&self) -> &[RootState] {
        &self.roots
    }

    /// Rises with every change of the bundle.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whose roots they are.
    pub fn trust_domain(&self, directory: &Directory) -> Result<TrustDomain, DirectoryError> {
        TrustDomain::parse(&self.trust_domain).map_err(|error| directory.damaged(FILE, error))
    }

    /// The root that signs.
    pub(crate) fn signing(&self) -> &RootState {
        // Reading refuses a state without one, and no step leaves one behind.
        let mut roots = self.roots.iter();
        roots
            .find(|root| root.stage == Stage::Signing)
            .unwrap_or(&self.roots[0])
    }

    /// The root that signs, with its key.
    pub(crate) fn signing_root(
        &self,
        directory: &Directory,
        now: SystemTime,
    ) -> Result<Root, DirectoryError> {
        let name = &self.signing().name;
        let (certificate, key) = (format!("roots/{name}.pem"), format!("roots/{name}.key"));
        let read = |name: &str| {
            let text = directory.read(name)?;
            text.ok_or_else(|| directory.damaged(name, "it is not there"))
        };
        let (certificate_pem, key_pem) = (read(&certificate)?, read(&key)?);
        let domain = self.trust_domain(directory)?;
        Root::from_pem(&certificate_pem, &key_pem, &domain, now)
            .map_err(|error| directory.damaged(&certificate, error))
    }

    /// The certificates of all roots, the one that signs first.
    pub fn bundle(&self, directory: &Directory) -> Result<TrustBundle, DirectoryError> {
        let (mut first, others): (Vec<_>, Vec<_>) = self
            .roots
            .iter()
            .partition(|root| root.stage == Stage::Signing);
        first.extend(others);
        let certificates = first
            .into_iter()
            .map(|root| {
                let name = format!("roots/{}.pem", root.name);
                let text = directory.read(&name)?;
                text.as_deref()
                    .and_then(certificate::from_pem)
                    .ok_or_else(|| directory.damaged(&name, "it is not there, or no certificate"))
            })
            .collect::<Result<Vec<CertificateDer<'static>>, DirectoryError>>()?;
        let bundle = TrustBundle::new(self.trust_domain(directory)?, certificates)
            .map_err(|error| directory.damaged("roots", error))?;
        Ok(bundle.with_sequence(self.sequence))
    }

    /// Makes the next step of a rotation: a next root, or that it signs once it has been in the bundle for `wait`.
    pub fn rotate(
        directory: &Directory,
        now: SystemTime,
        root_life: Duration,
        wait: Duration,
    ) -> Result<Rotated, RotateError> {
        let lock = directory.lock()?;
        let mut state = Self::read(directory)?;
        let at = seconds(now);
        let next = state.roots.iter().find(|root| root.stage == Stage::Next);
        let Some(next) = next.cloned() else {
            let root = Root::generate(&state.trust_domain(directory)?, now, root_life)?;
            keep(directory, &root)?;
            state.roots.push(RootState::new(&root, Stage::Next, now));
            state.publish(directory, &lock)?;
            return Ok(Rotated::Prepared(root.name()));
        };
        let waited = Duration::from_secs(at.saturating_sub(next.since));
        if waited < wait {
            return Err(RotateError::TooEarly {
                root: next.name,
                waited,
                wait,
            });
        }
        let before = state.signing().clone();
        let until = at + before.longest_leaf + GRACE;
        for root in &mut state.roots {
            match root.stage {
                Stage::Signing => root.stage = Stage::Retired(until),
                Stage::Next => (root.stage, root.since) = (Stage::Signing, at),
                Stage::Retired(_) => {}
            }
        }
        state.publish(directory, &lock)?;
        directory.remove(&format!("roots/{}.key", before.name))?;
        Ok(Rotated::Signs {
            root: next.name,
            before: before.name,
            until,
        })
    }

    /// Drops the retired roots below which no leaf is left. Their names.
    pub(crate) fn drop_retired(
        directory: &Directory,
        now: SystemTime,
    ) -> Result<Vec<String>, DirectoryError> {
        let over = |root: &RootState| match root.stage {
            Stage::Retired(until) => until <= seconds(now),
            _ => false,
        };
        if !Self::read(directory)?.roots.iter().any(over) {
            return Ok(Vec::new());
        }
        let lock = directory.lock()?;
        let mut state = Self::read(directory)?;
        let gone: Vec<String> = state
            .roots
            .extract_if(.., |root| over(root))
            .map(|root| root.name)
            .collect();
        if gone.is_empty() {
            return Ok(gone);
        }
        state.publish(directory, &lock)?;
        for name in &gone {
            directory.remove(&format!("roots/{name}.pem"))?;
            directory.remove(&format!("roots/{name}.key"))?;
        }
        Ok(gone)
    }

    /// Notes that a leaf below the root that signs may live that long.
    pub(crate) fn allow_leaf(
        directory: &Directory,
        root: &str,
        life: Duration,
    ) -> Result<Self, DirectoryError> {
        let _lock = directory.lock()?;
        let mut state = Self::read(directory)?;
        let mut roots = state.roots.iter_mut();
        if let Some(root) = roots.find(|known| known.name == root)
            && root.longest_leaf < life.as_secs()
        {
            root.longest_leaf = life.as_secs();
            state.write(directory)?;
        }
        Ok(state)
    }

    /// Writes a change of the bundle, which only who holds the lock may make.
    fn publish(&mut self, directory: &Directory, _lock: &Lock) -> Result<(), DirectoryError> {
        self.sequence += 1;
        self.write(directory)
    }

    fn write(&self, directory: &Directory) -> Result<(), DirectoryError> {
        let text =
            serde_json::to_string_pretty(self).map_err(|error| directory.damaged(FILE, error))?;
        directory.write(FILE, &(text + "\n"))
    }
}

impl RootState {
    fn new(root: &Root, stage: Stage, now: SystemTime) -> Self {
        Self {
            name: root.name(),
            stage,
            since: seconds(now),
            longest_leaf: 0,
        }
    }
}

/// Writes a root's certificate and key.
fn keep(directory: &Directory, root: &Root) -> Result<(), DirectoryError> {
    let name = root.name();
    directory.write(&format!("roots/{name}.key"), &root.key_pem())?;
    directory.write(
        &format!("roots/{name}.pem"),
        &mixer_identity::pem::certificate(root.certificate()),
    )
}
