//! Keys of those who issue tokens: what Watch tells of them, and asking for them again.

use std::time::Duration;

use mixer_client::Keys;
use mixer_proto::v1::{self, issuer_keys};

use super::*;
use crate::server::scope;

#[tokio::test]
async fn keys_come_with_the_state_and_what_is_not_understood_is_none() {
    let bench = Bench::cold();
    let issuer = |issuer: &str, keys: Option<issuer_keys::Keys>| v1::IssuerKeys {
        issuer: issuer.into(),
        keys,
        digest: "d1".into(),
    };
    bench.server.tell(v1::WatchResponse {
        inbound: Some(scope("r1")),
        keys: vec![
            issuer("a", Some(issuer_keys::Keys::Jwks("{}".into()))),
            issuer("b", Some(issuer_keys::Keys::Pending(true))),
            issuer("c", Some(issuer_keys::Keys::Lost(true))),
            issuer("d", Some(issuer_keys::Keys::Pending(false))),
            issuer("e", None),
        ],
        ..Default::default()
    });
    bench.told(1).await;
    let state = bench.client.state().borrow().clone().unwrap();
    let known = Keys::Known {
        jwks: "{}".into(),
        digest: "d1".into(),
    };
    let told: Vec<&Keys> = state.keys.values().collect();
    assert_eq!(
        told,
        [
            &known,
            &Keys::Pending,
            &Keys::Lost,
            &Keys::Lost,
            &Keys::Lost
        ]
    );
}

#[tokio::test]
async fn keys_are_asked_for_again_by_name_and_whatever_fails_is_no_answer() {
    let bench = Bench::warm().await;
    for (issuer, digest) in [("known", Some("d1")), ("unknown", None), ("broken", None)] {
        let patience = Duration::from_secs(10);
        let answer = in_time(bench.client.refresh_keys(issuer, patience)).await;
        assert_eq!(answer.as_deref(), digest, "{issuer}");
    }
}
