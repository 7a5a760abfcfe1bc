//! Waiting longer after each failure, with full jitter so that clients that failed together do not come back together.

use std::time::Duration;

use crate::Random;

/// How long to wait before the next try: a random span up to `first`, doubled per failure up to `most`.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// `first` bounds the wait after one failure, `most` after many.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
        }
    }

    /// The wait after one more failure: at least a tenth of its bound, so that a loop never spins.
    pub fn next(&mut self, random: &Random) -> Duration {
        let bound = self
            .first
            .saturating_mul(1u32 << self.failures.min(20))
            .min(self.most);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(0.1 + 0.9 * random.unit())
    }

    /// Forgets the failures after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_start_again_after_a_reset() {
        let random = Random::from_seed(1);
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut backoff = Backoff::new(first, most);
        assert!(backoff.next(&random) <= first);
        for _ in 0..100 {
            let wait = backoff.next(&random);
            assert!(wait <= most && wait >= first / 10, "{wait:?}");
        }
        backoff.reset();
        assert!(backoff.next(&random) <= first);
    }
}
