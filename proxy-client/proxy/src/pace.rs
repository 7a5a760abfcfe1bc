//! Whether a caller keeps pace: heads that end, bodies that come, responses that are taken, frames that carry something.
//!
//! Noted while bytes move, judged by the worker's sweep, so that no request has a timer. A caller is late with a head that was
//! begun, and with what it owes while requests are in flight: the rest of a request's body, or room for a response that is
//! there. It is not late when the server is; gRPC streams, whose requests may pause for as long as they like, owe no body.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use mixer_runtime::{Clock, Instant};

use crate::config::Limits;
use crate::connection::Connection;

/// Bytes of responses that make up for one control frame.
const FRAME: u64 = 256;
/// What of `Limits::control_frames` is forgiven by each sweep: a tenth.
const FORGIVEN: u64 = 10;

/// What is noted of one connection. One thread uses it; it is atomic because the library wants an upgraded connection to be
/// `Send`.
#[derive(Debug)]
pub(crate) struct Pace {
    clock: Clock,
    /// What `spent` may be.
    most: u64,
    spent: AtomicU64,
    /// When the head began that has not ended, in the clock's nanoseconds; 0: there is none.
    head_since: AtomicU64,
    moved: AtomicU64,
    owed: AtomicU32,
    upgraded: AtomicBool,
    refused: AtomicBool,
}

impl Pace {
    pub(crate) fn new(clock: Clock, limits: &Limits) -> Self {
        Self {
            moved: clock.now().as_nanos().into(),
            clock,
            most: u64::from(limits.control_frames) * FRAME,
            spent: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            owed: AtomicU32::new(0),
            upgraded: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        }
    }

    /// What follows is not HTTP.
    pub(crate) fn upgrade(&self) {
        self.upgraded.store(true, Relaxed);
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Relaxed)
    }

    /// The caller broke the framing of HTTP/1: nothing more is read of it.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Relaxed);
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }

    /// A head has begun and not ended, or not.
    pub(crate) fn in_head(&self, open: bool) {
        if open != (self.head_since.load(Relaxed) > 0) {
            let since = if open {
                self.clock.now().as_nanos().max(1)
            } else {
                0
            };
            self.head_since.store(since, Relaxed);
        }
    }

    /// Control frames came, less those that were earned; `false` when it is enough.
    pub(crate) fn spend(&self, frames: i32) -> bool {
        let bytes = u64::from(frames.unsigned_abs()) * FRAME;
        let spent = self.spent.load(Relaxed);
        let spent = if frames < 0 {
            spent.saturating_sub(bytes)
        } else {
            spent.saturating_add(bytes)
        };
        self.spent.store(spent, Relaxed);
        spent <= self.most
    }

    /// Bytes of responses were written.
    pub(crate) fn earn(&self, bytes: u64) {
        let spent = self.spent.load(Relaxed);
        self.spent.store(spent.saturating_sub(bytes), Relaxed);
    }

    /// Whether the caller is too late by now; asked once per sweep.
    pub(crate) fn is_late(&self, now: Instant, limits: &Limits) -> bool {
        self.earn(self.most / FORGIVEN);
        let since = |noted: &AtomicU64| now.since(Instant::from_nanos(noted.load(Relaxed)));
        (self.head_since.load(Relaxed) > 0 && since(&self.head_since) > limits.head)
            || (self.owed.load(Relaxed) > 0 && since(&self.moved) > limits.stalled)
    }
}

/// What a caller owes for one body. Dropping it forgives it.
#[derive(Debug)]
pub(crate) struct Owed {
    connection: Rc<Connection>,
    owes: bool,
}

impl Owed {
    pub(crate) fn nothing(connection: Rc<Connection>) -> Self {
        Self {
            connection,
            owes: false,
        }
    }

    /// The next part is the caller's to send or to take, or not.
    pub(crate) fn set(&mut self, owes: bool) {
        if owes != self.owes {
            let owed = &self.connection.pace.owed;
            let count = owed.load(Relaxed);
            owed.store(if owes { count + 1 } else { count - 1 }, Relaxed);
            self.owes = owes;
        }
    }

    /// What should have come is malformed.
    pub(crate) fn refuse(&mut self) {
        self.connection.pace.refuse();
    }

    /// A part went through.
    pub(crate) fn moved(&mut self) {
        let swept = self.connection.worker.swept();
        self.connection.pace.moved.store(swept.as_nanos(), Relaxed);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_head_has_its_time_however_slowly_it_comes() {
        let (clock, manual) = Clock::manual();
        let limits = Limits::default();
        let pace = Pace::new(clock.clone(), &limits);
        pace.in_head(true);
        manual.advance(limits.head);
        pace.in_head(true);
        assert!(!pace.is_late(clock.now(), &limits));
        manual.advance(Duration::from_secs(1));
        assert!(pace.is_late(clock.now(), &limits));
        pace.in_head(false);
        assert!(!pace.is_late(clock.now(), &limits));
    }

    #[test]
    fn control_frames_are_paid_for_by_requests_responses_and_time() {
        let (clock, _) = Clock::manual();
        let limits = Limits::default();
        let pace = Pace::new(clock.clone(), &limits);
        let most = i32::try_from(limits.control_frames).unwrap();
        assert!(pace.spend(most) && !pace.spend(1));
        pace.earn(256);
        assert!(pace.spend(0) && !pace.spend(1));
        pace.is_late(clock.now(), &limits);
        assert!(pace.spend(most / 10 - 1) && !pace.spend(1));
        pace.spend(-2 * most);
        assert!(pace.spend(most) && !pace.spend(1));
    }
}
