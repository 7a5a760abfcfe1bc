//! Peers of open connections, for as long as they are trusted.
//!
//! What ends a connection whose peer no longer is works at the bytes, below HTTP: it holds for requests, upgraded connections and
//! opaque ones alike, in both directions.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Waker};

use mixer_identity::{Identity, Peer};

use crate::worker::Worker;

/// The peer of one open connection. One thread uses it; it is atomic because the library wants an upgraded connection to be
/// `Send`.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) peer: Peer,
    cut: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

/// The peers of one thread's connections.
#[derive(Debug, Default)]
pub(crate) struct Registry(RefCell<Vec<Weak<Trusted>>>);

impl Trusted {
    fn new(peer: Peer) -> Self {
        Self {
            peer,
            cut: AtomicBool::new(false),
            reader: Mutex::new(None),
        }
    }

    /// Whether the connection is over, because its peer is not trusted any more.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Ends the connection.
    fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        let reader = self
            .reader
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Has the one who waits for the peer's bytes told of the end.
    pub(super) fn waits(&self, context: &Context<'_>) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *reader {
            Some(held) if held.will_wake(context.waker()) => {}
            held => *held = Some(context.waker().clone()),
        }
    }
}

impl Registry {
    /// Enters the peer of a connection whose handshake began when `before` was the identity. `None`: `now`, it is not trusted
    /// any more.
    pub(crate) fn enter(
        &self,
        peer: Peer,
        before: &Identity,
        now: &Identity,
        wall: std::time::SystemTime,
    ) -> Option<Arc<Trusted>> {
        if !Arc::ptr_eq(before.bundles(), now.bundles())
            && peer.still_trusted(now.bundles(), wall).is_err()
        {
            return None;
        }
        let trusted = Arc::new(Trusted::new(peer));
        let mut open = self.0.borrow_mut();
        // The dead ones go when the list would have to grow.
        if open.len() == open.capacity() {
            open.retain(|known| known.strong_count() > 0);
        }
        open.push(Arc::downgrade(&trusted));
        Some(trusted)
    }

    /// How many connections are open, by the ids of their peers.
    fn open(&self) -> Vec<Arc<Trusted>> {
        let mut open = self.0.borrow_mut();
        open.retain(|known| known.strong_count() > 0);
        open.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Ends every connection of `worker` whose peer is not trusted under the bundles of `identity`.
pub(crate) async fn review(worker: Rc<Worker>, identity: Arc<Identity>) {
    for trusted in worker.trusted.open() {
        let wall = worker.shared.clock.wall();
        if let Err(why) = trusted.peer.still_trusted(identity.bundles(), wall) {
            tracing::debug!("a connection is closed: {why}");
            worker.counters.no_longer_trusted();
            trusted.cut();
        }
        // Signatures take time, and others wait for this thread.
        tokio::task::yield_now().await;
    }
}
