//! Addresses as logs write them, and the client behind proxies that the mesh trusts.

use std::net::{IpAddr, SocketAddr};

use mixer_documents::ClientIp;

/// `address`, `v4:port` or `[v6]:port`.
pub(super) fn address(said: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(both) = said.parse::<SocketAddr>() {
        return Some((both.ip().to_canonical(), Some(both.port())));
    }
    let ip: IpAddr = said.trim_matches(['[', ']']).parse().ok()?;
    Some((ip.to_canonical(), None))
}

/// The client behind trusted proxies: from the peer backwards as long as the one that vouches is trusted.
pub(super) fn client(peer: IpAddr, forwarded: &str, rule: &ClientIp) -> Option<IpAddr> {
    let trusted = |address: IpAddr| {
        let mut networks = rule.trusted.iter();
        networks.any(|(network, length)| contains(*network, *length, address))
    };
    let mut client = peer;
    let mut entries = forwarded
        .rsplit(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    while trusted(client) {
        let Some(entry) = entries.next() else { break };
        client = address(entry)?.0;
    }
    Some(client)
}

fn contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    let same = |network: u128, address: u128, bits: u8| {
        let free = u32::from(bits.saturating_sub(length));
        network.checked_shr(free).unwrap_or(0) == address.checked_shr(free).unwrap_or(0)
    };
    match (network.to_canonical(), address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            same(network.to_bits().into(), address.to_bits().into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            same(network.to_bits(), address.to_bits(), 128)
        }
        _ => false,
    }
}
