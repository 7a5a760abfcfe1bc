//! `envoy.service.rate_limit_quota.v3.RateLimitQuotaService`: an Envoy reports what it let pass, and is told what it may.
//!
//! A stream is one Envoy and one domain. Each of its buckets is a descriptor of the rate limit service, and what it is assigned
//! is decided by [`crate::dispatch::Dispatcher::assign`]: when it is reported, when there are new documents, and when it was told
//! to wait. A stream runs as its answers are read, so that an Envoy which does not read cannot make Mixer hold what it would be
//! told. What breaks the protocol ends the stream with a status that names the field; the Envoy then goes on as its own
//! `expired_assignment_behavior` says.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_service_server::RateLimitQuotaService;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::{
    RateLimitQuotaResponse, RateLimitQuotaUsageReports,
};
use mixer_runtime::Clock;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use self::session::Session;
use super::metrics::{Failure, Method, Metrics};
use super::mixer::Service;
use crate::dispatch::assign::Shares;
use crate::dispatch::contained_work;
use crate::live::Live;

mod action;
mod counts;
mod reported;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use counts::Counts;

/// What streams have in common.
#[derive(Debug)]
pub(crate) struct Common {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    clock: Clock,
    shares: Arc<Shares>,
    most: Most,
}

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Streams.
    pub(crate) streams: usize,
    /// Buckets of all streams.
    pub(crate) buckets: usize,
    /// Buckets of one.
    pub(crate) of_one: usize,
}

impl Common {
    pub(crate) fn new(
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        clock: Clock,
        most: Most,
    ) -> Arc<Self> {
        Arc::new(Self {
            live,
            metrics,
            clock,
            shares: Arc::default(),
            most,
        })
    }
}

#[tonic::async_trait]
impl RateLimitQuotaService for Service {
    type StreamRateLimitQuotasStream = Answers;

    async fn stream_rate_limit_quotas(
        &self,
        request: Request<Streaming<RateLimitQuotaUsageReports>>,
    ) -> Result<Response<Answers>, Status> {
        let Some(session) = Session::begin(&self.quotas, request.into_inner()) else {
            self.metrics
                .failed(Method::RateLimitQuota, Failure::Overloaded);
            return Err(Status::resource_exhausted("overloaded"));
        };
        let metrics = self.metrics.clone();
        Ok(Response::new(Answers::of(session, metrics)))
    }
}

type Answer = Result<RateLimitQuotaResponse, Status>;

/// The answers of one stream: the work on the next begins when it is read.
pub(crate) struct Answers {
    metrics: Arc<Metrics>,
    working: Option<Working>,
}

/// Ends with the session, if it goes on, and an answer.
type Working = Pin<Box<dyn Future<Output = (Option<Session>, Option<Answer>)> + Send>>;

impl Answers {
    fn of(session: Session, metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            working: Some(Box::pin(next(session))),
        }
    }
}

async fn next(mut session: Session) -> (Option<Session>, Option<Answer>) {
    match session.next().await {
        Ok(Some(answer)) => (Some(session), Some(Ok(answer))),
        Ok(None) => (None, None),
        Err(status) => (None, Some(Err(status))),
    }
}

impl Stream for Answers {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Some(working) = &mut self.working else {
            return Poll::Ready(None);
        };
        // A panic ends the stream and nothing else. The panic hook has told the log.
        let polled = std::pin::pin!(contained_work(working.as_mut())).poll(context);
        let (session, answer) = match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(worked)) => worked,
            Poll::Ready(Err(_)) => {
                self.metrics
                    .failed(Method::RateLimitQuota, Failure::Panicked);
                let failed = "answering this call failed; see Mixer's log";
                (None, Some(Err(Status::internal(failed))))
            }
        };
        self.working = session.map(|session| Box::pin(next(session)) as Working);
        Poll::Ready(answer)
    }
}
