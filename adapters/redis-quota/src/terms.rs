//! An ask in the numbers that the script counts with.
//!
//! A Lua number holds integers up to 2^53 exactly. So amounts above [`MOST`] count as [`MOST`], windows are in microseconds,
//! rounded up, and at most [`MOST`] of them (71 years), and a bucket is in ticks fine enough for its rate and coarse enough
//! for its size. Each of these errs on the side of the limit; what is counted up to twice an amount, and a time
//! to come, are still exact.

mod reading;

use std::time::Duration;

use mixer_adapter::{Algorithm, Ask, Limit, Over};

/// 2^51: the largest number that is handed to the script.
pub(crate) const MOST: u64 = 1 << 51;

/// An ask's limit and what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) way: Way,
    /// Above [`MOST`]: more than any limit.
    cost: i64,
    extra: u64,
    over: Over,
    /// Microseconds.
    age: u64,
    /// Tokens that there are at most: the limit, or the bucket's size.
    amount: u64,
    /// Microseconds.
    window: u64,
}

/// How it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Sliding,
    Held,
    Opened,
    Bucket {
        /// Ticks that a token takes to come back.
        per: u64,
        /// Ticks in a microsecond.
        scale: u64,
    },
    Calendar {
        number: i64,
        /// Microseconds.
        ends_in: u64,
    },
}

impl Terms {
    /// Of that limit, with nothing asked of it.
    pub(crate) fn new(limit: Limit, algorithm: Algorithm) -> Self {
        Self::of(&Ask {
            quota: "",
            key: &[],
            cost: 0,
            limit,
            algorithm,
            extra: 0,
            over: Over::Refuse,
            age: Duration::ZERO,
        })
    }

    pub(crate) fn of(ask: &Ask<'_>) -> Self {
        let (mut amount, mut window) = (ask.limit.amount.min(MOST), ask.limit.window);
        let way = match ask.algorithm {
            Algorithm::SlidingWindow => Way::Sliding,
            Algorithm::Concurrency { hold } => {
                window = hold;
                Way::Held
            }
            Algorithm::FixedWindow { calendar: None } => Way::Opened,
            Algorithm::FixedWindow { calendar: Some(at) } => Way::Calendar {
                number: at.number.clamp(0, MOST as i64),
                ends_in: micros(at.ends_in),
            },
            Algorithm::Gcra { burst } => {
                // Nothing ever refills a bucket of amount 0: as a limit of 0.
                let burst = if amount == 0 { 0 } else { burst };
                let nanos = window.as_nanos().max(1);
                let (per, scale) = pace(nanos, ask.limit.amount.max(1), burst);
                amount = burst.min(MOST / per);
                Way::Bucket { per, scale }
            }
        };
        let most = MOST as i64;
        Self {
            way,
            // One more than the largest amount is refused for ever, as the cost itself would be.
            cost: ask.cost.clamp(-most, most + 1),
            extra: ask.extra.min(MOST),
            over: ask.over,
            age: micros(ask.age),
            amount,
            window: micros(window).max(1),
        }
    }

    /// Names what remembers: what one algorithm remembers means nothing to another.
    pub(crate) fn letter(&self) -> char {
        match self.way {
            Way::Sliding => 'w',
            Way::Held => 'h',
            Way::Opened => 'f',
            Way::Bucket { .. } => 'g',
            Way::Calendar { .. } => 'c',
        }
    }

    /// As the plain script takes it, if it can: cost, amount, window, ticks per token and per microsecond.
    pub(crate) fn plain(&self) -> Option<[f64; 5]> {
        if self.cost <= 0 || self.extra > 0 || self.over != Over::Refuse {
            return None;
        }
        let (per, scale) = match self.way {
            Way::Sliding | Way::Held => (0, 0),
            Way::Bucket { per, scale } => (per, scale),
            Way::Opened | Way::Calendar { .. } => return None,
        };
        let (amount, window) = (self.amount as f64, self.window as f64);
        Some([self.cost as f64, amount, window, per as f64, scale as f64])
    }

    /// As the script takes it: which counter, algorithm, cost, extra, over, age, amount, window, and two that only a bucket
    /// (ticks per token, per microsecond) and a calendar (number, microseconds until it ends) have.
    pub(crate) fn arguments(&self, counter: usize, command: &mut redis::Cmd) {
        command
            .arg(counter)
            .arg(self.letter().encode_utf8(&mut [0; 4]).as_bytes())
            .arg(self.cost)
            .arg(self.extra)
            .arg(match self.over {
                Over::Refuse => "refuse",
                Over::Count => "count",
                Over::Owe => "owe",
            })
            .arg(self.age)
            .arg(self.amount)
            .arg(self.window);
        match self.way {
            Way::Bucket { per, scale } => command.arg(per).arg(scale),
            Way::Calendar { number, ends_in } => command.arg(number).arg(ends_in),
            _ => command.arg(0).arg(0),
        };
    }
}

/// Rounded up: a window is never shorter, and what was taken never younger.
fn micros(span: Duration) -> u64 {
    let micros = span.as_nanos().div_ceil(1000);
    u64::try_from(micros).unwrap_or(MOST).min(MOST)
}

/// Ticks per token, and per microsecond: nanoseconds unless the whole bucket has too many of them.
fn pace(window: u128, amount: u64, burst: u64) -> (u64, u64) {
    let nanos = clamped(window.div_ceil(u128::from(amount)));
    if u128::from(nanos) * u128::from(burst) <= u128::from(MOST) {
        (nanos, 1000)
    } else {
        (
            clamped(window.div_ceil(1000).div_ceil(u128::from(amount))),
            1,
        )
    }
}

fn clamped(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(amount: u64, window: Duration, algorithm: Algorithm, cost: i64) -> Terms {
        Terms::of(&Ask {
            quota: "q",
            key: &[],
            cost,
            limit: Limit { amount, window },
            algorithm,
            extra: u64::MAX,
            over: Over::Refuse,
            age: Duration::ZERO,
        })
    }

    #[test]
    fn what_lua_cannot_hold_becomes_a_stricter_limit_and_never_a_cheaper_cost() {
        let decades = Duration::from_secs(50 * 366 * 86_400);
        for cost in [i64::MAX, MOST as i64 + 1] {
            let terms = terms(u64::MAX, decades, Algorithm::SlidingWindow, cost);
            assert_eq!(terms.amount, MOST);
            assert!(terms.cost as u64 > terms.amount, "it must stay refused");
        }
        let back = terms(1, decades, Algorithm::SlidingWindow, i64::MIN);
        assert_eq!(back.cost, -(MOST as i64));
        let forever = terms(1, Duration::MAX, Algorithm::SlidingWindow, 1);
        assert_eq!(forever.window, MOST);
    }

    #[test]
    fn a_bucket_is_in_nanoseconds_as_long_as_it_can_be() {
        let gcra = |amount, seconds, burst| {
            let algorithm = Algorithm::Gcra { burst };
            let terms = terms(amount, Duration::from_secs(seconds), algorithm, 1);
            let Way::Bucket { per, scale } = terms.way else {
                panic!("{terms:?}");
            };
            assert!(u128::from(terms.amount) * u128::from(per) <= u128::from(MOST));
            (terms.amount, per, scale)
        };
        assert_eq!(gcra(1_000_000, 1, 10), (10, 1000, 1000));
        assert_eq!(gcra(3, 1, 3), (3, 333_333_334, 1000));
        let year = 365 * 86_400;
        assert_eq!(gcra(1000, year, 1000), (1000, year * 1000, 1));
        assert_eq!(gcra(0, 1, 5), (0, 1_000_000_000, 1000));
        assert_eq!(gcra(1, 1, u64::MAX), (MOST / 1_000_000, 1_000_000, 1));
    }
}
