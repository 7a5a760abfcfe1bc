//! A set of IP networks.
//!
//! Whether some network contains an address is the same question as whether the longest matching prefix exists, and only that
//! is asked; so networks are kept as disjoint ranges in order, joined where they touch or overlap, and an address is found by
//! binary search: 16 lookups among the 1,500 ranges of a drop list, no pointers.

use std::net::{IpAddr, Ipv6Addr};

/// Networks, or single addresses, of both families. An IPv4 address mapped into IPv6 is that IPv4 address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks {
    /// First and last address of each.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// A network as an entry names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    V4(u32, u32),
    V6(u128, u128),
}

impl Network {
    /// Reads `10.0.0.0/8`, `192.0.2.1`, `2001:db8::/32`. With `strict`, bits beyond the prefix are a mistake; else they are
    /// ignored, since the maker of a published list cannot be asked to correct it.
    pub(crate) fn parse(text: &str, strict: bool) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("`{text}` is no IP address or network"))?;
        let bits: u32 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                match prefix.parse() {
                    Ok(prefix) if prefix <= bits => prefix,
                    _ => return Err(format!("`{text}`: the prefix must be at most {bits}")),
                }
            }
            Some(_) => return Err(format!("`{text}` is no IP address or network")),
        };
        let (network, first) = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shr(prefix).unwrap_or(0);
                let first = address.to_bits() & !mask;
                (
                    Network::V4(first, first | mask),
                    IpAddr::from(std::net::Ipv4Addr::from_bits(first)),
                )
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shr(prefix).unwrap_or(0);
                let first = address.to_bits() & !mask;
                (
                    Network::v6(first, first | mask),
                    IpAddr::from(Ipv6Addr::from_bits(first)),
                )
            }
        };
        if strict && first != address {
            return Err(format!(
                "`{text}` has bits beyond its prefix; the network is {first}/{prefix}"
            ));
        }
        Ok(network)
    }

    fn v6(first: u128, last: u128) -> Self {
        let mapped = |bits: u128| Ipv6Addr::from_bits(bits).to_ipv4_mapped();
        match (mapped(first), mapped(last)) {
            (Some(first), Some(last)) => Network::V4(first.to_bits(), last.to_bits()),
            _ => Network::V6(first, last),
        }
    }
}

impl Networks {
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => within(&self.v6, address.to_bits()),
        }
    }

    /// Both families' ranges, as bytes that are the same for the same set of addresses.
    pub(crate) fn canonical(&self) -> impl Iterator<Item = [u8; 33]> + '_ {
        let range = |family: u8, first: u128, last: u128| {
            let mut bytes = [family; 33];
            bytes[1..17].copy_from_slice(&first.to_be_bytes());
            bytes[17..].copy_from_slice(&last.to_be_bytes());
            bytes
        };
        let v4 = self
            .v4
            .iter()
            .map(move |(first, last)| range(4, (*first).into(), (*last).into()));
        v4.chain(
            self.v6
                .iter()
                .map(move |(first, last)| range(6, *first, *last)),
        )
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let mut set = Self::default();
        for network in networks {
            match network {
                Network::V4(first, last) => set.v4.push((first, last)),
                Network::V6(first, last) => set.v6.push((first, last)),
            }
        }
        join(&mut set.v4, |last| last.checked_add(1));
        join(&mut set.v6, |last| last.checked_add(1));
        set
    }
}

/// Sorts ranges and joins those that overlap or touch.
fn join<T: Ord + Copy>(ranges: &mut Vec<(T, T)>, next: impl Fn(T) -> Option<T>) {
    ranges.sort_unstable();
    let mut joined: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges.iter().copied() {
        match joined.last_mut() {
            // Nothing comes after the last address of all.
            Some(before) if next(before.1).is_none_or(|next| first <= next) => {
                before.1 = before.1.max(last)
            }
            _ => joined.push((first, last)),
        }
    }
    joined.shrink_to_fit();
    *ranges = joined;
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after > 0 && ranges[after - 1].1 >= address
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(entries: &[&str]) -> Networks {
        entries
            .iter()
            .map(|entry| Network::parse(entry, false).unwrap())
            .collect()
    }

    #[test]
    fn addresses_are_found_in_their_networks() {
        let set = networks(&[
            "10.0.0.0/8",
            "192.0.2.7",
            "2001:db8::/32",
            "::1",
            "::ffff:203.0.113.0/120",
            "0.0.0.0/32",
        ]);
        for (address, expected) in [
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::1", true),
            ("::2", false),
            ("203.0.113.9", true),
            ("::ffff:10.1.2.3", true),
            ("0.0.0.0", true),
            ("0.0.0.1", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(set.contain(address.parse().unwrap()), expected, "{address}");
        }
        let all = networks(&["0.0.0.0/0", "::/0", "1.0.0.0/8"]);
        for address in ["0.0.0.0", "255.255.255.255", "::", "ffff::"] {
            assert!(all.contain(address.parse().unwrap()), "{address}");
        }
        assert!(!Networks::default().contain("1.2.3.4".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "a.b.c.d",
            "10.0.0.0/-1",
            "010.0.0.1",
            " 10.0.0.1",
            "fe80::1%eth0",
        ] {
            assert!(Network::parse(text, false).is_err(), "{text:?}");
        }
        let strict = Network::parse("10.1.2.3/8", true).unwrap_err();
        assert!(strict.contains("the network is 10.0.0.0/8"), "{strict}");
        assert_eq!(
            Network::parse("10.1.2.3/8", false),
            Network::parse("10.0.0.0/8", true)
        );
    }

    #[test]
    fn the_same_addresses_are_the_same_set() {
        assert_eq!(
            networks(&["10.0.0.0/9", "10.128.0.0/9", "10.0.0.0/16"]),
            networks(&["10.0.0.0/8"])
        );
    }

    proptest! {
        #[test]
        fn the_set_answers_as_looking_at_each_network_does(
            entries in prop::collection::vec((0..256u32, 22..=32u32), 0..30),
            addresses in prop::collection::vec(0..300_000u32, 1..50),
        ) {
            let texts: Vec<String> = entries.iter().map(|(third, prefix)| format!("0.0.{third}.77/{prefix}")).collect();
            let set: Networks = texts.iter().map(|text| Network::parse(text, false).unwrap()).collect();
            for address in addresses {
                let linear = texts.iter().any(|text| {
                    let (base, prefix) = text.split_once('/').unwrap();
                    let base: std::net::Ipv4Addr = base.parse().unwrap();
                    let prefix: u32 = prefix.parse().unwrap();
                    base.to_bits() >> (32 - prefix) == address >> (32 - prefix)
                });
                prop_assert_eq!(set.contain(std::net::Ipv4Addr::from_bits(address).into()), linear);
            }
        }
    }
}
