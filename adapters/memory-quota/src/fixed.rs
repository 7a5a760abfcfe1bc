//! Windows that do not overlap: opened by their first token, or given by the calendar.
//!
//! Both are a window and a sum. All of a window is forgotten at once, when it ends: hence up to twice the amount around a
//! boundary, which is what a contract that says "per calendar month" means. A calendar's window is the caller's business (stores
//! know no time zones): here it is a number, and an end by this Mixer's monotonic clock.

const SECOND: u64 = 1_000_000_000;

/// Seconds that a calendar's counter outlives the end of its window: the wall clock, which numbers the windows, may run a
/// little slower than the one that sweeps.
const LINGER: u64 = 60;

/// A window opened by its first token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) at: u64,
    pub(crate) tokens: u64,
}

impl Opened {
    pub(crate) const NEVER: Self = Self { at: 0, tokens: 0 };

    /// Tokens that count at `now`.
    pub(crate) fn spent(&self, window: u64, now: u64) -> u64 {
        if self.ends_in(window, now) > 0 {
            self.tokens
        } else {
            0
        }
    }

    /// Nanoseconds until all is forgotten.
    pub(crate) fn ends_in(&self, window: u64, now: u64) -> u64 {
        match self.tokens {
            0 => 0,
            _ => self.at.saturating_add(window).saturating_sub(now),
        }
    }

    pub(crate) fn spend(&mut self, tokens: u64, window: u64, now: u64) {
        if self.spent(window, now) == 0 {
            *self = Self { at: now, tokens: 0 };
        }
        self.tokens = self.tokens.saturating_add(tokens);
    }

    /// Gives back what was taken `age` ago, if that was in this window.
    pub(crate) fn give_back(&mut self, tokens: u64, age: u64, now: u64) {
        if now.saturating_sub(age) >= self.at {
            self.tokens = self.tokens.saturating_sub(tokens);
        }
    }
}

/// A window of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// When it began, in seconds since 1970: small enough until 2106 that an entry of the table stays small.
    pub(crate) number: u32,
    /// When it ends, in seconds of the monotonic clock, rounded up.
    pub(crate) ends: u32,
    pub(crate) tokens: u64,
}

/// The window of the calendar that a caller asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Today {
    number: u32,
    ends_in: u64,
}

impl Today {
    pub(crate) fn new(number: i64, ends_in: u64) -> Self {
        let number = number.clamp(0, u32::MAX.into()) as u32;
        Self { number, ends_in }
    }
}

impl Page {
    pub(crate) const NONE: Self = Self {
        number: 0,
        ends: 0,
        tokens: 0,
    };

    /// Tokens that count at `now`.
    pub(crate) fn spent(&self, today: Today, now: u64) -> u64 {
        // A caller whose clock is behind counts in the window that is, until that has ended.
        let ahead = self.number > today.number && u64::from(self.ends) * SECOND > now;
        if self.number == today.number || ahead {
            self.tokens
        } else {
            0
        }
    }

    /// Nanoseconds until all is forgotten.
    pub(crate) fn ends_in(&self, today: Today, now: u64) -> u64 {
        if self.number > today.number {
            (u64::from(self.ends) * SECOND).saturating_sub(now)
        } else {
            today.ends_in
        }
    }

    pub(crate) fn spend(&mut self, tokens: u64, today: Today, now: u64) {
        let spent = self.spent(today, now);
        if spent == 0 || self.number <= today.number {
            let ends = now.saturating_add(today.ends_in).div_ceil(SECOND);
            self.number = today.number;
            self.ends = u32::try_from(ends).unwrap_or(u32::MAX);
        }
        self.tokens = spent.saturating_add(tokens);
    }

    /// Gives back what was taken in window `from`, if that is this one.
    pub(crate) fn give_back(&mut self, tokens: u64, from: Today) {
        if self.number == from.number {
            self.tokens = self.tokens.saturating_sub(tokens);
        }
    }

    /// Whether it has ended for every caller.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.tokens == 0 || (u64::from(self.ends) + LINGER) * SECOND <= now
    }
}

#[cfg(test)]
mod tests;
