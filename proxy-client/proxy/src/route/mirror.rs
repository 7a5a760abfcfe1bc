//! Copies of requests: sent beside them, their answers thrown away.
//!
//! A copy never keeps its request waiting and takes none of its places: circuits do not count it, an endpoint that fails it is not
//! ejected for it. So many are in flight at a time on each thread; others are left out, and counted.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};

use super::carry::{discard, same_head};
use super::replay::Replay;
use crate::body::RequestBody;
use crate::forward::{Sending, Target, forward};
use crate::pool::Want;
use crate::upstream::Upstream;
use crate::worker::{Worker, spawn};

/// For a copy and its answer.
const WITHIN: Duration = Duration::from_secs(15);
const X_MIRRORED: HeaderName = HeaderName::from_static("x-mirrored");

/// A place among the copies in flight.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(in_flight: &Rc<Cell<usize>>, most: usize) -> Option<Self> {
        if in_flight.get() >= most {
            return None;
        }
        in_flight.set(in_flight.get() + 1);
        Some(Self(in_flight.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Sends a copy of `request` to `to`, as soon as its body has passed; `replay` keeps that.
pub(crate) fn mirror(
    worker: &Rc<Worker>,
    to: &Arc<Upstream>,
    want: Want,
    request: &Request<RequestBody>,
    replay: Option<&Replay>,
) {
    let most = worker.shared.config.limits.mirrors;
    let Some(place) = Place::take(&worker.mirrors, most) else {
        worker.counters.mirror_dropped();
        return;
    };
    let mut head = same_head(request);
    head.headers_mut()
        .insert(X_MIRRORED, HeaderValue::from_static("1"));
    let copy = replay.map(Replay::copy);
    let (worker, to) = (worker.clone(), to.clone());
    spawn(async move {
        let _place = place;
        let body = match copy {
            None => RequestBody::Empty,
            Some(copy) => match copy.await {
                Ok(whole) => RequestBody::Kept(Replay::whole(whole).reader()),
                Err(_) => {
                    worker.counters.mirror_dropped();
                    return;
                }
            },
        };
        let target = Target::Mirror(to);
        let (mut tried, sent_to) = (Vec::new(), Cell::new(None));
        let sending = Sending {
            hash: None,
            want,
            tried: &mut tried,
            sent_to: &sent_to,
            until: Some(worker.shared.clock.now() + WITHIN),
        };
        match forward(&worker, &target, sending, head.map(|()| body)).await {
            Ok((response, carrying)) => {
                worker.counters.mirrored();
                discard(&worker, response, carrying);
            }
            Err(_) => worker.counters.mirror_failed(),
        }
    });
}
