//! What a proxy carries to one service at once: connections, requests that wait for one, requests in all.
//!
//! One more is refused at once, with its own flag: a queue that grows without bound helps nobody, least of all the service. The
//! counts belong to the proxy, and are kept when a document changes the limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use mixer_documents as documents;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Connections,
    Pending,
    Requests,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Connections, Self::Pending, Self::Requests];

    /// In metrics and on the admin pages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Pending => "pending",
            Self::Requests => "requests",
        }
    }
}

/// One service's counts.
#[derive(Debug, Default)]
pub(crate) struct Circuit([Count; 3]);

#[derive(Debug, Default)]
struct Count {
    most: AtomicU32,
    taken: AtomicU32,
    refused: AtomicU64,
}

/// One that is carried, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    circuit: Arc<Circuit>,
    kind: Kind,
}

impl Circuit {
    /// Puts `limits` into force for what comes from now on.
    pub(crate) fn limit(&self, limits: documents::Circuit) {
        let documents::Circuit {
            connections,
            pending,
            requests,
        } = limits;
        for (count, most) in self.0.iter().zip([connections, pending, requests]) {
            count.most.store(most, Ordering::Relaxed);
        }
    }

    /// One more, if it is within the limit.
    pub(crate) fn take(self: &Arc<Self>, kind: Kind) -> Option<Permit> {
        let Count {
            most,
            taken,
            refused,
        } = &self.0[kind as usize];
        if taken.fetch_add(1, Ordering::Relaxed) < most.load(Ordering::Relaxed) {
            let circuit = self.clone();
            return Some(Permit { circuit, kind });
        }
        taken.fetch_sub(1, Ordering::Relaxed);
        refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// How many are carried, how many may be, and how many were refused.
    pub(crate) fn read(&self, kind: Kind) -> (u32, u32, u64) {
        let count = &self.0[kind as usize];
        (
            count.taken.load(Ordering::Relaxed),
            count.most.load(Ordering::Relaxed),
            count.refused.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.circuit.0[self.kind as usize]
            .taken
            .fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_the_limit_is_refused_until_one_is_over() {
        let circuit = Arc::new(Circuit::default());
        circuit.limit(documents::Circuit {
            connections: 1,
            pending: 1,
            requests: 2,
        });
        let take = || circuit.take(Kind::Requests);
        let (first, second) = (take().unwrap(), take().unwrap());
        assert!(take().is_none());
        assert_eq!(circuit.read(Kind::Requests), (2, 2, 1));
        drop(first);
        let third = take().unwrap();
        // Another limit holds for those that come.
        circuit.limit(documents::Circuit {
            requests: 1,
            ..documents::Circuit::default()
        });
        drop(second);
        assert!(take().is_none());
        drop(third);
        assert!(take().is_some());
        assert_eq!(circuit.read(Kind::Connections), (0, 1_024, 0));
    }
}
