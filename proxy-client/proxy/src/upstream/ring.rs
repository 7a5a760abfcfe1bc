//! A hash ring: equal values go to the same endpoint, and one that comes or goes moves only its own share.
//!
//! Every proxy builds the same ring from the same addresses: the hash is XXH3, whose values are specified.

use std::net::SocketAddr;

use xxhash_rust::xxh3::xxh3_64;

/// Points of each endpoint; with 160 the largest share is about a quarter over the mean.
const POINTS: u32 = 160;

/// Points by their hash, each with the index of its endpoint.
#[derive(Debug, Default)]
pub(super) struct Ring(Vec<(u64, u32)>);

impl Ring {
    pub(super) fn new(addresses: impl Iterator<Item = SocketAddr>) -> Self {
        let mut points: Vec<(u64, u32)> = addresses
            .zip(0..)
            .flat_map(|(address, index)| {
                (0..POINTS).map(move |point| (hash(&format!("{address}_{point}")), index))
            })
            .collect();
        points.sort_unstable();
        Self(points)
    }

    /// The endpoints in the order in which the ring meets them from `hash` on, some more than once.
    pub(super) fn from(&self, hash: u64) -> impl Iterator<Item = usize> {
        let first = self.0.partition_point(|(point, _)| *point < hash);
        let around = self.0[first..].iter().chain(&self.0[..first]);
        around.map(|(_, index)| *index as usize)
    }
}

/// The hash of a value's text.
pub(crate) fn hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (0..count)
            .map(|port| SocketAddr::from(([10, 0, 0, 1], 8000 + port)))
            .collect()
    }

    fn owners(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let ring = Ring::new(addresses.iter().copied());
        let owner = |value: u32| ring.from(hash(&value.to_string())).next().unwrap();
        (0..10_000).map(|value| addresses[owner(value)]).collect()
    }

    #[test]
    fn shares_are_about_equal_and_only_the_share_of_what_is_gone_moves() {
        let all = addresses(10);
        let before = owners(&all);
        for address in &all {
            let share = before.iter().filter(|owner| *owner == address).count();
            assert!((650..1_400).contains(&share), "{address}: {share}");
        }
        let after = owners(&all[1..]);
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *before == all[0]);
        }
    }

    #[test]
    fn every_endpoint_is_met_from_everywhere() {
        let ring = Ring::new(addresses(5).into_iter());
        for from in [0, 1, u64::MAX / 2, u64::MAX] {
            let mut met: Vec<usize> = ring.from(from).collect();
            met.sort_unstable();
            met.dedup();
            assert_eq!(met, [0, 1, 2, 3, 4]);
        }
        assert_eq!(Ring::default().from(7).next(), None);
    }

    #[test]
    fn the_hash_is_the_same_everywhere() {
        // XXH3_64bits of "a" with seed 0, as its authors publish it.
        assert_eq!(hash("a"), 0xe6c6_32b6_1e96_4e1f);
    }
}
