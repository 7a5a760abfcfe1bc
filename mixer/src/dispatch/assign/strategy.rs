//! What an Envoy is told to do: one strategy for all the quotas that apply to a bucket.

use std::time::Duration;

use super::LIFE;
use super::lease::Offer;

/// What passes of a bucket's requests until the next assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Everything.
    AllowAll,
    /// Nothing.
    DenyAll,
    /// So many requests, and no more. `serial` tells one assignment from the next: only where it differs may as many pass again.
    Tokens { requests: u32, serial: u32 },
    /// At most `burst` at once, and `fill` in every `every`, which is whole seconds.
    Rate {
        burst: u32,
        fill: u32,
        every: Duration,
        serial: u32,
    },
}

impl Strategy {
    /// What passes under all `offers`.
    pub(super) fn of(offers: &[Offer], serial: u32) -> Self {
        let requests = offers.iter().filter_map(Offer::tokens).min();
        let rates = offers.iter().filter_map(|offer| match offer {
            Offer::Rate { burst, fill, every } => Some((*burst, *fill, *every)),
            Offer::Tokens(_) => None,
        });
        let rate = rates.reduce(|a, b| {
            // The slower one, with the smaller burst.
            let per = |(_, fill, every): (u64, u64, u64)| fill as f64 / every as f64;
            let slower = if per(b) < per(a) { b } else { a };
            (a.0.min(b.0), slower.1, slower.2)
        });
        match (requests, rate) {
            (None, None) => Strategy::AllowAll,
            (Some(requests), None) => Strategy::Tokens {
                requests: clamped(requests),
                serial,
            },
            (None, Some((burst, fill, every))) => Self::rate(burst, fill, every, 0),
            (Some(requests), Some((burst, fill, every))) => {
                // All that may come out of it within its life was taken as tokens.
                let burst = burst.min(requests);
                let rest = (requests - burst) / LIFE.as_secs();
                if rest == 0 {
                    return Strategy::Tokens {
                        requests: clamped(burst),
                        serial,
                    };
                }
                match fill as f64 / every as f64 > rest as f64 {
                    true => Self::rate(burst, rest, 1, serial),
                    false => Self::rate(burst, fill, every, serial),
                }
            }
        }
    }

    fn rate(burst: u64, fill: u64, every: u64, serial: u32) -> Self {
        let divisor = common_divisor(fill, every).max(1);
        Strategy::Rate {
            burst: clamped(burst),
            fill: clamped(fill / divisor),
            every: Duration::from_secs(every / divisor),
            serial,
        }
    }
}

fn clamped(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn common_divisor(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        _ => common_divisor(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(burst: u32, fill: u32, every: u64, serial: u32) -> Strategy {
        Strategy::Rate {
            burst,
            fill,
            every: Duration::from_secs(every),
            serial,
        }
    }

    #[test]
    fn all_offers_hold_together() {
        let slow = Offer::Rate {
            burst: 10,
            fill: 10,
            every: 10,
        };
        let fast = Offer::Rate {
            burst: 5,
            fill: 100,
            every: 1,
        };
        let tokens = |requests, serial| Strategy::Tokens { requests, serial };
        for (offers, expected) in [
            (&[][..], Strategy::AllowAll),
            (&[Offer::Tokens(7), Offer::Tokens(3)], tokens(3, 9)),
            (&[fast], rate(5, 100, 1, 0)),
            (&[slow, fast], rate(5, 1, 1, 0)),
            // 12 seconds at 4 a second, behind a burst of 5, are 53.
            (&[fast, Offer::Tokens(53)], rate(5, 4, 1, 9)),
            (&[fast, Offer::Tokens(16)], tokens(5, 9)),
            (&[fast, Offer::Tokens(3)], tokens(3, 9)),
            (&[slow, Offer::Tokens(1_000)], rate(10, 1, 1, 9)),
            (&[Offer::Tokens(u64::MAX)], tokens(u32::MAX, 9)),
        ] {
            assert_eq!(Strategy::of(offers, 9), expected, "{offers:?}");
        }
    }
}
