//! The median of many samples, each of as many rounds as a clock can tell.

use std::time::Duration;

use mixer_runtime::Clock;

/// How many samples the median is of.
const SAMPLES: usize = 31;
/// A sample takes at least this long, so that reading the clock does not count.
const LEAST: Duration = Duration::from_micros(50);

/// Samples of work that is done `rounds` times at once.
pub(super) struct Samples {
    rounds: u32,
    /// How many things one round does.
    each: usize,
    taken: Vec<f64>,
}

impl Samples {
    /// `each`: how many things one round does; the figures are for one.
    pub(super) fn new(each: usize) -> Self {
        let (rounds, taken) = (1, Vec::with_capacity(SAMPLES));
        Self {
            rounds,
            each,
            taken,
        }
    }

    /// How many rounds the next sample has; `None`: there are enough.
    pub(super) fn rounds(&self) -> Option<u32> {
        (self.taken.len() < SAMPLES).then_some(self.rounds)
    }

    /// The sample took this long. One that was too short counts for nothing and the next has more rounds.
    pub(super) fn took(&mut self, span: Duration) {
        if span < LEAST && self.taken.is_empty() && self.rounds < 1 << 24 {
            self.rounds *= 2;
            return;
        }
        let things = f64::from(self.rounds) * self.each.max(1) as f64;
        self.taken.push(span.as_nanos() as f64 / things);
    }

    /// Nanoseconds for one thing.
    pub(super) fn median(mut self) -> f64 {
        self.taken.sort_by(f64::total_cmp);
        self.taken.get(self.taken.len() / 2).copied().unwrap_or(0.0)
    }
}

/// Nanoseconds for one of the `each` things that `round` does.
pub(super) fn median(clock: &Clock, each: usize, mut round: impl FnMut()) -> f64 {
    let mut samples = Samples::new(each);
    while let Some(rounds) = samples.rounds() {
        let begin = clock.now();
        for _ in 0..rounds {
            round();
        }
        samples.took(clock.now().since(begin));
    }
    samples.median()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_one_thing_and_short_samples_do_not_count() {
        let (clock, time) = Clock::manual();
        let mut round = 0_u64;
        let ns = median(&clock, 2, || {
            round += 1;
            // Every tenth round is disturbed.
            let span = if round.is_multiple_of(10) {
                1_000_000
            } else {
                50_000
            };
            time.advance(Duration::from_nanos(span));
        });
        assert_eq!(ns, 25_000.0);

        let mut rounds = 0_u32;
        let ns = median(&clock, 1, || {
            rounds += 1;
            time.advance(Duration::from_nanos(100));
        });
        assert_eq!(ns, 100.0);
        assert!(rounds > 500 * SAMPLES as u32, "{rounds}");
    }
}
