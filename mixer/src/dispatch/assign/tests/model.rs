//! An Envoy as its filter behaves: it counts, obeys the last assignment while that is good, and reports when told to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::vocabulary::{RATE_LIMIT_DESCRIPTOR, RATE_LIMIT_DOMAIN, RATE_LIMIT_HITS};
use mixer_attributes::{AttributeBag, Entry, StringMap, Value};
use mixer_documents::At;
use mixer_runtime::Instant;

use crate::dispatch::assign::{Assigned, Bucket, LIFE, Shares, Strategy, Usage};
use crate::dispatch::tests::fixture::Fixture;

/// The time a call has; none passes on the clock.
const LEFT: Duration = Duration::from_secs(1);

/// One Mixer as far as assignments go: Mixers that share a store know nothing of each other's buckets.
#[derive(Clone, Debug, Default)]
pub(super) struct Mixer(Arc<Shares>);

/// One Envoy with one bucket, `user: ann`.
pub(super) struct Envoy {
    mixer: Mixer,
    pub(super) bucket: Option<Bucket>,
    pub(super) strategy: Option<Strategy>,
    tokens: f64,
    filled: Instant,
    until: Instant,
    usage: Usage,
    pub(super) passed: u64,
    /// When each request passed.
    pub(super) times: VecDeque<Instant>,
    /// What passed before there was an assignment.
    pub(super) unassigned: u64,
    /// What passed between a report and its answer.
    pub(super) late: u64,
}

/// A bucket's id.
pub(super) struct User(pub(super) &'static str);

impl StringMap for User {
    fn lookup(&self, key: &str) -> Entry<'_> {
        match key {
            "user" => Entry::Value(self.0.into()),
            _ => Entry::Absent,
        }
    }

    fn entries(&self) -> Vec<(std::borrow::Cow<'_, str>, Entry<'_>)> {
        vec![("user".into(), self.lookup("user"))]
    }
}

impl Envoy {
    pub(super) fn new(mixer: &Mixer) -> Self {
        let start = Instant::from_nanos(0);
        Self {
            mixer: mixer.clone(),
            bucket: None,
            strategy: None,
            tokens: 0.0,
            filled: start,
            until: start,
            usage: Usage::default(),
            passed: 0,
            times: VecDeque::new(),
            unassigned: 0,
            late: 0,
        }
    }

    /// Lets a request pass, or not. Without an assignment it passes.
    pub(super) fn request(&mut self, now: Instant) -> bool {
        let strategy = self.strategy.filter(|_| now < self.until);
        let passes = match strategy {
            None => {
                self.unassigned += 1;
                true
            }
            Some(Strategy::AllowAll) => true,
            Some(Strategy::DenyAll) => false,
            Some(Strategy::Tokens { .. } | Strategy::Rate { .. }) => {
                self.refill(now);
                let passes = self.tokens >= 1.0;
                if passes {
                    self.tokens -= 1.0;
                }
                passes
            }
        };
        if passes {
            self.usage.allowed += 1;
            self.passed += 1;
            self.times.push_back(now);
        } else {
            self.usage.denied += 1;
        }
        passes
    }

    /// How many of so many requests at once pass.
    pub(super) fn burst(&mut self, requests: usize, now: Instant) -> usize {
        (0..requests).filter(|_| self.request(now)).count()
    }

    fn refill(&mut self, now: Instant) {
        if let Some(Strategy::Rate {
            burst, fill, every, ..
        }) = self.strategy
        {
            let span = now.since(self.filled).as_secs_f64();
            let tokens = self.tokens + span * f64::from(fill) / every.as_secs_f64();
            self.tokens = tokens.min(burst.into());
        }
        self.filled = now;
    }

    /// Reports, and obeys what is answered.
    pub(super) async fn report(&mut self, fixture: &Fixture) -> Assigned {
        self.report_while(0, fixture).await
    }

    /// Reports, and obeys what is answered after so many more requests came.
    pub(super) async fn report_while(&mut self, requests: usize, fixture: &Fixture) -> Assigned {
        let usage = std::mem::take(&mut self.usage);
        let now = fixture.surroundings.clock.now();
        let assigned = self.assigned(fixture, Some(usage)).await;
        self.late += self.burst(requests, now) as u64;
        self.obey(assigned.strategy, now);
        assigned
    }

    /// Is told what Mixer has to say without being asked.
    pub(super) async fn turn(&mut self, fixture: &Fixture, usage: Option<Usage>) -> Assigned {
        let assigned = self.assigned(fixture, usage).await;
        self.obey(assigned.strategy, fixture.surroundings.clock.now());
        assigned
    }

    async fn assigned(&mut self, fixture: &Fixture, usage: Option<Usage>) -> Assigned {
        let user = User("ann");
        let mut bag = AttributeBag::new();
        bag.set(RATE_LIMIT_DOMAIN, Value::String("edge"));
        bag.set(RATE_LIMIT_DESCRIPTOR, Value::Map(&user));
        bag.set(RATE_LIMIT_HITS, Value::Int(1));
        let dispatcher = &fixture.dispatcher;
        let applicable = dispatcher.snapshot().set.applicable(At::RateLimit, &bag);
        let now = fixture.surroundings.clock.now();
        let shares = self.mixer.0.clone();
        let bucket = self.bucket.get_or_insert_with(|| Bucket::new(shares, now));
        dispatcher
            .assign(&applicable, &bag, bucket, usage, LEFT)
            .await
    }

    fn obey(&mut self, strategy: Option<Strategy>, now: Instant) {
        let Some(strategy) = strategy else {
            (self.bucket, self.strategy) = (None, None);
            return;
        };
        if self.strategy != Some(strategy) || now >= self.until {
            self.tokens = match strategy {
                Strategy::Tokens { requests, .. } => requests.into(),
                Strategy::Rate { burst, .. } => burst.into(),
                Strategy::AllowAll | Strategy::DenyAll => 0.0,
            };
            self.filled = now;
        }
        (self.strategy, self.until) = (Some(strategy), now + LIFE);
    }

    /// Requests that would pass now.
    pub(super) fn may(&self) -> u64 {
        match self.strategy {
            Some(Strategy::Tokens { .. } | Strategy::Rate { .. }) => self.tokens as u64,
            _ => 0,
        }
    }
}

/// The most that passed in any window.
pub(super) fn most_in_any(window: Duration, times: impl Iterator<Item = Instant>) -> usize {
    let mut times: Vec<Instant> = times.collect();
    times.sort();
    let within = |first: usize| {
        let end = times[first] + window;
        times.partition_point(|time| *time < end) - first
    };
    (0..times.len()).map(within).max().unwrap_or(0)
}
