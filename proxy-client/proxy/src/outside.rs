//! Hosts that no service names, where `mesh.outbound` admits them: resolved by DNS when they are asked for, kept for a while. A
//! connection that was redirected goes where it was going: what the caller resolved, not what a header says.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use tokio::net::lookup_host;

use crate::headers::Malformed;
use crate::intercept::is_own;
use crate::reply::Reply;
use crate::routing::Addresses;
use crate::worker::Worker;

/// How long addresses are kept.
const KEEP: Duration = Duration::from_secs(10);
/// For one look-up.
const RESOLVE_FOR: Duration = Duration::from_secs(2);
/// Hosts kept per thread.
const HOSTS: usize = 1_024;

/// The addresses of `authority`, if they were asked for lately.
pub(crate) fn kept(worker: &Worker, authority: &str) -> Option<Arc<Addresses>> {
    let now = worker.shared.clock.now();
    let kept = worker.outside.borrow();
    let (addresses, until) = kept.get(authority)?;
    (*until > now).then(|| addresses.clone())
}

/// Asks for the addresses of `authority`, whose host is `host`.
pub(crate) async fn resolve(
    worker: &Rc<Worker>,
    authority: &str,
    host: &str,
) -> Result<Arc<Addresses>, Reply> {
    let parsed: Authority = authority.parse().map_err(|_| Malformed::BadHost)?;
    let port = parsed.port_u16().unwrap_or(80);
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => match worker
            .shared
            .clock
            .within(RESOLVE_FOR, lookup_host((host, port)))
            .await
        {
            Some(Ok(found)) => found.collect(),
            Some(Err(_)) | None => Vec::new(),
        },
    };
    if found.is_empty() {
        return Err(Reply::no_upstream(host));
    }
    if found.iter().any(|address| is_own(&worker.shared, *address)) {
        return Err(Reply::would_loop());
    }
    let addresses = Arc::new(Addresses::new(found));
    let until = worker.shared.clock.now() + KEEP;
    let mut kept = worker.outside.borrow_mut();
    if kept.len() >= HOSTS {
        kept.clear();
    }
    kept.insert(authority.to_owned(), (addresses.clone(), until));
    Ok(addresses)
}

/// Where a connection was going, of which no service is known.
pub(crate) fn direct(worker: &Worker, original: SocketAddr) -> Result<Arc<Addresses>, Reply> {
    if is_own(&worker.shared, original) {
        return Err(Reply::would_loop());
    }
    Ok(Arc::new(Addresses::new(vec![original])))
}
