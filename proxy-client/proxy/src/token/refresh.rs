//! Tokens that name keys nobody knows: Mixer is asked to look again, seldom, and the request waits.
//!
//! An issuer that begins to sign with a new key may do so before the next fetch. Whoever makes up names of keys must not make
//! proxies or Mixers busy by that: one question at a time, one in ten seconds for each issuer, and so many that wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use mixer_client::Client;
use mixer_runtime::Instant;
use tokio::sync::{Mutex, Semaphore};

use super::{Passed, Refused, judge};
use crate::shared::Shared;

/// Between two times that Mixer is asked to fetch the keys of an issuer again.
const SELDOM: Duration = Duration::from_secs(10);
/// How long a request waits for that.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long it waits for the keys to arrive after that.
const ARRIVAL: Duration = Duration::from_secs(1);
/// Requests that may wait for it at once.
const MOST_WAITING: usize = 256;

/// Has the keys of the issuer fetched again, if that was not done lately, and judges once more.
pub(crate) async fn look_again(
    shared: &Shared,
    parts: &Parts,
    issuer: usize,
) -> Result<Option<Passed>, Refused> {
    let name = {
        let tokens = shared.tokens.load();
        tokens
            .issuers
            .get(issuer)
            .map(|issuer| issuer.jwt.name.clone())
    };
    if let (Some(name), Some(client)) = (name, &shared.client) {
        shared.refreshing.refresh(&name, client, shared).await;
    }
    judge(shared, parts)
}

/// Asks Mixer for keys again: one at a time and seldom, however many tokens name keys that nobody knows.
#[derive(Debug)]
pub(crate) struct Refreshing {
    /// When an issuer's keys were last asked for.
    asked: Mutex<HashMap<Arc<str>, Instant>>,
    waiting: Semaphore,
}

impl Default for Refreshing {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            waiting: Semaphore::new(MOST_WAITING),
        }
    }
}

impl Refreshing {
    async fn refresh(&self, issuer: &Arc<str>, client: &Client, shared: &Shared) {
        let Ok(_place) = self.waiting.try_acquire() else {
            return;
        };
        // Who comes while another asks waits for what comes, and then finds that it was asked lately.
        let mut asked = self.asked.lock().await;
        let now = shared.clock.now();
        let lately = asked.get(issuer).map(|asked| now.since(*asked));
        if lately.is_some_and(|lately| lately < SELDOM) {
            return;
        }
        let mut changes = shared.tokens_changed.subscribe();
        let digest = client.refresh_keys(issuer, PATIENCE).await;
        let now = shared.clock.now();
        asked.retain(|_, asked| now.since(*asked) < SELDOM);
        asked.insert(issuer.clone(), now);
        let Some(digest) = digest else { return };
        let arrived = async {
            while !shared.tokens.load().knows(issuer, &digest) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // What does not arrive is not there to verify with, which is the answer.
        let _ = shared.clock.within(ARRIVAL, arrived).await;
    }
}
