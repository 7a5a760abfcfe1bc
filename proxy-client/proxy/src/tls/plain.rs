//! Who calls in plaintext: whom `tls: strict` would refuse.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Addresses that are remembered; connections from others are counted together.
const ADDRESSES: usize = 1_000;

/// The callers that spoke plaintext to a service that takes both.
#[derive(Debug)]
pub(crate) struct PlainCallers {
    since: SystemTime,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_address: BTreeMap<IpAddr, Plain>,
    others: u64,
}

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) connections: u64,
    pub(crate) last: SystemTime,
}

impl PlainCallers {
    pub(crate) fn new(since: SystemTime) -> Self {
        Self {
            since,
            known: Mutex::default(),
        }
    }

    /// A connection from there.
    pub(crate) fn came(&self, from: IpAddr, now: SystemTime) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let room = known.by_address.len() < ADDRESSES;
        match known.by_address.get_mut(&from) {
            Some(plain) => {
                plain.connections += 1;
                plain.last = now;
            }
            None if room => {
                let plain = Plain {
                    connections: 1,
                    last: now,
                };
                known.by_address.insert(from, plain);
            }
            None => known.others += 1,
        }
    }

    /// Since when they are remembered.
    pub(crate) fn since(&self) -> SystemTime {
        self.since
    }

    /// All of them, by address; and how many connections came from others.
    pub(crate) fn all(&self) -> (Vec<(IpAddr, Plain)>, u64) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let all = known.by_address.iter().map(|(from, plain)| (*from, *plain));
        (all.collect(), known.others)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn callers_are_counted_by_address_and_bounded() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let callers = PlainCallers::new(at(0));
        let address = |number: u32| IpAddr::from(Ipv4Addr::from_bits(number));
        for number in 0..2_000 {
            callers.came(address(number), at(1));
        }
        callers.came(address(5), at(9));
        let (all, others) = callers.all();
        assert_eq!((all.len(), others), (ADDRESSES, 1_000));
        let fifth = Plain {
            connections: 2,
            last: at(9),
        };
        assert_eq!(all[5], (address(5), fifth));
    }
}
