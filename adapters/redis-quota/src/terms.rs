//! An ask in the numbers that the script counts with.
//!
//! A Lua number holds integers up to 2^53 exactly. So amounts above [`MOST`] count as [`MOST`], windows are in microseconds,
//! rounded up, and at most [`MOST`] of them (142 years), and a bucket is in ticks fine enough for its rate and coarse enough
//! for its size. Each of these errs on the side of the limit; a sum of two such numbers is still exact.

use mixer_adapter::{Algorithm, Ask};

/// 2^52: the largest number that is handed to the script.
pub(crate) const MOST: u64 = 1 << 52;

/// An ask's limit and what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) algorithm: char,
    /// Above [`MOST`]: more than any limit.
    pub(crate) cost: i64,
    pub(crate) extra: u64,
    /// Tokens that there are at most: the limit, or the bucket's size.
    pub(crate) amount: u64,
    /// Microseconds.
    pub(crate) window: u64,
    /// Ticks that a token takes to come back to the bucket.
    pub(crate) per: u64,
    /// Ticks in a microsecond.
    pub(crate) scale: u64,
}

impl Terms {
    pub(crate) fn of(ask: &Ask<'_>) -> Self {
        let nanos = ask.limit.window.as_nanos().max(1);
        let window = clamped(nanos.div_ceil(1000));
        let most = MOST as i64;
        let terms = Self {
            algorithm: 'w',
            // One more than the largest amount is refused for ever, as the cost itself would be.
            cost: ask.cost.clamp(-most, most + 1),
            extra: ask.extra.min(MOST),
            amount: ask.limit.amount.min(MOST),
            window,
            per: 0,
            scale: 0,
        };
        match ask.algorithm {
            Algorithm::SlidingWindow => terms,
            Algorithm::Gcra { burst } => {
                // Nothing ever refills a bucket of amount 0: as a limit of 0.
                let burst = if ask.limit.amount == 0 { 0 } else { burst };
                let (per, scale) = pace(nanos, ask.limit.amount.max(1), burst);
                Self {
                    algorithm: 'g',
                    amount: burst.min(MOST / per),
                    per,
                    scale,
                    ..terms
                }
            }
        }
    }

    /// As the script takes it: which counter, algorithm, cost, extra, amount, window, per, scale.
    pub(crate) fn arguments(&self, counter: usize, command: &mut redis::Cmd) {
        command
            .arg(counter)
            .arg(self.algorithm.encode_utf8(&mut [0; 4]).as_bytes())
            .arg(self.cost)
            .arg(self.extra)
            .arg(self.amount)
            .arg(self.window)
            .arg(self.per)
            .arg(self.scale);
    }
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
    use std::time::Duration;

    use mixer_adapter::Limit;

    use super::*;

    fn terms(amount: u64, window: Duration, algorithm: Algorithm, cost: i64) -> Terms {
        Terms::of(&Ask {
            quota: "q",
            key: &[],
            cost,
            limit: Limit { amount, window },
            algorithm,
            extra: u64::MAX,
        })
    }

    #[test]
    fn what_lua_cannot_hold_becomes_a_stricter_limit_and_never_a_cheaper_cost() {
        let century = Duration::from_secs(100 * 366 * 86_400);
        for cost in [i64::MAX, MOST as i64 + 1] {
            let terms = terms(u64::MAX, century, Algorithm::SlidingWindow, cost);
            assert_eq!(terms.amount, MOST);
            assert!(terms.cost as u64 > terms.amount, "it must stay refused");
        }
        let back = terms(1, century, Algorithm::SlidingWindow, i64::MIN);
        assert_eq!(back.cost, -(MOST as i64));
        let forever = terms(1, Duration::MAX, Algorithm::SlidingWindow, 1);
        assert_eq!(forever.window, MOST);
    }

    #[test]
    fn a_bucket_is_in_nanoseconds_as_long_as_it_can_be() {
        let gcra = |amount, seconds, burst| {
            let algorithm = Algorithm::Gcra { burst };
            let terms = terms(amount, Duration::from_secs(seconds), algorithm, 1);
            assert!(u128::from(terms.amount) * u128::from(terms.per) <= u128::from(MOST));
            (terms.amount, terms.per, terms.scale)
        };
        assert_eq!(gcra(1_000_000, 1, 10), (10, 1000, 1000));
        assert_eq!(gcra(3, 1, 3), (3, 333_333_334, 1000));
        let year = 365 * 86_400;
        assert_eq!(gcra(1000, year, 1000), (1000, year * 1000, 1));
        assert_eq!(gcra(0, 1, 5), (0, 1_000_000_000, 1000));
        assert_eq!(gcra(1, 1, u64::MAX), (MOST / 1_000_000, 1_000_000, 1));
    }
}
