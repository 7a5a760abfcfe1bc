//! `envoy.service.ratelimit.v3.RateLimitService`: what a plain Envoy asks before it passes a request on.
//!
//! Envoy reads every gRPC error, and the code UNKNOWN even where it was told to fail closed, as "pass": so there is an error
//! only where there is no answer (malformed, overloaded, a defect of ours), and an answer always says OK or OVER_LIMIT.
//! Which of the two is decided by [`crate::dispatch::Dispatcher::limit`], one descriptor at a time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use mixer_documents::{Applicable, At, PolicySet};
use smallvec::{SmallVec, smallvec};
use tonic::{Request, Response, Status};

use self::answer::Answer;
use self::asked::{Asked, Descriptor};
use super::metrics::Method;
use super::mixer::{Service, left};
use crate::dispatch::{Limited, ShadowOutcome, together};
use crate::live::Current;

mod answer;
mod asked;
mod counts;
#[cfg(test)]
mod tests;

pub(crate) use asked::Entries;
pub(crate) use counts::{Counts, word};

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let _place = self.admit(Method::RateLimit)?;
        let left = left(request.metadata());
        let work = pin!(self.limit(request.into_inner(), left));
        let answer = self.contained(Method::RateLimit, work).await?;
        Ok(Response::new(answer))
    }
}

impl Service {
    async fn limit(
        &self,
        request: RateLimitRequest,
        left: Duration,
    ) -> Result<RateLimitResponse, Status> {
        let asked =
            Asked::read(request).map_err(|problem| self.malformed(Method::RateLimit, problem))?;
        let current = self.live.current();
        let set = &current.snapshot().set;
        // What applies is said by the domain alone.
        let applicable = set.applicable(At::RateLimit, &asked.domain_bag());
        let judge = |descriptor| judge(&current, &applicable, &asked, descriptor, left);
        let limited: SmallVec<[Limited; 1]> = match &asked.descriptors[..] {
            [only] => smallvec![judge(only).await],
            several => together(several.iter().map(judge)).await.into(),
        };
        let mut answer = Answer::default();
        for limited in &limited {
            self.count(&asked.domain, limited, set);
            answer.add(limited, set);
        }
        Ok(answer.finish())
    }

    fn count(&self, domain: &str, limited: &Limited, set: &PolicySet) {
        self.metrics.rate_limits.count(limited, set);
        for ((policy, quota), refuses) in &limited.shadow {
            let policy = &set.policies[*policy];
            let outcome = match refuses {
                true => ShadowOutcome::WouldDeny,
                false => ShadowOutcome::Same,
            };
            let series = [
                domain.into(),
                policy.name.clone(),
                policy.quotas[*quota].id.clone(),
            ];
            self.metrics.shadow.count(series, outcome, 1);
        }
    }
}

async fn judge(
    current: &Arc<Current>,
    applicable: &Applicable,
    asked: &Asked,
    descriptor: &Descriptor,
    left: Duration,
) -> Limited {
    let bag = descriptor.bag(&asked.domain);
    current
        .dispatcher
        .limit(applicable, &bag, descriptor.hits(), left)
        .await
}
