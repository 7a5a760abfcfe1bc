//! What signs.
//!
//! A root signs intermediates only, and an intermediate signs leaves for a few days. Its key is never written: a process that
//! starts makes a new one. Roots are changed by other processes too (`mixer ca rotate`), so the directory is looked at again every
//! second; whatever is wrong with it then, the intermediate that is there goes on signing until it ends.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use mixer_identity::{InvalidSvid, Leaf, SpiffeId, Svid, Timestamp, TrustBundle, TrustDomain};
use mixer_runtime::Clock;
use rcgen::PublicKeyData;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use crate::certificate::{self, Key, Root, Signer, SigningFailed};
use crate::{Directory, DirectoryError, PublicKey, State};

/// How long leaves live where nobody says otherwise: 24 hours.
pub const LEAF_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long roots live where nobody says otherwise: ten years.
pub const ROOT_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// How long an intermediate signs at least, if the root does not end before.
const INTERMEDIATE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The path of the authority's own id.
const OWN_PATH: &str = "mixer-ca";

/// A certificate authority: its roots, and the intermediate that signs at the moment.
pub struct Authority {
    directory: Directory,
    trust_domain: TrustDomain,
    id: SpiffeId,
    leaf: Duration,
    clock: Clock,
    signing: Mutex<Signing>,
    bundle: watch::Sender<Arc<TrustBundle>>,
}

struct Signing {
    state: State,
    signer: Signer,
    certificate: CertificateDer<'static>,
    /// When the next intermediate is made.
    renew: SystemTime,
    end: SystemTime,
}

/// How somebody was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attested {
    /// A process of this host, by the kernel.
    Process {
        /// Its number.
        pid: Option<u32>,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// By a join token, whose digest begins so.
    Token(String),
    /// By the certificate it has, of this serial number.
    Certificate(String),
    /// By whoever runs `mixer ca issue`.
    Operator,
    /// The authority itself.
    Itself,
}

/// A certificate that was signed.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What it says.
    pub leaf: Leaf,
    /// Leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Not an id of a workload of this trust domain.
    #[error("this authority signs for workloads of {1}, and {0} is none")]
    Foreign(SpiffeId, TrustDomain),
    /// The authority's own id.
    #[error("{0} is the authority's own id: no workload can have it")]
    Reserved(SpiffeId),
    /// Nothing can sign at the moment.
    #[error("the authority's own certificate has ended and no other can be made: {0}")]
    Over(String),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Signing failed.
    #[error(transparent)]
    Signing(#[from] SigningFailed),
    /// What was signed is not an SVID; a defect of ours.
    #[error("the certificate that was made is wrong: {0}")]
    Svid(#[from] InvalidSvid),
}

impl Authority {
    /// Makes the directory of a new authority, with a root of its own or the one given.
    pub fn create(
        path: &Path,
        trust_domain: &TrustDomain,
        root: &Root,
        now: SystemTime,
    ) -> Result<Directory, DirectoryError> {
        let directory = Directory::create(path)?;
        State::create(&directory, trust_domain, root, now)?;
        Ok(directory)
    }

    /// Opens a directory, and makes an intermediate. What is signed lives as long as `leaf` says.
    pub fn open(directory: Directory, leaf: Duration, clock: Clock) -> Result<Self, IssueError> {
        let state = State::read(&directory)?;
        let trust_domain = state.trust_domain(&directory)?;
        let signing = Signing::begin(state, &directory, &trust_domain, leaf, &clock)?;
        let bundle = signing.state.bundle(&directory)?;
        let id = SpiffeId::parse(&format!("{}/{OWN_PATH}", trust_domain.id()))
            .map_err(|error| directory.damaged("state.json", error))?;
        Ok(Self {
            directory,
            trust_domain,
            id,
            leaf,
            clock,
            signing: Mutex::new(signing),
            bundle: watch::Sender::new(Arc::new(bundle)),
        })
    }

    /// Whose ids it signs.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its own id, which it shows to callers over the network.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Where it keeps its state.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The clock it lives by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How long the leaves live that it signs.
    pub fn leaf_life(&self) -> Duration {
        self.leaf
    }

    /// The roots of the trust domain, now and whenever they change.
    pub fn bundle(&self) -> watch::Receiver<Arc<TrustBundle>> {
        self.bundle.subscribe()
    }

    /// Signs a certificate of `id` for a key. Whoever calls has made sure that the id is the caller's.
    pub fn sign(
        &self,
        id: &SpiffeId,
        key: &PublicKey,
        attested: &Attested,
    ) -> Result<Issued, IssueError> {
        self.issue(id, key, attested)
    }

    /// A key and its certificate, both made here: for a process of this host.
    pub fn svid(&self, id: &SpiffeId, attested: &Attested) -> Result<Svid, IssueError> {
        let key = Key::generate()?;
        let issued = self.issue(id, &key.0, attested)?;
        let key = PrivateKeyDer::from(key.0);
        Ok(Svid::new(issued.chain, key, self.clock.wall())?)
    }

    /// Looks at the directory again: another process may have changed the roots, and retired ones may be over.
    pub fn refresh(&self) -> Result<(), IssueError> {
        for root in State::drop_retired(&self.directory, self.clock.wall())? {
            tracing::info!(root, "a retired root is no longer in the bundle");
        }
        let state = State::read(&self.directory)?;
        let mut signing = self.signing();
        self.adopt(&mut signing, state)
    }

    fn issue(
        &self,
        id: &SpiffeId,
        key: &impl PublicKeyData,
        attested: &Attested,
    ) -> Result<Issued, IssueError> {
        if id.trust_domain() != &self.trust_domain || id.path().is_empty() {
            return Err(IssueError::Foreign(id.clone(), self.trust_domain.clone()));
        }
        if *id == self.id && *attested != Attested::Itself {
            return Err(IssueError::Reserved(id.clone()));
        }
        let now = self.clock.wall();
        let chain = {
            let mut signing = self.signing();
            if now >= signing.renew
                && let Err(error) = self.renew(&mut signing)
            {
                tracing::error!("no new intermediate can be made: {error}");
                if now >= signing.end {
                    return Err(IssueError::Over(error.to_string()));
                }
            }
            let not_after = (now + self.leaf).min(signing.end);
            let leaf = certificate::leaf(id.as_str(), key, &signing.signer, now, not_after)?;
            vec![leaf, signing.certificate.clone()]
        };
        // As whoever gets it will read it.
        let leaf = Leaf::parse(&chain[0]).map_err(InvalidSvid::Leaf)?;
        tracing::info!(
            id = %leaf.id,
            serial = leaf.serial,
            attested = %attested,
            not_before = %Timestamp(leaf.validity.not_before),
            not_after = %Timestamp(leaf.validity.not_after),
            "issued"
        );
        Ok(Issued { leaf, chain })
    }

    /// Replaces an intermediate that has done half of its service.
    fn renew(&self, signing: &mut Signing) -> Result<(), IssueError> {
        let state = State::read(&self.directory)?;
        let next = Signing::begin(
            state,
            &self.directory,
            &self.trust_domain,
            self.leaf,
            &self.clock,
        )?;
        *signing = next;
        self.announce(&signing.state)
    }

    /// Takes over what another process changed.
    fn adopt(&self, signing: &mut Signing, state: State) -> Result<(), IssueError> {
        if signing.state.signing().name != state.signing().name {
            tracing::info!(root = state.signing().name, "another root signs");
            return self.renew(signing);
        }
        if signing.state != state {
            signing.state = state;
            self.announce(&signing.state)?;
        }
        Ok(())
    }

    /// Tells who follows the bundle, if it changed.
    fn announce(&self, state: &State) -> Result<(), IssueError> {
        let bundle = Arc::new(state.bundle(&self.directory)?);
        self.bundle.send_if_modified(|known| {
            let changed = known.sequence() != bundle.sequence();
            if changed {
                tracing::info!(
                    sequence = state.sequence(),
                    roots = bundle.authorities().len(),
                    "the bundle changed"
                );
                *known = bundle;
            }
            changed
        });
        Ok(())
    }

    fn signing(&self) -> MutexGuard<'_, Signing> {
        self.signing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signing {
    /// A new intermediate below the root that signs. That a leaf may live so long is written down before any does.
    fn begin(
        state: State,
        directory: &Directory,
        trust_domain: &TrustDomain,
        leaf: Duration,
        clock: &Clock,
    ) -> Result<Self, IssueError> {
        let mut state = state;
        loop {
            let name = state.signing().name.clone();
            state = State::allow_leaf(directory, &name, leaf)?;
            if state.signing().name == name {
                break;
            }
        }
        let now = clock.wall();
        let root = state.signing_root(directory, now)?;
        let life = INTERMEDIATE.max(leaf * 2);
        let (signer, certificate, end) = root.intermediate(trust_domain, now, now + life)?;
        let left = end.duration_since(now).unwrap_or_default();
        if left < life {
            tracing::warn!(
                root = state.signing().name,
                "the root ends at {}: `mixer ca rotate` makes the next one",
                Timestamp(end)
            );
        }
        Ok(Self {
            state,
            signer,
            certificate,
            renew: now + left / 2,
            end,
        })
    }
}

impl fmt::Display for Attested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attested::Process { pid, uid, gid } => {
                write!(f, "process uid={uid} gid={gid}")?;
                pid.map_or(Ok(()), |pid| write!(f, " pid={pid}"))
            }
            Attested::Token(digest) => write!(f, "token {digest}"),
            Attested::Certificate(serial) => write!(f, "certificate {serial}"),
            Attested::Operator => f.write_str("operator"),
            Attested::Itself => f.write_str("itself"),
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}
