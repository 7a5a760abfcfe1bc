//! Ports for servers that must be told one before they start (documents name endpoints, a restarted Mixer keeps its address).
//!
//! They lie below the range from which the system gives ports to outgoing connections, so that nobody takes one by chance between
//! the asking and the binding; each is given once per process, and processes start at different places.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address with a port nobody listens on.
///
/// # Panics
/// When every port is taken.
pub fn free() -> SocketAddr {
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("below 65536 by construction");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no port is free");
}
