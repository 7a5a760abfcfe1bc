//! How often certificates are asked for: each caller by itself, and all together.
//!
//! Signing is cheap but every certificate is written to the log, and a caller that asks in a circle must not keep others from
//! being served. governor counts (a cell per caller, the generic cell rate algorithm) by the clock that everything else lives by.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as Time;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};
use mixer_runtime::Clock;

/// Callers that are remembered before those who have been quiet are forgotten.
const REMEMBERED: usize = 16_384;

/// Certificates per second, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// To one caller (a user of this host, an address, an id): 2 a second, 20 at once.
    pub each: (NonZeroU32, NonZeroU32),
    /// To all: 200 a second, 2,000 at once.
    pub all: (NonZeroU32, NonZeroU32),
}

/// Counts what callers of one kind ask for.
#[derive(Debug)]
pub(crate) struct Throttle<K: Hash + Eq + Clone> {
    each: RateLimiter<K, DashMapStateStore<K>, Ticks, NoOpMiddleware<Nanos>>,
    all: RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>,
    clock: Ticks,
}

/// Our clock as governor reads it.
#[derive(Clone, Debug)]
struct Ticks(Clock);

impl Time for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.now().as_nanos())
    }
}

impl Default for Rates {
    fn default() -> Self {
        const fn number(number: u32) -> NonZeroU32 {
            match NonZeroU32::new(number) {
                Some(number) => number,
                None => NonZeroU32::MIN,
            }
        }
        Self {
            each: (number(2), number(20)),
            all: (number(200), number(2_000)),
        }
    }
}

impl<K: Hash + Eq + Clone> Throttle<K> {
    pub(crate) fn new(rates: Rates, clock: Clock) -> Self {
        let quota =
            |(rate, burst): (NonZeroU32, NonZeroU32)| Quota::per_second(rate).allow_burst(burst);
        let clock = Ticks(clock);
        Self {
            each: RateLimiter::new(
                quota(rates.each),
                DashMapStateStore::default(),
                clock.clone(),
            ),
            all: RateLimiter::new(quota(rates.all), InMemoryState::default(), clock.clone()),
            clock,
        }
    }

    /// Counts one certificate for a caller; else, how long it should wait.
    pub(crate) fn take(&self, caller: &K) -> Result<(), Duration> {
        if self.each.len() > REMEMBERED {
            self.each.retain_recent();
        }
        let wait = |refused: NotUntil<Nanos>| refused.wait_time_from(self.clock.now());
        // The caller's own share first: what is refused there costs nobody else anything.
        self.each.check_key(caller).map_err(wait)?;
        self.all.check().map_err(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(each: u32, all: u32) -> Rates {
        let pair = |burst| (NonZeroU32::MIN, NonZeroU32::new(burst).unwrap());
        Rates {
            each: pair(each),
            all: pair(all),
        }
    }

    #[test]
    fn each_caller_has_a_share_and_gets_it_back_with_time() {
        let (clock, hand) = Clock::manual();
        let throttle = Throttle::new(rates(2, 100), clock);
        assert!(throttle.take(&1).is_ok() && throttle.take(&1).is_ok());
        let wait = throttle.take(&1).unwrap_err();
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        assert!(throttle.take(&2).is_ok());
        hand.advance(wait);
        assert!(throttle.take(&1).is_ok());
        assert!(throttle.take(&1).is_err());
    }

    #[test]
    fn all_together_have_one_too() {
        let (clock, _hand) = Clock::manual();
        let throttle = Throttle::new(rates(10, 3), clock);
        let taken = (0..5).filter(|caller| throttle.take(caller).is_ok());
        assert_eq!(taken.count(), 3);
    }
}
