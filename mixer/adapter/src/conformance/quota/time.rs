//! What a store says about time, on a clock that can be moved or waited for.

use std::time::Duration;

use super::{AMOUNT, Call};
use crate::{Algorithm, Ask, Handler, Limit, Outcome};

/// Checks that a refusal says when it ends: after the time it tells, and if `exact` not a nanosecond earlier, the same is
/// granted. `pass` lets time pass on the store's clock; about two windows in all for each algorithm.
///
/// # Panics
/// When something does not hold.
pub async fn tells_when(
    handler: &Handler,
    window: Duration,
    exact: bool,
    mut pass: impl AsyncFnMut(Duration),
) {
    for algorithm in [
        Algorithm::SlidingWindow,
        Algorithm::Gcra { burst: AMOUNT },
        Algorithm::FixedWindow { calendar: None },
        Algorithm::Concurrency { hold: window },
    ] {
        let call = Call { handler, algorithm };
        let of = |cost| Ask {
            limit: Limit {
                amount: AMOUNT,
                window,
            },
            ..call.ask("when", &[], cost)
        };
        for _ in 0..4 {
            call.one(of(AMOUNT as i64 / 4)).await;
            pass(window / 16).await;
        }
        for cost in [AMOUNT as i64, 7] {
            let refused = call.one(of(cost)).await;
            // On a clock that goes by itself it may have ended meanwhile.
            assert!(
                !exact || refused.outcome == Outcome::Refused,
                "{algorithm:?} must refuse {cost}"
            );
            let wait = refused.retry_after.expect("it can be granted later");
            if exact {
                pass(wait - Duration::from_nanos(1)).await;
                let early = call.one(of(cost)).await;
                assert_eq!(early.outcome, Outcome::Refused, "{algorithm:?}: too early");
                pass(Duration::from_nanos(1)).await;
            } else {
                pass(wait).await;
            }
            let granted = call.one(of(cost)).await;
            assert_eq!(
                granted.outcome,
                Outcome::Granted,
                "{algorithm:?}: {cost} must be granted {wait:?} after the refusal"
            );
        }
        call.one(of(-(AMOUNT as i64) * 2)).await;
        pass(window * 2).await;
    }
}
