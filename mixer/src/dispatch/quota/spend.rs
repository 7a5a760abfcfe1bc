//! One request's spending: what is asked of which store, in which order, and what is undone.
//!
//! Tries of one request carry one `dedup_id`. Every call made for it has an id of its own derived from that, giving back
//! included, so that a repeated try neither takes nor gives back twice.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use mixer_adapter::{Ask, CalendarWindow, Grant, Outcome as Granted, Over};
use mixer_documents::{Algorithm, Denied, Limit, Quota, QuotaOnError};
use mixer_runtime::{Clock, Instant};
use smallvec::{SmallVec, smallvec};

use super::reserve::{self, Reservation};
use super::{Outcome, Taken};
use crate::dispatch::ledger::LEASE_FOR;
use crate::dispatch::tally::{Tally, Told};
use crate::dispatch::{Dispatcher, Installed};

/// One counter and what is wanted of it.
pub(super) struct Want<'a> {
    pub(super) quota: &'a Quota,
    pub(super) key: &'a [String],
    pub(super) limit: Limit,
    /// Negative: it only gives back, which is done before.
    pub(super) cost: i64,
    /// How long ago what is given back was taken, at most.
    pub(super) age: Duration,
    /// What may be settled later.
    pub(super) reservation: Option<Reservation>,
    /// What the client spends, if a lease is welcome.
    pub(super) per_second: Option<f64>,
    pub(super) shadow: bool,
    /// Where what becomes of it is counted.
    pub(super) tally: Option<&'a Tally>,
}

/// Who spends, and until when stores are waited for.
pub(super) struct Spending<'a> {
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) client: &'a str,
    pub(super) dedup_id: &'a str,
    /// One moment for the whole request: all it takes, and may have to undo, is of the same windows.
    pub(super) begun: Moment,
    pub(super) until: Instant,
}

/// A moment by both clocks.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    clock: Clock,
    /// Read when the first asks: only calendars do.
    wall: OnceLock<SystemTime>,
}

impl Moment {
    pub(super) fn now(clock: &Clock) -> Self {
        Self {
            now: clock.now(),
            clock: clock.clone(),
            wall: OnceLock::new(),
        }
    }

    pub(super) fn wall(&self) -> SystemTime {
        *self.wall.get_or_init(|| self.clock.wall())
    }
}

impl Spending<'_> {
    /// Takes all of `wants` or nothing; one outcome each, in order.
    pub(super) async fn spend(&self, wants: &[Want<'_>]) -> Vec<Taken> {
        let mut taken = vec![Taken::nothing(Outcome::Granted); wants.len()];
        let mut stores: SmallVec<[usize; 4]> = smallvec![];
        for want in wants.iter().filter(|want| want.is_enforced()) {
            if !stores.contains(&want.quota.store) {
                stores.push(want.quota.store);
            }
        }
        for (position, store) in stores.iter().enumerate() {
            let of_store =
                |at: &usize| wants[*at].is_enforced() && wants[*at].quota.store == *store;
            let here: SmallVec<[usize; 4]> = (0..wants.len()).filter(of_store).collect();
            if !self.take(*store, &here, wants, &mut taken, "take").await {
                let counts = taken.iter().any(|taken| taken.outcome == Outcome::Refused);
                self.undo(&stores[..position], wants, &mut taken, counts)
                    .await;
                if counts {
                    self.count(&stores[position + 1..], wants).await;
                }
                return taken;
            }
        }
        for at in (0..wants.len()).filter(|at| wants[*at].shadow && wants[*at].cost >= 0) {
            self.take(
                wants[at].quota.store,
                &[at],
                wants,
                &mut taken,
                &format!("shadow {at}"),
            )
            .await;
        }
        let Dispatcher { clock, ledger, .. } = self.dispatcher;
        for (want, taken) in wants
            .iter()
            .zip(&mut taken)
            .filter(|(_, taken)| taken.lease > 0)
        {
            let now = clock.now();
            taken.lease_for = self.lease_for(want);
            let counter = ledger.counter(&want.quota.id, want.key);
            ledger.grant(
                counter,
                self.client,
                taken.lease,
                now + taken.lease_for,
                now,
            );
        }
        taken
    }

    /// Gives back the cost of each want, whoever took it.
    pub(super) async fn put_back(&self, wants: &[Want<'_>]) {
        let mut stores: Vec<usize> = wants.iter().map(|want| want.quota.store).collect();
        stores.sort_unstable();
        stores.dedup();
        for store in stores {
            let here = wants.iter().filter(|want| want.quota.store == store);
            let back = |want| self.back(want, want.cost.unsigned_abs(), Duration::ZERO);
            let asks: Vec<Ask<'_>> = here.map(back).collect();
            self.tell(store, &asks, "back").await;
        }
    }

    /// Gives back what the client says it did not use of each want, as far as it did hold it; and frees what is in flight no
    /// longer, where its word is taken: it may have asked another Mixer.
    pub(super) async fn give_back_unused(&self, wants: &[Want<'_>], unused: &[u64]) {
        let Dispatcher { clock, ledger, .. } = self.dispatcher;
        let now = clock.now();
        let mut back: Vec<(usize, Ask<'_>)> = Vec::new();
        for (want, unused) in wants.iter().zip(unused).filter(|(_, unused)| **unused > 0) {
            let (tokens, age) = if let Algorithm::Concurrency { .. } = want.quota.algorithm {
                (*unused, want.age)
            } else {
                let counter = ledger.counter(&want.quota.id, want.key);
                let returned = ledger.give_back(counter, self.client, *unused, now);
                (returned.tokens, returned.age)
            };
            if tokens > 0 {
                back.push((want.quota.store, self.back(want, tokens, age)));
            }
        }
        back.sort_by_key(|(store, _)| *store);
        for of_store in back.chunk_by(|(a, _), (b, _)| a == b) {
            let asks: Vec<Ask<'_>> = of_store.iter().map(|(_, ask)| ask.clone()).collect();
            self.tell(of_store[0].0, &asks, "unused").await;
        }
    }

    /// Takes the wants `here` from one store; whether the request still passes.
    async fn take(
        &self,
        store: usize,
        here: &[usize],
        wants: &[Want<'_>],
        taken: &mut [Taken],
        part: &str,
    ) -> bool {
        let asks = here
            .iter()
            .map(|at| self.ask(&wants[*at], self.lease(&wants[*at])));
        let store = &self.dispatcher.snapshot.adapters[store];
        let reserved = here.iter().filter_map(|at| wants[*at].reservation.as_ref());
        let marks: Vec<Vec<String>> = reserved.map(Reservation::mark).collect();
        let marks = marks.iter().map(|mark| reserve::ask(mark, reserve::MADE));
        let asks: SmallVec<[Ask<'_>; 2]> = asks.chain(marks).collect();
        match store
            .allocate(&asks, &self.call_id(part, store), self.until)
            .await
        {
            Ok(grants) => {
                let refused = grants.iter().any(|grant| grant.outcome == Granted::Refused);
                for ((at, ask), grant) in here.iter().zip(&asks).zip(grants) {
                    wants[*at].tell(&grant, ask.extra, refused, self.begun.now);
                    taken[*at] = Taken {
                        outcome: match grant.outcome {
                            Granted::Granted => Outcome::Granted,
                            Granted::Refused => Outcome::Refused,
                        },
                        lease: if refused { 0 } else { grant.extra },
                        lease_for: Duration::ZERO,
                        retry_after: self.retry_after(&wants[*at], &grant),
                        remaining: grant.remaining,
                        reset: wants[*at].reset(grant.remaining, &self.begun),
                    };
                }
                !refused
            }
            Err(why) => {
                tracing::debug!(store = %store.name(), reason = %why.reason, "quota could not be counted");
                for at in here {
                    wants[*at].tally.map(|tally| tally.count(Told::Unavailable));
                    taken[*at] = Taken {
                        retry_after: Some(why.retry_after),
                        ..Taken::nothing(Outcome::Unavailable)
                    };
                }
                !here
                    .iter()
                    .any(|at| wants[*at].quota.on_error == QuotaOnError::Deny)
            }
        }
    }

    /// Counts a refused request with those of its quotas in `stores`, which were not asked, that count such.
    async fn count(&self, stores: &[usize], wants: &[Want<'_>]) {
        for &store in stores {
            let counted = wants
                .iter()
                .filter(|want| want.is_enforced() && want.quota.store == store && want.counts());
            let asks: Vec<Ask<'_>> = counted.map(|want| self.ask(want, 0)).collect();
            self.tell(store, &asks, "count").await;
        }
    }

    /// Gives back what was taken from `stores` for a request that another store refused; where a refused request counts, only
    /// what was leased with it.
    async fn undo(&self, stores: &[usize], wants: &[Want<'_>], taken: &mut [Taken], counts: bool) {
        let age = self.dispatcher.clock.now().since(self.begun.now);
        for &store in stores {
            let mut asks = Vec::new();
            for (want, taken) in wants.iter().zip(taken.iter_mut()) {
                if want.is_enforced()
                    && want.quota.store == store
                    && taken.outcome == Outcome::Granted
                {
                    let mut tokens = std::mem::take(&mut taken.lease);
                    if !(counts && want.counts()) {
                        tokens = tokens.saturating_add(want.cost.unsigned_abs());
                    }
                    asks.push(self.back(want, tokens, age));
                }
            }
            self.tell(store, &asks, "undo").await;
        }
    }

    /// Tells a store what must not fail.
    async fn tell(&self, store: usize, asks: &[Ask<'_>], part: &str) {
        if asks.is_empty() {
            return;
        }
        let store = &self.dispatcher.snapshot.adapters[store];
        if let Err(why) = store
            .allocate(asks, &self.call_id(part, store), self.until)
            .await
        {
            // Lost until its window passes: the limit holds, a little less may be spent.
            tracing::debug!(store = %store.name(), reason = %why.reason, "quota could not be settled");
        }
    }

    /// How much beyond its cost the client may hold.
    fn lease(&self, want: &Want<'_>) -> u64 {
        let Dispatcher { clock, ledger, .. } = self.dispatcher;
        match want.per_second {
            Some(rate) if !want.shadow => {
                let counter = ledger.counter(&want.quota.id, want.key);
                ledger.size(
                    counter,
                    self.client,
                    want.limit,
                    want.quota.lease,
                    rate,
                    clock.now(),
                )
            }
            _ => 0,
        }
    }

    /// When a refused cost may be granted: within a second where somebody holds tokens that may come back.
    fn retry_after(&self, want: &Want<'_>, grant: &Grant) -> Option<Duration> {
        let Dispatcher { clock, ledger, .. } = self.dispatcher;
        let told = grant.retry_after?;
        let counter = ledger.counter(&want.quota.id, want.key);
        let comes_back = told > LEASE_FOR && ledger.is_held(counter, clock.now());
        Some(if comes_back { LEASE_FOR } else { told })
    }

    pub(super) fn ask<'w>(&self, want: &Want<'w>, extra: u64) -> Ask<'w> {
        let over = match want.quota.denied {
            Denied::Free => Over::Refuse,
            Denied::Counts => Over::Count,
        };
        Ask {
            extra,
            over,
            ..want.ask(want.cost, &|| self.begun.wall())
        }
    }

    /// Gives back tokens that were taken `age` ago: to the window of the calendar that was then.
    pub(super) fn back<'w>(&self, want: &Want<'w>, tokens: u64, age: Duration) -> Ask<'w> {
        let taken = || {
            let now = self.begun.wall();
            now.checked_sub(age).unwrap_or(now)
        };
        Ask {
            age,
            ..want.ask(0i64.saturating_sub_unsigned(tokens), &taken)
        }
    }

    /// A lease on a window of the calendar ends with it.
    fn lease_for(&self, want: &Want<'_>) -> Duration {
        let longest = match want.quota.algorithm {
            Algorithm::FixedWindow {
                calendar: Some(calendar),
            } => calendar.window(self.begun.wall()).ends_in,
            _ => want.limit.window,
        };
        LEASE_FOR.min(longest)
    }

    /// The id of one call made for the request; none for requests without one: an empty id means no deduplication.
    fn call_id(&self, part: &str, store: &Installed) -> String {
        let Self {
            client, dedup_id, ..
        } = self;
        if dedup_id.is_empty() {
            String::new()
        } else {
            format!("{client}\0{dedup_id}\0{part}\0{}", store.name())
        }
    }
}

impl<'a> Want<'a> {
    /// Whether it is taken and may be refused.
    fn is_enforced(&self) -> bool {
        !self.shadow && self.cost >= 0
    }

    /// Whether a refused request counts.
    fn counts(&self) -> bool {
        self.quota.denied == Denied::Counts
    }

    /// Until all of the limit is there again, where `remaining` tokens are left `at` that moment. Of a window that does not end at a known
    /// time it is at most so long.
    fn reset(&self, remaining: u64, at: &Moment) -> Duration {
        let Limit { amount, window } = self.limit;
        match self.quota.algorithm {
            Algorithm::Gcra { burst } => {
                let missing = burst.saturating_sub(remaining);
                window.mul_f64(missing as f64 / amount.max(1) as f64)
            }
            _ if remaining >= amount => Duration::ZERO,
            Algorithm::FixedWindow {
                calendar: Some(calendar),
            } => calendar.window(at.wall()).ends_in,
            _ => window,
        }
    }

    /// Counts what its store answered, of an ask for so much beyond the cost; nothing where it was not to blame that the request
    /// was refused.
    fn tell(&self, grant: &Grant, extra: u64, refused: bool, now: Instant) {
        let Some(tally) = self.tally else { return };
        let told = match grant.outcome {
            Granted::Refused => Told::Refused,
            Granted::Granted if refused => return,
            Granted::Granted if grant.extra < extra => Told::Partial,
            Granted::Granted => Told::Granted,
        };
        tally.answered(told, self.key, grant.remaining, self.limit.window, now);
    }

    /// `at`: when it is, or was, taken.
    pub(super) fn ask(&self, cost: i64, at: &dyn Fn() -> SystemTime) -> Ask<'a> {
        ask_of(self.quota, self.key, self.limit, cost, at)
    }
}

/// What a store is asked about the counter of `quota` for `key`; `at`: when the cost is, or was, taken.
pub(in crate::dispatch) fn ask_of<'a>(
    quota: &'a Quota,
    key: &'a [String],
    limit: Limit,
    cost: i64,
    at: &dyn Fn() -> SystemTime,
) -> Ask<'a> {
    let algorithm = match quota.algorithm {
        Algorithm::SlidingWindow => mixer_adapter::Algorithm::SlidingWindow,
        Algorithm::Gcra { burst } => mixer_adapter::Algorithm::Gcra { burst },
        Algorithm::FixedWindow { calendar } => mixer_adapter::Algorithm::FixedWindow {
            calendar: calendar.map(|calendar| {
                let window = calendar.window(at());
                CalendarWindow {
                    number: window.begins,
                    ends_in: window.ends_in,
                }
            }),
        },
        Algorithm::Concurrency { hold } => mixer_adapter::Algorithm::Concurrency { hold },
    };
    Ask {
        quota: &quota.id,
        key,
        cost,
        limit: mixer_adapter::Limit {
            amount: limit.amount,
            window: limit.window,
        },
        algorithm,
        extra: 0,
        over: Over::Refuse,
        age: Duration::ZERO,
    }
}
