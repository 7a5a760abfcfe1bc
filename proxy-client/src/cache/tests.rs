//! A kept answer is what Mixer would decide now.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use mixer_attributes::{
    Dynamic, Entry as MapEntry, OwnedBag, OwnedValue, StringMap, Value, vocabulary,
};
use proptest::prelude::*;

use super::*;
use crate::Verdict;
use crate::cache::shape::MOST_SHAPES;

/// A request's attributes, with a query that can have names given twice.
#[derive(Clone, Debug)]
struct Request {
    bag: OwnedBag,
    query: Option<Query>,
}

#[derive(Clone, Debug)]
struct Query(BTreeMap<String, Vec<String>>);

impl StringMap for Query {
    fn lookup(&self, key: &str) -> MapEntry<'_> {
        match self.0.get(key).map(Vec::as_slice) {
            None => MapEntry::Absent,
            Some([one]) => MapEntry::Value(Cow::Borrowed(one)),
            Some(_) => MapEntry::Ambiguous,
        }
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, MapEntry<'_>)> {
        self.0
            .keys()
            .map(|key| (Cow::Borrowed(&**key), self.lookup(key)))
            .collect()
    }
}

impl Request {
    fn bag(&self) -> AttributeBag<'_> {
        let mut bag = self.bag.bag();
        if let Some(query) = &self.query {
            bag.set(vocabulary::REQUEST_QUERY, Value::Map(query));
        }
        bag
    }
}

/// A policy as far as a cache can tell: it reads something, and what it finds decides what it does next.
#[derive(Clone, Debug)]
enum Policy {
    Decide(u8),
    Read(Reference, Vec<(usize, Policy)>, Box<Policy>),
}

/// Decides, and says what was read.
fn decide(policy: &Policy, bag: &AttributeBag<'_>) -> Decided {
    let mut read = Vec::new();
    let mut policy = policy;
    let number = loop {
        match policy {
            Policy::Decide(number) => break *number,
            Policy::Read(reference, branches, otherwise) => {
                let (seen, present) = seen(reference, bag);
                read.push((reference.clone(), present));
                let branch_of = |text: &str| text.bytes().map(usize::from).sum::<usize>() % 4;
                let branch = branches
                    .iter()
                    .find(|(number, _)| branch_of(&seen) == *number);
                policy = branch.map_or(&**otherwise, |(_, next)| next);
            }
        }
    };
    decided(number, read)
}

/// What a policy sees at a reference, read without the cache's own reader: what differs here may decide differently.
fn seen(reference: &Reference, bag: &AttributeBag<'_>) -> (String, bool) {
    match (bag.value(reference.attribute), reference.key.as_deref()) {
        (None, _) => ("error: no such attribute".to_owned(), false),
        (Some(value), None) => (value.to_string(), true),
        (Some(Value::Map(map)), Some(key)) => match map.lookup(key) {
            MapEntry::Absent => ("error: no such key".to_owned(), false),
            MapEntry::Ambiguous => ("error: given twice".to_owned(), true),
            MapEntry::Value(text) => (text.into_owned(), true),
        },
        (Some(Value::Dynamic(tree)), Some(key)) => match tree.member(key) {
            None => ("error: no such key".to_owned(), false),
            Some(member) => (format!("{member:?}"), true),
        },
        (Some(value), Some(_)) => (value.to_string(), true),
    }
}

fn decided(number: u8, read: Vec<(Reference, bool)>) -> Decided {
    let mut answer = crate::standing::Standing::new().nothing();
    answer.verdict = if number.is_multiple_of(2) {
        Verdict::Allow
    } else {
        Verdict::Deny
    };
    answer.because = Because::Matched;
    answer.rule = number.to_string().into();
    Decided {
        answer,
        revision: "r".into(),
        charges: Arc::default(),
        read: Some(read),
        valid_for: None,
        valid_uses: 0,
    }
}

fn reference(attribute: mixer_attributes::AttributeId, key: Option<&str>) -> Reference {
    Reference {
        attribute,
        key: key.map(Into::into),
    }
}

fn references() -> impl Strategy<Value = Reference> {
    prop::sample::select(vec![
        reference(vocabulary::REQUEST_METHOD, None),
        reference(vocabulary::REQUEST_SIZE, None),
        reference(vocabulary::CONNECTION_MTLS, None),
        reference(vocabulary::SOURCE_IP, None),
        reference(vocabulary::AUTH_AUDIENCES, None),
        reference(vocabulary::REQUEST_HEADERS, None),
        reference(vocabulary::REQUEST_HEADERS, Some("a")),
        reference(vocabulary::REQUEST_HEADERS, Some("b")),
        reference(vocabulary::REQUEST_QUERY, None),
        reference(vocabulary::REQUEST_QUERY, Some("a")),
        reference(vocabulary::REQUEST_QUERY, Some("b")),
        reference(vocabulary::AUTH_CLAIMS, None),
        reference(vocabulary::AUTH_CLAIMS, Some("a")),
    ])
}

fn policies() -> impl Strategy<Value = Policy> {
    let leaf = (0u8..4).prop_map(Policy::Decide);
    leaf.prop_recursive(6, 64, 4, |inner| {
        (
            references(),
            prop::collection::vec((0usize..4, inner.clone()), 0..4),
            inner,
        )
            .prop_map(|(reference, branches, otherwise)| {
                Policy::Read(reference, branches, Box::new(otherwise))
            })
    })
}

fn texts() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "b", "ab"]).prop_map(str::to_owned)
}

fn trees() -> impl Strategy<Value = Dynamic> {
    let member = prop_oneof![
        Just(Dynamic::Null),
        (0i64..2).prop_map(Dynamic::Int),
        prop::sample::select(vec![0.0, -0.0, 1.0, f64::NAN]).prop_map(Dynamic::Double),
        texts().prop_map(Dynamic::String),
        prop::collection::vec(texts().prop_map(Dynamic::String), 0..3).prop_map(Dynamic::List),
    ];
    prop::collection::btree_map(texts(), member, 0..3)
        .prop_map(|members| Dynamic::Map(members.into_iter().collect()))
}

fn requests() -> impl Strategy<Value = Request> {
    let headers = prop::option::of(prop::collection::btree_map(texts(), texts(), 0..3));
    let query = prop::option::of(prop::collection::btree_map(
        texts(),
        prop::collection::vec(texts(), 1..3),
        0..3,
    ));
    let plain = (
        prop::option::of(texts()),
        prop::option::of(0i64..2),
        prop::option::of(any::<bool>()),
        prop::option::of(prop::sample::select(vec!["10.0.0.1", "::1"])),
        prop::option::of(prop::collection::vec(texts(), 0..3)),
        prop::option::of(trees()),
    );
    (plain, headers, query).prop_map(
        |((method, size, mtls, ip, audiences, claims), headers, query)| {
            let mut bag = OwnedBag::new();
            let mut set = |id, value: Option<OwnedValue>| {
                if let Some(value) = value {
                    bag.set(id, value);
                }
            };
            set(vocabulary::REQUEST_METHOD, method.map(OwnedValue::String));
            set(vocabulary::REQUEST_SIZE, size.map(OwnedValue::Int));
            set(vocabulary::CONNECTION_MTLS, mtls.map(OwnedValue::Bool));
            set(
                vocabulary::SOURCE_IP,
                ip.map(|ip| OwnedValue::Ip(ip.parse().unwrap())),
            );
            set(vocabulary::AUTH_AUDIENCES, audiences.map(OwnedValue::List));
            set(vocabulary::AUTH_CLAIMS, claims.map(OwnedValue::Dynamic));
            set(vocabulary::REQUEST_HEADERS, headers.map(OwnedValue::Map));
            Request {
                bag,
                query: query.map(Query),
            }
        },
    )
}

proptest! {
    #[test]
    fn a_kept_answer_equals_a_fresh_one(
        policy in policies(),
        requests in prop::collection::vec(requests(), 1..60),
        entries in prop::sample::select(vec![4usize, 1_024]),
    ) {
        let (clock, _hand) = Clock::manual();
        let (cache, shapes) = (CheckCache::new(entries), Shapes::new());
        for request in &requests {
            let bag = request.bag();
            let fresh = decide(&policy, &bag);
            match cache.find(1, &shapes, &bag, &clock) {
                Some(kept) => prop_assert_eq!(&kept.answer, &Answer { cached: true, ..fresh.answer }),
                None => {
                    cache.keep(1, &shapes, &bag, &fresh, clock.now());
                    if entries > requests.len() {
                        prop_assert!(cache.find(1, &shapes, &bag, &clock).is_some(), "what was kept is not found");
                    }
                }
            }
        }
    }

    #[test]
    fn every_shape_that_finds_an_answer_finds_the_same(
        policy in policies(),
        requests in prop::collection::vec(requests(), 1..40),
    ) {
        let (clock, _hand) = Clock::manual();
        let (cache, shapes) = (CheckCache::new(1_024), Shapes::new());
        for request in &requests {
            cache.keep(1, &shapes, &request.bag(), &decide(&policy, &request.bag()), clock.now());
        }
        for request in &requests {
            let bag = request.bag();
            let fresh = decide(&policy, &bag).answer;
            cache.probe_each(1, &shapes, &bag, |probe| {
                if let Some(kept) = cache.entries.get(&probe) {
                    assert_eq!(kept.answer.rule, fresh.rule);
                }
                None::<()>
            });
        }
    }
}

fn method(name: &str) -> Request {
    let mut bag = OwnedBag::new();
    bag.set(
        vocabulary::REQUEST_METHOD,
        OwnedValue::String(name.to_owned()),
    );
    Request { bag, query: None }
}

fn about_method(present: bool) -> Decided {
    decided(
        0,
        vec![(reference(vocabulary::REQUEST_METHOD, None), present)],
    )
}

#[test]
fn answers_that_may_not_be_used_again_are_not_kept() {
    let (clock, _hand) = Clock::manual();
    let because = |because| {
        let mut decided = about_method(true);
        decided.answer.because = because;
        decided
    };
    let cases = [
        ("good", about_method(true), true),
        (
            "no time",
            Decided {
                valid_for: Some(Duration::ZERO),
                ..about_method(true)
            },
            false,
        ),
        (
            "one use",
            Decided {
                valid_uses: 1,
                ..about_method(true)
            },
            false,
        ),
        (
            "two uses",
            Decided {
                valid_uses: 2,
                ..about_method(true)
            },
            true,
        ),
        (
            "read by name",
            Decided {
                read: None,
                ..about_method(true)
            },
            false,
        ),
        ("presence differs", about_method(false), false),
        ("spent quota", because(Because::Quota), false),
        ("could not be asked", because(Because::Unavailable), false),
        ("undetermined", because(Because::Undetermined), true),
    ];
    for (name, decided, kept) in cases {
        let (cache, shapes, request) = (CheckCache::new(16), Shapes::new(), method("GET"));
        cache.keep(1, &shapes, &request.bag(), &decided, clock.now());
        assert_eq!(
            cache.find(1, &shapes, &request.bag(), &clock).is_some(),
            kept,
            "{name}"
        );
    }
}

#[test]
fn an_answer_is_used_as_long_and_as_often_as_it_says() {
    let (clock, hand) = Clock::manual();
    let (cache, shapes, request) = (CheckCache::new(16), Shapes::new(), method("GET"));
    let found = || cache.find(1, &shapes, &request.bag(), &clock).is_some();
    let timed = Decided {
        valid_for: Some(Duration::from_secs(5)),
        ..about_method(true)
    };
    cache.keep(1, &shapes, &request.bag(), &timed, clock.now());
    hand.advance(Duration::from_millis(4_999));
    assert!(found());
    hand.advance(Duration::from_millis(1));
    assert!(!found());
    // The use that brought the answer was the first of three.
    cache.keep(
        1,
        &shapes,
        &request.bag(),
        &Decided {
            valid_uses: 3,
            ..about_method(true)
        },
        clock.now(),
    );
    assert_eq!([found(), found(), found()], [true, true, false]);
}

#[test]
fn places_never_share_answers() {
    let (clock, _hand) = Clock::manual();
    let (cache, shapes, request) = (CheckCache::new(16), Shapes::new(), method("GET"));
    cache.keep(1, &shapes, &request.bag(), &about_method(true), clock.now());
    assert!(cache.find(2, &shapes, &request.bag(), &clock).is_none());
}

#[test]
fn a_forgotten_answer_is_not_found() {
    let (clock, _hand) = Clock::manual();
    let (cache, shapes, request) = (CheckCache::new(16), Shapes::new(), method("GET"));
    cache.keep(1, &shapes, &request.bag(), &about_method(true), clock.now());
    cache.forget(1, &shapes, &request.bag());
    assert!(cache.find(1, &shapes, &request.bag(), &clock).is_none());
}

#[test]
fn the_newest_shapes_are_kept_and_the_others_counted() {
    let (clock, _hand) = Clock::manual();
    let (cache, shapes) = (CheckCache::new(1_024), Shapes::new());
    let mut request = method("GET");
    request.bag.set(
        vocabulary::REQUEST_HEADERS,
        OwnedValue::Map(BTreeMap::new()),
    );
    for number in 0..MOST_SHAPES + 3 {
        let header = |name| {
            reference(
                vocabulary::REQUEST_HEADERS,
                Some(&format!("{name}{number}")),
            )
        };
        let read = vec![(header("a"), false), (header("b"), false)];
        cache.keep(1, &shapes, &request.bag(), &decided(0, read), clock.now());
    }
    assert_eq!(cache.shapes_forgotten(), 3);
    let (mut tried, mut found) = (0, 0);
    cache.probe_each(1, &shapes, &request.bag(), |probe| {
        tried += 1;
        found += usize::from(cache.entries.get(&probe).is_some());
        None::<()>
    });
    assert_eq!((tried, found), (MOST_SHAPES, MOST_SHAPES));
}

#[test]
fn large_values_take_the_room_of_many() {
    let (clock, _hand) = Clock::manual();
    let (cache, shapes) = (CheckCache::new(64), Shapes::new());
    for number in 0..64 {
        let request = method(&format!("{number}{}", "x".repeat(8_192)));
        cache.keep(1, &shapes, &request.bag(), &about_method(true), clock.now());
    }
    assert!(
        cache.len() <= 8,
        "{} answers of 8 KiB in 64 KiB",
        cache.len()
    );
}
