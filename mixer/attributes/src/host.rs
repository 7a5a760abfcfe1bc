//! Authorities: `Products.Shop.:8080` and `products.shop` name the same host.
//!
//! A policy that names a host and a proxy that looks one up must agree on what a host is, so this is the only place that
//! reads an authority. What is not plainly a host (user info, an escape, two colons, an empty label) is refused, never mended.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The longest authority that is read, in bytes: a DNS name of 253, a dot, a port.
const LONGEST: usize = 260;

/// The host an authority names: lower case, without port, one trailing dot and the brackets of an IPv6 address, which is
/// written as RFC 5952 does. `None` for what no host is called.
///
/// ```
/// use mixer_attributes::host::normalize;
/// assert_eq!(normalize("Products.Shop.:8080").as_deref(), Some("products.shop"));
/// assert_eq!(normalize("[2001:DB8:0::1]:443").as_deref(), Some("2001:db8::1"));
/// assert_eq!(normalize("user@products"), None);
/// ```
pub fn normalize(authority: &str) -> Option<Cow<'_, str>> {
    if authority.len() > LONGEST {
        return None;
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        if !after.is_empty() {
            port(after.strip_prefix(':')?)?;
        }
        return address
            .parse::<Ipv6Addr>()
            .ok()
            .map(|address| Cow::Owned(address.to_string()));
    }
    let host = match authority.split_once(':') {
        None => authority,
        Some((_, rest)) if rest.contains(':') => {
            return authority
                .parse::<Ipv6Addr>()
                .ok()
                .map(|address| Cow::Owned(address.to_string()));
        }
        Some((host, digits)) => {
            port(digits)?;
            host
        }
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if !host.split('.').all(is_label) {
        return None;
    }
    Some(if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

/// An address as headers and logs write it, perhaps with its port: `v4`, `v4:port`, `v6`, `[v6]` or `[v6]:port`. IPv4 within
/// IPv6 is IPv4.
///
/// ```
/// use mixer_attributes::host::address;
/// assert_eq!(address("10.0.0.1:80"), Some((std::net::Ipv4Addr::new(10, 0, 0, 1).into(), Some(80))));
/// assert_eq!(address("[::ffff:10.0.0.1]"), address("10.0.0.1"));
/// assert_eq!(address("products"), None);
/// ```
pub fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Some((both.ip().to_canonical(), Some(both.port())));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip: IpAddr = bare.unwrap_or(text).parse().ok()?;
    Some((ip.to_canonical(), None))
}

/// Whether an address is in one of these networks, each an address and how many of its bits count.
pub fn is_within(networks: &[(IpAddr, u8)], address: IpAddr) -> bool {
    let address = address.to_canonical();
    let mut networks = networks.iter();
    networks.any(|(network, length)| contains(*network, *length, address))
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

/// Letters, digits, `-` and `_` (DNS forbids the latter in host names, but service names of compose files have it).
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// RFC 3986 section 3.2.3: digits, perhaps none.
fn port(digits: &str) -> Option<()> {
    let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
    (digits_only && (digits.is_empty() || digits.parse::<u16>().is_ok())).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_one_host() {
        for (authority, host) in [
            ("products", "products"),
            ("PRODUCTS", "products"),
            ("products.shop.", "products.shop"),
            ("Products.Shop.:8080", "products.shop"),
            ("products:", "products"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]", "::1"),
            ("[0:0:0:0:0:0:0:1]:80", "::1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("my_service", "my_service"),
        ] {
            assert_eq!(normalize(authority).as_deref(), Some(host), "{authority}");
        }
    }

    #[test]
    fn addresses_are_read_with_and_without_port() {
        for (text, read) in [
            ("10.0.0.1", Some(("10.0.0.1", None))),
            ("10.0.0.1:80", Some(("10.0.0.1", Some(80)))),
            ("::1", Some(("::1", None))),
            ("[::1]", Some(("::1", None))),
            ("[::1]:80", Some(("::1", Some(80)))),
            ("::ffff:10.0.0.1", Some(("10.0.0.1", None))),
            ("[::1", None),
            ("[[::1]]", None),
            ("10.0.0.1:99999", None),
            ("10.0.0", None),
            ("", None),
            ("-", None),
            ("localhost", None),
        ] {
            let read = read.map(|(ip, port)| (ip.parse().unwrap(), port));
            assert_eq!(address(text), read, "{text}");
        }
    }

    #[test]
    fn a_network_has_the_addresses_of_its_family_that_begin_like_it() {
        let within = |network: &str, length, address: &str| {
            is_within(
                &[(network.parse().unwrap(), length)],
                address.parse().unwrap(),
            )
        };
        assert!(within("10.0.0.0", 8, "10.255.0.1"));
        assert!(within("10.0.0.0", 8, "::ffff:10.1.2.3"));
        assert!(!within("10.0.0.0", 8, "11.0.0.1"));
        assert!(within("10.0.0.1", 32, "10.0.0.1") && !within("10.0.0.1", 32, "10.0.0.2"));
        assert!(within("0.0.0.0", 0, "1.2.3.4") && !within("0.0.0.0", 0, "::1"));
        assert!(
            within("2001:db8::", 32, "2001:db8:1::") && !within("2001:db8::", 32, "2001:db9::")
        );
        assert!(!is_within(&[], [10, 0, 0, 1].into()));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(64);
        for authority in [
            "",
            ".",
            "a..b",
            "a..",
            ".a",
            "user@a",
            "a:b",
            "a:99999",
            "a:+1",
            "a b",
            "a/b",
            "a%2eb",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "::1]",
            "[10.0.0.1]",
            "1::2::3",
            "é",
            "a\0",
            "a,b",
            "*",
            &long,
        ] {
            assert_eq!(normalize(authority), None, "{authority:?}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn a_normal_host_is_its_own(authority in "[a-zA-Z0-9.:\\[\\]-]{0,40}") {
            if let Some(host) = normalize(&authority) {
                let again = normalize(&host);
                proptest::prop_assert_eq!(again.as_deref(), Some(&*host));
            }
        }
    }
}
