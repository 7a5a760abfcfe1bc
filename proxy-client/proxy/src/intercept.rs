//! Connections that a rule of the host redirected here (`mixer-proxy iptables`): where they were going, and what that means.
//!
//! The kernel remembers the first destination of a redirected connection. It says where bytes go that name no destination
//! themselves, and nothing else: a request's service is the one its authority names, and inbound it is always the configured one.
//! Whoever connects chooses where to, so nothing that policy trusts is read from it.

mod loops;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use mixer_client::At;
use tokio::net::TcpStream;

use crate::connection::Connection;
use crate::shared::Shared;

pub(crate) use loops::{Loop, Loops, Noted};

/// Where connections to the application come from that are not to be redirected once more: the rules let pass what the proxy's
/// user sends from here. (Istio's address. There is only one of that kind in IPv6.)
pub(crate) const TO_APPLICATION: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(127, 0, 0, 6), Ipv6Addr::LOCALHOST);

/// Where `stream` was going before it was redirected to `local`; `None`: it came here of its own accord.
pub(crate) fn original(stream: &TcpStream, at: At, local: SocketAddr) -> Option<SocketAddr> {
    let original = asked_of_kernel(stream, local)?;
    if same(original, local) {
        return None;
    }
    // An inbound rule takes what is for this host: with this port it was for the proxy, on another of the host's addresses.
    (at == At::Outbound || original.port() != local.port()).then_some(original)
}

#[cfg(target_os = "linux")]
fn asked_of_kernel(stream: &TcpStream, local: SocketAddr) -> Option<SocketAddr> {
    let socket = socket2::SockRef::from(stream);
    let original = if local.ip().to_canonical().is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    original.ok()?.as_socket()
}

#[cfg(not(target_os = "linux"))]
fn asked_of_kernel(_: &TcpStream, _: SocketAddr) -> Option<SocketAddr> {
    None
}

/// Whether a connection to `address` would come back to this proxy.
pub(crate) fn is_own(shared: &Shared, address: SocketAddr) -> bool {
    let bound = shared.bound.get().map_or(&[][..], Vec::as_slice);
    bound.iter().any(|bound| {
        same(*bound, address)
            || (bound.ip().is_unspecified()
                && bound.port() == address.port()
                && is_of_this_host(address))
    })
}

/// Where an inbound connection goes: to the application as configured, else on to where it was going. That must be this host, and
/// not the proxy itself: who can connect here must not reach through it what they could not reach without.
pub(crate) fn application(shared: &Shared, original: Option<SocketAddr>) -> Option<SocketAddr> {
    let here = |address: &SocketAddr| is_of_this_host(*address) && !is_own(shared, *address);
    shared.config.app.or_else(|| original.filter(here))
}

/// Notes a connection that was redirected, unless it is one of this proxy's own that comes back. On its way in it may be its own:
/// the application called its own service. But not what was sent to the application.
pub(crate) fn note(connection: &Connection) -> Result<Option<Noted>, Loop> {
    let Some(original) = connection.original else {
        return Ok(None);
    };
    let loops = &connection.worker.shared.loops;
    let peer = connection.peer.ip().to_canonical();
    match connection.at {
        At::Outbound => loops.accepted(connection.peer, original).map(Some),
        At::Inbound if peer == TO_APPLICATION.0 || peer == TO_APPLICATION.1 => {
            Err(loops.found(original))
        }
        At::Inbound => Ok(None),
    }
}

/// What a connection to the application at `address` comes from, where a rule would send it back otherwise.
pub(crate) fn source(address: SocketAddr) -> Option<SocketAddr> {
    match address.ip().to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V4(_) => Some((TO_APPLICATION.0, 0).into()),
        IpAddr::V6(_) => Some((TO_APPLICATION.1, 0).into()),
    }
}

/// `address` as it is compared: IPv4 as such, without what only tells interfaces apart.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn same(a: SocketAddr, b: SocketAddr) -> bool {
    plain(a) == plain(b)
}

/// Only what is an address of this host can be bound.
fn is_of_this_host(mut address: SocketAddr) -> bool {
    address.set_port(0);
    UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_beyond_loopback_is_reached_from_an_address_the_rules_let_pass() {
        let source = |address: &str| source(address.parse().unwrap()).map(|from| from.to_string());
        assert_eq!(source("127.0.0.1:8080"), None);
        assert_eq!(source("[::1]:8080"), None);
        assert_eq!(source("10.0.0.5:8080").as_deref(), Some("127.0.0.6:0"));
        assert_eq!(
            source("[::ffff:10.0.0.5]:80").as_deref(),
            Some("127.0.0.6:0")
        );
        assert_eq!(source("[2001:db8::5]:8080").as_deref(), Some("[::1]:0"));
    }

    #[test]
    fn mapped_addresses_and_scopes_are_one_destination() {
        let scoped = SocketAddr::V6(std::net::SocketAddrV6::new(
            "fe80::1".parse().unwrap(),
            80,
            0,
            3,
        ));
        assert!(same(scoped, "[fe80::1]:80".parse().unwrap()));
        assert!(same(
            "[::ffff:10.0.0.5]:80".parse().unwrap(),
            "10.0.0.5:80".parse().unwrap()
        ));
        assert!(!same(
            "10.0.0.5:81".parse().unwrap(),
            "10.0.0.5:80".parse().unwrap()
        ));
    }

    #[test]
    fn only_addresses_of_this_host_are_its_own() {
        assert!(is_of_this_host(([127, 0, 0, 1], 80).into()));
        // RFC 5737: documentation.
        assert!(!is_of_this_host(([192, 0, 2, 1], 80).into()));
    }
}
