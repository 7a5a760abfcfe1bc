//! Certificates over the network: tokens, renewals, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use mixer_ca::{Config, Running};
use mixer_identity::{
    Bundles, Expected, Identity, Join, JoinError, Source, Svid, TrustBundle,
    client_config_of_stranger,
};
use mixer_proto::ca::v1::{SignRequest, SignResponse};
use mixer_runtime::{Clock, ManualClock, Random, Tasks};
use rustls_pki_types::PrivateKeyDer;
use tonic::{Code, Status};

use crate::fixture::{HOUR, Place, certificates, dial, domain, id, request, signing};

async fn sign(running: &Running, request: SignRequest) -> Result<SignResponse, Status> {
    let signed = signing(running, None).await.sign(request).await;
    signed.map(tonic::Response::into_inner)
}

async fn renew(
    running: &Running,
    source: &Source,
    request: SignRequest,
) -> Result<SignResponse, Status> {
    let signed = signing(running, Some(source)).await.sign(request).await;
    signed.map(tonic::Response::into_inner)
}

fn with_token(token: &str) -> (SignRequest, rcgen::KeyPair) {
    let (csr, key) = request();
    let request = SignRequest {
        csr,
        join_token: token.to_owned(),
        spiffe_id: String::new(),
    };
    (request, key)
}

/// The identity that an answer is.
fn identity(answer: &SignResponse, key: rcgen::KeyPair, place: &Place) -> Identity {
    let chain = certificates(&answer.chain);
    let svid = Svid::new(chain, PrivateKeyDer::from(key), place.clock.wall()).unwrap();
    let roots = certificates(&answer.bundle.as_ref().unwrap().roots);
    let bundle = TrustBundle::new(domain(), roots).unwrap();
    Identity::new(svid, Bundles::from_iter([bundle]))
}

async fn joined(place: &Place, running: &Running, path: &str) -> Source {
    let (request, key) = with_token(&place.token(path));
    let answer = sign(running, request).await.unwrap();
    Source::fixed(identity(&answer, key, place))
}

#[tokio::test]
async fn a_token_is_a_certificate_once_and_the_certificate_the_next() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    let token = place.token("ns/shop/sa/cart");
    let (request, key) = with_token(&token);
    let answer = sign(&running, request.clone()).await.unwrap();
    let identity = identity(&answer, key, &place);
    assert_eq!(*identity.id(), id("ns/shop/sa/cart"));
    assert_eq!(answer.spiffe_id, id("ns/shop/sa/cart").as_str());

    let replayed = sign(&running, request).await.unwrap_err();
    assert_eq!(replayed.code(), Code::Unauthenticated);
    assert!(replayed.message().contains("good once"), "{replayed}");

    let (request, key) = with_token("");
    let source = Source::fixed(identity);
    let answer = renew(&running, &source, request).await.unwrap();
    let next = self::identity(&answer, key, &place);
    assert_eq!(next.id(), source.current().unwrap().id());
    assert_ne!(
        next.svid().serial(),
        source.current().unwrap().svid().serial()
    );
}

#[tokio::test]
async fn names_in_a_request_mean_nothing() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["admin.example".to_owned()]).unwrap();
    let name = "spiffe://cluster.local/admin".try_into().unwrap();
    params.subject_alt_names.push(rcgen::SanType::URI(name));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    let (join_token, spiffe_id) = (place.token("cart"), String::new());
    let request = SignRequest {
        csr,
        join_token,
        spiffe_id,
    };
    let answer = sign(&running, request).await.unwrap();
    let identity = identity(&answer, key, &place);
    assert_eq!(*identity.id(), id("cart"));
    let der = identity.svid().chain()[0].to_vec();
    let holds = |text: &[u8]| der.windows(text.len()).any(|part| part == text);
    assert!(!holds(b"admin"), "nothing of it is in the certificate");
}

#[tokio::test]
async fn a_request_that_is_wrong_costs_no_token() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    let token = place.token("cart");
    let (good, _) = with_token(&token);
    let mut forged = good.clone();
    *forged.csr.last_mut().unwrap() ^= 1;
    let mut empty = good.clone();
    empty.csr.clear();
    let mut odd = good.clone();
    odd.spiffe_id = "cart".to_owned();
    for (request, why) in [
        (forged, "`csr`: the signature"),
        (empty, "`csr`: the request is not"),
        (odd, "`spiffe_id`"),
    ] {
        let refused = sign(&running, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(why), "{refused}");
    }
    let mut other = good.clone();
    other.spiffe_id = id("admin").to_string();
    let refused = sign(&running, other).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut large = good.clone();
    large.csr = vec![0; 64 << 10];
    assert!(sign(&running, large).await.is_err());
    assert!(sign(&running, good).await.is_ok(), "it is there still");
}

#[tokio::test]
async fn of_many_who_use_one_token_at_once_one_gets_a_certificate() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    let token = place.token("cart");
    let client = signing(&running, None).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (mut client, (request, _)) = (client.clone(), with_token(&token));
        calls.spawn(async move { client.sign(request).await });
    }
    let mut codes = Vec::new();
    while let Some(answer) = calls.join_next().await {
        codes.push(
            answer
                .unwrap()
                .map_or_else(|status| status.code(), |_| Code::Ok),
        );
    }
    let count = |code| codes.iter().filter(|other| **other == code).count();
    assert_eq!(
        (count(Code::Ok), count(Code::Unauthenticated)),
        (1, 11),
        "{codes:?}"
    );
}

#[tokio::test]
async fn an_expired_token_and_no_token_are_refused() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    let past = place.clock.wall() - 2 * HOUR;
    let expired = place.tokens().create(&id("a"), HOUR, past).unwrap();
    let (request, _) = with_token(expired.reveal());
    let refused = sign(&running, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("expired"), "{refused}");
    for token in ["", "a"] {
        let refused = sign(&running, with_token(token).0).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn nobody_renews_what_is_anothers() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    let cart = joined(&place, &running, "cart").await;
    joined(&place, &running, "admin").await;
    let (mut request, _) = with_token("");
    request.spiffe_id = id("admin").to_string();
    let refused = renew(&running, &cart, request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    request.spiffe_id = id("cart").to_string();
    assert!(renew(&running, &cart, request).await.is_ok());
}

#[tokio::test]
async fn who_did_not_join_or_was_struck_off_is_not_renewed() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    // One of the Workload API: what it is, the socket decides each time.
    let attested = mixer_ca::Attested::Operator;
    let svid = running.authority().svid(&id("local"), &attested).unwrap();
    let bundle = TrustBundle::clone(&running.authority().bundle().borrow());
    let local = Source::fixed(Identity::new(svid, Bundles::from_iter([bundle])));
    let refused = renew(&running, &local, with_token("").0).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let cart = joined(&place, &running, "cart").await;
    assert!(renew(&running, &cart, with_token("").0).await.is_ok());
    assert!(place.tokens().strike_off(&id("cart")).unwrap());
    let refused = renew(&running, &cart, with_token("").0).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("struck off"), "{refused}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_in_the_handshake() {
    let (place, stranger) = (Place::new(Clock::system()), Place::new(Clock::system()));
    let running = place.serve(place.network()).await;
    let svid = stranger.authority();
    let svid = svid
        .svid(&id("cart"), &mixer_ca::Attested::Operator)
        .unwrap();
    let bundle = TrustBundle::clone(&running.authority().bundle().borrow());
    let forged = Source::fixed(Identity::new(svid, Bundles::from_iter([bundle])));
    assert!(renew(&running, &forged, with_token("").0).await.is_err());
}

#[tokio::test]
async fn tokens_members_and_roots_survive_a_restart() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    let cart = joined(&place, &running, "cart").await;
    let (used, unused) = (place.token("a"), place.token("b"));
    assert!(sign(&running, with_token(&used).0).await.is_ok());
    running.shutdown(HOUR).await;
    let running = place.serve(place.network()).await;
    assert!(sign(&running, with_token(&used).0).await.is_err());
    assert!(sign(&running, with_token(&unused).0).await.is_ok());
    assert!(renew(&running, &cart, with_token("").0).await.is_ok());
}

fn join(place: &Place, running: &Running, token: Option<String>) -> Join {
    Join {
        address: running.listen().unwrap().to_string(),
        bundle: TrustBundle::clone(&running.authority().bundle().borrow()),
        token,
        directory: place.path("joined"),
    }
}

async fn follow(join: Join, clock: &Clock) -> (Result<Source, JoinError>, Tasks) {
    let (tasks, random) = (Tasks::new(), Arc::new(Random::from_seed(5)));
    (join.follow(&tasks, clock, random).await, tasks)
}

#[tokio::test]
async fn who_joined_keeps_its_key_and_needs_no_token_again() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    let token = place.token("cart");
    let (source, tasks) = follow(join(&place, &running, Some(token.clone())), &place.clock).await;
    let first = source.unwrap().current().unwrap();
    assert_eq!(*first.id(), id("cart"));
    let kept = std::fs::metadata(place.path("joined/svid.pem")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&kept.permissions()) & 0o777,
        0o600
    );
    drop(tasks);
    // The authority is away, and the token is used up.
    let again = join(&place, &running, Some(token.clone()));
    running.shutdown(HOUR).await;
    let (source, _tasks) = follow(again, &place.clock).await;
    let kept = source.unwrap().current().unwrap();
    assert_eq!(kept.svid().serial(), first.svid().serial());
}

#[tokio::test]
async fn an_authority_that_is_away_hurts_nobody_for_half_a_life() {
    // TLS lives by the system's time: all of this has happened when it begins to look.
    let start = Clock::system().wall() - 20 * HOUR;
    let (clock, hand) = Clock::manual_from(start);
    let place = Place::new(clock.clone());
    let running = place.serve(place.network()).await;
    let joining = join(&place, &running, Some(place.token("cart")));
    let listen = running.listen();
    let (source, _tasks) = follow(joining, &clock).await;
    let source = source.unwrap();
    let first = source.current().unwrap();
    running.shutdown(HOUR).await;
    // More than half of its life is over, and nobody renews it.
    for _ in 0..7 {
        passes(&hand, HOUR).await;
    }
    passes(&hand, 7 * HOUR).await;
    let now = source.current().unwrap();
    assert_eq!(now.svid().serial(), first.svid().serial());
    assert!(now.svid().validity().check(clock.wall()).is_ok());

    let mut updates = source.updates();
    let again = Config {
        listen,
        ..Config::default()
    };
    let running = place.serve(again).await;
    let mut renewed = std::pin::pin!(updates.changed());
    loop {
        tokio::select! {
            biased;
            changed = renewed.as_mut() => break assert!(changed),
            () = passes(&hand, Duration::from_millis(200)) => {}
        }
    }
    let second = source.current().unwrap();
    assert_eq!(second.id(), first.id());
    assert_ne!(second.svid().serial(), first.svid().serial());
    assert!(second.svid().key() != first.svid().key());
    let until = second.svid().not_after();
    assert!(until > clock.wall() + 23 * HOUR, "a whole life of its own");
    drop(running);
}

/// Lets time pass, and whoever waited for it do something of what the system takes its own time for.
async fn passes(hand: &ManualClock, span: Duration) {
    hand.advance(span);
    Clock::system().sleep(Duration::from_millis(5)).await;
}

#[tokio::test]
async fn who_has_nothing_to_join_with_is_told_so() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    let (none, _tasks) = follow(join(&place, &running, None), &place.clock).await;
    assert!(none.unwrap_err().to_string().contains("`mixer ca token`"));
    let wrong = join(&place, &running, Some("wrong".to_owned()));
    let (refused, _tasks) = follow(wrong, &place.clock).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("refuses: the join token is not known"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_token_is_not_given_to_another_than_the_authority() {
    let (place, stranger) = (Place::new(Clock::system()), Place::new(Clock::system()));
    let (running, other) = (
        place.serve(place.network()).await,
        stranger.serve(stranger.network()).await,
    );
    // What a client that joins checks the server with, before it sends anything.
    let bundle = TrustBundle::clone(&running.authority().bundle().borrow());
    let expected = Expected::Id(running.authority().id().clone());
    let bundles = Arc::new(Bundles::from_iter([bundle]));
    let tls = || client_config_of_stranger(bundles.clone(), expected.clone(), &[b"h2"]);
    let error = dial(other.listen().unwrap(), tls()).await.unwrap_err();
    let error = format!("{error:?}");
    assert!(error.contains("UnknownAuthority"), "{error}");
    assert!(dial(running.listen().unwrap(), tls()).await.is_ok());
}
