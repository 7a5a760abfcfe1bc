//! Costs that are known only afterwards: an estimate is reserved, the actual cost committed.
//!
//! A reservation is its estimate, spent like any cost, and a mark in the same store, taken in the same call. Its id says what was
//! reserved of which counter; the mark, a counter of its own named by all that, says that it was, and whether it is settled. So
//! any Mixer that shares the store can settle it, no secret is needed (an id that was made up has no mark), and a second commit
//! finds it settled. A mark is of [`MOST`]: one is taken when it is made, and the other two, which must leave nothing, when it is
//! settled. What is never committed stays spent; its mark is forgotten.

use std::time::{Duration, UNIX_EPOCH};

use mixer_adapter::{Algorithm, Ask, Limit, Outcome as Granted, Over};
use mixer_documents as documents;
use serde::{Deserialize, Serialize};

use super::spend::{Spending, Want};
use super::{Outcome, QuotaAsk, Taken};
use crate::dispatch::Dispatcher;

/// How long a reservation may be committed.
pub const RESERVED_FOR: Duration = Duration::from_secs(600);

/// No quota of a document is called so.
const MARKS: &str = "\0reservations";
/// A mark's tokens: those taken when the reservation is made, those when it is settled, and all.
pub(super) const MADE: i64 = 1;
const SETTLED: i64 = 2;
const MOST: u64 = 3;
/// Ids of more bytes are of no reservation.
const LONGEST: usize = 64 << 10;

/// What was reserved; as JSON its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reservation {
    quota: String,
    key: Vec<String>,
    tier: String,
    cost: u64,
    /// Tells it from others of the same; the same for every try of the request.
    nonce: String,
    /// When, in milliseconds since 1970: what is forgotten by now does not go back. Not part of the mark, since a repeated try is
    /// later; by a lie in it a client gains nothing but that its own estimate goes back to a later window.
    at: u64,
}

/// The ids of what was reserved, one for each want.
pub(super) fn names(wants: &[Want<'_>], taken: &[Taken]) -> Vec<String> {
    let stands = |taken: &Taken| taken.outcome == Outcome::Granted;
    let all = taken.iter().all(stands);
    let name = |want: &Want<'_>| want.reservation.as_ref().map(Reservation::name);
    let named = wants.iter().map(|want| name(want).filter(|_| all));
    let mut names: Vec<String> = named.map(Option::unwrap_or_default).collect();
    names.resize(taken.len(), String::new());
    names
}

/// Takes of a mark.
pub(super) fn ask(mark: &[String], cost: i64) -> Ask<'_> {
    Ask {
        quota: MARKS,
        key: mark,
        cost,
        limit: Limit {
            amount: MOST,
            window: RESERVED_FOR,
        },
        algorithm: Algorithm::SlidingWindow,
        extra: 0,
        over: Over::Refuse,
        age: Duration::ZERO,
    }
}

impl Reservation {
    /// Names its mark.
    pub(super) fn mark(&self) -> Vec<String> {
        let said = [&self.nonce, &self.quota, &self.tier].map(String::clone);
        let cost = [self.cost.to_string()];
        said.into_iter()
            .chain(cost)
            .chain(self.key.clone())
            .collect()
    }

    fn name(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are JSON")
    }

    fn parse(name: &str) -> Option<Self> {
        let name = Some(name).filter(|name| name.len() <= LONGEST)?;
        serde_json::from_str(name).ok()
    }
}

impl Spending<'_> {
    /// The reservation of ask number `at`, if it can be one.
    pub(super) fn reservation(
        &self,
        want: &Want<'_>,
        ask: &QuotaAsk<'_>,
        at: usize,
    ) -> Option<Reservation> {
        let held = matches!(
            want.quota.algorithm,
            documents::Algorithm::Concurrency { .. }
        );
        if want.cost <= 0 || want.shadow || held {
            return None;
        }
        let random = &self.dispatcher.random;
        let nonce = match self.dedup_id {
            "" => format!("{:016x}{:016x}", random.next(), random.next()),
            id => format!("{}\0{id}\0{at}", self.client),
        };
        let since = self.begun.wall().duration_since(UNIX_EPOCH);
        Some(Reservation {
            quota: ask.quota.to_owned(),
            key: ask.key.to_vec(),
            tier: ask.tier.to_owned(),
            cost: want.cost.unsigned_abs(),
            nonce,
            at: u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Dispatcher {
    /// Settles the reservation of that id at what it did cost: the rest goes back, or more is taken, beyond the limit if need be.
    /// Once: a second commit is told that it is settled, and changes nothing.
    pub async fn commit(&self, reservation: &str, actual: u64, left: Duration) -> Taken {
        let unknown = Taken::nothing(Outcome::Unknown);
        let Some(reservation) = Reservation::parse(reservation) else {
            return unknown;
        };
        let Some((policy, quota)) = self.snapshot.quota(&reservation.quota) else {
            return unknown;
        };
        let quota = &self.snapshot.set.policies[policy].quotas[quota];
        let store = &self.snapshot.adapters[quota.store];
        let spending = self.spending("", "", left);
        let unavailable = |retry_after| Taken {
            retry_after: Some(retry_after),
            ..Taken::nothing(Outcome::Unavailable)
        };
        // Both calls are told by what they do: a repeated try goes on where the first stopped, another commit finds it settled.
        let mark = reservation.mark();
        let id = format!("{}\0{actual}", mark.join("\0"));
        let settle = [ask(&mark, SETTLED)];
        let dedup_id = format!("mark\0{id}");
        let marked = store.allocate(&settle, &dedup_id, spending.until);
        match marked.await.as_deref() {
            Err(why) => return unavailable(why.retry_after),
            Ok([grant]) if grant.outcome == Granted::Refused => {
                return Taken::nothing(Outcome::Granted);
            }
            Ok([grant]) if grant.remaining > 0 => {
                let undo = [ask(&mark, -SETTLED)];
                drop(store.allocate(&undo, "", spending.until).await);
                return unknown;
            }
            Ok(_) => {}
        }
        let row = match reservation.tier.as_str() {
            "" => quota.limit.otherwise,
            tier => quota.limit.row(tier),
        };
        let more = i64::try_from(actual.saturating_sub(reservation.cost)).unwrap_or(i64::MAX);
        let want = Want {
            quota,
            key: &reservation.key,
            limit: row,
            cost: more,
            age: Duration::ZERO,
            reservation: None,
            per_second: None,
            shadow: false,
            tally: None,
        };
        let rest = reservation.cost.saturating_sub(actual);
        let settled = if rest > 0 {
            let taken_at = UNIX_EPOCH + Duration::from_millis(reservation.at);
            let age = spending.begun.wall().duration_since(taken_at);
            spending.back(&want, rest, age.unwrap_or_default().min(RESERVED_FOR))
        } else {
            Ask {
                over: Over::Owe,
                ..spending.ask(&want, 0)
            }
        };
        let (asks, dedup_id) = ([settled], format!("settle\0{id}"));
        let settled = store.allocate(&asks, &dedup_id, spending.until);
        match settled.await.as_deref() {
            Err(why) => unavailable(why.retry_after),
            Ok(grants) => Taken {
                remaining: grants.first().map_or(0, |grant| grant.remaining),
                ..Taken::nothing(Outcome::Granted)
            },
        }
    }
}
