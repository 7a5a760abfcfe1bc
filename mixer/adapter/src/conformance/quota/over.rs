//! What becomes of a cost over the limit, and of what is given back late.

use super::{AMOUNT, Call, START, WINDOW};
use crate::{Algorithm, Ask, CalendarWindow, Outcome, Over};

impl Call<'_> {
    pub(super) async fn counts_what_it_refuses(&self, quota: &str) {
        let counted = |cost| Ask {
            over: Over::Count,
            ..self.ask(quota, &[], cost)
        };
        let all = AMOUNT as i64;
        self.one(counted(all)).await;
        for cost in [1, all - 2] {
            let grant = self.one(counted(cost)).await;
            assert_eq!(
                (grant.outcome, grant.remaining),
                (Outcome::Refused, 0),
                "a refused cost that counts is refused"
            );
        }
        self.one(self.ask(quota, &[], -all)).await;
        assert_eq!(
            self.left(quota, &[]).await,
            1,
            "what was refused must have counted"
        );
        for _ in 0..5 {
            self.one(counted(all)).await;
        }
        self.one(self.ask(quota, &[], -all)).await;
        assert_eq!(self.left(quota, &[]).await, 0, "and counts");
        self.one(self.ask(quota, &[], -all)).await;
        assert_eq!(
            self.left(quota, &[]).await,
            AMOUNT,
            "but never until more than twice the amount is spent"
        );
        // Refused because of another counter: one that counts does, one that does not does not.
        let (full, plain) = ([String::from("full")], [String::from("plain")]);
        self.one(self.ask(quota, &full, all)).await;
        let asks = [
            counted(3),
            self.ask(quota, &full, 1),
            self.ask(quota, &plain, 3),
        ];
        assert_eq!(self.all(&asks, "").await[1].outcome, Outcome::Refused);
        assert_eq!(self.left(quota, &[]).await, AMOUNT - 3);
        assert_eq!(self.left(quota, &plain).await, AMOUNT);
    }

    pub(super) async fn takes_what_is_owed(&self, quota: &str) {
        let owed = |cost| Ask {
            over: Over::Owe,
            ..self.ask(quota, &[], cost)
        };
        let all = AMOUNT as i64;
        let grant = self.one(owed(2 * all + 5)).await;
        assert_eq!(
            (grant.outcome, grant.remaining),
            (Outcome::Granted, 0),
            "what is owed is taken, however much it is"
        );
        let refused = self.one(self.ask(quota, &[], 1)).await;
        assert_eq!(
            refused.outcome,
            Outcome::Refused,
            "and others are refused until it is paid"
        );
        assert!(refused.retry_after.is_some(), "which will be");
        self.one(self.ask(quota, &[], -all - 6)).await;
        assert_eq!(self.left(quota, &[]).await, 1);
        // Nothing is owed of a request that is refused for another counter.
        let full = [String::from("full")];
        self.one(self.ask(quota, &full, all)).await;
        let asks = [owed(5), self.ask(quota, &full, 1)];
        assert_eq!(self.all(&asks, "").await[1].outcome, Outcome::Refused);
        assert_eq!(self.left(quota, &[]).await, 1);
    }

    pub(super) async fn gives_nothing_back_that_is_forgotten(&self, quota: &str) {
        // A bucket refills by itself and does not ask.
        if let Algorithm::Gcra { .. } = self.algorithm {
            return;
        }
        self.one(self.ask(quota, &[], 10)).await;
        let back = Ask {
            age: WINDOW * 2,
            ..self.ask(quota, &[], -5)
        };
        let back = match self.algorithm {
            Algorithm::FixedWindow { calendar: Some(_) } => Ask {
                algorithm: page(START - WINDOW.as_secs() as i64),
                ..back
            },
            _ => back,
        };
        assert_eq!(
            self.one(back).await.remaining,
            AMOUNT - 10,
            "what was taken before the window is not given back to it"
        );
    }
}

/// A window of the calendar that began then.
fn page(number: i64) -> Algorithm {
    let calendar = CalendarWindow {
        number,
        ends_in: WINDOW,
    };
    Algorithm::FixedWindow {
        calendar: Some(calendar),
    }
}

/// Windows of the calendar follow each other, whatever callers' clocks say.
pub(super) async fn follows_the_calendar(call: &Call<'_>) {
    let all = AMOUNT as i64;
    let quota = "pages";
    let next = START + WINDOW.as_secs() as i64;
    let of = |number, cost| Ask {
        algorithm: page(number),
        ..call.ask(quota, &[], cost)
    };
    call.one(of(START, all)).await;
    let refused = call.one(of(START, 1)).await;
    let wait = refused.retry_after.expect("the window ends");
    assert!(
        refused.outcome == Outcome::Refused && wait <= WINDOW && wait > WINDOW / 2,
        "a refusal lasts until the window ends: {wait:?} of {WINDOW:?}"
    );
    assert_eq!(
        call.one(of(next, all - 2)).await.remaining,
        2,
        "the next window begins anew"
    );
    assert_eq!(
        call.one(of(START, 1)).await.remaining,
        1,
        "who is behind counts in the window that is"
    );
    assert_eq!(call.one(of(START, 2)).await.outcome, Outcome::Refused);
    assert_eq!(call.one(of(next, 0)).await.remaining, 1);
}
