//! Connections of this proxy that its host's rules send back to it on their way out. They would go round until nothing is left, so
//! they are ended.
//!
//! It happens when the proxy is not the user that the rules let pass. Both ends are seen: one that is made has the source and the
//! destination of one that is accepted. Both are noted, and whichever comes second finds the first, so that no order of the two
//! escapes. (No two connections of a host have both ends in common, so nothing else is taken for one.) The cost is a lock per
//! connection, and only where connections are redirected.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::plain;

/// The redirected connections of a moment, and those that were made.
#[derive(Debug, Default)]
pub(crate) struct Loops {
    seen: Mutex<HashMap<Ends, Side>>,
    told: AtomicBool,
}

/// Source and destination, as whoever connects sees them.
type Ends = (SocketAddr, SocketAddr);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Accepted,
    Made,
}

/// A connection in the books, until this is dropped.
#[derive(Debug)]
pub(crate) struct Noted {
    loops: Arc<Loops>,
    ends: Ends,
}

/// The connection is one of the proxy's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loop;

impl Loops {
    /// Notes a connection from `source` that was going to `destination` and was redirected here.
    pub(crate) fn accepted(
        self: &Arc<Self>,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Result<Noted, Loop> {
        self.note((source, destination), Side::Accepted)
    }

    /// Notes a connection of this proxy from `source` to `destination`.
    pub(crate) fn made(
        self: &Arc<Self>,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Result<Noted, Loop> {
        self.note((source, destination), Side::Made)
    }

    fn note(self: &Arc<Self>, (source, destination): Ends, side: Side) -> Result<Noted, Loop> {
        let ends = (plain(source), plain(destination));
        match self.seen().entry(ends) {
            Entry::Occupied(other) if *other.get() != side => {
                return Err(self.found(destination));
            }
            // The end of one before it was not noted yet.
            Entry::Occupied(_) => {}
            Entry::Vacant(vacant) => drop(vacant.insert(side)),
        }
        let loops = self.clone();
        Ok(Noted { loops, ends })
    }

    /// Says so, once.
    pub(crate) fn found(&self, destination: SocketAddr) -> Loop {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::error!(
                %destination,
                "the host's rules send this proxy its own connections: it must run as the user that they let pass"
            );
        }
        Loop
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Ends, Side>> {
        // Nothing that can panic happens while it is held.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.loops.seen().remove(&self.ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_end_of_a_loop_is_seen_second_finds_the_first() {
        let loops = Arc::new(Loops::default());
        let here = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let there = SocketAddr::from(([10, 0, 0, 2], 80));
        let made = loops.made(here(1), there).unwrap();
        assert_eq!(loops.accepted(here(1), there).unwrap_err(), Loop);
        let accepted = loops.accepted(here(2), there).unwrap();
        assert_eq!(loops.made(here(2), there).unwrap_err(), Loop);
        // A source may have connections to several destinations, an address may come in two forms.
        let other = SocketAddr::from(([10, 0, 0, 3], 80));
        let _third = loops.accepted(here(1), other).unwrap();
        let mapped = SocketAddr::new("::ffff:10.0.0.1".parse().unwrap(), 1);
        assert_eq!(loops.accepted(mapped, there).unwrap_err(), Loop);
        drop((made, accepted));
        assert!(loops.accepted(here(1), there).is_ok() && loops.made(here(2), there).is_ok());
    }
}
