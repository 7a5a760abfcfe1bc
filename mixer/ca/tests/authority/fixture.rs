//! An authority in a directory of its own, and callers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use mixer_ca::{
    Authority, Config, Directory, Entry, LEAF_LIFE, Root, Running, Selectors, Server, Tokens,
};
use mixer_identity::{
    Bundles, Expected, Peer, SpiffeId, Svid, TrustBundle, TrustDomain, client_config,
    client_config_of_stranger,
};
use mixer_proto::ca::v1::certificate_authority_client::CertificateAuthorityClient;
use mixer_proto::spiffe::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use mixer_runtime::{Clock, Random};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Where an authority is, whether or not it runs.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) clock: Clock,
}

pub(crate) fn domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

pub(crate) fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://cluster.local/{path}")).unwrap()
}

impl Place {
    /// A new authority.
    pub(crate) fn new(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::generate(&domain(), clock.wall(), 3650 * DAY).unwrap();
        let path = folder.path().join("ca");
        Authority::create(&path, &domain(), &root, clock.wall()).unwrap();
        Self { folder, clock }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::open(&self.path("ca")).unwrap()
    }

    pub(crate) fn tokens(&self) -> Tokens {
        Tokens::of(&self.directory())
    }

    pub(crate) fn token(&self, path: &str) -> String {
        let token = self.tokens().create(&id(path), HOUR, self.clock.wall());
        token.unwrap().reveal().to_owned()
    }

    pub(crate) fn authority(&self) -> Arc<Authority> {
        Arc::new(Authority::open(self.directory(), LEAF_LIFE, self.clock.clone()).unwrap())
    }

    /// Serves on a socket, for whoever runs this test, and on a free port.
    pub(crate) async fn serve(&self, config: Config) -> Running {
        let random = Arc::new(Random::from_seed(7));
        Server::start(self.authority(), config, random)
            .await
            .unwrap()
    }

    /// The socket alone.
    pub(crate) fn local(&self) -> Config {
        Config {
            socket: Some(self.path("run/workload.sock")),
            entries: vec![mine("tests")],
            ..Config::default()
        }
    }

    /// The port alone.
    pub(crate) fn network(&self) -> Config {
        Config {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            ..Config::default()
        }
    }
}

/// A workload that is whoever runs this test.
pub(crate) fn mine(path: &str) -> Entry {
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = UnixStream::from_std(ours).unwrap();
    let selectors = Selectors {
        uid: Some(ours.peer_cred().unwrap().uid()),
        ..Selectors::default()
    };
    Entry {
        id: id(path),
        selectors,
    }
}

/// Whether a chain verifies against a bundle at a time.
pub(crate) fn verifies(svid: &Svid, bundle: &TrustBundle, now: SystemTime) -> bool {
    let peer = Peer {
        id: svid.id().clone(),
        chain: svid.chain().to_vec(),
    };
    let bundles = Bundles::from_iter([bundle.clone()]);
    peer.still_trusted(&bundles, now).is_ok()
}

/// A signing request, and its key.
pub(crate) fn request() -> (Vec<u8>, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::default();
    let csr = params.serialize_request(&key).unwrap();
    (csr.der().to_vec(), key)
}

pub(crate) fn certificates(chain: &[Vec<u8>]) -> Vec<CertificateDer<'static>> {
    chain.iter().map(|der| der.clone().into()).collect()
}

/// The Workload API as any gRPC client sees it.
pub(crate) async fn workload_api(socket: PathBuf) -> SpiffeWorkloadApiClient<Channel> {
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    SpiffeWorkloadApiClient::new(endpoint.connect_with_connector(connect).await.unwrap())
}

/// A caller over the network, without a certificate or with one.
pub(crate) async fn signing(
    running: &Running,
    identity: Option<&mixer_identity::Source>,
) -> CertificateAuthorityClient<Channel> {
    let expected = Expected::Id(running.authority().id().clone());
    let tls = match identity {
        Some(source) => client_config(source, expected, &[b"h2"]),
        None => {
            let bundle = TrustBundle::clone(&running.authority().bundle().borrow());
            let bundles = Arc::new(Bundles::from_iter([bundle]));
            client_config_of_stranger(bundles, expected, &[b"h2"])
        }
    };
    CertificateAuthorityClient::new(dial(running.listen().unwrap(), tls).await.unwrap())
}

pub(crate) async fn dial(
    address: SocketAddr,
    tls: ClientConfig,
) -> Result<Channel, tonic::transport::Error> {
    let tls = TlsConnector::from(Arc::new(tls));
    let connect = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
            tls.connect(name, stream).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connect)
        .await
}
