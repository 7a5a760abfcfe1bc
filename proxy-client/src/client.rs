//! The client: scope, cache, leases, then Mixer.
//!
//! What can be answered here is answered without a single await. What must be asked is asked under the deadlines of
//! [`Config`], and what cannot be asked is answered by the failure mode the operator declared for the destination.

mod background;
mod charging;
mod reserving;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use mixer_attributes::AttributeBag;
use mixer_proto::v1;
use mixer_runtime::{Clock, Instant, Random, Tasks, queue};
use tokio::sync::{Mutex, watch};

use crate::cache::{CheckCache, Entry};
use crate::call::{self, Calls, Unanswered};
use crate::in_flight::Ended;
use crate::lease::{Bill, Leases};
use crate::place::{Known, Place};
use crate::report::Pump;
use crate::standing::{self, Standing};
use crate::stats::Counters;
use crate::wire::{self, Checked};
use crate::{Answer, At, Config, Failure, Reporter, State, Stats, Verdict};
use charging::Paid;
pub use reserving::{NotCounted, Reservation};

/// Asks Mixer; one per proxy, shared by its threads.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    clock: Clock,
    random: Arc<Random>,
    calls: Arc<Calls>,
    cache: CheckCache,
    leases: Leases,
    /// What requests held that are over.
    ended: queue::Sender<Ended>,
    to_free: Mutex<queue::Receiver<Ended>>,
    counters: Arc<Counters>,
    standing: Standing,
    known: ArcSwapOption<Known>,
    states: watch::Sender<Option<Arc<State>>>,
    /// When the Watch stream was lost, in nanoseconds of the clock; of meaning while `counters.watching` is false.
    lost_at: AtomicU64,
    /// Requests that Mixer is told of, for what is in shadow.
    samples: queue::Sender<Bytes>,
    reporter: Reporter,
    pump: Mutex<Pump>,
    closing: watch::Sender<bool>,
}

/// What has to be asked before a request is answered; see [`Client::answer`].
#[derive(Debug)]
pub struct Asking {
    place: Arc<Place>,
    /// It is decided, but these charges are not covered by leases.
    owes: Option<(Arc<Entry>, Bill)>,
}

/// What is known of a request without asking.
enum Here {
    Answered(Answer),
    /// Decided, but some of its charges are not covered by leases.
    Owes(Arc<Place>, Arc<Entry>, Bill),
    Unknown(Arc<Place>),
}

/// Counters of quotas held at once; each takes about 300 bytes.
const MOST_COUNTERS: usize = 65_536;
/// Samples waiting to be sent.
const MOST_SAMPLES: usize = 64;
/// What ended waiting to be sent.
const MOST_ENDED: usize = 16_384;
/// Refills waiting to be sent.
const MOST_WAITING: usize = 4_096;

impl Client {
    /// Starts watching and reporting in the background. Mixer need not be there yet.
    ///
    /// # Panics
    /// When `config.mixer` is no `host:port`, or `config.inbound` holds attributes that are not built in.
    pub fn start(config: Config, clock: Clock, random: Arc<Random>, tasks: &Tasks) -> Self {
        let counters = Arc::new(Counters::default());
        let watch = wire::watch_request(&config.client, &config.inbound.bag())
            .expect("what a proxy says of its own service is in the built-in vocabulary");
        let calls = {
            let _runtime = tasks.enter();
            Calls::new(&config, clock.clone(), &random, counters.clone())
                .expect("config.mixer is host:port")
        };
        let calls = Arc::new(calls);
        let reporter = Reporter::new(&config, counters.clone());
        let collected = reporter.collected().clone();
        let pump = Pump::new(
            collected.clone(),
            calls.clone(),
            random.clone(),
            config.client.clone(),
        );
        let (waiting, asks) = queue::bounded(MOST_WAITING);
        let (samples, sampled) = queue::bounded(MOST_SAMPLES);
        let (ended, to_free) = queue::bounded(MOST_ENDED);
        let inner = Arc::new(Inner {
            name: config.client,
            clock,
            random,
            cache: CheckCache::new(config.cache_entries),
            leases: Leases::new(MOST_COUNTERS, calls.total_timeout(), waiting),
            ended,
            to_free: Mutex::new(to_free),
            calls,
            counters,
            standing: Standing::new(),
            known: ArcSwapOption::empty(),
            states: watch::Sender::new(None),
            lost_at: AtomicU64::new(0),
            samples,
            reporter,
            pump: Mutex::new(pump),
            closing: watch::Sender::new(false),
        });
        tasks.spawn_until_stop("mixer watch", inner.clone().watch(watch));
        tasks.spawn_until_stop("mixer leases", inner.clone().hold_leases(asks));
        tasks.spawn_until_stop("mixer in flight", inner.clone().free_ended());
        tasks.spawn_until_stop("mixer shadow", inner.clone().send_samples(sampled));
        tasks.spawn_until_stop("mixer report", inner.clone().report(config.report_interval));
        Self { inner }
    }

    /// The newest state, and news of it; `None` until the first came.
    pub fn state(&self) -> watch::Receiver<Option<Arc<State>>> {
        self.inner.states.subscribe()
    }

    /// May this request pass? `destination` is the service it goes to (`None`: none of the mesh). Takes what it charges.
    /// Never waits longer than the configured time and never fails: what cannot be asked is answered by the failure mode.
    pub async fn check(&self, at: At, destination: Option<&str>, bag: &AttributeBag<'_>) -> Answer {
        match self.answer(at, destination, bag) {
            Ok(answer) => answer,
            Err(asking) => self.ask(asking, at, destination, bag).await,
        }
    }

    /// The part of [`Client::check`] that asks nobody: `Err` is what has to go to [`Client::ask`], at once and with the same
    /// request. A host whose futures must be small calls the two.
    pub fn answer(
        &self,
        at: At,
        destination: Option<&str>,
        bag: &AttributeBag<'_>,
    ) -> Result<Answer, Asking> {
        match self.inner.answer_here(at, destination, bag) {
            Here::Answered(answer) => Ok(answer),
            Here::Unknown(place) => Err(Asking { place, owes: None }),
            Here::Owes(place, entry, bill) => Err(Asking {
                place,
                owes: Some((entry, bill)),
            }),
        }
    }

    /// The part of [`Client::check`] that asks.
    pub async fn ask(
        &self,
        asking: Asking,
        at: At,
        destination: Option<&str>,
        bag: &AttributeBag<'_>,
    ) -> Answer {
        let inner = &*self.inner;
        let Asking { place, owes } = asking;
        let until = inner.clock.now() + inner.calls.total_timeout();
        if let Some((entry, bill)) = owes {
            match inner.pay(&entry, bill, until).await {
                Paid::Answered(answer) => return answer,
                Paid::OutOfDate => inner.cache.forget(place.id, &place.shapes, bag),
            }
        }
        inner.ask_check(at, destination, bag, &place, until).await
    }

    /// Has Mixer fetch the keys of the jwt document `issuer` again, because a token names one that is in no set it told. When it
    /// is answered, the set of the digest that comes back has been told, or is about to be; `None`: nothing is known.
    pub async fn refresh_keys(&self, issuer: &str, patience: Duration) -> Option<String> {
        let inner = &*self.inner;
        let request = wire::refresh_keys_request(&inner.name, issuer);
        let answer = inner
            .calls
            .refresh_keys::<v1::RefreshKeysResponse>(request, patience);
        match answer.await {
            Ok(answer) => Some(answer.digest).filter(|digest| !digest.is_empty()),
            Err(status) => {
                tracing::debug!(issuer, "keys were not fetched again: {}", status.message());
                None
            }
        }
    }

    /// How long no Mixer has confirmed what Watch told; zero while one does.
    pub fn unconfirmed_for(&self) -> Duration {
        match self.inner.counters.watching.load(Ordering::Acquire) {
            true => Duration::ZERO,
            false => self.inner.unconfirmed_for(),
        }
    }

    /// Where what happened is told.
    pub fn reporter(&self) -> &Reporter {
        &self.inner.reporter
    }

    /// Whether a first state came.
    pub fn ready(&self) -> bool {
        self.inner.known.load().is_some()
    }

    /// Counts since the start.
    pub fn stats(&self) -> Stats {
        let cache = &self.inner.cache;
        Stats {
            cache_entries: cache.len() as u64,
            cache_shapes_forgotten: cache.shapes_forgotten(),
            ..self.inner.counters.read()
        }
    }

    /// Ends the background, gives leases back and sends what is left to report, within `deadline`. The client's tasks must
    /// not have been stopped before; it can still be asked, but learns nothing new.
    pub async fn finish(&self, deadline: Duration) {
        self.inner.closing.send_replace(true);
        let unused = self.inner.leases.drain(self.inner.clock.now());
        let rest = async {
            self.inner.give_back(unused).await;
            self.inner.free_rest().await;
            self.inner.report_rest().await;
        };
        if self.inner.clock.within(deadline, rest).await.is_none() {
            tracing::warn!("not everything could be given back and reported in time");
        }
    }
}

impl Inner {
    fn answer_here(&self, at: At, destination: Option<&str>, bag: &AttributeBag<'_>) -> Here {
        let known = self.known.load();
        let Some(known) = &*known else {
            Counters::count(&self.counters.failed_cold);
            return Here::Answered(self.standing.failed(Failure::Cold, false));
        };
        let place = known.place(at, destination);
        if !place.scope.rules && !place.scope.quotas {
            Counters::count(&self.counters.nothing_applies);
            return Here::Answered(self.standing.nothing());
        }
        let announced = self.counters.watching.load(Ordering::Acquire);
        let found = if announced || self.unconfirmed_for() < known.stale {
            self.cache.find(place.id, &place.shapes, bag, &self.clock)
        } else {
            None
        };
        let Some(entry) = found else {
            Counters::count(&self.counters.cache_misses);
            return Here::Unknown(place.clone());
        };
        Counters::count(&self.counters.cache_hits);
        if !announced {
            Counters::count(&self.counters.stale_answers);
        }
        if place.scope.shadow && place.sample.takes(self.clock.now()) {
            self.sample(at, bag, &entry.answer, place.scope.reads_claims);
        }
        if entry.charges.is_empty() || entry.answer.verdict == Verdict::Deny {
            return Here::Answered(entry.answer.clone());
        }
        let now = self.clock.now();
        match self.leases.spend(&entry.charges, now) {
            Ok(bill) => {
                self.counters
                    .lease_hits
                    .fetch_add(bill.paid, Ordering::Relaxed);
                if bill.missing.is_empty() {
                    Here::Answered(self.passes(&entry, now))
                } else {
                    Here::Owes(place.clone(), entry, bill)
                }
            }
            Err(refusal) => {
                Counters::count(&self.counters.refusals_remembered);
                let charge = &entry.charges[refusal.at];
                let denial = standing::refused(&entry.answer, charge, refusal.retry_after);
                Here::Answered(self.telling(denial, &entry.charges, now))
            }
        }
    }

    /// Tells Mixer of a request that was answered from the cache, in the background: what is in shadow is not part of what is
    /// cached, and is tried on a sample. (Describing it is all that this request pays.)
    fn sample(&self, at: At, bag: &AttributeBag<'_>, answer: &Answer, claims: bool) {
        if let Ok(request) = wire::answered_request(at, bag, &self.name, answer, claims) {
            self.samples.offer(request);
        }
    }

    /// How long no Mixer has confirmed the announced revisions.
    fn unconfirmed_for(&self) -> Duration {
        self.clock
            .now()
            .since(Instant::from_nanos(self.lost_at.load(Ordering::Acquire)))
    }

    async fn ask_check(
        &self,
        at: At,
        destination: Option<&str>,
        bag: &AttributeBag<'_>,
        place: &Place,
        until: Instant,
    ) -> Answer {
        let asked = self.clock.now();
        let rates = self.leases.rates(place.charged.counters(), asked);
        let (id, claims) = (self.calls.dedup_id(), place.scope.reads_claims);
        let request = match wire::check_request(at, bag, &self.name, &id, &rates, claims) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!("a request cannot be described to Mixer: {error}");
                return self.failed(Failure::Malformed, false);
            }
        };
        Counters::count(&self.counters.check_calls);
        match self
            .calls
            .ask::<v1::CheckResponse>(call::CHECK, request, until)
            .await
        {
            // Whatever made Mixer refuse the description came with the request: a caller must not open a door by it.
            Err(Unanswered::NotUnderstood) => self.failed(Failure::Malformed, false),
            Err(unanswered) => self.failed(unanswered.into(), place.scope.fail_open),
            Ok(response) => match wire::check_response(response) {
                Ok(checked) => self.decided(at, destination, bag, checked, asked),
                Err(error) => {
                    // Mixer did answer: it may have been a denial, so this is no reason to let anybody pass.
                    tracing::debug!("an answer of Mixer makes no sense: {error}");
                    self.failed(Failure::Malformed, false)
                }
            },
        }
    }

    /// Enters what came with an answer.
    fn decided(
        &self,
        at: At,
        destination: Option<&str>,
        bag: &AttributeBag<'_>,
        checked: Checked,
        asked: Instant,
    ) -> Answer {
        let Checked {
            mut decided,
            grants,
        } = checked;
        // The state may have changed since: what counts is what is announced now.
        if let Some(known) = &*self.known.load() {
            let place = known.place(at, destination);
            place.charged.remember(&decided.charges);
            if !decided.revision.is_empty() && place.scope.revision == decided.revision {
                self.cache
                    .keep(place.id, &place.shapes, bag, &decided, asked);
            }
        }
        let now = self.clock.now();
        let charges = || decided.charges.iter().zip(&grants);
        let taken = charging::anything_taken(charges());
        for (charge, grant) in charges() {
            let taken = taken || charge.shadow;
            self.leases.granted(charge, grant, taken, asked, now);
        }
        let in_flight = self.in_flight(charges().filter(|_| taken), asked);
        let enforced = charges().filter(|(charge, _)| !charge.shadow);
        if let Some(denial) = self.enforce(&decided.answer, enforced, now) {
            return self.telling(denial, &decided.charges, now);
        }
        decided.answer.in_flight = in_flight;
        self.telling(decided.answer, &decided.charges, now)
    }

    fn failed(&self, failure: Failure, open: bool) -> Answer {
        Counters::count(match failure {
            Failure::Unreachable => &self.counters.failed_unreachable,
            Failure::Overloaded => &self.counters.failed_overloaded,
            Failure::Cold => &self.counters.failed_cold,
            Failure::Malformed => &self.counters.failed_malformed,
        });
        if open {
            Counters::count(&self.counters.failed_open);
        }
        self.standing.failed(failure, open)
    }
}
