//! Who must not get through, and tries: a stranger without a certificate, and an impostor whose certificate is another's than its
//! headers say.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use mixer_identity::SpiffeId;
use mixer_runtime::{Clock, Tasks};

use super::load::{Call, connect};

/// The header with which proxies of other meshes say who called.
const CLAIM: &str = "x-forwarded-client-cert";

/// The two, and what became of their tries.
#[derive(Clone, Debug)]
pub(super) struct Intruders {
    /// The proxy of the products, which the stranger calls itself.
    products: SocketAddr,
    /// The proxy beside the reviews, which calls the products as the reviews.
    reviews: SocketAddr,
    /// What the impostor says there: that it is the frontend.
    claim: Arc<str>,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    refused: AtomicU64,
    denied: AtomicU64,
    passed: AtomicU64,
}

/// What became of the tries so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    /// Connections of the stranger that were closed with nothing of them read.
    pub(super) refused: u64,
    /// Requests of the impostor that were denied.
    pub(super) denied: u64,
    /// Requests of either that came through.
    pub(super) passed: u64,
}

impl Intruders {
    /// Not yet on their way. The impostor claims to be `frontend`.
    pub(super) fn new(products: SocketAddr, reviews: SocketAddr, frontend: &SpiffeId) -> Self {
        Self {
            products,
            reviews,
            claim: format!("URI={frontend}").into(),
            tally: Arc::default(),
        }
    }

    /// Both try, again and again, until `tasks` are told to stop.
    pub(super) fn start(&self, rest: Duration, clock: &Clock, tasks: &Tasks) {
        let (stop, intruders, clock) = (tasks.stop(), self.clone(), clock.clone());
        tasks.spawn("demo intruders", async move {
            while !stop.is_cancelled() {
                intruders.stranger().await;
                intruders.impostor().await;
                let _ = stop.run_until_cancelled(clock.sleep(rest)).await;
            }
        });
    }

    /// How the stranger fares: closed unread, or an answer.
    pub(super) async fn stranger(&self) -> Option<(StatusCode, String)> {
        let stream = connect(Ipv4Addr::LOCALHOST.into(), self.products).await;
        let answer = call(&[]).over(stream.ok()?).await;
        let counter = match &answer {
            Ok(_) => &self.tally.passed,
            Err(_) => &self.tally.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        answer.ok()
    }

    /// How the impostor fares; `None` where nobody answers.
    pub(super) async fn impostor(&self) -> Option<(StatusCode, String)> {
        let claim = [(CLAIM, &*self.claim)];
        let stream = connect(Ipv4Addr::LOCALHOST.into(), self.reviews).await;
        let answer = call(&claim).over(stream.ok()?).await.ok()?;
        let counter = match answer.0.as_u16() {
            200..=399 => &self.tally.passed,
            400..=499 => &self.tally.denied,
            _ => return Some(answer),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Some(answer)
    }

    /// What they do, as a reader would do it.
    pub(super) fn commands(&self) -> [String; 2] {
        let Self {
            products,
            reviews,
            claim,
            ..
        } = self;
        [
            format!("curl -i http://{products}/products/1"),
            format!(
                "curl -i -H 'host: products.shop' -H '{CLAIM}: {claim}' http://{reviews}/products/1"
            ),
        ]
    }

    /// What became of them so far.
    pub(super) fn tries(&self) -> Tries {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tries {
            refused: read(&self.tally.refused),
            denied: read(&self.tally.denied),
            passed: read(&self.tally.passed),
        }
    }
}

fn call<'a>(headers: &'a [(&'a str, &'a str)]) -> Call<'a> {
    Call {
        host: "products.shop",
        path: "/products/1",
        headers,
    }
}
