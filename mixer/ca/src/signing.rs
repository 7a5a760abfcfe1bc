//! Certificates over the network: for a join token that is good once, or for the certificate the caller has.
//!
//! The order matters. What is wrong with a request costs no token: it is read, and its key proved, before the token is used up;
//! and a token is used up before anything is signed.

use std::net::IpAddr;
use std::sync::Arc;

use mixer_identity::{Bundles, Leaf, Peer, SpiffeId, TrustBundle};
use mixer_proto::ca::v1::certificate_authority_server::CertificateAuthority;
use mixer_proto::ca::v1::{Bundle, SignRequest, SignResponse, WatchBundleRequest};
use mixer_runtime::Tasks;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::listener::Remote;
use crate::throttle::Throttle;
use crate::workload_api::{failed, too_many};
use crate::{Attested, Authority, DirectoryError, PublicKey, Refused, Tokens, wire};

/// Signs for workloads on other machines.
#[derive(Clone)]
pub(crate) struct Signing {
    pub(crate) authority: Arc<Authority>,
    pub(crate) tokens: Tokens,
    pub(crate) throttle: Arc<Throttle<IpAddr>>,
    pub(crate) tasks: Tasks,
}

impl Signing {
    /// Who asks, and how that is known. A token is used up.
    fn recognise(
        &self,
        request: &SignRequest,
        remote: &Remote,
    ) -> Result<(SpiffeId, Attested), Status> {
        let wanted = match request.spiffe_id.as_str() {
            "" => None,
            id => Some(
                SpiffeId::parse(id)
                    .map_err(|error| Status::invalid_argument(format!("`spiffe_id`: {error}")))?,
            ),
        };
        if !request.join_token.is_empty() {
            let now = self.authority.clock().wall();
            let joined = self
                .tokens
                .take(&request.join_token, wanted.as_ref(), now)
                .map_err(refused)?;
            return Ok((joined.id, Attested::Token(joined.token)));
        }
        let peer = remote.peer.as_ref().ok_or_else(|| {
            Status::unauthenticated("neither a join token nor a certificate was shown")
        })?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != peer.id) {
            return Err(Status::permission_denied(format!(
                "{} cannot have a certificate of {wanted}",
                peer.id
            )));
        }
        if !self.tokens.is_member(&peer.id).map_err(broken)? {
            return Err(Status::permission_denied(format!(
                "{} did not join with a token, or was struck off: it is not renewed here",
                peer.id
            )));
        }
        let serial = self.still_good(peer)?;
        Ok((peer.id.clone(), Attested::Certificate(serial)))
    }
}

impl Signing {
    /// The serial number of a certificate that was good when its connection was made, if it still is.
    fn still_good(&self, peer: &Peer) -> Result<String, Status> {
        let now = self.authority.clock().wall();
        let over = |why: String| Status::unauthenticated(format!("the certificate shown: {why}"));
        let leaf = peer.chain.first();
        let leaf = leaf.ok_or_else(|| over("there is none".to_owned()))?;
        let leaf = Leaf::parse(leaf).map_err(|error| over(error.to_string()))?;
        let valid = leaf.validity.check(now);
        valid.map_err(|error| over(error.to_string()))?;
        let bundle = TrustBundle::clone(&self.authority.bundle().borrow());
        let trusted = peer.still_trusted(&Bundles::from_iter([bundle]), now);
        trusted.map_err(|untrusted| over(untrusted.to_string()))?;
        Ok(leaf.serial)
    }
}

fn refused(refused: Refused) -> Status {
    match refused {
        Refused::Unknown | Refused::Expired => Status::unauthenticated(refused.to_string()),
        Refused::Other(_) => Status::permission_denied(refused.to_string()),
        Refused::Directory(error) => broken(error),
    }
}

fn broken(error: DirectoryError) -> Status {
    tracing::error!("who may have a certificate cannot be read: {error}");
    Status::unavailable("who may have a certificate cannot be read; the authority's log says why")
}

#[tonic::async_trait]
impl CertificateAuthority for Signing {
    type WatchBundleStream = ReceiverStream<Result<Bundle, Status>>;

    async fn sign(&self, request: Request<SignRequest>) -> Result<Response<SignResponse>, Status> {
        let Some(remote) = request.extensions().get::<Remote>().cloned() else {
            return Err(Status::internal("who called is not known"));
        };
        self.throttle.take(&remote.address).map_err(too_many)?;
        let request = request.into_inner();
        let key = PublicKey::of_request(&request.csr)
            .map_err(|error| Status::invalid_argument(format!("`csr`: {error}")))?;
        let signer = self.clone();
        // The file system is asked, and its answer waited for.
        let signed = tokio::task::spawn_blocking(move || {
            let recognised = signer.recognise(&request, &remote);
            let (id, attested) = recognised.inspect_err(|status| {
                tracing::warn!(address = %remote.address, "refused: {}", status.message());
            })?;
            let issued = signer.authority.sign(&id, &key, &attested);
            let issued = issued.map_err(|error| failed(&error))?;
            Ok(wire::signed(&issued, &signer.authority.bundle().borrow()))
        });
        match signed.await {
            Ok(signed) => signed.map(Response::new),
            Err(error) => {
                tracing::error!("signing ended: {error}");
                Err(Status::internal("signing ended"))
            }
        }
    }

    async fn watch_bundle(
        &self,
        _: Request<WatchBundleRequest>,
    ) -> Result<Response<Self::WatchBundleStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let mut bundle = self.authority.bundle();
        self.tasks.spawn_until_stop("watch-bundle", async move {
            loop {
                let roots = wire::roots(&bundle.borrow_and_update());
                if sender.send(Ok(roots)).await.is_err() {
                    return;
                }
                tokio::select! {
                    changed = bundle.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
