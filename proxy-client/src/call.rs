//! One question to Mixer: the channel, the deadlines, the second try.
//!
//! The channel is one HTTP/2 connection, made when it is first needed and made again when it is lost. It lives on the
//! runtime of the client's tasks and serves callers of any runtime. Pings tell a dead peer from a silent one, which is
//! what ends a Watch stream whose Mixer vanished.

mod secure;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use mixer_runtime::{Clock, Instant, Random};
use prost::Message;
use tokio::sync::Semaphore;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::stats::Counters;
use crate::wire::BytesCodec;
use crate::{Config, Failure};

pub(crate) const CHECK: PathAndQuery = PathAndQuery::from_static("/mixer.v1.Mixer/Check");
pub(crate) const QUOTA: PathAndQuery = PathAndQuery::from_static("/mixer.v1.Mixer/Quota");
const REPORT: PathAndQuery = PathAndQuery::from_static("/mixer.v1.Mixer/Report");
const WATCH: PathAndQuery = PathAndQuery::from_static("/mixer.v1.Mixer/Watch");
const REFRESH_KEYS: PathAndQuery = PathAndQuery::from_static("/mixer.v1.Mixer/RefreshKeys");

/// A whole state may be this large: about 100,000 services.
const STATE_BYTES: usize = 64 << 20;

/// Asks Mixer.
#[derive(Debug)]
pub(crate) struct Calls {
    channel: Channel,
    clock: Clock,
    permits: Arc<Semaphore>,
    counters: Arc<Counters>,
    try_timeout: Duration,
    tries: u32,
    total_timeout: Duration,
    /// New for each client, so that ids of different clients never meet.
    instance: u64,
    asked: AtomicU64,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Nobody, or nobody in time.
    Unreachable,
    /// Mixer, or the bound on calls of this client, refused for overload.
    Overloaded,
    /// Mixer did not understand the question: it would not understand it again.
    NotUnderstood,
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Unreachable => Failure::Unreachable,
            Unanswered::Overloaded => Failure::Overloaded,
            Unanswered::NotUnderstood => Failure::Malformed,
        }
    }
}

impl Calls {
    /// No connection is made yet.
    ///
    /// # Errors
    /// When `config.mixer` is no address.
    pub(crate) fn new(
        config: &Config,
        clock: Clock,
        random: &Random,
        counters: Arc<Counters>,
    ) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{}", config.mixer))?
            .connect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true);
        let channel = match &config.tls {
            Some(tls) => endpoint.connect_with_connector_lazy(secure::dial(&config.mixer, tls)),
            None => endpoint.connect_lazy(),
        };
        Ok(Self {
            channel,
            clock,
            permits: Arc::new(Semaphore::new(config.max_calls.min(Semaphore::MAX_PERMITS))),
            counters,
            try_timeout: config.try_timeout,
            tries: config.tries.max(1),
            total_timeout: config.total_timeout,
            instance: random.next(),
            asked: AtomicU64::new(0),
        })
    }

    /// The same for every try of one question, never the same for two.
    pub(crate) fn dedup_id(&self) -> String {
        format!(
            "{:016x}-{:x}",
            self.instance,
            self.asked.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// How long all questions of one request may take together.
    pub(crate) fn total_timeout(&self) -> Duration {
        self.total_timeout
    }

    /// Asks until then, under the deadlines of Check and Quota; a second time if that may help.
    pub(crate) async fn ask<R: Message + Default + 'static>(
        &self,
        path: PathAndQuery,
        question: Bytes,
        until: Instant,
    ) -> Result<R, Unanswered> {
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err(Unanswered::Overloaded);
        };
        for again in 0..self.tries {
            let left = until.since(self.clock.now());
            if left.is_zero() {
                break;
            }
            if again > 0 {
                Counters::count(&self.counters.retries);
            }
            match self
                .once(path.clone(), question.clone(), left.min(self.try_timeout))
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(status) => {
                    tracing::debug!(%path, code = ?status.code(), "no answer: {}", status.message());
                    match status.code() {
                        Code::ResourceExhausted => return Err(Unanswered::Overloaded),
                        Code::InvalidArgument | Code::OutOfRange => {
                            return Err(Unanswered::NotUnderstood);
                        }
                        code if !may_help(code) => return Err(Unanswered::Unreachable),
                        _ => {}
                    }
                }
            }
        }
        Err(Unanswered::Unreachable)
    }

    /// One try of Report.
    pub(crate) async fn report<R: Message + Default + 'static>(
        &self,
        batch: Bytes,
        timeout: Duration,
    ) -> Result<R, Status> {
        self.once(REPORT, batch, timeout).await
    }

    /// One try of RefreshKeys.
    pub(crate) async fn refresh_keys<R: Message + Default + 'static>(
        &self,
        request: Bytes,
        timeout: Duration,
    ) -> Result<R, Status> {
        self.once(REFRESH_KEYS, request, timeout).await
    }

    /// Opens a Watch stream.
    pub(crate) async fn watch<R: Message + Default + 'static>(
        &self,
        request: Bytes,
    ) -> Result<Streaming<R>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(STATE_BYTES);
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc
            .server_streaming(Request::new(request), WATCH, BytesCodec::new())
            .await?
            .into_inner())
    }

    async fn once<R: Message + Default + 'static>(
        &self,
        path: PathAndQuery,
        message: Bytes,
        timeout: Duration,
    ) -> Result<R, Status> {
        let call = async {
            let mut grpc = Grpc::new(self.channel.clone());
            grpc.ready()
                .await
                .map_err(|error| Status::from_error(error.into()))?;
            let mut request = Request::new(message);
            request.set_timeout(timeout);
            Ok(grpc
                .unary(request, path, BytesCodec::new())
                .await?
                .into_inner())
        };
        let late = || Err(Status::deadline_exceeded("no answer in time"));
        self.clock.within(timeout, call).await.unwrap_or_else(late)
    }
}

/// Whether the same question may be answered by another try: it did not arrive, or the answer did not come back. (Internal,
/// Unknown and Cancelled are what a broken connection looks like from here.)
fn may_help(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
            | Code::Aborted
    )
}
