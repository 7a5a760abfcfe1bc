//! Where the identity of this process comes from while it runs.
//!
//! A [`Source`] is what everything reads: the current identity in an `ArcSwap`, so that a handshake takes it without a lock, and
//! a watch that tells of changes. A [`Publisher`] is what somebody feeds: a watcher of files, a client of the Workload API, a
//! client that joined with a token. A new kind of source needs no trait, only a publisher.

mod join;
mod workload_api;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

pub use join::{Join, JoinError};
pub use workload_api::{InvalidEndpoint, NoAnswer, WorkloadApi};

use crate::{Bundles, SpiffeId, Svid};

/// Who we are, and whom we trust.
#[derive(Clone, Debug)]
pub struct Identity {
    svid: Arc<Svid>,
    bundles: Arc<Bundles>,
}

/// The current identity, if there is one yet. Clones are handles of the same source.
#[derive(Clone, Debug)]
pub struct Source(Arc<Shared>);

/// Publishes identities into its [`Source`].
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Shared {
    current: ArcSwapOption<Identity>,
    changes: watch::Receiver<u64>,
}

/// Tells of changes of a source: see [`Source::updates`].
#[derive(Clone, Debug)]
pub struct Updates(watch::Receiver<u64>);

impl Identity {
    /// An SVID, and the bundles to check others against.
    pub fn new(svid: impl Into<Arc<Svid>>, bundles: impl Into<Arc<Bundles>>) -> Self {
        Self {
            svid: svid.into(),
            bundles: bundles.into(),
        }
    }

    /// What we prove ourselves with.
    pub fn svid(&self) -> &Arc<Svid> {
        &self.svid
    }

    /// What others are checked against.
    pub fn bundles(&self) -> &Arc<Bundles> {
        &self.bundles
    }

    /// Our id.
    pub fn id(&self) -> &SpiffeId {
        self.svid.id()
    }
}

impl Source {
    /// An identity that never changes.
    pub fn fixed(identity: Identity) -> Self {
        let (publisher, source) = Self::updated();
        publisher.publish(identity);
        source
    }

    /// A source without an identity yet, and what publishes into it.
    pub fn updated() -> (Publisher, Self) {
        let (sender, changes) = watch::channel(0);
        let shared = Arc::new(Shared {
            current: ArcSwapOption::empty(),
            changes,
        });
        let publisher = Publisher {
            shared: shared.clone(),
            changes: sender,
        };
        (publisher, Self(shared))
    }

    /// The identity of this moment; `None` until the first is published.
    pub fn current(&self) -> Option<Arc<Identity>> {
        self.0.current.load_full()
    }

    /// Whether there is an identity. Once there is one, there always is.
    pub fn is_ready(&self) -> bool {
        self.0.current.load().is_some()
    }

    /// Whether both are handles of the same source.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Tells of every change from now on.
    pub fn updates(&self) -> Updates {
        let mut changes = self.0.changes.clone();
        changes.mark_unchanged();
        Updates(changes)
    }

    /// Waits for the first identity. `None` when the publisher went without one.
    pub async fn ready(&self) -> Option<Arc<Identity>> {
        let mut updates = self.updates();
        loop {
            if let Some(identity) = self.current() {
                return Some(identity);
            }
            if !updates.changed().await {
                return self.current();
            }
        }
    }
}

impl Publisher {
    /// Makes this the current identity, then tells those who wait.
    pub fn publish(&self, identity: Identity) {
        self.shared.current.store(Some(Arc::new(identity)));
        self.changes.send_modify(|count| *count += 1);
    }

    /// The source it publishes into.
    pub fn source(&self) -> Source {
        Source(self.shared.clone())
    }
}

impl Updates {
    /// Waits until the identity changed since the last call; several changes may count as one. `false` when no more can come.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// An error with what is behind it.
fn why(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
