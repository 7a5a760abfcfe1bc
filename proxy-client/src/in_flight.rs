//! What a request holds of limits of how many at once, from when it passes until it is over.
//!
//! It is part of the answer, and freed when the last clone of that is dropped: however a request ends, nobody has to remember
//! to say so. Freeing waits for nobody: it is queued, and sent in the background, many in one call. What cannot be sent ends by
//! itself after the limit's hold.

use std::sync::Arc;
use std::time::Duration;

use mixer_runtime::{Clock, Instant, queue};

use crate::wire::{Ask, Charge, Grant, Outcome};

/// What a request holds; keep it, or a clone, until the request is over.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Option<Arc<Held>>);

/// What is to be freed: taken at, and not before, that time.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    ask: Ask,
    since: Instant,
}

#[derive(Debug)]
struct Held {
    asks: Vec<(Ask, Duration)>,
    since: Instant,
    clock: Clock,
    ended: queue::Sender<Ended>,
}

impl InFlight {
    /// What of `charges`, asked for at `since`, is held.
    pub(crate) fn of<'a>(
        charges: impl Iterator<Item = (&'a Charge, &'a Grant)>,
        since: Instant,
        clock: &Clock,
        ended: &queue::Sender<Ended>,
    ) -> Self {
        let asks = charges.filter_map(|(charge, grant)| {
            // In shadow it counts what began within the hold: who waits for no answer has nothing to free.
            let held = !charge.shadow && grant.outcome == Outcome::Granted && charge.cost > 0;
            let hold = charge.hold.filter(|_| held)?;
            Some((Ask::free(charge), hold))
        });
        let asks: Vec<_> = asks.collect();
        Self((!asks.is_empty()).then(|| {
            Arc::new(Held {
                asks,
                since,
                clock: clock.clone(),
                ended: ended.clone(),
            })
        }))
    }
}

/// Whether both are of one request.
impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let age = self.clock.now().since(self.since);
        for (ask, hold) in self.asks.drain(..) {
            if age < hold {
                let since = self.since;
                self.ended.offer(Ended { ask, since });
            }
        }
    }
}

impl Ended {
    /// The ask that frees it, if it is sent now and arrives within `delay`: its age then is at most what it says.
    pub(crate) fn ask(self, delay: Duration, now: Instant) -> Ask {
        Ask {
            freed: Some(now.since(self.since) + delay),
            ..self.ask
        }
    }
}
