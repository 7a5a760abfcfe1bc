//! One counter, whichever way it counts.

use std::time::Duration;

use mixer_adapter::{Algorithm, Ask, Limit};

use crate::fixed::{Opened, Page, Today};
use crate::gcra::{Bucket, Rate};
use crate::window::Spent;

/// What a key has spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// A sliding window, or what is held of a concurrency limit: a sliding window as long as the hold.
    Window(Spent),
    Gcra(Bucket),
    Opened(Opened),
    Page(Page),
}

const _: () = assert!(
    size_of::<Counter>() == 24,
    "every entry of the table has one"
);

const APART: &str = "a family of counters has one algorithm";

/// Which counters a family has. They are apart: what one algorithm remembers means nothing to another. Snapshots hold the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Sliding,
    Gcra,
    Opened,
    Calendar,
    Held,
}

impl Kind {
    pub(crate) const ALL: usize = Self::EACH.len();
    /// By their numbers.
    pub(crate) const EACH: [Self; 5] = [
        Kind::Sliding,
        Kind::Gcra,
        Kind::Opened,
        Kind::Calendar,
        Kind::Held,
    ];

    /// That of a number.
    pub(crate) fn parse(number: u8) -> Option<Self> {
        Self::EACH.get(usize::from(number)).copied()
    }

    pub(crate) fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::SlidingWindow => Kind::Sliding,
            Algorithm::Gcra { .. } => Kind::Gcra,
            Algorithm::FixedWindow { calendar: None } => Kind::Opened,
            Algorithm::FixedWindow { calendar: Some(_) } => Kind::Calendar,
            Algorithm::Concurrency { .. } => Kind::Held,
        }
    }
}

/// A limit in the terms of its algorithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    amount: u64,
    window: u64,
    way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Window,
    Gcra(Rate),
    Opened,
    Page(Today),
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
        Self::new(ask.limit, ask.algorithm)
    }

    pub(crate) fn new(limit: Limit, algorithm: Algorithm) -> Self {
        let Limit { amount, window } = limit;
        let (amount, window, way) = match algorithm {
            Algorithm::SlidingWindow => (amount, window, Way::Window),
            Algorithm::Concurrency { hold } => (amount, hold, Way::Window),
            Algorithm::FixedWindow { calendar: None } => (amount, window, Way::Opened),
            Algorithm::FixedWindow { calendar: Some(at) } => {
                let today = Today::new(at.number, nanos(at.ends_in));
                (amount, window, Way::Page(today))
            }
            // Nothing ever refills a bucket of amount 0: as a limit of 0.
            Algorithm::Gcra { burst } => {
                let burst = if amount == 0 { 0 } else { burst };
                let rate = Rate::new(amount.max(1), at_least_one(window), burst);
                (burst, window, Way::Gcra(rate))
            }
        };
        Self {
            amount,
            window: at_least_one(window),
            way,
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
        match self.way {
            Way::Window => Counter::Window(Spent::NOTHING),
            Way::Gcra(_) => Counter::Gcra(Bucket::FULL),
            Way::Opened => Counter::Opened(Opened::NEVER),
            Way::Page(_) => Counter::Page(Page::NONE),
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A window of no time would divide by zero, and documents do not have it.
fn at_least_one(window: Duration) -> u64 {
    nanos(window).max(1)
}

impl Counter {
    /// Whether a family of that kind has such counters.
    pub(crate) fn is_of(&self, kind: Kind) -> bool {
        match self {
            Counter::Window(_) => matches!(kind, Kind::Sliding | Kind::Held),
            Counter::Gcra(_) => kind == Kind::Gcra,
            Counter::Opened(_) => kind == Kind::Opened,
            Counter::Page(_) => kind == Kind::Calendar,
        }
    }

    /// Tokens that are free.
    pub(crate) fn free(&self, terms: &Terms, now: u64) -> u64 {
        self.free_of(terms, 1, now)
    }

    /// Tokens that may be counted beyond what is free, until twice the amount is spent.
    pub(crate) fn countable(&self, terms: &Terms, now: u64) -> u64 {
        self.free_of(terms, 2, now)
    }

    /// Tokens that would be free if the amount were so many times as much.
    fn free_of(&self, terms: &Terms, times: u64, now: u64) -> u64 {
        if let (Counter::Gcra(bucket), Way::Gcra(rate)) = (self, terms.way) {
            return bucket.tokens(rate, times, now);
        }
        let most = terms.amount.saturating_mul(times);
        most.saturating_sub(self.spent(terms, now))
    }

    /// Tokens that count.
    pub(crate) fn spent(&self, terms: &Terms, now: u64) -> u64 {
        match (self, terms.way) {
            (Counter::Gcra(bucket), Way::Gcra(rate)) => bucket.spent(rate, now),
            (Counter::Window(spent), Way::Window) => spent.within(terms.window, now),
            (Counter::Opened(opened), Way::Opened) => opened.spent(terms.window, now),
            (Counter::Page(page), Way::Page(today)) => page.spent(today, now),
            _ => unreachable!("{APART}"),
        }
    }

    /// Nanoseconds until nothing it has spent counts any more.
    pub(crate) fn free_in(&self, terms: &Terms, now: u64) -> u64 {
        match (self, terms.way) {
            (Counter::Gcra(bucket), Way::Gcra(rate)) => bucket.full_in(rate, now),
            (Counter::Window(spent), Way::Window) => {
                spent.forgotten_in(u64::MAX, terms.window, now)
            }
            (Counter::Opened(opened), Way::Opened) => opened.ends_in(terms.window, now),
            (Counter::Page(page), Way::Page(today)) if page.spent(today, now) > 0 => {
                page.ends_in(today, now)
            }
            (Counter::Page(_), Way::Page(_)) => 0,
            _ => unreachable!("{APART}"),
        }
    }

    /// Whether `tokens` could be taken.
    pub(crate) fn offers(&self, tokens: u64, terms: &Terms, now: u64) -> Result<(), Refusal> {
        if !terms.offers_ever(tokens) {
            return Err(Refusal::Never);
        }
        if tokens <= self.free(terms, now) {
            return Ok(());
        }
        Err(Refusal::Early(match (self, terms.way) {
            (Counter::Gcra(bucket), Way::Gcra(rate)) => bucket.holds_in(tokens, rate, now),
            (Counter::Window(spent), Way::Window) => {
                let used = spent.within(terms.window, now);
                let needed = used.saturating_add(tokens).saturating_sub(terms.amount);
                spent.forgotten_in(needed, terms.window, now)
            }
            (Counter::Opened(opened), Way::Opened) => opened.ends_in(terms.window, now),
            (Counter::Page(page), Way::Page(today)) => page.ends_in(today, now),
            _ => unreachable!("{APART}"),
        }))
    }

    /// Takes tokens, without asking whether they are there. `longest`: the longest window of the counter's family.
    pub(crate) fn take(&mut self, tokens: u64, terms: &Terms, longest: u64, now: u64) {
        match (self, terms.way) {
            (Counter::Gcra(bucket), Way::Gcra(rate)) => bucket.take(tokens, rate, now),
            (Counter::Window(spent), Way::Window) => {
                spent.spend(tokens, terms.window, longest, now);
            }
            (Counter::Opened(opened), Way::Opened) => opened.spend(tokens, terms.window, now),
            (Counter::Page(page), Way::Page(today)) => page.spend(tokens, today, now),
            _ => unreachable!("{APART}"),
        }
    }

    /// Gives back tokens that were taken `age` ago, unless they are forgotten.
    pub(crate) fn give_back(&mut self, tokens: u64, age: Duration, terms: &Terms, now: u64) {
        let age = nanos(age);
        match (self, terms.way) {
            (Counter::Gcra(bucket), Way::Gcra(rate)) => bucket.put_back(tokens, rate, now),
            (Counter::Window(spent), Way::Window) if age < terms.window => {
                spent.give_back(tokens, terms.window, now);
            }
            (Counter::Window(_), Way::Window) => {}
            (Counter::Opened(opened), Way::Opened) => opened.give_back(tokens, age, now),
            (Counter::Page(page), Way::Page(from)) => page.give_back(tokens, from),
            _ => unreachable!("{APART}"),
        }
    }

    /// Whether it is no different from a new one. `longest`: the longest window of its family.
    pub(crate) fn is_idle(&self, longest: u64, now: u64) -> bool {
        match self {
            Counter::Window(spent) => spent.is_idle(longest, now),
            Counter::Gcra(bucket) => bucket.is_full(now),
            Counter::Opened(opened) => opened.spent(longest, now) == 0,
            Counter::Page(page) => page.is_over(now),
        }
    }
}
