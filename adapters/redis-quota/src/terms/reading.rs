//! What is held of a counter, as it is shown: the layouts that `allocate.lua` writes, read without the script.
//!
//! Little-endian doubles. A sliding window: the longest window asked about, then time and tokens of each slot, the oldest first. A
//! bucket: a time, what is missing then in ticks, ticks per token and per microsecond. An opened window: its beginning, tokens,
//! the longest window. A calendar's: number, end, tokens.

use std::time::Duration;

use super::{Terms, Way};

/// What a counter has spent, in the numbers of [`mixer_adapter::Counted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) spent: u64,
    pub(crate) left: u64,
    pub(crate) next_in: Option<Duration>,
    pub(crate) free_in: Duration,
}

impl Terms {
    /// Reads `value` at `now`, microseconds of the server's clock; `None` for what is no counter of this algorithm.
    pub(crate) fn read(&self, value: &[u8], now: u64) -> Option<Reading> {
        let (numbers, rest) = value.as_chunks::<8>();
        if !rest.is_empty() {
            return None;
        }
        let numbers: Vec<u64> = numbers
            .iter()
            .map(|bytes| f64::from_le_bytes(*bytes) as u64)
            .collect();
        match (self.way, numbers.as_slice()) {
            (Way::Sliding | Way::Held, [_longest, slots @ ..]) => {
                let (slots, rest) = slots.as_chunks::<2>();
                rest.is_empty().then(|| self.window(slots, now))
            }
            (Way::Opened, &[at, tokens, _longest]) => {
                let ends_in = at.min(now).saturating_add(self.window).saturating_sub(now);
                let spent = if ends_in > 0 { tokens } else { 0 };
                Some(self.at_once(spent, ends_in))
            }
            (Way::Calendar { number, ends_in }, &[held, ends, tokens]) => {
                let number = number.unsigned_abs();
                let ahead = held > number && ends > now;
                let spent = if ahead || held == number { tokens } else { 0 };
                let wait = if ahead { ends - now } else { ends_in };
                Some(self.at_once(spent, wait))
            }
            (Way::Bucket { per, scale }, &[at, missing, old_per, old_scale])
                if old_per > 0 && old_scale > 0 =>
            {
                let held = [at, missing, old_per, old_scale];
                Some(self.bucket(held, per, scale, now))
            }
            _ => None,
        }
    }

    /// All of it is forgotten after `wait`.
    fn at_once(&self, spent: u64, wait: u64) -> Reading {
        let left = self.amount.saturating_sub(spent);
        let wait = Duration::from_micros(wait);
        Reading {
            spent,
            left,
            next_in: self.next_in(left, wait),
            free_in: if spent > 0 { wait } else { Duration::ZERO },
        }
    }

    fn next_in(&self, left: u64, wait: Duration) -> Option<Duration> {
        match (self.amount, left) {
            (0, _) => None,
            (_, 0) => Some(wait),
            _ => Some(Duration::ZERO),
        }
    }

    fn window(&self, slots: &[[u64; 2]], now: u64) -> Reading {
        // Behind the last spending: another server's clock, or it was set back. Nothing is forgotten early.
        let ahead = slots.last().map_or(0, |[at, _]| at.saturating_sub(now));
        let ends = |at: u64| {
            let at = at.saturating_sub(ahead);
            at.saturating_add(self.window).saturating_sub(now)
        };
        let live = || slots.iter().filter(|[at, _]| ends(*at) > 0);
        let spent = live().fold(0u64, |sum, [_, tokens]| sum.saturating_add(*tokens));
        let mut needed = spent.saturating_add(1).saturating_sub(self.amount);
        let mut wait = 0;
        for [at, tokens] in live() {
            if needed == 0 {
                break;
            }
            needed = needed.saturating_sub(*tokens);
            wait = ends(*at);
        }
        let left = self.amount.saturating_sub(spent);
        let free_in = live().next_back().map_or(0, |[at, _]| ends(*at));
        Reading {
            spent,
            left,
            next_in: self.next_in(left, Duration::from_micros(wait)),
            free_in: Duration::from_micros(free_in),
        }
    }

    fn bucket(
        &self,
        [at, missing, old_per, old_scale]: [u64; 4],
        per: u64,
        scale: u64,
        now: u64,
    ) -> Reading {
        let refilled = u128::from(now.saturating_sub(at)) * u128::from(old_scale);
        let missing = u128::from(missing).saturating_sub(refilled);
        let (per, old_per) = (u128::from(per), u128::from(old_per));
        let missing = if (old_per, old_scale) == (per, scale) {
            missing
        } else {
            // As many tokens as before, and of the one that is coming back as much, rounded up.
            let part = missing % old_per;
            let part = if part > 0 {
                per.min((part * per).div_ceil(old_per) + 1)
            } else {
                0
            };
            missing / old_per * per + part
        };
        let short = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        let span = |ticks: u128| Duration::from_micros(short(ticks.div_ceil(scale.into())));
        let size = u128::from(self.amount) * per;
        let left = short(size.saturating_sub(missing) / per);
        Reading {
            spent: short(missing.div_ceil(per)),
            left,
            next_in: self.next_in(left, span((missing + per).saturating_sub(size))),
            free_in: span(missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use mixer_adapter::{Algorithm, CalendarWindow, Limit};

    use super::*;

    const SECOND: u64 = 1_000_000;
    const NOW: u64 = 1_767_225_600 * SECOND;

    fn read(algorithm: Algorithm, amount: u64, numbers: &[u64]) -> Option<Reading> {
        let limit = Limit {
            amount,
            window: Duration::from_secs(10),
        };
        let value: Vec<u8> = numbers
            .iter()
            .flat_map(|number| (*number as f64).to_le_bytes())
            .collect();
        Terms::new(limit, algorithm).read(&value, NOW)
    }

    fn reading(spent: u64, left: u64, next: Option<u64>, free: u64) -> Option<Reading> {
        Some(Reading {
            spent,
            left,
            next_in: next.map(Duration::from_secs),
            free_in: Duration::from_secs(free),
        })
    }

    #[test]
    fn a_window_is_the_slots_that_are_live() {
        let ago = |seconds: u64| NOW - seconds * SECOND;
        let slots = [10 * SECOND, ago(10), 7, ago(4), 3, ago(1), 2];
        let window = Algorithm::SlidingWindow;
        assert_eq!(read(window, 6, &slots), reading(5, 1, Some(0), 9));
        assert_eq!(read(window, 5, &slots), reading(5, 0, Some(6), 9));
        assert_eq!(read(window, 1, &slots), reading(5, 0, Some(9), 9));
        assert_eq!(read(window, 0, &slots), reading(5, 0, None, 9));
        // A clock that was set back by two seconds: as if the last had been spent now.
        let ahead = [10 * SECOND, ago(0), 1, NOW + 2 * SECOND, 2];
        assert_eq!(read(window, 3, &ahead), reading(3, 0, Some(8), 10));
    }

    #[test]
    fn a_bucket_refills_and_keeps_what_is_missing_when_its_rate_changes() {
        let gcra = Algorithm::Gcra { burst: 4 };
        // One per second, in nanoseconds; a second and a half ago three were missing.
        let held = [NOW - SECOND * 3 / 2, 3_000_000_000, 1_000_000_000, 1000];
        let shown = read(gcra, 10, &held).unwrap();
        assert_eq!((shown.spent, shown.left), (2, 2));
        assert_eq!(shown.free_in, Duration::from_millis(1500));
        let held = [NOW, 4_000_000_000, 1_000_000_000, 1000];
        assert_eq!(read(gcra, 10, &held), reading(4, 0, Some(1), 4));
        // Now two seconds a token.
        assert_eq!(read(gcra, 5, &held), reading(4, 0, Some(2), 8));
        assert_eq!(read(gcra, 10, &[NOW, 1, 0, 1]), None, "no such bucket");
    }

    #[test]
    fn fixed_windows_are_forgotten_whole() {
        let opened = Algorithm::FixedWindow { calendar: None };
        let held = [NOW - 4 * SECOND, 5, 10 * SECOND];
        assert_eq!(read(opened, 5, &held), reading(5, 0, Some(6), 6));
        let over = [NOW - 10 * SECOND, 5, 10 * SECOND];
        assert_eq!(read(opened, 5, &over), reading(0, 5, Some(0), 0));
        let calendar = |number| Algorithm::FixedWindow {
            calendar: Some(CalendarWindow {
                number,
                ends_in: Duration::from_secs(3),
            }),
        };
        let held = [100, NOW + 9 * SECOND, 5];
        assert_eq!(read(calendar(100), 5, &held), reading(5, 0, Some(3), 3));
        assert_eq!(read(calendar(99), 5, &held), reading(5, 0, Some(9), 9));
        assert_eq!(read(calendar(101), 5, &held), reading(0, 5, Some(0), 0));
    }

    #[test]
    fn what_is_no_counter_is_not_read() {
        for numbers in [&[][..], &[1], &[1, 2], &[1, 2, 3, 4, 5, 6]] {
            let opened = Algorithm::FixedWindow { calendar: None };
            assert_eq!(read(opened, 5, numbers), None, "{numbers:?}");
        }
        let limit = Limit {
            amount: 1,
            window: Duration::from_secs(1),
        };
        let terms = Terms::new(limit, Algorithm::SlidingWindow);
        assert_eq!(terms.read(b"torn", NOW), None);
        let wild: Vec<u8> = [f64::NAN, f64::INFINITY, f64::INFINITY]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        assert!(terms.read(&wild, NOW).is_some(), "and nothing overflows");
    }
}
