//! What is known of each destination, carried from state to state.
//!
//! A [`Place`] is one destination as one side sees it. Its number stands for its revision: it changes exactly when the
//! announced revision does, and is never given twice, so comparing numbers is comparing (side, destination, revision), and
//! answers about an older revision are never found again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mixer_runtime::Instant;

use crate::cache::Shapes;
use crate::wire::{Charge, CounterId, Told};
use crate::{At, Scope, State};

/// The newest state and what was learnt about its destinations.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) state: Arc<State>,
    /// How long answers are used when the revision cannot be confirmed.
    pub(crate) stale: Duration,
    inbound: Arc<Place>,
    outbound: HashMap<Arc<str>, Arc<Place>>,
    outbound_default: Arc<Place>,
    next_place: u64,
}

/// One destination as one side sees it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) scope: Arc<Scope>,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) charged: Arc<Charged>,
    pub(crate) sample: Sample,
}

/// Says which of the requests answered from the cache are sent for what is in shadow: ten a second.
#[derive(Debug, Default)]
pub(crate) struct Sample(AtomicU64);

/// Between two of a sample.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// The counters that requests to a destination were charged to last: their rates go with the next Check.
#[derive(Debug, Default)]
pub(crate) struct Charged(Mutex<VecDeque<CounterId>>);

/// Counters remembered per destination.
const MOST_CHARGED: usize = 8;

impl Known {
    /// The state `told` tells, after `before`.
    pub(crate) fn next(before: Option<&Known>, told: Told) -> Self {
        let mut next_place = before.map_or(0, |known| known.next_place);
        let mut place = |before: Option<&Arc<Place>>, scope: &Arc<Scope>| match before {
            Some(same) if same.scope == *scope => same.clone(),
            Some(same) if same.scope.revision == scope.revision => {
                let (shapes, charged) = (same.shapes.clone(), same.charged.clone());
                Arc::new(Place {
                    id: same.id,
                    scope: scope.clone(),
                    shapes,
                    charged,
                    sample: Sample::default(),
                })
            }
            before => {
                next_place += 1;
                let charged = before
                    .map(|place| place.charged.clone())
                    .unwrap_or_default();
                Arc::new(Place {
                    id: next_place,
                    scope: scope.clone(),
                    shapes: Arc::new(Shapes::new()),
                    charged,
                    sample: Sample::default(),
                })
            }
        };
        let inbound = place(before.map(|known| &known.inbound), &told.inbound);
        let outbound_default = place(
            before.map(|known| &known.outbound_default),
            &told.outbound_default,
        );
        let outbound = told.outbound.iter().map(|(name, scope)| {
            (
                name.clone(),
                place(before.and_then(|known| known.outbound.get(name)), scope),
            )
        });
        let outbound = outbound.collect();
        let stale = stale(&told.documents).unwrap_or_else(|text| {
            tracing::warn!(
                "the mesh document's fail.stale is {text}: answers are not used without Mixer"
            );
            Duration::ZERO
        });
        let state = State {
            version: before.map_or(1, |known| known.state.version + 1),
            inbound: told.inbound,
            outbound: told.outbound,
            outbound_default: told.outbound_default,
            documents: told.documents,
            keys: told.keys,
        };
        Self {
            state: Arc::new(state),
            stale,
            inbound,
            outbound,
            outbound_default,
            next_place,
        }
    }

    /// What is known of requests to `destination`.
    pub(crate) fn place(&self, at: At, destination: Option<&str>) -> &Arc<Place> {
        match (at, destination) {
            (At::Inbound, _) => &self.inbound,
            (At::Outbound, Some(name)) => self.outbound.get(name).unwrap_or(&self.outbound_default),
            (At::Outbound, None) => &self.outbound_default,
        }
    }
}

impl Sample {
    /// Whether this request is one; counted by the clock, so that however many there are costs Mixer the same.
    pub(crate) fn takes(&self, now: Instant) -> bool {
        // The first at once.
        let now = now.as_nanos().saturating_add(1);
        let last = self.0.load(Ordering::Relaxed);
        (last == 0 || u128::from(now.saturating_sub(last)) >= SAMPLE_EVERY.as_nanos())
            && self
                .0
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl Charged {
    /// Remembers whom a request was charged to.
    pub(crate) fn remember(&self, charges: &[Charge]) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for charge in charges.iter().filter(|charge| charge.leased) {
            if !last.contains(&charge.counter) {
                last.truncate(MOST_CHARGED - 1);
                last.push_front(charge.counter.clone());
            }
        }
    }

    /// The counters, the last first.
    pub(crate) fn counters(&self) -> Vec<CounterId> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}

/// `mesh.fail.stale`; ten minutes when no document says it. The error is what it says instead of a span of time.
fn stale(documents: &[String]) -> Result<Duration, serde_json::Value> {
    let trees = documents
        .iter()
        .filter_map(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let said = trees
        .filter_map(|tree| tree.get("mesh")?.get("fail")?.get("stale").cloned())
        .next();
    match said {
        None => Ok(Duration::from_secs(600)),
        Some(said) => said.as_str().and_then(span).ok_or(said),
    }
}

/// `10m`, `1h30m`, `500ms`, `0s`: whole numbers with a unit each.
fn span(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..unit_at].parse().ok()?;
        let unit_end = rest[unit_at..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |at| unit_at + at);
        total = total.checked_add(match &rest[unit_at..unit_end] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3_600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        })?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use mixer_proto::v1;

    use super::*;

    fn told(inbound: &str, shop: Option<&str>) -> Told {
        let scope = |destination: &str, revision: &str| v1::Scope {
            destination: destination.into(),
            revision: revision.into(),
            ..Default::default()
        };
        let response = v1::WatchResponse {
            inbound: Some(scope("", inbound)),
            outbound: shop
                .iter()
                .map(|revision| scope("shop", revision))
                .collect(),
            outbound_default: Some(scope("", "d")),
            ..Default::default()
        };
        crate::wire::watch_response(response).unwrap()
    }

    #[test]
    fn a_place_keeps_its_number_exactly_as_long_as_its_revision() {
        let id = |known: &Known, name| known.place(At::Outbound, Some(name)).id;
        let first = Known::next(None, told("a", Some("r1")));
        let same = Known::next(Some(&first), told("b", Some("r1")));
        assert_eq!(id(&same, "shop"), id(&first, "shop"));
        assert_ne!(
            same.place(At::Inbound, None).id,
            first.place(At::Inbound, None).id
        );
        let changed = Known::next(Some(&same), told("b", Some("r2")));
        assert_ne!(id(&changed, "shop"), id(&same, "shop"));
        let back = Known::next(Some(&changed), told("b", Some("r1")));
        assert!(![id(&first, "shop"), id(&changed, "shop")].contains(&id(&back, "shop")));
        let gone = Known::next(Some(&back), told("b", None));
        assert_eq!(id(&gone, "shop"), id(&gone, "anything"));
        assert_eq!(
            [first, same, changed, back, gone].map(|known| known.state.version),
            [1, 2, 3, 4, 5]
        );
    }

    #[test]
    fn the_mesh_says_how_long_answers_outlive_mixer() {
        let cases = [
            ("{}", Ok(600_000)),
            (r#"{"mesh":{}}"#, Ok(600_000)),
            (r#"{"mesh":{"fail":{"cold":"wait"}}}"#, Ok(600_000)),
            (r#"{"mesh":{"fail":{"stale":"10m"}}}"#, Ok(600_000)),
            (r#"{"mesh":{"fail":{"stale":"1h30m"}}}"#, Ok(5_400_000)),
            (r#"{"mesh":{"fail":{"stale":"1500ms"}}}"#, Ok(1_500)),
            (r#"{"mesh":{"fail":{"stale":"0s"}}}"#, Ok(0)),
            (r#"{"mesh":{"fail":{"stale":""}}}"#, Err(())),
            (r#"{"mesh":{"fail":{"stale":"10"}}}"#, Err(())),
            (r#"{"mesh":{"fail":{"stale":"m"}}}"#, Err(())),
            (r#"{"mesh":{"fail":{"stale":600}}}"#, Err(())),
        ];
        for (document, expected) in cases {
            let read = stale(&[r#"{"service":"a"}"#.to_owned(), document.to_owned()]);
            assert_eq!(
                read.map(|span| span.as_millis()).map_err(|_| ()),
                expected,
                "{document}"
            );
        }
    }
}
