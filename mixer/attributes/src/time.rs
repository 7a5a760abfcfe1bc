//! Timestamps and durations with CEL's range and precision: seconds and nanoseconds, no time zone.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time: `seconds + nanos` since the Unix epoch, UTC. `nanos` is 0..=999,999,999 and counts forward, also before 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanos: u32,
}

/// A span of time, possibly negative: `seconds + nanos`, with `nanos` in 0..=999,999,999 counting forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanos: u32,
}

impl Timestamp {
    /// Nanoseconds since the epoch.
    pub fn total_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let nanos = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        let (seconds, nanos) = split(nanos);
        Self { seconds, nanos }
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self {
        seconds: 0,
        nanos: 0,
    };

    /// The whole span in nanoseconds.
    pub fn total_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)
    }

    /// From nanoseconds; beyond the range of 64-bit seconds it saturates.
    pub fn from_nanos(nanos: i128) -> Self {
        let (seconds, nanos) = split(nanos);
        Self { seconds, nanos }
    }

    /// The same span as an unsigned one, `None` when it is negative.
    pub fn to_std(self) -> Option<std::time::Duration> {
        u64::try_from(self.seconds)
            .ok()
            .map(|seconds| std::time::Duration::new(seconds, self.nanos))
    }
}

impl From<std::time::Duration> for Duration {
    fn from(span: std::time::Duration) -> Self {
        Self {
            seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            nanos: span.subsec_nanos(),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total_nanos();
        let sign = if total < 0 { "-" } else { "" };
        let (seconds, nanos) = (
            total.unsigned_abs() / 1_000_000_000,
            total.unsigned_abs() % 1_000_000_000,
        );
        if nanos == 0 {
            write!(f, "{sign}{seconds}s")
        } else {
            write!(
                f,
                "{sign}{seconds}.{}s",
                format!("{nanos:09}").trim_end_matches('0')
            )
        }
    }
}

fn split(nanos: i128) -> (i64, u32) {
    let seconds = nanos
        .div_euclid(1_000_000_000)
        .clamp(i64::MIN.into(), i64::MAX.into());
    (seconds as i64, nanos.rem_euclid(1_000_000_000) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_spans_count_their_nanos_forward() {
        let half_before = Duration::from_nanos(-500_000_000);
        assert_eq!(
            half_before,
            Duration {
                seconds: -1,
                nanos: 500_000_000
            }
        );
        assert_eq!(half_before.to_string(), "-0.5s");
        assert_eq!(half_before.to_std(), None);
    }

    #[test]
    fn times_before_the_epoch_round_down() {
        let time = UNIX_EPOCH - std::time::Duration::from_millis(1);
        assert_eq!(
            Timestamp::from(time),
            Timestamp {
                seconds: -1,
                nanos: 999_000_000
            }
        );
    }
}
