//! The Workload API, as processes of this host see it.

use std::num::NonZeroU32;
use std::sync::Arc;

use mixer_ca::{Config, Entry, Rates, Selectors, Server, StartError};
use mixer_identity::{Bundles, Source, TrustBundle, TrustDomain, WorkloadApi};
use mixer_proto::spiffe::{JwtsvidRequest, X509BundlesRequest, X509svidRequest, X509svidResponse};
use mixer_runtime::{Clock, ManualClock, Random, Tasks};
use tonic::{Code, Request};

use crate::fixture::{DAY, HOUR, Place, id, mine, verifies, workload_api};

fn called<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = "true".parse().unwrap();
    request.metadata_mut().insert("workload.spiffe.io", value);
    request
}

fn follow(place: &Place, running: &mixer_ca::Running, tasks: &Tasks) -> Source {
    let random = Arc::new(Random::from_seed(3));
    WorkloadApi::unix(running.socket().unwrap()).follow(tasks, &place.clock, random)
}

#[tokio::test]
async fn a_process_gets_what_its_workload_has_and_a_new_one_in_time() {
    let (clock, hand) = Clock::manual();
    let place = Place::new(clock.clone());
    let running = place.serve(place.local()).await;
    let tasks = Tasks::new();
    let source = follow(&place, &running, &tasks);
    let first = source.ready().await.unwrap();
    assert_eq!(*first.id(), id("tests"));
    let bundle = running.authority().bundle().borrow().clone();
    assert!(verifies(first.svid(), &bundle, clock.wall()));
    let mut updates = source.updates();
    // Half of its life, give or take a tenth of that.
    hand.advance(DAY * 9 / 20 - HOUR);
    assert_eq!(
        source.current().unwrap().svid().serial(),
        first.svid().serial()
    );
    hand.advance(HOUR + DAY / 10);
    assert!(updates.changed().await);
    let second = source.current().unwrap();
    assert_ne!(second.svid().serial(), first.svid().serial());
    assert!(second.svid().key() != first.svid().key());
    assert_eq!(second.svid().not_after(), clock.wall() + DAY);
}

#[tokio::test]
async fn who_fits_several_workloads_has_several_ids() {
    let (clock, _hand) = Clock::manual();
    let place = Place::new(clock.clone());
    let entries = vec![mine("one"), mine("two")];
    let running = place
        .serve(Config {
            entries,
            ..place.local()
        })
        .await;
    let mut client = workload_api(running.socket().unwrap().to_owned()).await;
    let request = called(X509svidRequest {});
    let mut stream = client.fetch_x509svid(request).await.unwrap().into_inner();
    let answer: X509svidResponse = stream.message().await.unwrap().unwrap();
    let ids: Vec<_> = answer.svids.iter().map(|svid| &*svid.spiffe_id).collect();
    assert_eq!(ids, [id("one").as_str(), id("two").as_str()]);
    let tasks = Tasks::new();
    let api = WorkloadApi::unix(running.socket().unwrap()).for_id(id("two"));
    let source = api.follow(&tasks, &clock, Arc::new(Random::from_seed(1)));
    assert_eq!(*source.ready().await.unwrap().id(), id("two"));
}

#[tokio::test]
async fn who_is_no_workload_is_refused_and_who_is_none_any_more() {
    let place = Place::new(Clock::manual().0);
    let running = place.serve(place.local()).await;
    let mut client = workload_api(running.socket().unwrap().to_owned()).await;
    let request = called(X509svidRequest {});
    let mut svids = client.fetch_x509svid(request).await.unwrap().into_inner();
    let request = called(X509BundlesRequest {});
    let mut bundles = client
        .fetch_x509_bundles(request)
        .await
        .unwrap()
        .into_inner();
    assert!(svids.message().await.is_ok() && bundles.message().await.is_ok());
    let other = Entry {
        id: id("other"),
        selectors: Selectors {
            uid: Some(4_000_000_000),
            ..Selectors::default()
        },
    };
    running.recognise(vec![other]).unwrap();
    for refused in [
        svids.message().await.unwrap_err(),
        bundles.message().await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("uid="), "{refused}");
    }
    let request = called(X509svidRequest {});
    let mut svids = client.fetch_x509svid(request).await.unwrap().into_inner();
    assert_eq!(
        svids.message().await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_client_keeps_what_it_has_and_comes_back() {
    let (clock, hand) = Clock::manual();
    let place = Place::new(clock.clone());
    let running = place.serve(place.local()).await;
    let tasks = Tasks::new();
    let source = follow(&place, &running, &tasks);
    let first = source.ready().await.unwrap();
    running.shutdown(DAY).await;
    let mut updates = source.updates();
    assert_eq!(
        source.current().unwrap().svid().serial(),
        first.svid().serial()
    );
    let again = place.serve(place.local()).await;
    let changed = updates.changed();
    assert!(waited(changed, &hand).await);
    let second = source.current().unwrap();
    assert_eq!(second.id(), first.id());
    assert_ne!(second.svid().serial(), first.svid().serial());
    drop(again);
}

/// Lets time pass until something comes of it.
async fn waited<T>(work: impl Future<Output = T>, hand: &ManualClock) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = work.as_mut() => return done,
            () = tokio::task::yield_now() => hand.advance(std::time::Duration::from_millis(1)),
        }
    }
}

#[tokio::test]
async fn a_call_without_the_header_is_refused_and_tokens_are_not_made() {
    let place = Place::new(Clock::manual().0);
    let running = place.serve(place.local()).await;
    let mut client = workload_api(running.socket().unwrap().to_owned()).await;
    let bare = client.fetch_x509svid(X509svidRequest {}).await.unwrap_err();
    assert_eq!(bare.code(), Code::InvalidArgument);
    let bare = client
        .fetch_x509_bundles(X509BundlesRequest {})
        .await
        .unwrap_err();
    assert_eq!(bare.code(), Code::InvalidArgument);
    let jwt = client
        .fetch_jwtsvid(called(JwtsvidRequest::default()))
        .await;
    assert_eq!(jwt.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn workloads_hear_of_other_trust_domains() {
    let (clock, _hand) = Clock::manual();
    let place = Place::new(clock.clone());
    let partner = TrustDomain::parse("partner.example").unwrap();
    let root = mixer_ca::Root::generate(&partner, clock.wall(), DAY).unwrap();
    let bundle = TrustBundle::new(partner.clone(), [root.certificate().clone()]).unwrap();
    let others = Bundles::from_iter([bundle.clone()]);
    let running = place
        .serve(Config {
            others,
            ..place.local()
        })
        .await;
    let tasks = Tasks::new();
    let identity = follow(&place, &running, &tasks).ready().await.unwrap();
    let told = identity.bundles().of(&partner).unwrap();
    assert!(told.authorities().eq(bundle.authorities()));
    let mut client = workload_api(running.socket().unwrap().to_owned()).await;
    let request = called(X509BundlesRequest {});
    let mut stream = client
        .fetch_x509_bundles(request)
        .await
        .unwrap()
        .into_inner();
    let answer = stream.message().await.unwrap().unwrap();
    let mut domains: Vec<_> = answer.bundles.keys().cloned().collect();
    domains.sort();
    assert_eq!(
        domains,
        ["spiffe://cluster.local", "spiffe://partner.example"]
    );
}

#[tokio::test]
async fn who_asks_in_a_circle_waits() {
    let place = Place::new(Clock::manual().0);
    let one = NonZeroU32::MIN;
    let rates = Rates {
        each: (one, one.saturating_add(1)),
        all: (one, one.saturating_add(9)),
    };
    let running = place
        .serve(Config {
            rates,
            ..place.local()
        })
        .await;
    let mut client = workload_api(running.socket().unwrap().to_owned()).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        let request = called(X509svidRequest {});
        let mut stream = client.fetch_x509svid(request).await.unwrap().into_inner();
        answers.push(stream.message().await);
    }
    let refused = answers.pop().unwrap().unwrap_err();
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.metadata().get("retry-after-ms").is_some());
}

#[tokio::test]
async fn a_socket_that_is_left_over_is_taken_and_one_in_use_is_not() {
    let place = Place::new(Clock::manual().0);
    let socket = place.path("run/workload.sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let running = place.serve(place.local()).await;
    let start = |config| {
        let (authority, random) = (place.authority(), Arc::new(Random::from_seed(1)));
        Server::start(authority, config, random)
    };
    let second = start(place.local()).await;
    assert!(
        matches!(second, Err(StartError::Listen { .. })),
        "{second:?}"
    );
    drop(running);
    assert!(!socket.exists());
    std::fs::write(&socket, "a file").unwrap();
    let error = start(place.local()).await.unwrap_err().to_string();
    assert!(error.contains("no socket"), "{error}");
}

#[tokio::test]
async fn an_entry_of_another_trust_domain_is_refused() {
    let place = Place::new(Clock::manual().0);
    let running = place.serve(place.local()).await;
    let foreign = Entry {
        id: "spiffe://other/a".parse().unwrap(),
        ..mine("a")
    };
    assert!(running.recognise(vec![foreign]).is_err());
    let own = Entry {
        id: running.authority().id().clone(),
        ..mine("a")
    };
    assert!(running.recognise(vec![own]).is_err());
}
