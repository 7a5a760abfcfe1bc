//! One stream: its domain, its buckets, and when each is looked at.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_response::BucketAction;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::{
    RateLimitQuotaResponse, RateLimitQuotaUsageReports,
};
use mixer_documents::{Applicable, At, PolicySet};
use mixer_runtime::Instant;
use tokio::sync::watch;
use tonic::{Status, Streaming};

use super::Common;
use super::action::actions;
use super::counts::Refused;
use super::reported::{Id, Reported, domain_bag};
use crate::dispatch::assign::{Assigned, Bucket, Strategy, Usage};
use crate::dispatch::{ShadowOutcome, together};
use crate::live::Current;
use crate::server::metrics::{Failure, Method};
use crate::server::watch::Announcement;
use crate::server::wire::Malformed;

/// Stores are asked about so many buckets of a stream at once.
const TOGETHER: usize = 32;
/// Buckets in one answer: even with the longest ids it is far smaller than what Envoy takes.
const IN_ANSWER: usize = 256;
/// How long a stream may say nothing at first.
const FIRST: Duration = Duration::from_secs(30);
/// The time of one look at a bucket; stores have their own, shorter.
const LEFT: Duration = Duration::from_secs(1);

type News = watch::Receiver<Option<Arc<Announcement>>>;

/// A stream.
pub(super) struct Session {
    common: Arc<Common>,
    reports: Streaming<RateLimitQuotaUsageReports>,
    news: News,
    /// Names the documents that buckets were assigned by.
    revision: Arc<str>,
    begun: Instant,
    /// Empty before the first message.
    domain: String,
    buckets: BTreeMap<Id, Slot>,
    /// Actions that are to be told.
    waiting: VecDeque<BucketAction>,
    _place: Place,
}

/// A bucket and when to look at it.
struct Slot {
    bucket: Bucket,
    told: Option<Strategy>,
    due: Instant,
    _counted: Counted,
}

/// A bucket on its way through a turn.
struct Turn {
    id: Id,
    slot: Slot,
    usage: Option<Usage>,
    assigned: Option<Assigned>,
}

/// What happened to a stream.
enum Event {
    Message(Result<Option<RateLimitQuotaUsageReports>, Status>),
    News(bool),
    Due,
}

impl Session {
    /// Begins one, if there is room.
    pub(super) fn begin(
        common: &Arc<Common>,
        reports: Streaming<RateLimitQuotaUsageReports>,
    ) -> Option<Self> {
        let place = Place::take(common)?;
        // What was sent before counts: it may have been the end.
        let mut news = common.live.news();
        news.mark_changed();
        Some(Self {
            reports,
            news,
            revision: common.live.current().revision.clone(),
            begun: common.clock.now(),
            domain: String::new(),
            buckets: BTreeMap::new(),
            waiting: VecDeque::new(),
            common: common.clone(),
            _place: place,
        })
    }

    /// The next answer; `None`: the stream ends, since the Envoy or Mixer does.
    pub(super) async fn next(&mut self) -> Result<Option<RateLimitQuotaResponse>, Status> {
        loop {
            if !self.waiting.is_empty() {
                let count = self.waiting.len().min(IN_ANSWER);
                return Ok(Some(RateLimitQuotaResponse {
                    bucket_action: self.waiting.drain(..count).collect(),
                }));
            }
            match self.event().await {
                Event::Message(Ok(Some(message))) => self.take(message).await?,
                // It could not be read, or the Envoy is gone and nobody is told.
                Event::Message(Err(status)) => return Err(status),
                Event::Message(Ok(None)) | Event::News(false) => return Ok(None),
                Event::News(true) => {
                    let current = self.common.live.current();
                    if current.revision != self.revision {
                        let all = self.buckets.keys().cloned().map(|id| (id, None));
                        let all = all.collect();
                        self.turn(&current, all).await;
                    }
                }
                Event::Due => self.due().await?,
            }
        }
    }

    async fn event(&mut self) -> Event {
        let due = self.buckets.values().map(|slot| slot.due).min();
        let due = match self.domain.is_empty() {
            true => Some(self.begun + FIRST),
            false => due,
        };
        let clock = &self.common.clock;
        let wait = due.map(|due| due.since(clock.now()));
        let (news, reports) = (&mut self.news, &mut self.reports);
        tokio::select! {
            biased;
            changed = news.changed() => Event::News(changed.is_ok() && news.borrow_and_update().is_some()),
            message = reports.message() => Event::Message(message),
            () = async {
                match wait {
                    Some(wait) => clock.sleep(wait).await,
                    None => std::future::pending().await,
                }
            } => Event::Due,
        }
    }

    /// What was reported is charged, and each of its buckets is assigned something.
    async fn take(&mut self, message: RateLimitQuotaUsageReports) -> Result<(), Status> {
        let most = self.common.most.of_one;
        let read = Reported::read(message, most).and_then(|reported| {
            self.keeps_domain(&reported.domain)?;
            Ok(reported)
        });
        let Reported { domain, usages } = read.map_err(|malformed| {
            let metrics = &self.common.metrics;
            metrics.failed(Method::RateLimitQuota, Failure::Malformed);
            Status::from(malformed)
        })?;
        if self.domain.is_empty() {
            self.domain = domain;
        }
        let (now, mut known) = (self.common.clock.now(), Vec::with_capacity(usages.len()));
        for (id, usage) in usages {
            self.common.metrics.quotas.reported(usage);
            if self.buckets.contains_key(&id) || self.subscribe(&id, now) {
                known.push((id, Some(usage)));
            } else {
                self.common.metrics.quotas.refused(Refused::Bucket);
                self.waiting.extend(actions(&id.written(), None, None));
            }
        }
        let current = self.common.live.current();
        self.turn(&current, known).await;
        Ok(())
    }

    fn keeps_domain(&self, domain: &str) -> Result<(), Malformed> {
        match (&*self.domain, domain) {
            ("", "") => Err(Malformed::new("domain", "is empty in the first message")),
            ("", _) | (_, "") => Ok(()),
            (held, said) if held == said => Ok(()),
            (held, said) => {
                let problem = format!("was `{held}` and is `{said}`: open another stream");
                Err(Malformed::new("domain", problem))
            }
        }
    }

    /// Room for one more bucket; `false`: there is none.
    fn subscribe(&mut self, id: &Id, now: Instant) -> bool {
        if self.buckets.len() >= self.common.most.of_one {
            return false;
        }
        let Some(counted) = Counted::take(&self.common) else {
            return false;
        };
        let slot = Slot {
            bucket: Bucket::new(self.common.shares.clone(), now),
            told: None,
            due: now,
            _counted: counted,
        };
        self.buckets.insert(id.clone(), slot);
        true
    }

    async fn due(&mut self) -> Result<(), Status> {
        let now = self.common.clock.now();
        if self.domain.is_empty() && now >= self.begun + FIRST {
            let metrics = &self.common.metrics;
            metrics.failed(Method::RateLimitQuota, Failure::Malformed);
            return Err(Status::deadline_exceeded("nothing was reported"));
        }
        let due = self.buckets.iter().filter(|(_, slot)| slot.due <= now);
        let due: Vec<(Id, Option<Usage>)> = due.map(|(id, _)| (id.clone(), None)).collect();
        let current = self.common.live.current();
        self.turn(&current, due).await;
        Ok(())
    }

    /// Looks at buckets, and has what they are assigned wait to be told.
    async fn turn(&mut self, current: &Arc<Current>, buckets: Vec<(Id, Option<Usage>)>) {
        self.revision = current.revision.clone();
        let set = &current.snapshot().set;
        let applicable = set.applicable(At::RateLimit, &domain_bag(&self.domain));
        let turn = |(id, usage)| {
            let slot = self.buckets.remove(&id)?;
            Some(Turn {
                id,
                slot,
                usage,
                assigned: None,
            })
        };
        let mut turns: Vec<Turn> = buckets.into_iter().filter_map(turn).collect();
        for some in turns.chunks_mut(TOGETHER) {
            let domain = &self.domain;
            let work = some
                .iter_mut()
                .map(|turn| turn.take(current, &applicable, domain));
            together(work).await;
            // A store in memory lets nobody else run meanwhile.
            tokio::task::yield_now().await;
        }
        let now = self.common.clock.now();
        for turn in turns {
            self.tell(turn, set, now);
        }
    }

    fn tell(&mut self, turn: Turn, set: &PolicySet, now: Instant) {
        let Turn {
            id,
            mut slot,
            assigned,
            ..
        } = turn;
        let Some(assigned) = assigned else { return };
        let metrics = &self.common.metrics;
        metrics.quotas.assigned(&assigned);
        for ((policy, quota), same, would_deny) in &assigned.shadow {
            let policy = &set.policies[*policy];
            for (outcome, count) in [
                (ShadowOutcome::Same, *same),
                (ShadowOutcome::WouldDeny, *would_deny),
            ] {
                let id = policy.quotas[*quota].id.clone();
                let series = [self.domain.as_str().into(), policy.name.clone(), id];
                metrics.shadow.count(series, outcome, count);
            }
        }
        let actions = actions(&id.written(), slot.told, assigned.strategy);
        self.waiting.extend(actions);
        slot.told = assigned.strategy;
        if assigned.strategy.is_some() {
            slot.due = now + assigned.again;
            self.buckets.insert(id, slot);
        }
    }
}

impl Turn {
    async fn take(&mut self, current: &Current, applicable: &Applicable, domain: &str) {
        let bag = self.id.bag(domain);
        let bucket = &mut self.slot.bucket;
        let assigned = current
            .dispatcher
            .assign(applicable, &bag, bucket, self.usage, LEFT)
            .await;
        self.assigned = Some(assigned);
    }
}

/// A place among the buckets of all streams, given back when dropped.
struct Counted(Arc<Common>);

impl Counted {
    fn take(common: &Arc<Common>) -> Option<Self> {
        let counted = Self(common.clone());
        let buckets = common.metrics.quotas.buckets.add(1);
        (usize::try_from(buckets).is_ok_and(|buckets| buckets <= common.most.buckets))
            .then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.quotas.buckets.add(-1);
    }
}

/// A place among the streams, given back when dropped.
struct Place(Arc<Common>);

impl Place {
    fn take(common: &Arc<Common>) -> Option<Self> {
        let place = Self(common.clone());
        let streams = common.metrics.quotas.streams.add(1);
        if usize::try_from(streams).is_ok_and(|streams| streams <= common.most.streams) {
            return Some(place);
        }
        common.metrics.quotas.refused(Refused::Stream);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.metrics.quotas.streams.add(-1);
    }
}
