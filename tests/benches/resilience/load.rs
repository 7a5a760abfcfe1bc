//! Requests at a steady rate, whatever the answers take: the time of each counts from when it was due, so that what an endpoint
//! holds up is not left out.

use std::net::SocketAddr;
use std::time::Duration;

use mixer_runtime::{Clock, Instant, Tasks};
use mixer_tests::http::{Client, get};

/// Connections, each with a request at a time: more than are ever in flight.
const CONNECTIONS: u32 = 200;

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it was due, since the beginning.
    pub(crate) due: Duration,
    /// From when it was due to the end of its answer.
    pub(crate) took: Duration,
    /// 0: there was no answer.
    pub(crate) status: u16,
    /// Whose answer it is.
    pub(crate) endpoint: Option<usize>,
}

impl Sample {
    pub(crate) fn failed(&self) -> bool {
        self.status != 200
    }
}

/// `rate` requests a second for `host` to the proxy at `to`; in the order they were due.
pub(crate) async fn run(to: SocketAddr, host: &str, rate: u32, seconds: u32) -> Vec<Sample> {
    let clock = Clock::system();
    let (tasks, begun) = (Tasks::new(), clock.now() + Duration::from_millis(50));
    let (sender, mut samples) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..CONNECTIONS {
        let (clock, host, sender) = (clock.clone(), host.to_owned(), sender.clone());
        tasks.spawn("connection", async move {
            let mut client = Client::http1(to).await.ok();
            let mut next = number;
            while next < rate * seconds {
                let due = Duration::from_secs(1) * next / rate;
                let sample = one(&mut client, to, &host, begun, due, &clock).await;
                sender.send(sample).unwrap_or_default();
                next += CONNECTIONS;
            }
        });
    }
    drop(sender);
    let mut all = Vec::new();
    while let Some(sample) = samples.recv().await {
        all.push(sample);
    }
    all.sort_by_key(|sample| sample.due);
    all
}

async fn one(
    client: &mut Option<Client>,
    to: SocketAddr,
    host: &str,
    begun: Instant,
    due: Duration,
    clock: &Clock,
) -> Sample {
    clock.sleep((begun + due).since(clock.now())).await;
    if client.is_none() {
        *client = Client::http1(to).await.ok();
    }
    let answer = match client {
        Some(client) => client.send(get(host, "/")).await.ok(),
        None => None,
    };
    if answer.is_none() {
        *client = None;
    }
    let field = |answer: &mixer_tests::http::Answer| answer.field("endpoint")?.parse().ok();
    Sample {
        due,
        took: clock.now().since(begun + due),
        status: answer.as_ref().map_or(0, |answer| answer.status.as_u16()),
        endpoint: answer.as_ref().and_then(field),
    }
}
