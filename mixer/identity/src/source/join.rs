//! An identity from a certificate authority on another machine: `mixer ca serve --listen`.
//!
//! The private key is made here and stays here; the authority sees the public half and the proof that we have the other. The first
//! certificate costs a join token, the next ones are given for the last: at half of its life, with a new key each time. That leaves
//! the other half for an authority that is away. What we have is kept in a directory, since a token is good once and a process is
//! started more often than that.

mod member;

use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use mixer_proto::ca::v1::certificate_authority_client::CertificateAuthorityClient;
use mixer_proto::ca::v1::{Bundle, SignRequest, SignResponse};
use mixer_runtime::{Backoff, Clock, Random, Tasks};
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use self::member::Member;
use crate::{
    Bundles, Expected, Identity, InvalidBundle, InvalidId, InvalidSvid, Source, SpiffeId, Svid,
    TrustBundle, TrustDomain, client_config_of_stranger,
};

/// The path of the authority's own id.
const AUTHORITY: &str = "mixer-ca";
/// How long one try may take, connecting included.
const TRY: Duration = Duration::from_secs(10);
/// The wait between tries to join: first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Chain and key, in one file: one is never there without the other.
const SVID: &str = "svid.pem";
const BUNDLE: &str = "bundle.pem";

/// How to join.
#[derive(Clone)]
pub struct Join {
    /// The authority: `host:port`.
    pub address: String,
    /// Its roots, given together with the token: without them it could be anybody.
    pub bundle: TrustBundle,
    /// The token; `None` where the directory holds a certificate.
    pub token: Option<String>,
    /// Where certificate and key are kept; it is made if it is not there.
    pub directory: PathBuf,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Neither a token nor a certificate that is valid still.
    #[error(
        "{} holds no certificate that is valid, and there is no join token: `mixer ca token` makes one", .0.display()
    )]
    NoToken(PathBuf),
    /// The authority says no; asking again does not help.
    #[error("the authority refuses: {0}")]
    Refused(String),
    /// What is kept cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Why one try came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("{} ({:?})", .0.message(), .0.code())]
    Status(#[from] Status),
    #[error("no answer in {} s", TRY.as_secs())]
    Late,
    #[error("a key cannot be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the certificate is not used: {0}")]
    Svid(#[from] InvalidSvid),
    #[error("the bundle is not used: {0}")]
    Bundle(#[from] InvalidBundle),
    #[error("the bundle is not used: {0}")]
    Domain(#[from] InvalidId),
    #[error("the bundle is not used: it is of {0}, and ours is another trust domain")]
    OtherDomain(TrustDomain),
    #[error("the answer has no bundle")]
    NoBundle,
    #[error("cannot be kept: {0}")]
    Keep(#[from] JoinError),
}

impl Join {
    /// Takes up the identity that is kept, or joins with the token, trying until the authority answers; then keeps it current for
    /// as long as the tasks run.
    pub async fn follow(
        self,
        tasks: &Tasks,
        clock: &Clock,
        random: Arc<Random>,
    ) -> Result<Source, JoinError> {
        let identity = match self.kept(clock.wall())? {
            Some(identity) => identity,
            None => self.join(clock, &random).await?,
        };
        let (publisher, source) = Source::updated();
        publisher.publish(identity);
        // Renewing and hearing of roots both change the one identity: what is heard comes to the one who publishes.
        let (heard, news) = mpsc::channel(1);
        let member = Arc::new(Member {
            join: self,
            source: source.clone(),
            clock: clock.clone(),
            random,
        });
        let listener = member.clone();
        tasks.spawn_until_stop("join-bundle", async move { listener.listen(heard).await });
        tasks.spawn_until_stop(
            "join-renew",
            async move { member.keep(publisher, news).await },
        );
        Ok(source)
    }

    /// What the directory holds, if it is valid still.
    fn kept(&self, now: SystemTime) -> Result<Option<Identity>, JoinError> {
        let (Some(svid), bundle) = (self.read(SVID)?, self.read(BUNDLE)?) else {
            return Ok(None);
        };
        let svid = match Svid::from_pem(&svid, &svid, now) {
            Ok(svid) => svid,
            Err(error) => {
                tracing::warn!("the certificate that was kept is not used: {error}");
                return Ok(None);
            }
        };
        let domain = self.bundle.trust_domain();
        if svid.id().trust_domain() != domain {
            tracing::warn!(id = %svid.id(), "the certificate that was kept is not of {domain}");
            return Ok(None);
        }
        // The roots may have changed since the bundle was given; what was heard last is newer.
        let heard = bundle.and_then(|pem| TrustBundle::from_pem(domain.clone(), &pem).ok());
        let bundle = heard.unwrap_or_else(|| self.bundle.clone());
        Ok(Some(Identity::new(svid, Bundles::from_iter([bundle]))))
    }

    async fn join(&self, clock: &Clock, random: &Random) -> Result<Identity, JoinError> {
        let token = self.token.as_deref();
        let token = token.ok_or_else(|| JoinError::NoToken(self.directory.clone()))?;
        let bundles = Arc::new(Bundles::from_iter([self.bundle.clone()]));
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            let tls = client_config_of_stranger(bundles.clone(), self.authority(), &[b"h2"]);
            match self.sign(tls, token, None, clock).await {
                Ok(identity) => {
                    tracing::info!(id = %identity.id(), "joined");
                    return Ok(identity);
                }
                Err(Failed::Keep(error)) => return Err(error),
                Err(Failed::Status(status)) if is_final(status.code()) => {
                    return Err(JoinError::Refused(status.message().to_owned()));
                }
                Err(failed) => {
                    let wait = backoff.next(random);
                    tracing::warn!("cannot join: {failed}; trying again in {wait:?}");
                    clock.sleep(wait).await;
                }
            }
        }
    }

    /// The only server that is spoken to.
    fn authority(&self) -> Expected {
        let domain = self.bundle.trust_domain();
        match SpiffeId::parse(&format!("{}/{AUTHORITY}", domain.id())) {
            Ok(id) => Expected::Id(id),
            // Longer than an id may be: nobody has it.
            Err(_) => Expected::OneOf(Vec::new()),
        }
    }

    /// Has a new key signed, and keeps what comes of it.
    async fn sign(
        &self,
        tls: ClientConfig,
        token: &str,
        id: Option<&SpiffeId>,
        clock: &Clock,
    ) -> Result<Identity, Failed> {
        let key = KeyPair::generate()?;
        let csr = CertificateParams::default().serialize_request(&key)?;
        let request = SignRequest {
            csr: csr.der().to_vec(),
            join_token: token.to_owned(),
            spiffe_id: id.map(ToString::to_string).unwrap_or_default(),
        };
        let asked = async {
            let channel = self.connect(tls).await?;
            let mut client = CertificateAuthorityClient::new(channel);
            Ok::<_, Failed>(client.sign(request).await?.into_inner())
        };
        let answer = clock.within(TRY, asked).await.ok_or(Failed::Late)??;
        let SignResponse { chain, bundle, .. } = answer;
        let (pem, key) = (key.serialize_pem(), PrivateKeyDer::from(key));
        let chain = chain.into_iter().map(Into::into).collect();
        let svid = Svid::new(chain, key, clock.wall())?;
        let bundle = self.roots(bundle.ok_or(Failed::NoBundle)?)?;
        let certificates = svid.chain().iter();
        let text: String = certificates
            .map(|der| crate::pem::certificate(der))
            .collect();
        self.write(BUNDLE, &bundle.to_pem())?;
        self.write(SVID, &(text + &pem))?;
        Ok(Identity::new(svid, Bundles::from_iter([bundle])))
    }

    async fn connect(&self, tls: ClientConfig) -> Result<Channel, Failed> {
        let (address, tls) = (self.address.clone(), TlsConnector::from(Arc::new(tls)));
        let connect = tower::service_fn(move |_| {
            let (address, tls) = (address.clone(), tls.clone());
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                // It goes by ids: the name is not looked at.
                let name = ServerName::try_from(AUTHORITY).map_err(io::Error::other)?;
                tls.connect(name, stream).await.map(TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_static("http://mixer-ca")
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_while_idle(true);
        let connected = endpoint.connect_with_connector(connect).await;
        connected.map_err(|error| Failed::Connect(super::why(&error)))
    }

    /// The bundle of an answer: our trust domain's, or none at all.
    fn roots(&self, bundle: Bundle) -> Result<TrustBundle, Failed> {
        let domain = TrustDomain::parse(&bundle.trust_domain)?;
        if domain != *self.bundle.trust_domain() {
            return Err(Failed::OtherDomain(domain));
        }
        let roots = bundle.roots.into_iter().map(Into::into);
        Ok(TrustBundle::new(domain, roots)?.with_sequence(bundle.sequence))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, JoinError> {
        let path = self.directory.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JoinError::Io { path, error }),
        }
    }

    /// Writes a file for its owner only, whole or not at all.
    fn write(&self, name: &str, text: &str) -> Result<(), JoinError> {
        let path = self.directory.join(name);
        write(&self.directory, &path, text).map_err(|error| JoinError::Io { path, error })
    }
}

fn write(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    let new = path.with_extension("new");
    // One that is left over may be readable by others.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// Whether asking again cannot help.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument
    )
}

/// Without the token.
impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join")
            .field("address", &self.address)
            .field("trust_domain", self.bundle.trust_domain())
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}
