//! Who signs for the demo: the mesh's own authority, in this process, over a directory that goes with it.
//!
//! All workloads are this one process, so the kernel could not tell the authority which of them is asking. Each joins as it would
//! from another host: with a token that is good once.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mixer_ca::{Config, LEAF_LIFE, ROOT_LIFE, Root, Running, Server, Tokens};
use mixer_identity::{Join, SpiffeId, TrustBundle, TrustDomain};
use mixer_runtime::{Clock, Random};
use tempfile::TempDir;

use super::town::Failed;

/// How long a token may lie about before it is used.
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// The authority while it serves.
pub(super) struct Authority {
    running: Running,
    /// Its root and its state, and what workloads keep.
    directory: TempDir,
}

impl Authority {
    /// Makes a root for `domain` and signs on a free port.
    pub(super) async fn start(
        domain: &TrustDomain,
        clock: &Clock,
        random: Arc<Random>,
    ) -> Result<Self, Failed> {
        let directory = TempDir::with_prefix("mixer-demo-ca-").map_err(Failed::internal)?;
        let now = clock.wall();
        let root = Root::generate(domain, now, ROOT_LIFE).map_err(Failed::internal)?;
        let path = directory.path().join("ca");
        let kept = mixer_ca::Authority::create(&path, domain, &root, now);
        let kept = kept.map_err(Failed::internal)?;
        let signs = mixer_ca::Authority::open(kept, LEAF_LIFE, clock.clone());
        let config = Config {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            ..Config::default()
        };
        let signs = Arc::new(signs.map_err(Failed::internal)?);
        let running = Server::start(signs, config, random)
            .await
            .map_err(Failed::internal)?;
        Ok(Self { running, directory })
    }

    /// How the workload with this id joins.
    pub(super) fn join(&self, id: &SpiffeId) -> Result<Join, Failed> {
        let authority = self.running.authority();
        let token = Tokens::of(authority.directory())
            .create(id, TOKEN_LIFE, authority.clock().wall())
            .map_err(Failed::internal)?;
        let listen = self.running.listen();
        let name = id.path().replace('/', "-");
        Ok(Join {
            address: listen.expect("a listener was asked for").to_string(),
            bundle: TrustBundle::clone(&authority.bundle().borrow()),
            token: Some(token.reveal().to_owned()),
            directory: self.directory.path().join(name),
        })
    }

    /// Ends it; what it signed is nobody's any more.
    pub(super) async fn shutdown(self, deadline: Duration) {
        self.running.shutdown(deadline).await;
    }
}
