//! The counters of one quota, for an operator: shown, forgotten, given back to.
//!
//! None of it is on the way of a request: it waits longer than one would, and neither breaker nor bulkhead of the store know of
//! it, since a walk through millions of counters says nothing about whether the store can count. Giving back is an ask like any
//! other, and goes where they go.

use std::time::Duration;

use mixer_adapter::{Counted, Family, Forgotten, Listed, Unavailable, Which};
use mixer_documents::{Limit, Policy, Quota};

use super::spend::Want;
use crate::dispatch::charge::{key_part, key_value};
use crate::dispatch::{Dispatcher, Installed, contained_work};

/// How long a store is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The counters of one quota, held against one limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountersOf<'d> {
    dispatcher: &'d Dispatcher,
    pub(crate) policy: &'d Policy,
    pub(crate) quota: &'d Quota,
    pub(crate) limit: Limit,
}

impl Dispatcher {
    /// The counters of a quota by its place in the set; under the limit of that row of its table, if it names one.
    pub(crate) fn counters_of(
        &self,
        place: (usize, usize),
        limit: Option<Limit>,
    ) -> CountersOf<'_> {
        let policy = &self.snapshot.set.policies[place.0];
        let quota = &policy.quotas[place.1];
        CountersOf {
            dispatcher: self,
            policy,
            quota,
            limit: limit.unwrap_or(quota.limit.otherwise),
        }
    }
}

impl CountersOf<'_> {
    /// The store that counts them.
    pub(crate) fn store(&self) -> &Installed {
        &self.dispatcher.snapshot.adapters[self.quota.store]
    }

    /// The key of a counter, of values of which some may be absent.
    pub(crate) fn key(values: Vec<Option<String>>) -> Vec<String> {
        values.into_iter().map(key_part).collect()
    }

    /// The values that a counter's key is made of.
    pub(crate) fn values(key: &[String]) -> Vec<Option<&str>> {
        key.iter().map(|part| key_value(part)).collect()
    }

    /// A part of the counters; see [`mixer_adapter::Counters::list`].
    pub(crate) async fn list(
        &self,
        which: Which<'_>,
        most: usize,
        from: &str,
    ) -> Result<Listed, Unavailable> {
        let family = self.family();
        let handler = self.store().handler();
        self.patient(handler.counters(&family, which, most, from))
            .await
    }

    /// Makes counters as new; see [`mixer_adapter::Counters::forget`].
    pub(crate) async fn forget(
        &self,
        which: Which<'_>,
        from: &str,
    ) -> Result<Forgotten, Unavailable> {
        let family = self.family();
        let handler = self.store().handler();
        self.patient(handler.forget(&family, which, from)).await
    }

    /// Takes `tokens` off what the counter has spent, never below nothing: in a window the oldest first, of what is in flight the
    /// longest first.
    pub(crate) async fn give_back(&self, key: &[String], tokens: u64) -> Result<(), Unavailable> {
        let cost = 0i64.saturating_sub_unsigned(tokens);
        let clock = &self.dispatcher.clock;
        let ask = self.want(key).ask(cost, &|| clock.wall());
        let until = clock.now() + PATIENCE;
        let told = self.store().allocate(&[ask], "", until).await;
        told.map(drop).map_err(|why| Unavailable {
            reason: why.reason,
            retry: !why.refused,
        })
    }

    /// The counter of that key, if it has spent anything.
    pub(crate) async fn one(&self, key: &[String]) -> Result<Option<Counted>, Unavailable> {
        let listed = self.list(Which::Key(key), 1, "").await?;
        Ok(listed.counters.into_iter().next())
    }

    fn family(&self) -> Family<'_> {
        let ask = self.want(&[]).ask(0, &|| self.dispatcher.clock.wall());
        Family {
            quota: &self.quota.id,
            limit: ask.limit,
            algorithm: ask.algorithm,
        }
    }

    fn want<'a>(&'a self, key: &'a [String]) -> Want<'a> {
        Want {
            quota: self.quota,
            key,
            limit: self.limit,
            cost: 0,
            age: Duration::ZERO,
            reservation: None,
            per_second: None,
            shadow: false,
            tally: None,
        }
    }

    async fn patient<T>(
        &self,
        call: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        let clock = &self.dispatcher.clock;
        let unavailable = |reason: &'static str| Unavailable {
            reason: reason.into(),
            retry: true,
        };
        match clock.within(PATIENCE, contained_work(call)).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err(unavailable("it panicked")),
            None => Err(unavailable("no answer within 5 s")),
        }
    }
}
