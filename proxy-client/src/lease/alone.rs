//! Counting alone, while nobody can be asked: at most a share of the limit in any window.
//!
//! The window is cut in eight and nine parts are kept, so that every window lies within what is summed: the bound holds
//! for any window, and costs at most an eighth of the share.

use std::time::Duration;

use mixer_runtime::Instant;

const PARTS: usize = 8;

#[derive(Debug)]
pub(super) struct Alone {
    window: Duration,
    parts: [u64; PARTS + 1],
    /// Number of the newest part since the clock began.
    newest: u64,
}

impl Alone {
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        let mut alone = Self {
            window,
            parts: [0; PARTS + 1],
            newest: 0,
        };
        alone.newest = alone.part(now);
        alone
    }

    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// Counts `cost` if the sum stays within `share`.
    pub(super) fn fits(&mut self, cost: u64, share: u64, now: Instant) -> bool {
        let fits = self.used(now).saturating_add(cost) <= share;
        if fits {
            self.parts[self.newest as usize % (PARTS + 1)] += cost;
        }
        fits
    }

    /// What was counted within a window of `now`.
    pub(super) fn used(&mut self, now: Instant) -> u64 {
        let part = self.part(now);
        let passed = part.saturating_sub(self.newest).min(PARTS as u64 + 1);
        for step in 1..=passed {
            self.parts[(self.newest + step) as usize % (PARTS + 1)] = 0;
        }
        if passed > PARTS as u64 {
            self.parts = [0; PARTS + 1];
        }
        self.newest = self.newest.max(part);
        self.parts.iter().sum()
    }

    fn part(&self, now: Instant) -> u64 {
        let length = self.window.as_nanos().div_ceil(PARTS as u128).max(1);
        (u128::from(now.as_nanos()) / length) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_has_more_than_the_share(
            window in 1u64..2_000,
            share in 0u64..50,
            charges in proptest::collection::vec((0u64..300, 0u64..5), 1..200),
        ) {
            let mut alone = Alone::new(Duration::from_nanos(window), Instant::from_nanos(0));
            let mut passed = Vec::new();
            let mut now = 0;
            for (step, cost) in charges {
                now += step;
                if alone.fits(cost, share, Instant::from_nanos(now)) {
                    passed.push((now, cost));
                }
                let sum: u64 = passed.iter().filter(|(at, _)| at + window > now).map(|(_, cost)| cost).sum();
                prop_assert!(sum <= share, "{sum} of {share} within {window} at {now}");
            }
        }
    }

    #[test]
    fn what_was_spent_comes_back_after_a_window() {
        let window = Duration::from_secs(8);
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let mut alone = Alone::new(window, at(100));
        assert!(alone.fits(10, 10, at(100)) && !alone.fits(1, 10, at(107)));
        assert!(alone.fits(10, 10, at(109)));
    }
}
