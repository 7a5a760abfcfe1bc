//! One counter, whichever way it counts.

use std::time::Duration;

use mixer_adapter::{Algorithm, Ask, Limit};

use crate::gcra::{Bucket, Rate};
use crate::window::Spent;

/// What a key has spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    Window(Spent),
    Gcra(Bucket),
}

const APART: &str = "a family of counters has one algorithm";

/// A limit in the terms of its algorithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    amount: u64,
    window: u64,
    rate: Option<Rate>,
}

/// Why tokens are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// So many nanoseconds too early.
    Early(u64),
    /// More than there can ever be.
    Never,
}

impl Terms {
    pub(crate) fn of(ask: &Ask<'_>) -> Self {
        let Limit { amount, window } = ask.limit;
        let window = nanos(window);
        match ask.algorithm {
            Algorithm::SlidingWindow => Self {
                amount,
                window,
                rate: None,
            },
            // Nothing ever refills a bucket of amount 0: as a limit of 0.
            Algorithm::Gcra { burst } => {
                let burst = if amount == 0 { 0 } else { burst };
                Self {
                    amount: burst,
                    window,
                    rate: Some(Rate::new(amount.max(1), window, burst)),
                }
            }
        }
    }

    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// Whether so many could ever be taken at once.
    pub(crate) fn offers_ever(&self, tokens: u64) -> bool {
        tokens <= self.amount
    }

    pub(crate) fn new_counter(&self) -> Counter {
        match self.rate {
            None => Counter::Window(Spent::NOTHING),
            Some(_) => Counter::Gcra(Bucket::FULL),
        }
    }
}

/// At least one: a window of no time would divide by zero, and documents do not have it.
fn nanos(window: Duration) -> u64 {
    u64::try_from(window.as_nanos()).unwrap_or(u64::MAX).max(1)
}

impl Counter {
    /// Tokens that are free.
    pub(crate) fn free(&self, terms: &Terms, now: u64) -> u64 {
        match (self, terms.rate) {
            (Counter::Gcra(bucket), Some(rate)) => bucket.tokens(rate, now),
            (Counter::Window(spent), _) => {
                terms.amount.saturating_sub(spent.within(terms.window, now))
            }
            (Counter::Gcra(_), None) => unreachable!("{APART}"),
        }
    }

    /// Whether `tokens` could be taken.
    pub(crate) fn offers(&self, tokens: u64, terms: &Terms, now: u64) -> Result<(), Refusal> {
        if !terms.offers_ever(tokens) {
            return Err(Refusal::Never);
        }
        let free = self.free(terms, now);
        if tokens <= free {
            return Ok(());
        }
        Err(Refusal::Early(match (self, terms.rate) {
            (Counter::Gcra(bucket), Some(rate)) => bucket.holds_in(tokens, rate, now),
            (Counter::Window(spent), _) => {
                let used = spent.within(terms.window, now);
                let needed = used.saturating_add(tokens).saturating_sub(terms.amount);
                spent.forgotten_in(needed, terms.window, now)
            }
            (Counter::Gcra(_), None) => unreachable!("{APART}"),
        }))
    }

    /// Takes tokens, without asking whether they are there. `longest`: the longest window of the counter's family.
    pub(crate) fn take(&mut self, tokens: u64, terms: &Terms, longest: u64, now: u64) {
        match (self, terms.rate) {
            (Counter::Gcra(bucket), Some(rate)) => bucket.take(tokens, rate, now),
            (Counter::Window(spent), _) => spent.spend(tokens, terms.window, longest, now),
            (Counter::Gcra(_), None) => unreachable!("{APART}"),
        }
    }

    /// Gives tokens back.
    pub(crate) fn give_back(&mut self, tokens: u64, terms: &Terms, now: u64) {
        match (self, terms.rate) {
            (Counter::Gcra(bucket), Some(rate)) => bucket.put_back(tokens, rate, now),
            (Counter::Window(spent), _) => spent.give_back(tokens, terms.window, now),
            (Counter::Gcra(_), None) => unreachable!("{APART}"),
        }
    }

    /// Whether it is no different from a new one. `longest`: the longest window of its family.
    pub(crate) fn is_idle(&self, longest: u64, now: u64) -> bool {
        match self {
            Counter::Window(spent) => spent.is_idle(longest, now),
            Counter::Gcra(bucket) => bucket.is_full(now),
        }
    }
}
