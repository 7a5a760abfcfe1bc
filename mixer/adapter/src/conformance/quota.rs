//! What every adapter that counts must hold to, for every algorithm.
//!
//! [`run`] needs no time to pass; [`tells_when`] does. [`is_exact_among_many`] is heavy, for stores that are fast.

mod counters;
mod over;
mod time;

pub use time::tells_when;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mixer_runtime::Tasks;

use crate::{Algorithm, Ask, CalendarWindow, Grant, Handler, Limit, Outcome, Over};

/// The window of every limit that is asked about.
pub const WINDOW: Duration = Duration::from_secs(600);

const AMOUNT: u64 = 20;

/// When a window of the calendar began.
const START: i64 = 1_767_225_600;

/// One call.
struct Call<'a> {
    handler: &'a Handler,
    algorithm: Algorithm,
}

/// Runs all checks. `forget` lets so much time pass (on the handler's clock) that everything spent is forgotten; time must not
/// pass otherwise, or by far less than the window.
///
/// # Panics
/// When something does not hold.
pub async fn run(handler: &Arc<Handler>, tasks: &Tasks, mut forget: impl FnMut()) {
    for algorithm in algorithms(AMOUNT) {
        let call = Call { handler, algorithm };
        call.takes_up_to_the_limit("limit").await;
        call.gives_back("give back").await;
        call.peeks("peek").await;
        call.does_not_take_a_retry_twice("dedup").await;
        call.takes_all_or_nothing("all").await;
        call.takes_extra_as_far_as_there_is("extra").await;
        call.refuses_what_can_never_be("never").await;
        call.counts_keys_apart("keys").await;
        call.counts_what_it_refuses("count").await;
        call.takes_what_is_owed("owe").await;
        call.gives_nothing_back_that_is_forgotten("late").await;
        call.shows_and_forgets_counters("counters").await;
        call.is_exact_under_concurrency(handler, tasks).await;
        forget();
        let call = call.later();
        call.takes_up_to_the_limit("limit").await;
        call.keeps_count_when_the_limit_changes("change").await;
        forget();
    }
    let algorithm = Algorithm::SlidingWindow;
    over::follows_the_calendar(&Call { handler, algorithm }).await;
    forget();
}

/// Checks that 64 tasks that each ask a thousand counters with a limit of ten get ten of each, for every algorithm. No time may
/// pass, or by far less than the window.
///
/// # Panics
/// When something does not hold.
pub async fn is_exact_among_many(handler: &Arc<Handler>, tasks: &Tasks) {
    const TASKS: usize = 64;
    const KEYS: usize = 1_000;
    const LIMIT: u64 = 10;
    for algorithm in algorithms(LIMIT) {
        let granted = Arc::new(AtomicU64::new(0));
        let (done, mut all_done) = tokio::sync::mpsc::channel::<()>(1);
        for task in 0..TASKS {
            let (handler, granted, done) = (handler.clone(), granted.clone(), done.clone());
            tasks.spawn("quota conformance", async move {
                let call = Call {
                    handler: &handler,
                    algorithm,
                };
                for at in 0..KEYS {
                    // Each task in an order of its own.
                    let key = [((at * (2 * task + 1) + task) % KEYS).to_string()];
                    let limit = Limit {
                        amount: LIMIT,
                        window: WINDOW,
                    };
                    let ask = Ask {
                        limit,
                        ..call.ask("many", &key, 1)
                    };
                    let is_granted = call.one(ask).await.outcome == Outcome::Granted;
                    granted.fetch_add(is_granted.into(), Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
                drop(done);
            });
        }
        drop(done);
        while all_done.recv().await.is_some() {}
        let granted = granted.load(Ordering::SeqCst);
        assert_eq!(
            granted,
            KEYS as u64 * LIMIT,
            "{algorithm:?}: each counter must grant its limit, no more and no less"
        );
    }
}

/// All algorithms; of the calendar, the window that begins with [`START`].
fn algorithms(burst: u64) -> [Algorithm; 5] {
    let calendar = CalendarWindow {
        number: START,
        ends_in: WINDOW,
    };
    let fixed = |calendar| Algorithm::FixedWindow { calendar };
    [
        Algorithm::SlidingWindow,
        Algorithm::Gcra { burst },
        fixed(None),
        fixed(Some(calendar)),
        Algorithm::Concurrency { hold: WINDOW },
    ]
}

impl<'h> Call<'h> {
    /// In the windows of the calendar that follow.
    fn later(&self) -> Call<'h> {
        let algorithm = match self.algorithm {
            Algorithm::FixedWindow {
                calendar: Some(now),
            } => Algorithm::FixedWindow {
                calendar: Some(CalendarWindow {
                    number: now.number + 2 * WINDOW.as_secs() as i64,
                    ..now
                }),
            },
            other => other,
        };
        Call { algorithm, ..*self }
    }

    fn ask<'a>(&self, quota: &'a str, key: &'a [String], cost: i64) -> Ask<'a> {
        let limit = Limit {
            amount: AMOUNT,
            window: WINDOW,
        };
        Ask {
            quota,
            key,
            cost,
            limit,
            algorithm: self.algorithm,
            extra: 0,
            over: Over::Refuse,
            age: Duration::ZERO,
        }
    }

    async fn all(&self, asks: &[Ask<'_>], dedup_id: &str) -> Vec<Grant> {
        let grants = self.handler.allocate(asks, dedup_id).await;
        let grants = grants.expect("a store that is there must answer");
        assert_eq!(grants.len(), asks.len(), "one grant per ask");
        grants
    }

    async fn one(&self, ask: Ask<'_>) -> Grant {
        self.all(&[ask], "").await.remove(0)
    }

    async fn left(&self, quota: &str, key: &[String]) -> u64 {
        self.one(self.ask(quota, key, 0)).await.remaining
    }

    async fn takes_up_to_the_limit(&self, quota: &str) {
        for taken in 1..=AMOUNT {
            let grant = self.one(self.ask(quota, &[], 1)).await;
            assert_eq!(
                grant.outcome,
                Outcome::Granted,
                "token {taken} of {AMOUNT} must be granted"
            );
            assert_eq!(
                grant.retry_after,
                Some(Duration::ZERO),
                "a grant has nothing to wait for"
            );
        }
        let grant = self.one(self.ask(quota, &[], 1)).await;
        assert_eq!(
            (grant.outcome, grant.remaining),
            (Outcome::Refused, 0),
            "one more must be refused"
        );
        let wait = grant.retry_after.expect("it can be granted later");
        assert!(
            wait > Duration::ZERO && wait <= WINDOW * 2,
            "the wait must be a real one: {wait:?}"
        );
    }

    async fn gives_back(&self, quota: &str) {
        self.one(self.ask(quota, &[], 15)).await;
        let given = self.one(self.ask(quota, &[], -10)).await;
        assert_eq!(
            (given.outcome, given.remaining),
            (Outcome::Granted, 15),
            "tokens given back are free again"
        );
        let given = self.one(self.ask(quota, &[], -1000)).await;
        assert_eq!(
            given.remaining, AMOUNT,
            "giving back more than was taken must not raise the limit"
        );
        let unknown = self.one(self.ask("never asked before", &[], -5)).await;
        assert_eq!(
            (unknown.outcome, unknown.remaining),
            (Outcome::Granted, AMOUNT)
        );
    }

    async fn peeks(&self, quota: &str) {
        assert_eq!(self.left(quota, &[]).await, AMOUNT);
        self.one(self.ask(quota, &[], 7)).await;
        for _ in 0..3 {
            assert_eq!(
                self.left(quota, &[]).await,
                AMOUNT - 7,
                "a peek must take nothing"
            );
        }
        self.one(self.ask(quota, &[], AMOUNT as i64 - 7)).await;
        let grant = self.one(self.ask(quota, &[], 0)).await;
        assert_eq!(
            (grant.outcome, grant.remaining),
            (Outcome::Granted, 0),
            "a peek is never refused"
        );
    }

    async fn does_not_take_a_retry_twice(&self, quota: &str) {
        let id = format!("id of {:?}", self.algorithm);
        let first = self.all(&[self.ask(quota, &[], 3)], &id).await;
        assert_eq!(
            self.all(&[self.ask(quota, &[], 3)], &id).await,
            first,
            "a retry gets the same answer"
        );
        assert_eq!(
            self.left(quota, &[]).await,
            AMOUNT - 3,
            "a retry must take nothing"
        );
        self.all(&[self.ask(quota, &[], 3)], "another").await;
        assert_eq!(
            self.left(quota, &[]).await,
            AMOUNT - 6,
            "another id is another request"
        );
        for _ in 0..2 {
            self.all(&[self.ask(quota, &[], 3)], "").await;
        }
        assert_eq!(
            self.left(quota, &[]).await,
            AMOUNT - 12,
            "an empty id is no id"
        );
    }

    async fn takes_all_or_nothing(&self, quota: &str) {
        let (full, free) = ([String::from("full")], [String::from("free")]);
        self.one(self.ask(quota, &full, AMOUNT as i64)).await;
        let asks = [
            self.ask(quota, &free, 1),
            self.ask(quota, &full, 1),
            self.ask(quota, &free, 2),
        ];
        let grants = self.all(&asks, "").await;
        let outcomes: Vec<_> = grants.iter().map(|grant| grant.outcome).collect();
        assert_eq!(
            outcomes,
            [Outcome::Granted, Outcome::Refused, Outcome::Granted]
        );
        assert_eq!(
            self.left(quota, &free).await,
            AMOUNT,
            "a refused request must take nothing"
        );
        // The same counter twice in one request: both together count.
        let twice = [self.ask(quota, &free, 11), self.ask(quota, &free, 11)];
        assert_eq!(self.all(&twice, "").await[1].outcome, Outcome::Refused);
        assert_eq!(self.left(quota, &free).await, AMOUNT);
        let twice = [self.ask(quota, &free, 10), self.ask(quota, &free, 10)];
        assert_eq!(self.all(&twice, "").await[1].outcome, Outcome::Granted);
        assert_eq!(self.left(quota, &free).await, 0);
        let back = [self.ask(quota, &free, -4), self.ask(quota, &full, 1)];
        assert_eq!(self.all(&back, "").await[0].outcome, Outcome::Granted);
        assert_eq!(
            self.left(quota, &free).await,
            4,
            "giving back is never refused, whatever is asked with it"
        );
    }

    async fn takes_extra_as_far_as_there_is(&self, quota: &str) {
        let extra = |cost, extra| Ask {
            extra,
            ..self.ask(quota, &[], cost)
        };
        let grant = self.one(extra(1, 5)).await;
        assert_eq!(
            (grant.outcome, grant.extra, grant.remaining),
            (Outcome::Granted, 5, AMOUNT - 6)
        );
        let grant = self.one(extra(1, 1000)).await;
        assert_eq!(
            (grant.outcome, grant.extra, grant.remaining),
            (Outcome::Granted, AMOUNT - 7, 0)
        );
        let grant = self.one(extra(1, 1)).await;
        assert_eq!((grant.outcome, grant.extra), (Outcome::Refused, 0));
    }

    async fn refuses_what_can_never_be(&self, quota: &str) {
        for cost in [AMOUNT as i64 + 1, i64::MAX] {
            let grant = self.one(self.ask(quota, &[], cost)).await;
            assert_eq!(
                (grant.outcome, grant.retry_after),
                (Outcome::Refused, None),
                "a cost above the limit can never pass"
            );
        }
        let limit = Limit {
            amount: 0,
            window: WINDOW,
        };
        let grant = self
            .one(Ask {
                limit,
                ..self.ask(quota, &[], 1)
            })
            .await;
        assert_eq!(
            (grant.outcome, grant.retry_after),
            (Outcome::Refused, None),
            "a limit of nothing lets nothing pass"
        );
        assert_eq!(self.left(quota, &[]).await, AMOUNT);
    }

    async fn counts_keys_apart(&self, quota: &str) {
        let long = "x".repeat(5000);
        let keys: Vec<Vec<String>> = [
            vec![],
            vec![""],
            vec!["", ""],
            vec!["a", "b"],
            vec!["ab", ""],
            vec!["", "ab"],
            vec!["b", "a"],
            vec![&long],
            vec![&long, ""],
            vec![&long[1..]],
        ]
        .into_iter()
        .map(|key| key.into_iter().map(str::to_owned).collect())
        .collect();
        for key in &keys {
            assert_eq!(
                self.one(self.ask(quota, key, 1)).await.remaining,
                AMOUNT - 1,
                "{key:.20?} has a counter of its own"
            );
        }
        let grant = self
            .one(self.ask("keys of another quota", &keys[3], 1))
            .await;
        assert_eq!(
            grant.remaining,
            AMOUNT - 1,
            "another quota's counter is another"
        );
    }

    async fn is_exact_under_concurrency(&self, handler: &Arc<Handler>, tasks: &Tasks) {
        let granted: Arc<[AtomicU64; 8]> = Arc::default();
        let (done, mut all_done) = tokio::sync::mpsc::channel::<()>(1);
        for task in 0..16usize {
            let (handler, granted, algorithm, done) = (
                handler.clone(),
                granted.clone(),
                self.algorithm,
                done.clone(),
            );
            tasks.spawn("quota conformance", async move {
                let call = Call {
                    handler: &handler,
                    algorithm,
                };
                for round in 0..80 {
                    // Two keys a request, in every order, so that locking them carelessly would deadlock.
                    let (one, other) = ((task + round) % 8, (task * 3 + round * 5 + 1) % 8);
                    let (first, second) = ([one.to_string()], [other.to_string()]);
                    let asks = [
                        call.ask("concurrent", &first, 1),
                        call.ask("concurrent", &second, 1),
                    ];
                    let grants = call.all(&asks, "").await;
                    if grants.iter().all(|grant| grant.outcome == Outcome::Granted) {
                        granted[one].fetch_add(1, Ordering::SeqCst);
                        granted[other].fetch_add(1, Ordering::SeqCst);
                    }
                    tokio::task::yield_now().await;
                }
                drop(done);
            });
        }
        drop(done);
        while all_done.recv().await.is_some() {}
        for (key, granted) in granted.iter().enumerate() {
            let granted = granted.load(Ordering::SeqCst);
            assert!(
                granted <= AMOUNT,
                "{granted} tokens of {AMOUNT} were granted"
            );
            let left = self.left("concurrent", &[key.to_string()]).await;
            assert_eq!(
                granted + left,
                AMOUNT,
                "what was granted and what is left must make the limit"
            );
        }
    }

    async fn keeps_count_when_the_limit_changes(&self, quota: &str) {
        let algorithm = |amount| match self.algorithm {
            Algorithm::Gcra { .. } => Algorithm::Gcra { burst: amount },
            other => other,
        };
        let of = |amount, cost| Ask {
            limit: Limit {
                amount,
                window: WINDOW,
            },
            algorithm: algorithm(amount),
            ..self.ask(quota, &[], cost)
        };
        assert_eq!(self.one(of(20, 15)).await.remaining, 5);
        assert_eq!(
            self.one(of(30, 0)).await.remaining,
            15,
            "a raised limit keeps what was spent"
        );
        assert_eq!(
            self.one(of(10, 0)).await.remaining,
            0,
            "a lowered limit keeps what was spent"
        );
        assert_eq!(self.one(of(10, 1)).await.outcome, Outcome::Refused);
        assert_eq!(
            self.one(of(20, 5)).await.outcome,
            Outcome::Granted,
            "and it is the same counter again"
        );
    }
}
