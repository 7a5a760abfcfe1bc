//! What makes answers cacheable: for any two requests equal in what a decision read, fresh decisions are equal. And what makes
//! them trustworthy: they are deterministic, what is in shadow changes none of them, and an index finds what asking every rule
//! would.
//!
//! Policies are built at random as documents, requests at random over the attributes these read. The second request of a pair is
//! random too, then made equal to the first in the referenced set alone, so that every pair is one the property speaks of.

use std::collections::BTreeMap;

use mixer_attributes::{Dynamic, OwnedBag, OwnedValue, vocabulary};
use mixer_cel::Reference;
use proptest::prelude::*;

use super::fixture::{Fixture, LEFT, line};
use super::random::{Request, TWICE, documents, request};
use crate::dispatch::{Decision, Verdict, side};

/// `other`, made equal to `first` in what `decision` read of it, as a cache compares: a map without a key is not an absent map.
fn equal_on_referenced(first: &Request, other: &Request, decision: &Decision) -> Request {
    let mut equal = other.bag.clone();
    let mut twice = other.twice.clone();
    for (at, (attribute, key)) in TWICE.iter().enumerate() {
        let is_read = |(reference, _): &(Reference, bool)| {
            reference.attribute == *attribute
                && reference.key.as_deref().is_none_or(|read| read == *key)
        };
        if decision.referenced.iter().any(is_read) {
            twice[at] = first.twice[at];
        }
    }
    for (reference, present) in &decision.referenced {
        let (at, value) = (reference.attribute, first.bag.value(reference.attribute));
        let is_whole = |other: &(Reference, bool)| other.0.attribute == at && other.0.key.is_none();
        let Some(value) = value else {
            assert!(!present, "{reference:?}");
            equal.unset(at);
            continue;
        };
        match &reference.key {
            None => {
                assert!(present, "{reference:?}");
                equal.set(at, value.clone());
            }
            Some(_) if decision.referenced.iter().any(is_whole) => {}
            Some(key) => {
                let doubled = TWICE.iter().zip(&first.twice);
                let doubled = doubled
                    .filter(|(_, twice)| **twice)
                    .any(|(it, _)| *it == (at, &**key));
                let copied = copy_key(&mut equal, at, key, value);
                assert_eq!(*present, copied || doubled, "{reference:?}");
            }
        }
    }
    Request { bag: equal, twice }
}

/// Gives the map `at` what `from` has under `key`, which may be nothing; whether it has it.
fn copy_key(bag: &mut OwnedBag, at: vocabulary::AttributeId, key: &str, from: &OwnedValue) -> bool {
    match from {
        OwnedValue::Map(map) => {
            if bag.value(at).is_none() {
                bag.set(at, OwnedValue::Map(BTreeMap::new()));
            }
            let Some(OwnedValue::Map(to)) = bag.value_mut(at) else {
                panic!("it is a map")
            };
            match map.get(key) {
                Some(value) => drop(to.insert(key.to_owned(), value.clone())),
                None => drop(to.remove(key)),
            }
            map.contains_key(key)
        }
        OwnedValue::Dynamic(tree) => {
            if bag.value(at).is_none() {
                bag.set(at, OwnedValue::Dynamic(Dynamic::Map(Vec::new())));
            }
            let Some(OwnedValue::Dynamic(Dynamic::Map(to))) = bag.value_mut(at) else {
                panic!("it is a map")
            };
            to.retain(|(name, _)| name != key);
            to.extend(
                tree.member(key)
                    .map(|value| (key.to_owned(), value.clone())),
            );
            to.sort_by(|(a, _), (b, _)| a.cmp(b));
            tree.member(key).is_some()
        }
        other => panic!("{other:?} has no keys"),
    }
}

/// A decision without what is made anew each time.
fn comparable(decision: &Decision) -> String {
    let mut decision = decision.clone();
    decision.message = decision.message.replace(&decision.id, "ID");
    decision.id.clear();
    format!("{decision:#?}")
}

fn inside<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

/// The decision on a request, by adapters of its own where some are down: a breaker opens on them, and answers before and after
/// are not equal.
struct Deciders {
    shared: Fixture,
    text: String,
    alone: bool,
}

impl Deciders {
    fn new(text: String, alone: bool) -> Self {
        let shared = Fixture::new(&text);
        Self {
            shared,
            text,
            alone,
        }
    }

    async fn check(&self, request: &Request) -> Decision {
        self.decide(request, true).await.0
    }

    /// The decision, and how often each adapter was asked for it; with the index or without.
    async fn decide(&self, request: &Request, indexed: bool) -> (Decision, Vec<u64>) {
        let alone = self.alone.then(|| self.shared.anew());
        let dispatcher = alone.as_ref().unwrap_or(&self.shared.dispatcher);
        let set = &dispatcher.snapshot().set;
        let counts = || -> Vec<u64> {
            let adapters = dispatcher.snapshot().adapters.iter();
            let counts = adapters.map(|adapter| adapter.counts());
            counts
                .map(|counts| counts.answered + counts.unavailable)
                .collect()
        };
        let before = counts();
        let decision = request
            .with(async |bag| match indexed {
                true => dispatcher.check(bag, LEFT).await,
                false => {
                    let at = side(bag);
                    let applicable = set.applicable_unindexed(at, bag);
                    dispatcher
                        .check_against(&applicable, at, bag, LEFT)
                        .await
                        .decision
                }
            })
            .await;
        let asked = counts()
            .iter()
            .zip(before)
            .map(|(now, before)| now - before)
            .collect();
        (decision, asked)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_are_deterministic_and_equal_for_requests_equal_in_what_they_read(
        documents in prop_oneof![3 => documents(4), 1 => documents(12)],
        pairs in prop::collection::vec((request(), request()), 12),
    ) {
        inside(async {
            let deciders = Deciders::new(documents.text(true), documents.asks_what_is_down());
            for (first, other) in &pairs {
                let decided = deciders.check(first).await;
                prop_assert_eq!(comparable(&decided), comparable(&deciders.check(first).await));
                let equal = equal_on_referenced(first, other, &decided);
                let fresh = deciders.check(&equal).await;
                prop_assert_eq!(comparable(&decided), comparable(&fresh), "{:?}\nand {:?}\n{}", first, equal, deciders.text);
            }
            Ok(())
        })?;
    }

    #[test]
    fn what_is_in_shadow_changes_no_verdict_and_no_decision_reads_it(
        documents in documents(4),
        requests in prop::collection::vec(request(), 6),
    ) {
        inside(async {
            let alone = documents.asks_what_is_down();
            let [with, without] = [true, false].map(|shadow| Deciders::new(documents.text(shadow), alone));
            for request in &requests {
                let (with, without) = (with.check(request).await, without.check(request).await);
                prop_assert_eq!(line(&with), line(&without));
                let enforced = with.charges.iter().filter(|charge| !charge.shadow).map(|charge| (&charge.quota, &charge.key, charge.cost));
                let alone = without.charges.iter().map(|charge| (&charge.quota, &charge.key, charge.cost));
                prop_assert_eq!(enforced.collect::<Vec<_>>(), alone.collect::<Vec<_>>());
                prop_assert!(with.verdict == Verdict::Allow || with.charges.is_empty());
                // Shadow quotas are charged; which documents apply at all is told by what operators configure.
                let read = |decision: &Decision| {
                    let read = decision.referenced.iter().map(|(reference, _)| reference.clone());
                    read.filter(|read| !vocabulary::SELECTORS.contains(&read.attribute)).collect::<Vec<_>>()
                };
                if !documents.has_shadow_quotas() {
                    prop_assert_eq!(read(&with), read(&without), "{}", documents.text(true));
                    prop_assert_eq!((with.valid_for, with.valid_uses), (without.valid_for, without.valid_uses));
                }
            }
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_index_finds_what_asking_every_rule_does(
        documents in documents(14),
        requests in prop::collection::vec(request(), 24),
    ) {
        inside(async {
            let deciders = Deciders::new(documents.text(true), documents.asks_what_is_down());
            for request in &requests {
                let (indexed, asked) = deciders.decide(request, true).await;
                let (linear, asked_linear) = deciders.decide(request, false).await;
                let but_for_reads = |decision: &Decision| {
                    let mut decision = decision.clone();
                    decision.referenced.clear();
                    comparable(&decision)
                };
                prop_assert_eq!(but_for_reads(&indexed), but_for_reads(&linear), "{:?}\n{}", request, deciders.text);
                prop_assert_eq!(asked, asked_linear, "{:?}\n{}", request, deciders.text);
            }
            Ok(())
        })?;
    }
}
