//! A whole authority: the socket of the Workload API, signing over the network, the bundle for others. What `mixer ca serve` runs,
//! and what the demo and tests run in their own process.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mixer_identity::{Bundles, Identity, Publisher, Source, TrustBundle};
use mixer_proto::spiffe::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use mixer_runtime::{Drain, Random, Tasks};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;

use crate::attest::Entries;
use crate::federation::Network;
use crate::listener::{self, Surroundings};
use crate::signing::Signing;
use crate::throttle::{Rates, Throttle};
use crate::workload_api::WorkloadApi;
use crate::{Attested, Authority, Entry, IssueError, Tokens};

/// How often the directory is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Every how many looks the tokens are swept.
const SWEEP: u32 = 60;
/// Bytes of a request of the Workload API: they are empty.
const MESSAGE: usize = 4 << 10;
/// The rest after the authority's own certificate could not be made.
const RETRY: Duration = Duration::from_secs(10);

/// Where to listen, and for whom.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The socket of the Workload API; `None`: there is none.
    pub socket: Option<PathBuf>,
    /// Where certificates are signed over the network, and the bundle is served, with TLS; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Where the bundle is served in plaintext, on this machine only; `None`: nowhere.
    pub bundle: Option<SocketAddr>,
    /// The workloads of this host.
    pub entries: Vec<Entry>,
    /// The bundles of other trust domains, which workloads are told.
    pub others: Bundles,
    /// How often certificates may be asked for.
    pub rates: Rates,
}

/// Which listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// The Workload API.
    Socket(PathBuf),
    /// Signing.
    Network(SocketAddr),
    /// The bundle in plaintext.
    Bundle(SocketAddr),
}

/// Why an authority does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It has no certificate of its own.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// An entry that is not for a workload of this trust domain.
    #[error("{0} is not the id of a workload of this authority")]
    Entry(mixer_identity::SpiffeId),
    /// Another process has the place, or it cannot be had.
    #[error("cannot listen on {listen}: {error}")]
    Listen {
        /// Where.
        listen: Listen,
        /// Why not.
        error: io::Error,
    },
    /// Plaintext beyond this machine.
    #[error(
        "{0} is not a loopback address: in plaintext the bundle is for a proxy on this machine, which serves it to others with a certificate of the web"
    )]
    Plaintext(SocketAddr),
}

/// Starts authorities.
#[derive(Debug)]
pub struct Server;

/// An authority that serves. Dropping it ends it at once; [`Running::shutdown`] ends it well.
#[derive(Debug)]
pub struct Running {
    authority: Arc<Authority>,
    entries: watch::Sender<Entries>,
    _others: watch::Sender<Arc<Bundles>>,
    source: Source,
    socket: Option<PathBuf>,
    listen: Option<SocketAddr>,
    bundle: Option<SocketAddr>,
    drain: Drain,
    /// Streams that have no end of their own, and what goes on in the background.
    streams: Tasks,
    /// Listeners and connections.
    serving: Tasks,
}

impl Server {
    /// Makes the authority's own certificate, binds everything, then serves.
    pub async fn start(
        authority: Arc<Authority>,
        config: Config,
        random: Arc<Random>,
    ) -> Result<Running, StartError> {
        check(&authority, &config.entries)?;
        if let Some(address) = config.bundle.filter(|address| !address.ip().is_loopback()) {
            return Err(StartError::Plaintext(address));
        }
        let clock = authority.clock().clone();
        let (publisher, source) = Source::updated();
        publisher.publish(own(&authority)?);
        let socket = match &config.socket {
            Some(path) => Some(unix(path).await?),
            None => None,
        };
        let network = match config.listen {
            Some(address) => Some(bind(address, Listen::Network(address)).await?),
            None => None,
        };
        let public = match config.bundle {
            Some(address) => Some(bind(address, Listen::Bundle(address)).await?),
            None => None,
        };

        let around = Surroundings {
            clock: clock.clone(),
            drain: Drain::new(),
            tasks: Tasks::new(),
        };
        let streams = Tasks::new();
        let (entries, known) = watch::channel(Arc::new(config.entries));
        let (others, federated) = watch::channel(Arc::new(config.others));
        if let Some(listener) = socket {
            let api = WorkloadApi {
                authority: authority.clone(),
                entries: known,
                others: federated,
                throttle: Arc::new(Throttle::new(config.rates, clock.clone())),
                random,
                tasks: streams.clone(),
            };
            let api = SpiffeWorkloadApiServer::new(api).max_decoding_message_size(MESSAGE);
            listener::local(listener, api, &around);
        }
        let listen = network.map(|(listener, address)| {
            let signing = Signing {
                authority: authority.clone(),
                tokens: Tokens::of(authority.directory()),
                throttle: Arc::new(Throttle::new(config.rates, clock.clone())),
                tasks: streams.clone(),
            };
            let tls = mixer_identity::server_config_for_strangers(&source, &[b"h2", b"http/1.1"]);
            let (tls, service) = (Some(Arc::new(tls)), Network::whole(signing));
            listener::remote("signing", listener, tls, service, &around);
            address
        });
        let bundle = public.map(|(listener, address)| {
            let service = Network::public(authority.bundle());
            listener::remote("bundle", listener, None, service, &around);
            address
        });
        streams.spawn_until_stop("look", look(authority.clone()));
        streams.spawn_until_stop("own-identity", renew(authority.clone(), publisher));
        Ok(Running {
            authority,
            entries,
            _others: others,
            source,
            socket: config.socket,
            listen,
            bundle,
            drain: around.drain,
            streams,
            serving: around.tasks,
        })
    }
}

impl Running {
    /// What signs.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The authority's own identity.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The socket of the Workload API.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Where certificates are signed.
    pub fn listen(&self) -> Option<SocketAddr> {
        self.listen
    }

    /// Where the bundle is served in plaintext.
    pub fn bundle(&self) -> Option<SocketAddr> {
        self.bundle
    }

    /// Recognises these workloads from now on, and those who are connected too.
    pub fn recognise(&self, entries: Vec<Entry>) -> Result<(), StartError> {
        check(&self.authority, &entries)?;
        self.entries.send_replace(Arc::new(entries));
        Ok(())
    }

    /// Ends the streams, takes no new calls, and lets those be answered that are being answered: a token may be used up already.
    /// Each step has `deadline`.
    pub async fn shutdown(self, deadline: Duration) {
        let clock = self.authority.clock().clone();
        let _ = self.streams.shutdown(&clock, deadline).await;
        self.drain.finish(&clock, deadline).await;
        let _ = self.serving.shutdown(&clock, deadline).await;
    }
}

/// The tasks hold what they serve: somebody must let go. And nobody listens on the socket any more.
impl Drop for Running {
    fn drop(&mut self) {
        self.streams.stop().cancel();
        self.serving.stop().cancel();
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn check(authority: &Authority, entries: &[Entry]) -> Result<(), StartError> {
    let wrong = entries.iter().find(|entry| {
        entry.id.trust_domain() != authority.trust_domain()
            || entry.id.path().is_empty()
            || entry.id == *authority.id()
    });
    wrong.map_or(Ok(()), |entry| Err(StartError::Entry(entry.id.clone())))
}

/// The authority's own identity.
fn own(authority: &Authority) -> Result<Identity, IssueError> {
    let svid = authority.svid(authority.id(), &Attested::Itself)?;
    let bundle = TrustBundle::clone(&authority.bundle().borrow());
    Ok(Identity::new(svid, Bundles::from_iter([bundle])))
}

/// Looks for what other processes changed.
async fn look(authority: Arc<Authority>) {
    let (mut problem, tokens) = (None, Tokens::of(authority.directory()));
    for count in 1_u32.. {
        authority.clock().sleep(LOOK).await;
        let (looked, swept) = (authority.clone(), tokens.clone());
        let work = move || {
            if count.is_multiple_of(SWEEP) {
                swept.drop_expired(looked.clock().wall())?;
            }
            looked.refresh()
        };
        let result = tokio::task::spawn_blocking(work).await;
        let said = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(panic.to_string()),
        };
        // Said when it begins, not every second.
        if said != problem
            && let Some(said) = &said
        {
            tracing::error!("the directory of the authority cannot be followed: {said}");
        }
        problem = said;
    }
}

/// Keeps the authority's own certificate fresh.
async fn renew(authority: Arc<Authority>, publisher: Publisher) {
    let (mut bundle, clock) = (authority.bundle(), authority.clock().clone());
    loop {
        let current = publisher.source().current();
        let due = current.map(|identity| identity.svid().half_life());
        let left = due.and_then(|due| due.duration_since(clock.wall()).ok());
        tokio::select! {
            () = clock.sleep(left.unwrap_or(RETRY)) => {}
            changed = bundle.changed() => if changed.is_err() { return },
        }
        match own(&authority) {
            Ok(identity) => publisher.publish(identity),
            Err(error) => {
                tracing::error!("the authority cannot renew its own certificate: {error}");
            }
        }
    }
}

async fn bind(
    address: SocketAddr,
    listen: Listen,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound
        .await
        .map_err(|error| StartError::Listen { listen, error })
}

/// Listens on a Unix socket that every process of the host may connect to: who it is, the kernel says.
async fn unix(path: &Path) -> Result<UnixListener, StartError> {
    let bound = async {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // One that is left over from a process that died is nobody's.
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                let kind = io::ErrorKind::AlreadyExists;
                return Err(io::Error::new(kind, "there is a file that is no socket"));
            }
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path)?;
                }
                Err(error) => return Err(error),
                Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            }
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        Ok(listener)
    };
    let listen = Listen::Socket(path.to_owned());
    bound
        .await
        .map_err(|error| StartError::Listen { listen, error })
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Socket(path) => write!(f, "{}", path.display()),
            Listen::Network(address) | Listen::Bundle(address) => write!(f, "{address}"),
        }
    }
}
