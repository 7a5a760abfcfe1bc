//! What an adapter can do, erased to one type.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    Answer, Ask, Batch, Counters, Env, Exposition, Family, Forgotten, Grant, Instance, Invalid,
    Listed, MetricDefinition, Unavailable, Which,
};

/// Answers match or no match.
pub trait Check: Send + Sync + 'static {
    /// Called many times at once; dispatch drops the future at its deadline.
    fn check(
        &self,
        instance: &Instance<'_>,
    ) -> impl Future<Output = Result<Answer, Unavailable>> + Send;
}

/// Counts.
pub trait Quota: Send + Sync + 'static {
    /// All asks are granted, or nothing is taken; one grant per ask, in order. Giving back never fails and is never refused.
    /// The same non-empty `dedup_id` within a minute gets the same grants without taking again.
    fn allocate(
        &self,
        asks: &[Ask<'_>],
        dedup_id: &str,
    ) -> impl Future<Output = Result<Vec<Grant>, Unavailable>> + Send;
}

/// Is told what happened.
pub trait Report: Send + Sync + 'static {
    /// Which metrics there will be, before any sample of them; a definition that cannot be is refused (a bad name, another
    /// kind under the same name).
    fn declare(&self, metrics: &[MetricDefinition]) -> Result<(), Invalid>;
    /// Takes a batch, or says why not. May buffer, within bounds; what it drops it counts.
    fn report(&self, batch: Batch<'_>) -> impl Future<Output = Result<(), Unavailable>> + Send;
    /// Sends what is buffered.
    fn flush(&self) -> impl Future<Output = ()> + Send;
}

/// Shows metrics in the Prometheus text formats.
pub trait Expose: Send + Sync + 'static {
    /// Writes its families to a page that other adapters write to as well.
    fn expose(&self, page: &mut Exposition);
}

type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Start = Box<dyn FnOnce(&Env) + Send + Sync>;

/// What an adapter can do. A capability it lacks is a load error where a document uses it.
#[derive(Default)]
pub struct Handler {
    check: Option<Arc<dyn ErasedCheck>>,
    quota: Option<Arc<dyn ErasedQuota>>,
    counters: Option<Arc<dyn ErasedCounters>>,
    report: Option<Arc<dyn ErasedReport>>,
    expose: Option<Arc<dyn Expose>>,
    version: Option<watch::Receiver<u64>>,
    start: Option<Start>,
}

impl Handler {
    /// Can do nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers match or no match.
    pub fn with_check(mut self, check: Arc<impl Check>) -> Self {
        self.check = Some(check);
        self
    }

    /// Counts.
    pub fn with_quota(mut self, quota: Arc<impl Quota>) -> Self {
        self.quota = Some(quota);
        self
    }

    /// Shows its counters, and forgets them.
    pub fn with_counters(mut self, counters: Arc<impl Counters>) -> Self {
        self.counters = Some(counters);
        self
    }

    /// Is told what happened.
    pub fn with_report(mut self, report: Arc<impl Report>) -> Self {
        self.report = Some(report);
        self
    }

    /// Shows metrics.
    pub fn with_expose(mut self, expose: Arc<dyn Expose>) -> Self {
        self.expose = Some(expose);
        self
    }

    /// The digest of the data that answers depend on: the same for the same data on every Mixer. Part of every revision of a
    /// destination that asks this adapter.
    pub fn with_version(mut self, version: watch::Receiver<u64>) -> Self {
        self.version = Some(version);
        self
    }

    /// What to do when the set comes into force: background work, through [`Env::tasks`].
    pub fn on_start(mut self, start: impl FnOnce(&Env) + Send + Sync + 'static) -> Self {
        self.start = Some(Box::new(start));
        self
    }

    /// Whether it answers match or no match.
    pub fn can_check(&self) -> bool {
        self.check.is_some()
    }

    /// Whether it counts.
    pub fn can_quota(&self) -> bool {
        self.quota.is_some()
    }

    /// Whether its counters can be shown and forgotten.
    pub fn can_show_counters(&self) -> bool {
        self.counters.is_some()
    }

    /// Whether it can be told what happened.
    pub fn can_report(&self) -> bool {
        self.report.is_some()
    }

    /// Runs what [`Handler::on_start`] gave; once.
    pub fn start(&mut self, env: &Env) {
        if let Some(start) = self.start.take() {
            start(env);
        }
    }

    /// The digest of its data; 0 for none.
    pub fn version(&self) -> u64 {
        self.version.as_ref().map_or(0, |version| *version.borrow())
    }

    /// Told when the digest of its data changes; `None` if it has none.
    pub fn version_changes(&self) -> Option<watch::Receiver<u64>> {
        self.version.clone()
    }

    /// Shows its metrics, if it has any to show.
    pub fn exposition(&self) -> Option<&Arc<dyn Expose>> {
        self.expose.as_ref()
    }

    /// See [`Check::check`].
    pub async fn check(&self, instance: &Instance<'_>) -> Result<Answer, Unavailable> {
        match &self.check {
            Some(check) => check.check(instance).await,
            None => Err(missing("answer match or no match")),
        }
    }

    /// See [`Quota::allocate`].
    pub async fn allocate(
        &self,
        asks: &[Ask<'_>],
        dedup_id: &str,
    ) -> Result<Vec<Grant>, Unavailable> {
        match &self.quota {
            Some(quota) => quota.allocate(asks, dedup_id).await,
            None => Err(missing("count")),
        }
    }

    /// See [`Counters::list`].
    pub async fn counters(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        most: usize,
        from: &str,
    ) -> Result<Listed, Unavailable> {
        match &self.counters {
            Some(counters) => counters.list(family, which, most, from).await,
            None => Err(missing("show its counters")),
        }
    }

    /// See [`Counters::forget`].
    pub async fn forget(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        from: &str,
    ) -> Result<Forgotten, Unavailable> {
        match &self.counters {
            Some(counters) => counters.forget(family, which, from).await,
            None => Err(missing("forget what it counted")),
        }
    }

    /// See [`Report::declare`].
    pub fn declare(&self, metrics: &[MetricDefinition]) -> Result<(), Invalid> {
        match &self.report {
            Some(report) => report.declare(metrics),
            None => Err(Invalid::one(
                "",
                "this adapter cannot be told what happened",
            )),
        }
    }

    /// See [`Report::report`].
    pub async fn report(&self, batch: Batch<'_>) -> Result<(), Unavailable> {
        match &self.report {
            Some(report) => report.report(batch).await,
            None => Err(missing("be told what happened")),
        }
    }

    /// See [`Report::flush`].
    pub async fn flush(&self) {
        if let Some(report) = &self.report {
            report.flush().await;
        }
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler")
            .field("check", &self.can_check())
            .field("quota", &self.can_quota())
            .field("counters", &self.can_show_counters())
            .field("report", &self.can_report())
            .finish_non_exhaustive()
    }
}

fn missing(what: &str) -> Unavailable {
    Unavailable {
        reason: format!("this adapter cannot {what}").into(),
        retry: false,
    }
}

trait ErasedCheck: Send + Sync {
    fn check<'a>(&'a self, instance: &'a Instance<'_>) -> Later<'a, Result<Answer, Unavailable>>;
}

impl<T: Check> ErasedCheck for T {
    fn check<'a>(&'a self, instance: &'a Instance<'_>) -> Later<'a, Result<Answer, Unavailable>> {
        Box::pin(Check::check(self, instance))
    }
}

trait ErasedQuota: Send + Sync {
    fn allocate<'a>(
        &'a self,
        asks: &'a [Ask<'_>],
        dedup_id: &'a str,
    ) -> Later<'a, Result<Vec<Grant>, Unavailable>>;
}

impl<T: Quota> ErasedQuota for T {
    fn allocate<'a>(
        &'a self,
        asks: &'a [Ask<'_>],
        dedup_id: &'a str,
    ) -> Later<'a, Result<Vec<Grant>, Unavailable>> {
        Box::pin(Quota::allocate(self, asks, dedup_id))
    }
}

trait ErasedCounters: Send + Sync {
    fn list<'a>(
        &'a self,
        family: &'a Family<'_>,
        which: Which<'a>,
        most: usize,
        from: &'a str,
    ) -> Later<'a, Result<Listed, Unavailable>>;
    fn forget<'a>(
        &'a self,
        family: &'a Family<'_>,
        which: Which<'a>,
        from: &'a str,
    ) -> Later<'a, Result<Forgotten, Unavailable>>;
}

impl<T: Counters> ErasedCounters for T {
    fn list<'a>(
        &'a self,
        family: &'a Family<'_>,
        which: Which<'a>,
        most: usize,
        from: &'a str,
    ) -> Later<'a, Result<Listed, Unavailable>> {
        Box::pin(Counters::list(self, family, which, most, from))
    }

    fn forget<'a>(
        &'a self,
        family: &'a Family<'_>,
        which: Which<'a>,
        from: &'a str,
    ) -> Later<'a, Result<Forgotten, Unavailable>> {
        Box::pin(Counters::forget(self, family, which, from))
    }
}

trait ErasedReport: Send + Sync {
    fn declare(&self, metrics: &[MetricDefinition]) -> Result<(), Invalid>;
    fn report<'a>(&'a self, batch: Batch<'a>) -> Later<'a, Result<(), Unavailable>>;
    fn flush(&self) -> Later<'_, ()>;
}

impl<T: Report> ErasedReport for T {
    fn declare(&self, metrics: &[MetricDefinition]) -> Result<(), Invalid> {
        Report::declare(self, metrics)
    }

    fn report<'a>(&'a self, batch: Batch<'a>) -> Later<'a, Result<(), Unavailable>> {
        Box::pin(Report::report(self, batch))
    }

    fn flush(&self) -> Later<'_, ()> {
        Box::pin(Report::flush(self))
    }
}
