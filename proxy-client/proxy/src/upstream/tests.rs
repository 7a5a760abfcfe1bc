//! Which endpoint is chosen, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use mixer_documents::{Sources, load};

use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn address(number: u16) -> SocketAddr {
    ([10, 0, 0, 1], number).into()
}

/// A service with so many endpoints, and more of its document.
fn upstream(count: u16, more: &str) -> Arc<Upstream> {
    let text = format!("service: products.shop\n{more}\n");
    let set = load(Sources::from_texts([("service.yaml", text)])).unwrap();
    let upstream = Upstream::new(set.services[0].clone(), None);
    upstream.adopt(&(1..=count).map(address).collect::<Vec<_>>(), at(0));
    Arc::new(upstream)
}

const ANY: Wanted<'static> = Wanted {
    hash: None,
    tried: &[],
};

fn fail(upstream: &Arc<Upstream>, number: u16, times: u32, now: Instant) {
    let endpoints = upstream.endpoints.load_full();
    let endpoint = endpoints
        .list
        .iter()
        .find(|endpoint| endpoint.address == address(number))
        .unwrap()
        .clone();
    endpoint.load.begin();
    let attempt = Attempt {
        endpoint,
        upstream: upstream.clone(),
        begun: now,
    };
    (0..times).for_each(|_| attempt.ended(Outcome::NoAnswer, now));
}

/// How often each endpoint is chosen of a thousand times, one after the other.
fn shares(upstream: &Arc<Upstream>, wanted: Wanted<'_>, now: Instant) -> BTreeMap<u16, u32> {
    let random = Random::from_seed(7);
    let mut shares = BTreeMap::new();
    for _ in 0..1_000 {
        let attempt = upstream.pick(wanted, now, &random).unwrap();
        *shares.entry(attempt.endpoint.address.port()).or_default() += 1;
    }
    shares
}

#[test]
fn a_service_without_endpoints_has_none_to_choose() {
    let upstream = upstream(0, "");
    assert!(upstream.pick(ANY, at(0), &Random::from_seed(1)).is_none());
}

#[test]
fn round_robin_takes_turns() {
    let upstream = upstream(3, "balance: round-robin");
    let shares = shares(&upstream, ANY, at(0));
    assert!(shares.values().all(|share| (333..=334).contains(share)));
}

/// Requests come one a millisecond and take 5 ms, at the third endpoint 50 ms.
fn simulated(upstream: &Arc<Upstream>) -> (BTreeMap<u16, u32>, u64) {
    let random = Random::from_seed(3);
    let mut shares: BTreeMap<u16, u32> = BTreeMap::new();
    let mut open: Vec<(u64, Attempt)> = Vec::new();
    let mut most_at_slow = 0;
    for now in 0..5_000 {
        open.retain(|(until, attempt)| {
            let over = *until <= now;
            if over {
                attempt.ended(Outcome::Answered, at(now));
            }
            !over
        });
        let attempt = upstream.pick(ANY, at(now), &random).unwrap();
        let port = attempt.endpoint.address.port();
        *shares.entry(port).or_default() += 1;
        open.push((now + if port == 3 { 50 } else { 5 }, attempt));
        let slow = open
            .iter()
            .filter(|(_, open)| open.endpoint.address.port() == 3);
        most_at_slow = most_at_slow.max(slow.count() as u64);
    }
    (shares, most_at_slow)
}

#[test]
fn ewma_gives_a_slow_endpoint_little() {
    let (shares, most) = simulated(&upstream(3, "balance: ewma"));
    assert!(shares[&3] < 250, "{shares:?}: less than a twentieth");
    assert!(most <= 10, "{most} at once");
    let (least, _) = simulated(&upstream(3, "balance: least-request"));
    let (turns, _) = simulated(&upstream(3, "balance: round-robin"));
    assert!(shares[&3] < least[&3] && least[&3] < turns[&3] && turns[&3] > 1_600);
}

#[test]
fn an_endpoint_that_failed_is_tried_again_by_and_by() {
    let upstream = upstream(2, "");
    let random = Random::from_seed(5);
    let answer = |now| {
        let attempt = upstream.pick(ANY, at(now), &random).unwrap();
        attempt.ended(Outcome::Answered, at(now + 1));
        attempt.endpoint.address.port()
    };
    let ports: Vec<u16> = (0..50).map(answer).collect();
    assert!(ports.contains(&1) && ports.contains(&2));
    fail(&upstream, 1, 1, at(50));
    assert!((51..1_000).map(answer).all(|port| port == 2));
    assert!(
        (60_000..400_000)
            .step_by(1_000)
            .map(answer)
            .any(|port| port == 1)
    );
}

#[test]
fn what_was_tried_is_the_last_resort() {
    for balance in [
        "ewma",
        "least-request",
        "round-robin",
        "ring-hash(source.ip)",
    ] {
        let upstream = upstream(3, &format!("balance: {balance}"));
        let wanted = Wanted {
            hash: Some(hash("10.1.1.1")),
            tried: &[address(1), address(3)],
        };
        assert_eq!(
            shares(&upstream, wanted, at(0)),
            BTreeMap::from([(2, 1_000)]),
            "{balance}"
        );
        let all = [address(1), address(2), address(3)];
        let wanted = Wanted {
            tried: &all,
            ..wanted
        };
        assert!(
            upstream
                .pick(wanted, at(0), &Random::from_seed(1))
                .is_some()
        );
    }
}

#[test]
fn equal_values_go_to_one_endpoint_and_to_another_while_it_is_unwell() {
    let upstream = upstream(
        5,
        "balance: ring-hash(request.headers[\"x-user\"])\noutlier: {}",
    );
    let of = |user: &str, now| {
        let wanted = Wanted {
            hash: Some(hash(user)),
            tried: &[],
        };
        let shares = shares(&upstream, wanted, now);
        assert_eq!(shares.len(), 1, "{user}: {shares:?}");
        *shares.keys().next().unwrap()
    };
    let owner = of("ann", at(0));
    let users: Vec<String> = (0..50).map(|user| user.to_string()).collect();
    let before: Vec<u16> = users.iter().map(|user| of(user, at(0))).collect();
    fail(&upstream, owner, 5, at(1));
    assert_ne!(of("ann", at(2)), owner);
    for (user, before) in users.iter().zip(before) {
        let now = of(user, at(2));
        assert!(now == before || before == owner);
    }
    assert_eq!(of("ann", at(31_000)), owner);
    // Without a value they take turns.
    assert_eq!(shares(&upstream, ANY, at(31_000)).len(), 5);
}

#[test]
fn no_more_are_ejected_than_the_service_says() {
    let upstream = upstream(
        4,
        "outlier: { consecutive_errors: 2, eject: 10s, max_ejected: 50% }",
    );
    for number in 1..=4 {
        fail(&upstream, number, 2, at(0));
    }
    let ejected = |now| {
        let shown = upstream.show(at(now));
        shown
            .iter()
            .filter(|shown| !shown.ejected_for.is_zero())
            .count()
    };
    assert_eq!((ejected(1), ejected(9_999), ejected(10_000)), (2, 2, 0));
    // One endpoint alone is not ejected: half of it is none.
    let alone = self::upstream(1, "outlier: {}");
    fail(&alone, 1, 100, at(0));
    assert!(alone.pick(ANY, at(1), &Random::from_seed(1)).is_some());
}

#[test]
fn where_too_few_are_well_all_are_used() {
    let unwell = |upstream: &Arc<Upstream>, numbers: &[u16]| {
        for endpoint in &upstream.endpoints.load().list {
            endpoint.checked(!numbers.contains(&endpoint.address.port()), at(1));
        }
        shares(upstream, ANY, at(2))
            .into_keys()
            .collect::<Vec<u16>>()
    };
    let default = upstream(4, "balance: round-robin");
    assert_eq!(unwell(&default, &[1, 2]), [3, 4]);
    assert_eq!(unwell(&default, &[1, 2, 3]), [1, 2, 3, 4]);
    assert_eq!(unwell(&default, &[]), [1, 2, 3, 4]);
    let never = upstream(4, "balance: { by: ewma, panic: 0% }");
    assert_eq!(unwell(&never, &[1, 2, 3]), [4]);
    for endpoint in &never.endpoints.load().list {
        endpoint.checked(false, at(3));
    }
    assert!(never.pick(ANY, at(4), &Random::from_seed(1)).is_none());
}

#[test]
fn a_new_endpoint_starts_slowly() {
    for by in ["ewma", "least-request", "round-robin"] {
        let upstream = upstream(2, &format!("balance: {{ by: {by}, slow_start: 10s }}"));
        let answered = |upstream: &Arc<Upstream>, now: u64| {
            let random = Random::from_seed(9);
            let mut third = 0;
            for step in 0..1_000 {
                // Two others are in flight meanwhile, so that there is something to weigh.
                let held: Vec<Attempt> = (0..2)
                    .filter_map(|_| upstream.pick(ANY, at(now), &random))
                    .collect();
                let attempt = upstream.pick(ANY, at(now), &random).unwrap();
                third += u32::from(attempt.endpoint.address.port() == 3);
                for attempt in held.iter().chain([&attempt]) {
                    attempt
                        .endpoint
                        .load
                        .answered(Duration::from_millis(5), at(now + step % 2));
                }
            }
            third
        };
        answered(&upstream, 20_000);
        upstream.adopt(&[address(1), address(2), address(3)], at(20_000));
        let (first, later) = (answered(&upstream, 20_100), answered(&upstream, 40_000));
        assert!(first * 2 < later, "{by}: {first} at first, {later} later");
        assert!(later > 200, "{by}: {later} of a third");
    }
}

#[test]
fn what_is_known_of_an_endpoint_outlives_a_change_of_the_documents() {
    let before = upstream(3, "outlier: { max_ejected: 100% }");
    fail(&before, 1, 5, at(0));
    let permit = before.circuit.take(Kind::Requests);
    let set = load(Sources::from_texts([(
        "service.yaml",
        "service: products.shop\noutlier: { max_ejected: 100% }\ncircuit: { requests: 1 }\nbalance: round-robin",
    )]));
    let after = Arc::new(Upstream::new(
        set.unwrap().services[0].clone(),
        Some(&before),
    ));
    after.adopt(&[address(4), address(1), address(1)], at(10));
    let shown = after.show(at(10));
    let ports: Vec<u16> = shown.iter().map(|shown| shown.address.port()).collect();
    assert_eq!(ports, [4, 1]);
    assert!(shown[0].ejected_for.is_zero() && !shown[1].ejected_for.is_zero());
    assert!(after.circuit.take(Kind::Requests).is_none());
    drop(permit);
    assert!(after.circuit.take(Kind::Requests).is_some());
}
