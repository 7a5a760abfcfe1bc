//! Quota between real clients and a real Mixer in one virtual time: both bounds of leases, how seldom anybody asks, and what is
//! in flight.

use std::sync::Arc;
use std::time::Duration;

use mixer::serve::{Running, Server};
use mixer_attributes::{OwnedBag, OwnedValue, vocabulary as v};
use mixer_client::{At, Client, Verdict};
use mixer_runtime::{Clock, ManualClock, Random, Tasks};
use tempfile::TempDir;

use crate::mesh::{PATIENCE, config, directory};

const SERVICE: &str = "products.shop";
/// A thousand requests a second from each client.
const STEP: Duration = Duration::from_millis(1);

/// A Mixer and its clients, in one time.
struct Town {
    clients: Vec<Client>,
    hand: ManualClock,
    bag: OwnedBag,
    _mixer: Running,
    _tasks: Tasks,
    _directory: TempDir,
}

impl Town {
    async fn new(clients: usize, quota: &str) -> Self {
        let documents = format!(
            "policy: p\nfor: always\nquotas: [ {{ quota: q, id: q, key: [], {quota} }} ]\n"
        );
        let directory = directory(&[("all.yaml", &documents)]);
        let (clock, hand) = Clock::manual();
        let random = Arc::new(Random::from_seed(1));
        let mixer = Server::start(config(directory.path()), clock.clone(), random)
            .await
            .unwrap();
        let tasks = Tasks::new();
        let mut town = Self {
            clients: Vec::new(),
            hand,
            bag: OwnedBag::new(),
            _directory: directory,
            _tasks: tasks,
            _mixer: mixer,
        };
        let reporter = OwnedValue::String("destination".to_owned());
        town.bag.set(v::CONTEXT_REPORTER, reporter).set(
            v::DESTINATION_SERVICE,
            OwnedValue::String(SERVICE.to_owned()),
        );
        for number in 0..clients {
            let mut inbound = OwnedBag::new();
            inbound.set(
                v::DESTINATION_SERVICE,
                OwnedValue::String(SERVICE.to_owned()),
            );
            let address = town._mixer.grpc().to_string();
            let config = mixer_client::Config {
                inbound,
                try_timeout: PATIENCE,
                total_timeout: PATIENCE,
                ..mixer_client::Config::new(address, format!("proxy {number}"))
            };
            let random = Arc::new(Random::from_seed(number as u64));
            let client = Client::start(config, clock.clone(), random, &town._tasks);
            let mut states = client.state();
            states.wait_for(Option::is_some).await.unwrap();
            town.clients.push(client);
        }
        town
    }

    /// One request to a client; whether it passes.
    async fn request(&self, client: usize) -> bool {
        let answer = self.clients[client]
            .check(At::Inbound, Some(SERVICE), &self.bag.bag())
            .await;
        assert_eq!(answer.failure, None);
        answer.verdict == Verdict::Allow
    }

    /// One request to each client; how many pass.
    async fn requests(&self) -> u64 {
        let mut passed = 0;
        for client in 0..self.clients.len() {
            passed += u64::from(self.request(client).await);
        }
        // What is asked for in the background has half a lease of such steps to come back.
        Clock::system().sleep(STEP).await;
        self.hand.advance(STEP);
        passed
    }

    /// Lets what is on its way arrive: no virtual time passes.
    async fn settle(&self) {
        Clock::system().sleep(Duration::from_millis(20)).await;
    }

    /// Calls of Quota that all clients made, and charges they paid without one.
    fn calls(&self) -> u64 {
        self.clients
            .iter()
            .map(|client| client.stats().quota_calls)
            .sum()
    }

    fn paid(&self) -> u64 {
        self.clients
            .iter()
            .map(|client| client.stats().lease_hits)
            .sum()
    }

    /// Idle for a second and a half: what nobody uses goes back.
    async fn idle(&self) {
        for _ in 0..6 {
            self.hand.advance(Duration::from_millis(250));
            self.settle().await;
        }
    }
}

/// The two bounds of a lease, for 2 % of the limit shared by the clients: over by at most a lease for each client, under by at most
/// what others hold, which comes back when they are idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_over_and_under_by_no_more_than_what_is_held() {
    for clients in [1u64, 4, 16] {
        let limit = 1_500 * clients;
        let town = Town::new(clients as usize, &format!("limit: {limit} per hour")).await;
        let mut passed = 0;
        loop {
            let now = town.requests().await;
            passed += now;
            if now == 0 {
                break;
            }
        }
        // When a client's first lease is granted nobody else may hold one: the largest is 2 %, and so is their sum.
        let held = limit / 50 * 2;
        assert!(passed <= limit, "{passed} of {limit} within a window");
        assert!(
            passed + held * clients >= limit,
            "{clients} clients: {passed} of {limit} passed before all were refused"
        );
        town.idle().await;
        // All that was stranded came back, to whoever asks.
        while town.request(0).await {
            passed += 1;
        }
        town.idle().await;
        while town.request(0).await {
            passed += 1;
        }
        assert_eq!(passed, limit, "{clients} clients");
    }
}

/// A small limit is no business of leases: each request asks, and the count is exact whoever comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_limits_are_exact_with_many_clients() {
    for clients in [1usize, 4, 16] {
        let town = Town::new(clients, "limit: 40 per day").await;
        let mut passed = 0;
        for _ in 0..60 {
            for client in 0..clients {
                passed += u64::from(town.request(client).await);
            }
        }
        assert_eq!((passed, town.paid()), (40, 0), "{clients} clients");
    }
}

/// Where a limit is 5,000 a client and window or more, and each spends a thousand a second, hardly anybody waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ninety_nine_of_a_hundred_checks_are_paid_without_a_call() {
    for clients in [1u64, 4, 16] {
        let limit = 5_000 * clients;
        let town = Town::new(clients as usize, &format!("limit: {limit} per second")).await;
        for _ in 0..1_000 {
            town.requests().await;
        }
        let (paid, calls) = (town.paid(), town.calls());
        for _ in 0..1_000 {
            assert_eq!(town.requests().await, clients);
        }
        let (paid, calls) = (town.paid() - paid, town.calls() - calls);
        let all = 1_000 * clients;
        println!(
            "{clients} clients: {paid} of {all} paid from leases, {calls} calls in the background"
        );
        assert!(paid * 100 >= all * 99, "{clients} clients: {paid} of {all}");
        assert!(
            calls * 100 <= all * 3,
            "{clients} clients: {calls} calls for {all}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_are_in_flight_at_once_than_the_limit_says() {
    let town = Town::new(2, "limit: 3, algorithm: concurrency, hold: 10m").await;
    let ask = async |client: usize| {
        let client: &Client = &town.clients[client];
        client
            .check(At::Inbound, Some(SERVICE), &town.bag.bag())
            .await
    };
    let mut in_flight = Vec::new();
    for round in 0..4 {
        while in_flight.len() < 3 {
            let answer = ask(in_flight.len() % 2).await;
            // What ended is freed in the background.
            if answer.verdict == Verdict::Allow {
                in_flight.push(answer);
            } else {
                town.settle().await;
            }
        }
        for client in [0, 1] {
            assert_eq!(ask(client).await.verdict, Verdict::Deny, "round {round}");
        }
        in_flight.drain(..=round % 3);
    }
}
