//! An identity from the SPIFFE Workload API: that of `mixer ca serve`, of SPIRE, of anything else that speaks it.
//!
//! One stream is held open; whoever is at the other end sends a whole state whenever something of it changed. When the stream
//! ends, for whatever reason, the identity in use stays in use and the stream is opened again, later each time. An answer that
//! does not hold is said and left aside: what is in use is better.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mixer_proto::spiffe::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use mixer_proto::spiffe::{X509svid, X509svidRequest, X509svidResponse};
use mixer_runtime::{Backoff, Clock, Random, Tasks};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::{
    Bundles, Identity, InvalidBundle, InvalidCertificate, InvalidId, InvalidSvid, Publisher,
    Source, SpiffeId, Svid, TrustBundle, TrustDomain, certificates_from_der,
};

/// What every call carries.
const HEADER: &str = "workload.spiffe.io";
/// The wait after a stream ended: first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A Workload API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadApi {
    place: Place,
    id: Option<SpiffeId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// A text that does not say where a Workload API is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} does not say where a Workload API is: write unix:///run/mixer/workload.sock, or tcp:// with an address and a port"
)]
pub struct InvalidEndpoint(String);

/// An answer that is not used.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("it has no SVID")]
    Empty,
    #[error("none of its SVIDs is that of {0}")]
    NotThere(SpiffeId),
    #[error("its id: {0}")]
    Id(#[from] InvalidId),
    #[error("it says {said}, and its certificate says {named}")]
    OtherId { said: SpiffeId, named: SpiffeId },
    #[error("its certificates: {0}")]
    Chain(#[from] InvalidCertificate),
    #[error("its SVID: {0}")]
    Svid(#[from] InvalidSvid),
    #[error("its bundles: {0}")]
    Bundle(#[from] InvalidBundle),
}

/// Why there is no answer, or no more.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NoAnswer(#[from] Ended);

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("{} ({:?})", .0.message(), .0.code())]
    Status(#[from] Status),
    #[error("the stream was closed")]
    Closed,
    #[error("the answer is not used: {0}")]
    Wrong(#[from] Wrong),
}

impl WorkloadApi {
    /// On a Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        let place = Place::Unix(path.into());
        Self { place, id: None }
    }

    /// Where the standard's variable `SPIFFE_ENDPOINT_SOCKET` says: `unix:///path` or `tcp://1.2.3.4:5`. A path alone is a socket.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        let wrong = || InvalidEndpoint(text.to_owned());
        let path = text.strip_prefix("unix:").unwrap_or(text);
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.starts_with('/') && !path.contains(['?', '#']) {
            return Ok(Self::unix(path));
        }
        let address = text.strip_prefix("tcp://").ok_or_else(wrong)?;
        let place = Place::Tcp(address.parse().map_err(|_| wrong())?);
        Ok(Self { place, id: None })
    }

    /// The SVID of this id is used, where there are several; without it, the first.
    pub fn for_id(self, id: SpiffeId) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    /// Follows the API for as long as the tasks run. The source is empty until it has answered ([`Source::ready`]).
    pub fn follow(self, tasks: &Tasks, clock: &Clock, random: Arc<Random>) -> Source {
        let (publisher, source) = Source::updated();
        let clock = clock.clone();
        tasks.spawn_until_stop("workload-api", async move {
            let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
            let mut said = None;
            loop {
                let ended = match self.stream(&publisher, &clock, &mut backoff).await {
                    Ok(never) => match never {},
                    Err(ended) => ended.to_string(),
                };
                // Said once until it is another, or an answer came in between.
                if said.as_ref() != Some(&ended) {
                    tracing::warn!("the Workload API: {ended}; trying again");
                    said = Some(ended);
                }
                clock.sleep(backoff.next(&random)).await;
            }
        });
        source
    }

    /// Asks once, for the identity of this moment.
    pub async fn fetch(&self, clock: &Clock) -> Result<Identity, NoAnswer> {
        let mut answers = self.open().await?;
        let answer = answers.message().await.map_err(Ended::Status)?;
        let answer = answer.ok_or(Ended::Closed)?;
        Ok(self.identity(answer, clock).map_err(Ended::Wrong)?)
    }

    async fn open(&self) -> Result<Streaming<X509svidResponse>, Ended> {
        let channel = self.connect().await;
        let channel = channel.map_err(|error| Ended::Connect(super::why(&error)))?;
        let mut request = Request::new(X509svidRequest {});
        let value = tonic::metadata::MetadataValue::from_static("true");
        request.metadata_mut().insert(HEADER, value);
        let mut client = SpiffeWorkloadApiClient::new(channel);
        Ok(client.fetch_x509svid(request).await?.into_inner())
    }

    /// Publishes what one stream says, until it ends.
    async fn stream(
        &self,
        publisher: &Publisher,
        clock: &Clock,
        backoff: &mut Backoff,
    ) -> Result<Infallible, Ended> {
        let mut answers = self.open().await?;
        loop {
            let answer = answers.message().await?.ok_or(Ended::Closed)?;
            let identity = self.identity(answer, clock)?;
            backoff.reset();
            let (id, until) = (identity.id(), identity.svid().not_after());
            tracing::info!(%id, until = %crate::Timestamp(until), "new identity");
            publisher.publish(identity);
        }
    }

    async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        match &self.place {
            Place::Unix(path) => {
                let path = path.clone();
                let connect = tower::service_fn(move |_| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                });
                let endpoint = Endpoint::from_static("http://workload-api");
                let endpoint = endpoint.connect_timeout(CONNECT);
                endpoint.connect_with_connector(connect).await
            }
            Place::Tcp(address) => {
                let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
                endpoint.connect_timeout(CONNECT).connect().await
            }
        }
    }

    fn identity(&self, answer: X509svidResponse, clock: &Clock) -> Result<Identity, Wrong> {
        let wanted = |svid: &&X509svid| match &self.id {
            Some(id) => svid.spiffe_id == id.as_str(),
            None => true,
        };
        let chosen = answer.svids.iter().find(wanted);
        let chosen = chosen.ok_or_else(|| self.id.clone().map_or(Wrong::Empty, Wrong::NotThere))?;
        let said = SpiffeId::parse(&chosen.spiffe_id)?;
        let chain = certificates_from_der(&chosen.x509_svid)?;
        let key = PrivatePkcs8KeyDer::from(chosen.x509_svid_key.clone());
        let svid = Svid::new(chain, PrivateKeyDer::Pkcs8(key), clock.wall())?;
        if *svid.id() != said {
            let named = svid.id().clone();
            return Err(Wrong::OtherId { said, named });
        }
        let mut bundles = Bundles::new();
        for (domain, der) in &answer.federated_bundles {
            bundles.insert(TrustBundle::from_der(TrustDomain::parse(domain)?, der)?);
        }
        // Last: no other trust domain's entry stands in the place of our own.
        let own = said.trust_domain().clone();
        bundles.insert(TrustBundle::from_der(own, &chosen.bundle)?);
        Ok(Identity::new(svid, bundles))
    }
}

impl FromStr for WorkloadApi {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_socket_or_an_address() {
        let socket = WorkloadApi::unix("/run/a.sock");
        for text in ["unix:///run/a.sock", "unix:/run/a.sock", "/run/a.sock"] {
            assert_eq!(WorkloadApi::parse(text), Ok(socket.clone()), "{text}");
        }
        assert!(WorkloadApi::parse("tcp://127.0.0.1:8081").is_ok());
        for text in [
            "",
            "run/a.sock",
            "unix://run/a.sock",
            "tcp://localhost:1",
            "tcp://127.0.0.1",
            "http://127.0.0.1:80",
            "unix:///run/a.sock?x",
        ] {
            let error = WorkloadApi::parse(text).unwrap_err().to_string();
            assert!(error.contains("unix:///"), "{text}: {error}");
        }
    }
}
