//! Leases against a model of a store.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::wire::{Denial, OnError};

const MS: u64 = 1_000_000;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * MS)
}

fn charge(quota: &str, cost: u64) -> Charge {
    Charge {
        counter: CounterId::new(quota, &[]),
        cost,
        on_error: OnError::Allow,
        amount: 100,
        window: Duration::from_secs(1),
        leased: true,
        tier: "".into(),
        policy: "p".into(),
        sentence: "s".into(),
        shadow: false,
        refusal: Denial {
            http_status: 429,
            grpc_status: 8,
            message: "s".into(),
            location: None,
            headers: [].into(),
            body: None,
        },
        hold: None,
        counts_denied: false,
        tell: crate::Tell::Nothing,
    }
}

fn granted(lease: u64) -> Grant {
    Grant {
        remaining: 0,
        reset: Duration::ZERO,
        outcome: Outcome::Granted,
        lease,
        lease_for: Duration::from_secs(1),
        retry_after: None,
    }
}

fn refused(millis: u64) -> Grant {
    let retry_after = Some(Duration::from_millis(millis));
    Grant {
        remaining: 0,
        reset: Duration::ZERO,
        outcome: Outcome::Refused,
        lease: 0,
        lease_for: Duration::ZERO,
        retry_after,
    }
}

fn leases(most: usize) -> (Leases, queue::Receiver<Waiting>) {
    let (sender, receiver) = queue::bounded(64);
    (
        Leases::new(most, Duration::from_millis(150), sender),
        receiver,
    )
}

/// Pays for one charge; whether it was paid from what is held.
fn pays(leases: &Leases, charge: &Charge, now: Instant) -> bool {
    leases
        .spend(std::slice::from_ref(charge), now)
        .unwrap()
        .missing
        .is_empty()
}

#[test]
fn a_lease_pays_until_it_is_spent() {
    let (leases, _background) = leases(8);
    leases.granted(&charge("q", 1), &granted(3), true, at(0), at(1));
    let paid: Vec<bool> = (0..4)
        .map(|_| pays(&leases, &charge("q", 1), at(2)))
        .collect();
    assert_eq!(paid, [true, true, true, false]);
}

#[test]
fn a_lease_ends_when_it_was_good_for_counted_from_the_question() {
    let (leases, _background) = leases(8);
    leases.granted(&charge("q", 1), &granted(9), true, at(0), at(500));
    assert!(pays(&leases, &charge("q", 1), at(999)));
    assert!(!pays(&leases, &charge("q", 1), at(1_000)));
}

#[test]
fn a_refill_is_asked_for_below_half_and_once() {
    let (leases, mut background) = leases(8);
    leases.granted(&charge("q", 1), &granted(4), true, at(0), at(1));
    assert!(pays(&leases, &charge("q", 1), at(2)) && pays(&leases, &charge("q", 1), at(2)));
    assert!(background.try_recv().is_none(), "half is left");
    assert!(pays(&leases, &charge("q", 1), at(2)) && pays(&leases, &charge("q", 1), at(2)));
    let ask = background.try_recv().unwrap().ask;
    assert!(ask.lease && ask.cost == 0 && ask.per_second > 0.0);
    assert!(background.try_recv().is_none(), "one is on its way");

    // One that was lost with its request ends by itself.
    assert!(
        !leases.spend(&[charge("q", 1)], at(100)).unwrap().missing[0]
            .1
            .lease
    );
    assert!(
        leases.spend(&[charge("q", 1)], at(152)).unwrap().missing[0]
            .1
            .lease
    );
}

#[test]
fn never_more_than_one_lease_is_spent_and_the_rest_goes_back() {
    let (leases, mut background) = leases(8);
    leases.granted(&charge("q", 1), &granted(10), true, at(0), at(1));
    for _ in 0..6 {
        assert!(pays(&leases, &charge("q", 1), at(2)));
    }
    let ask = background.try_recv().unwrap().ask;
    leases.answered(&ask, &granted(10), true, at(2), at(3));
    // 4 were held, 10 came, 10 may be spent: 4 go back with the next refill.
    for _ in 0..6 {
        assert!(pays(&leases, &charge("q", 1), at(4)));
    }
    assert_eq!(background.try_recv().unwrap().ask.unused, 4);
}

#[test]
fn a_small_grant_takes_nothing_away() {
    let (leases, _background) = leases(8);
    leases.granted(&charge("q", 1), &granted(10), true, at(0), at(1));
    leases.granted(&charge("q", 1), &granted(1), true, at(0), at(1));
    assert!(pays(&leases, &charge("q", 10), at(2)));
    assert_eq!(leases.drain(at(2))[0].unused, 1);
}

#[test]
fn all_charges_are_paid_or_none() {
    let (leases, _background) = leases(8);
    let charges = [charge("a", 2), charge("b", 1), charge("c", 1)];
    leases.granted(&charges[0], &granted(2), true, at(0), at(1));
    let ask = leases
        .spend(&charges[2..], at(1))
        .unwrap()
        .missing
        .remove(0)
        .1;
    leases.answered(&ask, &refused(500), false, at(1), at(2));

    let refusal = leases.spend(&charges, at(3)).unwrap_err();
    assert_eq!(
        refusal,
        Refusal {
            at: 2,
            retry_after: Some(Duration::from_millis(499))
        }
    );
    assert!(
        pays(&leases, &charges[0], at(4)),
        "what was taken for a refused request is gone"
    );

    // And when the refusal comes from Mixer.
    leases.granted(&charges[0], &granted(2), true, at(4), at(5));
    let bill = leases.spend(&charges[..2], at(6)).unwrap();
    assert_eq!((bill.paid, bill.missing.len()), (1, 1));
    leases.put_back(bill, &charges[..2]);
    assert!(pays(&leases, &charges[0], at(7)));
}

#[test]
fn a_refusal_is_remembered_until_it_may_be_granted_and_for_as_much() {
    let (leases, _background) = leases(8);
    let ask = leases
        .spend(&[charge("q", 5)], at(0))
        .unwrap()
        .missing
        .remove(0)
        .1;
    leases.answered(&ask, &refused(100), false, at(0), at(1));
    assert!(leases.spend(&[charge("q", 5)], at(100)).is_err());
    assert!(leases.spend(&[charge("q", 7)], at(100)).is_err());
    assert!(
        leases.spend(&[charge("q", 4)], at(100)).is_ok(),
        "less may be granted"
    );
    assert!(leases.spend(&[charge("q", 5)], at(101)).is_ok());
}

#[test]
fn a_refusal_without_an_end_is_remembered_for_a_second_and_promises_nothing() {
    let (leases, _background) = leases(8);
    let ask = leases
        .spend(&[charge("q", 5)], at(0))
        .unwrap()
        .missing
        .remove(0)
        .1;
    leases.answered(
        &ask,
        &Grant {
            retry_after: None,
            ..refused(0)
        },
        false,
        at(0),
        at(0),
    );
    assert_eq!(
        leases
            .spend(&[charge("q", 5)], at(999))
            .unwrap_err()
            .retry_after,
        None
    );
    assert!(leases.spend(&[charge("q", 5)], at(1_000)).is_ok());
}

#[test]
fn a_long_refusal_is_told_in_full_and_asked_about_again_after_five_seconds() {
    let (leases, _background) = leases(8);
    let ask = |at_millis| {
        let spent = leases.spend(&[charge("q", 5)], at(at_millis));
        spent.map(|mut spent| spent.missing.remove(0).1)
    };
    let answer = |asked, millis, at_millis| {
        leases.answered(
            &asked,
            &refused(millis),
            false,
            at(at_millis),
            at(at_millis),
        );
    };
    answer(ask(0).unwrap(), 3_600_000, 0);
    let told = ask(4_999).unwrap_err().retry_after;
    assert_eq!(told, Some(Duration::from_millis(3_595_001)));
    answer(ask(5_000).unwrap(), 3_595_000, 5_000);
    assert!(ask(9_999).is_err() && ask(10_000).is_ok());
}

#[test]
fn a_peek_passes_where_tokens_are_held_and_is_asked_elsewhere() {
    let (leases, _background) = leases(8);
    assert!(!pays(&leases, &charge("q", 0), at(0)));
    leases.granted(&charge("q", 1), &granted(1), true, at(0), at(0));
    assert!(pays(&leases, &charge("q", 0), at(0)) && pays(&leases, &charge("q", 1), at(0)));
    assert!(!pays(&leases, &charge("q", 0), at(0)));
}

#[test]
fn what_is_idle_is_given_back_within_a_second_and_what_is_busy_is_not() {
    let (leases, _background) = leases(8);
    leases.granted(&charge("idle", 1), &granted(7), true, at(0), at(0));
    leases.granted(&charge("busy", 1), &granted(7), true, at(0), at(0));
    assert!(pays(&leases, &charge("busy", 1), at(400)));
    assert!(leases.sweep(at(499)).is_empty());
    let given = leases.sweep(at(500));
    assert_eq!(
        (given.len(), &*given[0].counter.quota, given[0].unused),
        (1, "idle", 7)
    );
    assert!((given[0].cost, given[0].lease) == (0, false));
    assert!(!pays(&leases, &charge("idle", 1), at(501)));
    assert!(IDLE + SWEEP < Duration::from_secs(1));
}

#[test]
fn counters_beyond_the_bound_are_asked_for_each_time() {
    let (leases, mut background) = leases(1);
    leases.granted(&charge("a", 1), &granted(5), true, at(0), at(0));
    leases.granted(&charge("b", 1), &granted(5), true, at(0), at(0));
    assert_eq!(
        background.try_recv().unwrap().ask.unused,
        5,
        "a lease nobody can hold goes back"
    );
    assert!(pays(&leases, &charge("a", 1), at(1)) && !pays(&leases, &charge("b", 1), at(1)));
    let ask = leases
        .spend(&[charge("b", 1)], at(1))
        .unwrap()
        .missing
        .remove(0)
        .1;
    assert!(!ask.lease);
    assert!(
        !leases.fits_alone(&charge("b", 1), 100, at(1)),
        "what cannot be counted is not let pass"
    );

    // Room is made by counters that are of no more use.
    leases.sweep(at(5_000));
    leases.sweep(at(11_002));
    leases.granted(&charge("b", 1), &granted(5), true, at(11_002), at(11_002));
    assert!(pays(&leases, &charge("b", 1), at(11_002)));
}

#[test]
fn a_quota_that_is_gone_takes_its_lease_along() {
    let (leases, _background) = leases(8);
    leases.granted(&charge("q", 1), &granted(5), true, at(0), at(0));
    let ask = leases
        .spend(&[charge("q", 9)], at(1))
        .unwrap()
        .missing
        .remove(0)
        .1;
    leases.answered(
        &ask,
        &Grant {
            outcome: Outcome::Unknown,
            ..granted(0)
        },
        false,
        at(1),
        at(2),
    );
    assert!(!pays(&leases, &charge("q", 1), at(3)));
}

#[test]
fn the_rate_is_that_of_the_last_second() {
    let (leases, _background) = leases(8);
    let rate = |now| {
        leases
            .rates(vec![CounterId::new("q", &[])], now)
            .first()
            .map_or(0.0, |(_, rate)| *rate)
    };
    for millis in 0..1_000 {
        let _ = leases.spend(&[charge("q", 2)], at(millis));
    }
    assert_eq!(rate(at(1_200)), 1_600.0);
    assert_eq!(rate(at(1_500)), 1_000.0);
    assert_eq!(rate(at(3_000)), 0.0);
}

#[test]
fn a_check_brings_a_lease_only_where_one_is_wanted() {
    let (leases, mut background) = leases(8);
    let wanted = |now| !leases.rates(vec![CounterId::new("q", &[])], now).is_empty();
    leases.granted(&charge("q", 1), &granted(0), true, at(0), at(0));
    assert!(wanted(at(1)));
    assert!(!wanted(at(2)), "one is on its way");
    leases.granted(&charge("q", 1), &granted(10), true, at(1), at(3));
    assert!(!wanted(at(4)), "more than half is held");
    // Leases that come all the same do not pile up.
    leases.granted(&charge("q", 1), &granted(10), true, at(4), at(5));
    leases.granted(&charge("q", 1), &granted(10), true, at(4), at(5));
    assert_eq!(background.try_recv().unwrap().ask.unused, 20);
    assert_eq!(leases.drain(at(6))[0].unused, 10);
}

/// A store that counts exactly: at most `limit` in any window, leases of up to `lease`.
struct Store {
    limit: u64,
    lease: u64,
    taken: Vec<(u64, usize)>,
}

impl Store {
    fn ask(&mut self, client: usize, ask: &Ask, now: u64) -> Grant {
        self.taken.retain(|(when, _)| when + 1_000 > now);
        for _ in 0..ask.unused {
            if let Some(token) = self.taken.iter().position(|(_, who)| *who == client) {
                self.taken.remove(token);
            }
        }
        let free = self.limit - self.taken.len() as u64;
        if ask.cost > free {
            return refused(self.taken.first().map_or(1, |(when, _)| when + 1_000 - now));
        }
        let extra = if ask.lease {
            self.lease.min(free - ask.cost)
        } else {
            0
        };
        self.taken
            .extend((0..ask.cost + extra).map(|_| (now, client)));
        granted(extra)
    }
}

proptest! {
    #[test]
    fn over_is_at_most_a_lease_per_client_and_nothing_stays_held_in_idleness(
        limit in 1u64..30,
        lease in 0u64..8,
        clients in 1usize..4,
        steps in prop::collection::vec((0u64..400, 0usize..4, 0u64..4, any::<bool>()), 1..300),
    ) {
        let mut store = Store { limit, lease, taken: Vec::new() };
        let mut all: Vec<_> = (0..clients).map(|_| leases(8)).collect();
        let mut passed: Vec<u64> = Vec::new();
        let mut now = 0;
        for (step, who, cost, refill) in steps {
            now += step;
            let who = who % clients;
            let (leases, background) = &mut all[who];
            let charges = [charge("q", cost)];
            let pass = match leases.spend(&charges, at(now)) {
                Err(_) => false,
                Ok(bill) => bill.missing.iter().all(|(_, ask)| {
                    let grant = store.ask(who, ask, now);
                    let granted = grant.outcome == Outcome::Granted;
                    leases.answered(ask, &grant, granted, at(now), at(now));
                    granted
                }),
            };
            if pass {
                passed.extend((0..cost).map(|_| now));
            }
            while let Some(Waiting { ask }) = background.try_recv() {
                if refill {
                    let grant = store.ask(who, &ask, now);
                    leases.answered(&ask, &grant, grant.outcome == Outcome::Granted, at(now), at(now));
                } else {
                    leases.unanswered(&ask);
                }
            }
            for ask in leases.sweep(at(now)) {
                store.ask(who, &ask, now);
            }
            let within = passed.iter().filter(|when| **when + 1_000 > now).count() as u64;
            prop_assert!(within <= limit + clients as u64 * lease, "{within} of {limit}, {clients} x {lease}");
        }
        // A moment of idleness later nobody holds anything.
        for (leases, _) in &all {
            leases.sweep(at(now + 500));
            prop_assert!(leases.drain(at(now + 500)).is_empty());
        }
    }
}

#[test]
fn threads_never_spend_a_token_twice() {
    let (leases, _background) = leases(8);
    leases.granted(&charge("q", 1), &granted(1_000), true, at(0), at(0));
    let leases = Arc::new(leases);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let leases = leases.clone();
            std::thread::spawn(move || {
                (0..500)
                    .filter(|_| pays(&leases, &charge("q", 1), at(1)))
                    .count()
            })
        })
        .collect();
    let paid: usize = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    assert_eq!(paid, 1_000);
}

#[test]
fn what_is_refused_beside_a_refill_on_its_way_is_paid_when_that_has_come() {
    let (leases, mut background) = leases(10);
    let charge = charge("q", 1);
    let charges = std::slice::from_ref(&charge);
    leases.granted(&charge, &granted(4), true, at(0), at(0));
    // The third leaves less than half: more is asked for.
    for _ in 0..4 {
        assert!(pays(&leases, &charge, at(1)));
    }
    let Waiting { ask: refill } = background.try_recv().unwrap();
    let bill = leases.spend(charges, at(2)).unwrap();
    let [(0, ask)] = &bill.missing[..] else {
        panic!("{bill:?}")
    };
    assert!(!ask.lease, "one ask for a lease at a time");
    // The refill was first, and got what there was.
    leases.answered(ask, &refused(700), false, at(2), at(3));
    assert!(leases.may_pay_soon(&charge, charges, at(3)));
    assert!(leases.spend(charges, at(3)).is_err());
    leases.answered(&refill, &granted(2), true, at(1), at(4));
    assert!(leases.may_pay_soon(&charge, charges, at(4)), "it is here");
    assert!(pays(&leases, &charge, at(4)) && pays(&leases, &charge, at(4)));
}

#[tokio::test]
async fn what_is_refused_beside_tokens_that_go_back_may_be_asked_again() {
    let (leases, _background) = leases(10);
    let (clock, hand) = Clock::manual();
    let charge = charge("q", 1);
    let charges = std::slice::from_ref(&charge);
    leases.granted(&charge, &granted(4), true, clock.now(), clock.now());
    hand.advance(IDLE);
    let returned = leases.sweep(clock.now());
    assert_eq!(returned.len(), 1);
    let bill = leases.spend(charges, clock.now()).unwrap();
    leases.answered(
        &bill.missing[0].1,
        &refused(700),
        false,
        clock.now(),
        clock.now(),
    );
    assert!(leases.may_pay_soon(&charge, charges, clock.now()));
    let mut settled = std::pin::pin!(leases.settled(&charge, &clock));
    let waits = std::future::poll_fn(|context| {
        std::task::Poll::Ready(settled.as_mut().poll(context).is_pending())
    });
    assert!(waits.await);
    leases.returned(&returned);
    settled.await;
    let again = leases.spend(charges, clock.now()).unwrap();
    assert_eq!(again.missing.len(), 1, "Mixer is asked once more");
    // Who asked for a lease may be gone: that ends by itself.
    let counts = Charge {
        counts_denied: true,
        ..charge.clone()
    };
    assert!(leases.may_pay_soon(&charge, charges, clock.now()));
    assert!(
        !leases.may_pay_soon(&charge, &[charge.clone(), counts], clock.now()),
        "it would count twice"
    );
    hand.advance(Duration::from_millis(150));
    assert!(!leases.may_pay_soon(&charge, charges, clock.now()));
}
