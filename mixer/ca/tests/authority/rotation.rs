//! A new root takes the place of another, and at no moment does a certificate in use not verify.

use mixer_ca::{Attested, RotateError, Rotated, Stage, State};
use mixer_identity::{Svid, TrustBundle, WorkloadApi};
use mixer_runtime::{Clock, Random, Tasks};
use std::sync::Arc;

use crate::fixture::{DAY, HOUR, Place, id, verifies};

fn rotate(place: &Place, wait: std::time::Duration) -> Result<Rotated, RotateError> {
    State::rotate(&place.directory(), place.clock.wall(), 3650 * DAY, wait)
}

#[tokio::test]
async fn a_root_is_heard_of_signs_is_retired_and_goes() {
    let (clock, hand) = Clock::manual();
    let place = Place::new(clock.clone());
    let authority = place.authority();
    let leaf = || authority.svid(&id("a"), &Attested::Operator).unwrap();
    let bundle = || TrustBundle::clone(&authority.bundle().borrow());
    let (first, only_first) = (leaf(), bundle());

    let Ok(Rotated::Prepared(next)) = rotate(&place, DAY) else {
        panic!()
    };
    authority.refresh().unwrap();
    let both = bundle();
    assert_eq!((both.authorities().len(), both.sequence()), (2, Some(2)));
    assert!(
        verifies(&leaf(), &only_first, clock.wall()),
        "it is only heard of"
    );

    hand.advance(HOUR);
    let early = rotate(&place, DAY).unwrap_err();
    assert!(early.to_string().contains("for 60 min only"), "{early}");
    hand.advance(23 * HOUR);
    let last = leaf();
    let Ok(Rotated::Signs {
        root,
        before,
        until,
    }) = rotate(&place, DAY)
    else {
        panic!()
    };
    assert_eq!(root, next);
    let key = |name: &str| place.path(&format!("ca/roots/{name}.key")).exists();
    assert!(
        key(&root) && !key(&before),
        "what signs no more needs no key"
    );
    authority.refresh().unwrap();
    let second = leaf();
    assert!(
        verifies(&second, &both, clock.wall()),
        "all have heard of it"
    );
    assert!(!verifies(&second, &only_first, clock.wall()));
    for old in [&first, &last] {
        assert!(verifies(old, &bundle(), old.not_after()));
    }
    let stage = |name: &str| {
        let state = State::read(&place.directory()).unwrap();
        let mut roots = state.roots().iter();
        roots.find(|root| root.name == name).map(|root| root.stage)
    };
    assert_eq!(stage(&before), Some(Stage::Retired(until)));

    hand.advance(DAY);
    authority.refresh().unwrap();
    assert_eq!(
        bundle().authorities().len(),
        2,
        "its last leaf is over just now"
    );
    hand.advance(HOUR);
    authority.refresh().unwrap();
    assert_eq!((bundle().authorities().len(), stage(&before)), (1, None));
    assert!(!place.path(&format!("ca/roots/{before}.pem")).exists());
    assert!(!verifies(&last, &bundle(), last.not_after()));
    assert!(verifies(&leaf(), &bundle(), clock.wall()));
}

#[tokio::test]
async fn while_roots_change_every_answer_verifies_against_the_one_before_and_its_own() {
    let (clock, hand) = Clock::manual();
    let place = Place::new(clock.clone());
    let running = place.serve(place.local()).await;
    let tasks = Tasks::new();
    let api = WorkloadApi::unix(running.socket().unwrap());
    let source = api.follow(&tasks, &clock, Arc::new(Random::from_seed(1)));
    let mut updates = source.updates();
    let mut identity = source.ready().await.unwrap();
    let (mut svids, mut sizes) = (Vec::<Arc<Svid>>::new(), Vec::new());
    for step in 0..5 {
        match step {
            // Prepared, signs.
            0 | 1 => drop(rotate(&place, std::time::Duration::ZERO).unwrap()),
            // Half of a life is over, and then the rest of it.
            2 | 3 => hand.advance(14 * HOUR),
            _ => hand.advance(DAY),
        }
        running.authority().refresh().unwrap();
        updates.changed().await;
        let next = source.current().unwrap();
        let bundle = |of: &mixer_identity::Identity| {
            let domain = of.id().trust_domain().clone();
            of.bundles().of(&domain).unwrap().clone()
        };
        for svid in [identity.svid(), next.svid()] {
            let now = clock.wall().min(svid.not_after());
            assert!(
                verifies(svid, &bundle(&next), now),
                "step {step}: the new bundle"
            );
        }
        assert!(
            verifies(next.svid(), &bundle(&identity), clock.wall()),
            "step {step}: who has not heard yet"
        );
        sizes.push(bundle(&next).authorities().len());
        svids.push(next.svid().clone());
        identity = next;
    }
    assert!(sizes.contains(&2), "{sizes:?}");
    let serials: std::collections::HashSet<_> = svids.iter().map(|svid| svid.serial()).collect();
    assert!(serials.len() >= 3, "{svids:?}");
    running.shutdown(HOUR).await;
}
