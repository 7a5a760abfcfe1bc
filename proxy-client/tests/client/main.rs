//! The client against a server that speaks `mixer.v1` over a real socket.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod check;
mod failure;
mod in_flight;
mod keys;
mod lease;
mod report;
mod server;
mod shadow;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::{OwnedBag, OwnedValue, vocabulary};
use mixer_client::{Answer, At, Client, Config};
use mixer_proto::v1;
use mixer_runtime::{Clock, ManualClock, Random, Tasks};
use server::{Reply, Server, in_time};

/// A client and the Mixer it asks, on a clock that the test moves.
struct Bench {
    server: Server,
    client: Client,
    hand: ManualClock,
    _tasks: Tasks,
}

impl Bench {
    /// Knows of nothing yet.
    fn cold() -> Self {
        Self::with(|_| {})
    }

    /// Knows that revision "r1" applies.
    async fn warm() -> Self {
        Self::warm_with(|_| {}).await
    }

    async fn warm_with(change: impl FnOnce(&mut Config)) -> Self {
        let bench = Self::with(change);
        bench.server.announce("r1");
        bench.told(1).await;
        bench
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let server = Server::start();
        let (clock, hand) = Clock::manual();
        let mut config = Config::new(server.address.to_string(), "proxy-1");
        // Time stands still on the client's clock; what tonic itself times must not interfere.
        (config.try_timeout, config.total_timeout) =
            (Duration::from_secs(60), Duration::from_secs(150));
        change(&mut config);
        let tasks = Tasks::new();
        let client = Client::start(config, clock, Arc::new(Random::from_seed(1)), &tasks);
        Self {
            server,
            client,
            hand,
            _tasks: tasks,
        }
    }

    /// Waits for the state of that version.
    async fn told(&self, version: u64) {
        let mut states = self.client.state();
        let newest = |state: &Option<Arc<mixer_client::State>>| {
            state.as_ref().is_some_and(|s| s.version >= version)
        };
        in_time(states.wait_for(newest)).await.unwrap();
    }

    /// Announces another state, and waits until the client knows it.
    async fn announce(&self, scope: v1::Scope) {
        let before = self
            .client
            .state()
            .borrow()
            .as_ref()
            .map_or(0, |state| state.version);
        self.server.announce_scope(scope);
        self.told(before + 1).await;
    }

    async fn ask(&self, bag: &OwnedBag) -> Answer {
        in_time(self.client.check(At::Inbound, Some("shop"), &bag.bag())).await
    }

    /// Moves time in steps until something is true; background work needs turns to notice.
    async fn pass_time_until(&self, step: Duration, what: impl AsyncFn() -> bool) {
        in_time(async {
            while !what().await {
                self.hand.advance(step);
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// A request with a method and headers.
fn request(method: &str, headers: &[(&str, &str)]) -> OwnedBag {
    let headers = headers
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let mut bag = OwnedBag::new();
    bag.set(
        vocabulary::CONTEXT_REPORTER,
        OwnedValue::String("destination".into()),
    );
    bag.set(
        vocabulary::REQUEST_METHOD,
        OwnedValue::String(method.into()),
    );
    bag.set(
        vocabulary::REQUEST_HEADERS,
        OwnedValue::Map(headers.collect::<BTreeMap<_, _>>()),
    );
    bag
}

/// A decision of revision "r1" that read the method.
fn decision(verdict: v1::Verdict) -> v1::Decision {
    v1::Decision {
        verdict: verdict.into(),
        because: v1::Because::Matched.into(),
        policy: "p".into(),
        rule: "a sentence".into(),
        revision: "r1".into(),
        referenced: vec![v1::Reference {
            id: 18,
            present: true,
            ..Default::default()
        }],
        id: "d-1".into(),
        ..Default::default()
    }
}

fn decides(decision: v1::Decision) -> Reply<v1::CheckResponse> {
    Reply::Answer(v1::CheckResponse {
        decision: Some(decision),
        grants: vec![],
    })
}
