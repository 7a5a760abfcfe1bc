//! Health checks: each endpoint of a service that has them is asked again and again whether it is well.
//!
//! Every check is a connection of its own, so that it finds out what a new caller would. The first one decides at once; later
//! ones change the mind only after so many in a row.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use http::header::{HOST, USER_AGENT};
use http::{Request, StatusCode};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mixer_documents::{Health, Probe, Protocol};
use mixer_runtime::{Clock, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Endpoint, Upstream};
use crate::tls::Purpose;

/// Endpoints that are asked at once, of all services; more wait for their turn.
const AT_ONCE: usize = 256;

/// The turns of those that are asked.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// What the checks of one endpoint said so far.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// In a row, and whether these were successes.
    row: (u32, bool),
    /// What follows from it; `None`: it was not asked yet.
    well: Option<bool>,
}

/// Asks every endpoint of `upstream` once; what was said before is kept in `said`. When to ask again; `None`: never.
pub(crate) async fn check_health(
    upstream: &Arc<Upstream>,
    said: &mut HashMap<SocketAddr, Checked>,
    turns: &Turns,
    clock: &Clock,
) -> Option<Instant> {
    let health = upstream.service.health.as_ref()?;
    let next = clock.now() + health.every;
    let endpoints = upstream.endpoints.load_full();
    said.retain(|address, _| {
        endpoints
            .list
            .iter()
            .any(|endpoint| endpoint.address == *address)
    });
    let mut asked = JoinSet::new();
    for endpoint in &endpoints.list {
        let (upstream, endpoint) = (upstream.clone(), endpoint.clone());
        let (turns, clock) = (turns.0.clone(), clock.clone());
        asked.spawn(async move {
            let _turn = turns.acquire().await;
            let well = is_well(&upstream, &endpoint, &clock).await;
            (endpoint, well)
        });
    }
    while let Some(answered) = asked.join_next().await {
        if let Ok((endpoint, well)) = answered {
            enter(upstream, &endpoint, well, health, said, clock);
        }
    }
    Some(next)
}

fn enter(
    upstream: &Upstream,
    endpoint: &Endpoint,
    well: bool,
    health: &Health,
    said: &mut HashMap<SocketAddr, Checked>,
    clock: &Clock,
) {
    let checked = said.entry(endpoint.address).or_default();
    let before = checked.well;
    let now = checked.enter(well, health);
    endpoint.checked(now, clock.now());
    if before != Some(now) && (before.is_some() || !now) {
        let (service, address) = (&upstream.service.name, endpoint.address);
        let word = if now { "well again" } else { "unwell" };
        tracing::info!(%service, endpoint = %address, "is {word}");
    }
}

impl Checked {
    /// Enters what a check said; whether the endpoint is well by now.
    fn enter(&mut self, well: bool, health: &Health) -> bool {
        let row = if self.row.1 == well { self.row.0 } else { 0 };
        self.row = (row.saturating_add(1), well);
        let needed = if well {
            health.healthy
        } else {
            health.unhealthy
        };
        match self.well {
            None => self.well = Some(well),
            Some(_) if self.row.0 >= needed => self.well = Some(well),
            Some(_) => {}
        }
        self.well.unwrap_or(well)
    }
}

async fn is_well(upstream: &Upstream, endpoint: &Endpoint, clock: &Clock) -> bool {
    let Some(health) = &upstream.service.health else {
        return true;
    };
    let asked = async {
        let dialer = upstream.dialer(|| None).ok()?;
        let stream = TcpStream::connect(endpoint.address).await.ok()?;
        let purpose = match (&health.ask, is_http2(upstream)) {
            (Probe::Tcp, _) => Purpose::Bytes,
            (Probe::Http(_), true) => Purpose::Http2,
            (Probe::Http(_), false) => Purpose::Http1,
        };
        // It must be the service, as for any request.
        match (dialer, &health.ask) {
            (None, Probe::Tcp) => Some(()),
            (None, Probe::Http(path)) => get(upstream, stream, path).await,
            (Some(dialer), ask) => {
                let stream = dialer.secure(stream, purpose).await.ok()?.stream;
                match ask {
                    Probe::Tcp => Some(()),
                    Probe::Http(path) => get(upstream, stream, path).await,
                }
            }
        }
    };
    matches!(clock.within(health.timeout, asked).await, Some(Some(())))
}

fn is_http2(upstream: &Upstream) -> bool {
    matches!(
        upstream.service.protocol,
        Some(Protocol::Http2 | Protocol::Grpc)
    )
}

async fn get(
    upstream: &Upstream,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    path: &str,
) -> Option<()> {
    let name = &*upstream.service.name;
    let request = Request::get(path)
        .header(HOST, name)
        .header(USER_AGENT, "mixer-health-check");
    let io = TokioIo::new(stream);
    let empty = http_body_util::Empty::<Bytes>::new;
    let response = if is_http2(upstream) {
        let request =
            Request::get(format!("http://{name}{path}")).header(USER_AGENT, "mixer-health-check");
        let handshake = http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = handshake.ok()?;
        answered(connection, sender.send_request(request.body(empty()).ok()?)).await?
    } else {
        let (mut sender, connection) = http1::handshake(io).await.ok()?;
        answered(connection, sender.send_request(request.body(empty()).ok()?)).await?
    };
    let status = response.status();
    (StatusCode::OK.as_u16()..300)
        .contains(&status.as_u16())
        .then_some(())
}

/// The response, as long as its connection works on it.
async fn answered<T>(
    connection: impl Future,
    response: impl Future<Output = hyper::Result<T>>,
) -> Option<T> {
    let (mut connection, mut response) = (pin!(connection), pin!(response));
    tokio::select! {
        biased;
        response = &mut response => response.ok(),
        _ = &mut connection => response.await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_check_decides_and_later_ones_in_a_row() {
        let health = Health {
            ask: Probe::Tcp,
            every: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            unhealthy: 3,
            healthy: 2,
        };
        let mut checked = Checked::default();
        let mut enter = |well| checked.enter(well, &health);
        assert!(enter(true));
        assert!(enter(false) && enter(false) && enter(true) && enter(false) && enter(false));
        assert!(!enter(false));
        assert!(!enter(true) && !enter(false) && !enter(true));
        assert!(enter(true));
        let mut other = Checked::default();
        assert!(!other.enter(false, &health));
    }
}
