//! The generic cell rate algorithm: a bucket of `burst` tokens that refills evenly.
//!
//! The state is the time at which the bucket will be full again. A token takes `per_token` nanoseconds to come back, the
//! window divided by the amount, rounded up to a whole nanosecond: so a limit is never exceeded, and one above a million per
//! second is slower by up to a tenth of a percent per million. `per_token` is kept with the state, so that when the limit
//! changes what is missing from the bucket stays missing.

/// What a key has spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// When it will be full, in nanoseconds.
    full_at: u64,
    /// The rate that was computed with.
    per_token: u64,
}

/// A rate and a size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    per_token: u64,
    burst: u64,
}

impl Rate {
    /// `amount` per `window` nanoseconds (both above 0), at most `burst` at once.
    pub(crate) fn new(amount: u64, window: u64, burst: u64) -> Self {
        Self {
            per_token: window.div_ceil(amount).max(1),
            burst,
        }
    }

    /// Of so many buckets.
    fn size(&self, times: u64) -> u64 {
        let tokens = self.burst.saturating_mul(times);
        tokens.saturating_mul(self.per_token)
    }
}

impl Bucket {
    pub(crate) const FULL: Self = Self {
        full_at: 0,
        per_token: 1,
    };

    /// When it will be full, and the rate that was computed with.
    pub(crate) fn parts(&self) -> [u64; 2] {
        [self.full_at, self.per_token]
    }

    /// Of such parts; none has no rate.
    pub(crate) fn of([full_at, per_token]: [u64; 2]) -> Option<Self> {
        (per_token > 0).then_some(Self { full_at, per_token })
    }

    /// Nanoseconds until it is full at `rate`.
    fn missing(&self, rate: Rate, now: u64) -> u64 {
        let missing = u128::from(self.full_at.saturating_sub(now));
        let missing = if self.per_token == rate.per_token {
            missing
        } else {
            (missing * u128::from(rate.per_token)).div_ceil(u128::from(self.per_token))
        };
        u64::try_from(missing).unwrap_or(u64::MAX)
    }

    /// Tokens that are missing; one that is coming back is.
    pub(crate) fn spent(&self, rate: Rate, now: u64) -> u64 {
        self.missing(rate, now).div_ceil(rate.per_token)
    }

    /// Nanoseconds until none is missing.
    pub(crate) fn full_in(&self, rate: Rate, now: u64) -> u64 {
        self.missing(rate, now)
    }

    /// Whole tokens in it, if it were so many times as large.
    pub(crate) fn tokens(&self, rate: Rate, times: u64, now: u64) -> u64 {
        rate.size(times).saturating_sub(self.missing(rate, now)) / rate.per_token
    }

    /// Nanoseconds until it holds `tokens` (at most the burst).
    pub(crate) fn holds_in(&self, tokens: u64, rate: Rate, now: u64) -> u64 {
        let over = self
            .missing(rate, now)
            .saturating_add(tokens.saturating_mul(rate.per_token));
        over.saturating_sub(rate.size(1))
    }

    /// Whether it is full, and so no different from a new one.
    pub(crate) fn is_full(&self, now: u64) -> bool {
        self.full_at <= now
    }

    /// Takes tokens out, without asking whether they are there.
    pub(crate) fn take(&mut self, tokens: u64, rate: Rate, now: u64) {
        let missing = self.missing(rate, now);
        let missing = missing.saturating_add(tokens.saturating_mul(rate.per_token));
        *self = Self {
            full_at: now.saturating_add(missing),
            per_token: rate.per_token,
        };
    }

    /// Puts tokens back in.
    pub(crate) fn put_back(&mut self, tokens: u64, rate: Rate, now: u64) {
        let missing = self.missing(rate, now);
        let missing = missing.saturating_sub(tokens.saturating_mul(rate.per_token));
        *self = Self {
            full_at: now.saturating_add(missing),
            per_token: rate.per_token,
        };
    }
}

#[cfg(test)]
mod tests;
