//! `mixer.v1.Mixer`: Check, Quota, Report and Watch.
//!
//! A gRPC error means that there is no answer: the message was malformed, Mixer is overloaded, or it failed. A denial is an
//! answer. Whatever panics is contained to its call and counted.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::{Value, vocabulary};
use mixer_proto::v1;
use mixer_runtime::Clock;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::clients::{self, Caller};
use super::metrics::{Failure, Method, Metrics};
use super::rate_limit_quota::Common;
use super::reports::{NotTaken, Reports};
use super::trials::Trials;
use super::watch::{NotTold, States, Subscribers};
use super::wire::{self, Arena, Malformed};
use crate::dispatch::{
    Because, Outcome, QuotaAsk, RESERVED_FOR, Rate, Spent, Taken, Verdict, contained_work,
};
use crate::live::Live;

/// How long a caller that does not say waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// Asks in one call of Quota.
const ASKS: usize = 1_024;

/// Answers proxies.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) live: Arc<Live>,
    pub(crate) subscribers: Arc<Subscribers>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) trials: Trials,
    pub(crate) quotas: Arc<Common>,
    pub(crate) clock: Clock,
    /// Checks, Quotas and rate limit requests that may be answered at once.
    pub(crate) most_in_flight: usize,
}

#[tonic::async_trait]
impl v1::mixer_server::Mixer for Service {
    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        let begun = self.clock.now();
        let _place = self.admit(Method::Check)?;
        let left = left(request.metadata());
        let caller = request.extensions().get::<Caller>().cloned();
        let work = pin!(self.decide(request.into_inner(), caller.as_ref(), left));
        let answer = self.contained(Method::Check, work).await?;
        self.metrics
            .check_duration
            .observe(self.clock.now().since(begun));
        Ok(Response::new(answer))
    }

    async fn quota(
        &self,
        request: Request<v1::QuotaRequest>,
    ) -> Result<Response<v1::QuotaResponse>, Status> {
        let _place = self.admit(Method::Quota)?;
        self.is_that_proxy(&request, &request.get_ref().client)?;
        let left = left(request.metadata());
        let work = pin!(self.spend(request.get_ref(), left));
        let answer = self.contained(Method::Quota, work).await?;
        Ok(Response::new(answer))
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        self.is_that_proxy(&request, &request.get_ref().client)?;
        let request = request.into_inner();
        let sequence = request.sequence;
        let traced = request.records.iter().any(|record| record.trace.is_some());
        let service = if traced {
            self.subscribers.service_of(&request.client)
        } else {
            None
        };
        let take = async {
            match self.reports.take(request, self.live.current(), service) {
                Ok(()) => Ok(v1::ReportResponse { sequence }),
                Err(NotTaken::Malformed(malformed)) => {
                    Err(self.malformed(Method::Report, malformed))
                }
                Err(NotTaken::Full) => Err(self.overloaded(Method::Report)),
            }
        };
        self.contained(Method::Report, pin!(take))
            .await
            .map(Response::new)
    }

    type WatchStream = States;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<States>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let request = request.into_inner();
        match self
            .subscribers
            .subscribe(&self.live, request, caller.as_ref())
        {
            Ok(Err(NotTold::Refused(status))) => Err(*status),
            Ok(Ok(states)) => Ok(Response::new(states)),
            Ok(Err(NotTold::TooMany)) => Err(self.overloaded(Method::Watch)),
            Err(malformed) => Err(self.malformed(Method::Watch, malformed)),
        }
    }
}

impl Service {
    async fn decide(
        &self,
        request: v1::CheckRequest,
        caller: Option<&Caller>,
        left: Duration,
    ) -> Result<v1::CheckResponse, Status> {
        let malformed = |malformed| self.malformed(Method::Check, malformed);
        let current = self.live.current();
        if let Some(enforced) = wire::answered(&request) {
            self.trials.after(request, enforced, current);
            return Ok(v1::CheckResponse::default());
        }
        let set = &current.snapshot().set;
        let arena = Arena::new("attributes", &request.attributes).map_err(malformed)?;
        let mut bag = arena
            .bag("attributes", &set.vocabulary)
            .map_err(malformed)?;
        set.locate(&mut bag);
        let text = |attribute| match bag.value(attribute) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        // Whoever asks at the source says nothing of itself, and may ask about any destination.
        if caller.is_some()
            && text(vocabulary::CONTEXT_REPORTER) != Some("source")
            && let Some(service) = text(vocabulary::DESTINATION_SERVICE)
        {
            clients::may_speak_for(caller, service, set)?;
        }
        let (decision, taken) = if request.take {
            let rates: Vec<Rate<'_>> = request.rates.iter().map(rate).collect();
            current
                .dispatcher
                .check_and_take(&bag, &request.client, &rates, &request.dedup_id, left)
                .await
        } else {
            (current.dispatcher.check(&bag, left).await, Vec::new())
        };
        let refused = decision
            .charges
            .iter()
            .zip(&taken)
            .any(|(charge, taken)| !charge.shadow && taken.outcome == Outcome::Refused);
        match refused {
            true => self.metrics.checked(Verdict::Deny, Because::Quota),
            false => self.metrics.checked(decision.verdict, decision.because),
        }
        let grants = taken.iter().map(|taken| self.grant(taken)).collect();
        let (enforced, in_shadow) = ((decision.verdict, decision.because), decision.in_shadow);
        if in_shadow {
            self.trials.taken(&bag, &decision, &taken, set);
        }
        let response = wire::check_response(decision, grants, set);
        if in_shadow {
            self.trials.after(request, enforced, current);
        }
        Ok(response)
    }

    async fn spend(
        &self,
        request: &v1::QuotaRequest,
        left: Duration,
    ) -> Result<v1::QuotaResponse, Status> {
        for (field, many) in [
            ("asks", request.asks.len()),
            ("commits", request.commits.len()),
        ] {
            if many > ASKS {
                let problem = format!("{many} {field}, at most {ASKS} in one call");
                return Err(self.malformed(Method::Quota, Malformed::new(field, problem)));
            }
        }
        let asks: Vec<QuotaAsk<'_>> = request.asks.iter().map(ask).collect();
        let current = self.live.current();
        let dispatcher = &current.dispatcher;
        let Spent {
            taken,
            reservations,
        } = dispatcher
            .quota(&asks, &request.client, &request.dedup_id, left)
            .await;
        let mut commits = Vec::with_capacity(request.commits.len());
        for v1::Commit {
            reservation,
            actual,
        } in &request.commits
        {
            let settled = dispatcher.commit(reservation, *actual, left).await;
            commits.push(self.grant(&settled));
        }
        Ok(v1::QuotaResponse {
            grants: taken.iter().map(|taken| self.grant(taken)).collect(),
            commits,
            reserved_for: (!reservations.is_empty()).then(|| wire::time(RESERVED_FOR)),
            reservations,
        })
    }

    fn grant(&self, taken: &Taken) -> v1::Grant {
        if taken.outcome == Outcome::Unknown {
            self.metrics.unknown_quotas.add(1);
        }
        wire::grant(taken)
    }

    /// Whether a caller is the proxy that it calls itself: what that has reported, and the quota it holds, is nobody else's.
    fn is_that_proxy<T>(&self, request: &Request<T>, client: &str) -> Result<(), Status> {
        let Some(caller) = request.extensions().get::<Caller>() else {
            return Ok(());
        };
        match self.subscribers.service_of(client) {
            Some(service) => {
                let current = self.live.current();
                clients::may_speak_for(Some(caller), &service, &current.snapshot().set)
            }
            None => Ok(()),
        }
    }

    /// A place among those that are answered at once.
    pub(super) fn admit(&self, method: Method) -> Result<Place<'_>, Status> {
        let place = Place(&self.metrics);
        let in_flight = self.metrics.checks_in_flight.add(1);
        if usize::try_from(in_flight).is_ok_and(|in_flight| in_flight <= self.most_in_flight) {
            return Ok(place);
        }
        Err(self.overloaded(method))
    }

    fn overloaded(&self, method: Method) -> Status {
        self.metrics.failed(method, Failure::Overloaded);
        Status::resource_exhausted("overloaded")
    }

    pub(super) fn malformed(&self, method: Method, malformed: Malformed) -> Status {
        self.metrics.failed(method, Failure::Malformed);
        malformed.into()
    }

    /// Runs `work`, which lies where it is pinned: by value it would be copied three times, and be in the call's future as often.
    /// A panic in it ends it and nothing else. The panic hook has told the log.
    pub(super) async fn contained<T>(
        &self,
        method: Method,
        work: Pin<&mut impl Future<Output = Result<T, Status>>>,
    ) -> Result<T, Status> {
        contained_work(work).await.unwrap_or_else(|_| {
            self.metrics.failed(method, Failure::Panicked);
            Err(Status::internal(
                "answering this call failed; see Mixer's log",
            ))
        })
    }
}

/// Given back when dropped.
pub(super) struct Place<'a>(&'a Metrics);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.checks_in_flight.add(-1);
    }
}

fn rate(rate: &v1::Rate) -> Rate<'_> {
    Rate {
        quota: &rate.quota,
        key: &rate.key,
        per_second: rate.per_second,
    }
}

fn ask(ask: &v1::Ask) -> QuotaAsk<'_> {
    QuotaAsk {
        quota: &ask.quota,
        key: &ask.key,
        tier: &ask.tier,
        cost: ask.cost,
        lease: ask.lease,
        per_second: ask.per_second,
        unused: ask.unused,
        reserve: ask.reserve,
        age: wire::age(ask.age),
    }
}

/// The time a caller gives, by its `grpc-timeout`; [`PATIENCE`] when it does not say or says what cannot be read.
///
/// gRPC over HTTP/2: up to eight digits and a unit of H, M, S, m, u or n.
pub(super) fn left(metadata: &MetadataMap) -> Duration {
    let timeout = metadata
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok());
    timeout.and_then(parse_timeout).unwrap_or(PATIENCE)
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3_600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, expected) in [
            ("60m", Some(Duration::from_millis(60))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("0n", Some(Duration::ZERO)),
            ("7u", Some(Duration::from_micros(7))),
            ("", None),
            ("m", None),
            ("60", None),
            ("123456789S", None),
            ("-1S", None),
            ("1é", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }
}
