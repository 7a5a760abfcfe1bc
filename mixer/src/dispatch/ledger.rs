//! Who holds quota in advance, and how much anyone may.
//!
//! A lease lets a proxy spend without asking. What all proxies hold together bounds how wrong the count can be, so that a lease
//! is small: 2 % of the limit shared by those who hold one on the counter, and never more than a tenth of a second of what the
//! client really spends. The ledger is a hint, not the count: forgetting an entry costs precision, never correctness, so it is
//! bounded, and kept per Mixer.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mixer_documents::{LeaseLimit, Limit};
use mixer_runtime::Instant;

/// How long a lease is good: a proxy gives back what it did not spend within this time.
pub const LEASE_FOR: Duration = Duration::from_secs(1);
/// Counters remembered; beyond it no leases are given on others.
const COUNTERS: usize = 65_536;
/// Clients remembered per counter.
const CLIENTS: usize = 1_024;
/// What a client says it gives back is believed for this long after its lease ended (its message may be under way).
const GRACE: Duration = Duration::from_secs(1);

/// The leases of one Mixer.
#[derive(Debug, Default)]
pub struct Ledger {
    hasher: RandomState,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    counters: HashMap<u64, Vec<Lease>>,
    /// When what has ended was last looked for everywhere.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Lease {
    client: u64,
    tokens: u64,
    /// When the first of the tokens that it holds without a break was granted.
    since: Instant,
    until: Instant,
}

/// What a client gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Returned {
    pub(crate) tokens: u64,
    /// How long ago they were granted, at most.
    pub(crate) age: Duration,
}

/// Names a counter to the ledger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter(u64);

impl Ledger {
    /// The counter of `quota` for `key`.
    pub(crate) fn counter(&self, quota: &str, key: &[String]) -> Counter {
        Counter(self.hasher.hash_one((quota, key)))
    }

    /// How many tokens beyond its cost `client`, which spends `per_second`, may hold; 0: none, it asks each time.
    pub(crate) fn size(
        &self,
        counter: Counter,
        client: &str,
        limit: Limit,
        lease: LeaseLimit,
        per_second: f64,
        now: Instant,
    ) -> u64 {
        let client = self.hasher.hash_one(client);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let others = held.counters.get_mut(&counter.0).map(|leases| {
            leases.retain(|lease| lease.until + GRACE > now);
            leases
                .iter()
                .filter(|lease| lease.client != client && lease.tokens > 0)
                .count()
        });
        if others.is_none() {
            held.sweep(now);
        }
        if others.unwrap_or(0) >= CLIENTS || (others.is_none() && held.counters.len() >= COUNTERS) {
            return 0;
        }
        drop(held);
        let others = others.unwrap_or(0);
        let share = limit.amount / 50 / (others as u64 + 1);
        // A rate that is not a number, or negative, buys nothing; casts of floats saturate.
        let spent = (per_second / 10.0) as u64;
        let most = match lease {
            LeaseLimit::Auto => u64::MAX,
            LeaseLimit::AtMost(most) => most,
        };
        match share.min(spent).min(most) {
            0 | 1 => 0,
            size => size,
        }
    }

    /// `client` now holds `tokens` more, until `until`.
    pub(crate) fn grant(
        &self,
        counter: Counter,
        client: &str,
        tokens: u64,
        until: Instant,
        now: Instant,
    ) {
        if tokens == 0 {
            return;
        }
        let client = self.hasher.hash_one(client);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let leases = held.counters.entry(counter.0).or_default();
        match leases.iter_mut().find(|lease| lease.client == client) {
            Some(lease) => {
                let held = if lease.until + GRACE > now {
                    lease.tokens
                } else {
                    0
                };
                if held == 0 {
                    lease.since = now;
                }
                (lease.tokens, lease.until) = (held.saturating_add(tokens), until);
            }
            None => leases.push(Lease {
                client,
                tokens,
                since: now,
                until,
            }),
        }
    }

    /// Whether anybody holds tokens of the counter, which may come back any moment.
    pub(crate) fn is_held(&self, counter: Counter, now: Instant) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let leases = held.counters.get(&counter.0);
        leases.is_some_and(|leases| {
            let live = |lease: &Lease| lease.tokens > 0 && lease.until + GRACE > now;
            leases.iter().any(live)
        })
    }

    /// `client` gives back `tokens`; how many of them it really held.
    pub(crate) fn give_back(
        &self,
        counter: Counter,
        client: &str,
        tokens: u64,
        now: Instant,
    ) -> Returned {
        let client = self.hasher.hash_one(client);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let leases = held.counters.get_mut(&counter.0);
        let lease =
            leases.and_then(|leases| leases.iter_mut().find(|lease| lease.client == client));
        match lease {
            Some(lease) if lease.until + GRACE > now => {
                let returned = tokens.min(lease.tokens);
                lease.tokens -= returned;
                Returned {
                    tokens: returned,
                    // No lease lives longer, however long the client has held one.
                    age: now.since(lease.since).min(LEASE_FOR + GRACE),
                }
            }
            _ => Returned {
                tokens: 0,
                age: Duration::ZERO,
            },
        }
    }
}

impl Held {
    /// Forgets what has ended, if there is much and it was not done within the last second.
    fn sweep(&mut self, now: Instant) {
        if self.counters.len() < COUNTERS / 2
            || self.swept.is_some_and(|swept| swept + LEASE_FOR > now)
        {
            return;
        }
        self.swept = Some(now);
        self.counters.retain(|_, leases| {
            leases.retain(|lease| lease.until + GRACE > now);
            !leases.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        amount: 10_000,
        window: Duration::from_secs(60),
    };

    fn second(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_lease_is_the_smaller_of_two_percent_and_a_tenth_of_a_second() {
        let ledger = Ledger::default();
        let counter = ledger.counter("q", &[]);
        let size = |rate| ledger.size(counter, "a", LIMIT, LeaseLimit::Auto, rate, second(0));
        let cases = [
            (0.0, 0),
            (10.0, 0),
            (19.0, 0),
            (20.0, 2),
            (500.0, 50),
            (1e6, 200),
            (f64::NAN, 0),
            (-5.0, 0),
        ];
        for (rate, expected) in cases {
            assert_eq!(size(rate), expected, "{rate} per second");
        }
        assert_eq!(
            ledger.size(counter, "a", LIMIT, LeaseLimit::AtMost(7), 1e6, second(0)),
            7
        );
        assert_eq!(
            ledger.size(counter, "a", LIMIT, LeaseLimit::AtMost(0), 1e6, second(0)),
            0
        );
        let small = Limit {
            amount: 99,
            ..LIMIT
        };
        assert_eq!(
            ledger.size(counter, "a", small, LeaseLimit::Auto, 1e6, second(0)),
            0,
            "1 means ask each time"
        );
    }

    #[test]
    fn those_who_hold_a_lease_share_the_two_percent_until_it_ends() {
        let ledger = Ledger::default();
        let counter = ledger.counter("q", &["k".to_owned()]);
        let size = |client, now| ledger.size(counter, client, LIMIT, LeaseLimit::Auto, 1e6, now);
        ledger.grant(counter, "a", 200, second(1), second(0));
        assert_eq!((size("a", second(0)), size("b", second(0))), (200, 100));
        ledger.grant(counter, "b", 100, second(1), second(0));
        assert_eq!((size("a", second(0)), size("c", second(0))), (100, 66));
        assert!(ledger.is_held(counter, second(1)));
        assert_eq!(ledger.give_back(counter, "b", 100, second(1)).tokens, 100);
        assert_eq!(size("a", second(1)), 200, "who gave all back holds none");
        assert_eq!(size("c", second(3)), 200);
    }

    #[test]
    fn nobody_gives_back_more_than_it_holds() {
        let ledger = Ledger::default();
        let counter = ledger.counter("q", &[]);
        ledger.grant(counter, "a", 10, second(1), second(0));
        assert_eq!(ledger.give_back(counter, "b", 5, second(0)).tokens, 0);
        assert_eq!(ledger.give_back(counter, "a", 7, second(0)).tokens, 7);
        assert_eq!(ledger.give_back(counter, "a", 7, second(0)).tokens, 3);
        ledger.grant(counter, "a", 10, second(1), second(0));
        assert_eq!(
            ledger.give_back(counter, "a", 10, second(5)).tokens,
            0,
            "too late"
        );
    }
}
