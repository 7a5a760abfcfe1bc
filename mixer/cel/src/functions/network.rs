//! Addresses and networks: `ip`, `cidr` and what they answer, as in Kubernetes' and cel-go's network libraries.

use std::net::IpAddr;

use super::conversions::to_ip;
use super::{Definition, Result, Sort};
use crate::budget::Budget;
use crate::{EvalError, Val};

pub(super) const TABLE: &[Definition] = &[
    Definition {
        name: "ip",
        member: false,
        signatures: &[(&[Sort::String], Sort::Ip)],
        run: to_ip,
    },
    Definition {
        name: "isIP",
        member: false,
        signatures: &[(&[Sort::String], Sort::Bool)],
        run: is_ip,
    },
    Definition {
        name: "ip.isCanonical",
        member: false,
        signatures: &[(&[Sort::String], Sort::Bool)],
        run: is_canonical,
    },
    Definition {
        name: "cidr",
        member: false,
        signatures: &[(&[Sort::String], Sort::Cidr)],
        run: to_cidr,
    },
    Definition {
        name: "isCIDR",
        member: false,
        signatures: &[(&[Sort::String], Sort::Bool)],
        run: is_cidr,
    },
    Definition {
        name: "family",
        member: true,
        signatures: &[(&[Sort::Ip], Sort::Int)],
        run: family,
    },
    Definition {
        name: "isUnspecified",
        member: true,
        signatures: ASKED,
        run: is_unspecified,
    },
    Definition {
        name: "isLoopback",
        member: true,
        signatures: ASKED,
        run: is_loopback,
    },
    Definition {
        name: "isGlobalUnicast",
        member: true,
        signatures: ASKED,
        run: is_global_unicast,
    },
    Definition {
        name: "isLinkLocalMulticast",
        member: true,
        signatures: ASKED,
        run: is_link_local_multicast,
    },
    Definition {
        name: "isLinkLocalUnicast",
        member: true,
        signatures: ASKED,
        run: is_link_local_unicast,
    },
    Definition {
        name: "containsIP",
        member: true,
        signatures: &[
            (&[Sort::Cidr, Sort::Ip], Sort::Bool),
            (&[Sort::Cidr, Sort::String], Sort::Bool),
        ],
        run: contains_ip,
    },
    Definition {
        name: "containsCIDR",
        member: true,
        signatures: &[
            (&[Sort::Cidr, Sort::Cidr], Sort::Bool),
            (&[Sort::Cidr, Sort::String], Sort::Bool),
        ],
        run: contains_cidr,
    },
    Definition {
        name: "ip",
        member: true,
        signatures: &[(&[Sort::Cidr], Sort::Ip)],
        run: address,
    },
    Definition {
        name: "masked",
        member: true,
        signatures: &[(&[Sort::Cidr], Sort::Cidr)],
        run: masked,
    },
    Definition {
        name: "prefixLength",
        member: true,
        signatures: &[(&[Sort::Cidr], Sort::Int)],
        run: prefix_length,
    },
];

const ASKED: &[super::Signature] = &[(&[Sort::Ip], Sort::Bool)];

/// An address, written without zone and not as an IPv4 address in IPv6.
pub(crate) fn parse_ip(text: &str) -> Result<IpAddr> {
    let start: String = text.chars().take(60).collect();
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => Err(EvalError::Invalid(
            "ip",
            format!("{start:?} is an IPv4 address in IPv6; write the IPv4 address").into(),
        )),
        Ok(address) => Ok(address),
        Err(_) => Err(EvalError::Invalid(
            "ip",
            format!("{start:?} is no IP address").into(),
        )),
    }
}

/// A network: an address, a slash, the number of leading bits that count.
pub(crate) fn parse_cidr(text: &str) -> Result<(IpAddr, u8)> {
    let start: String = text.chars().take(60).collect();
    let invalid = || EvalError::Invalid("cidr", format!("{start:?} is no network").into());
    let (address, bits) = text.split_once('/').ok_or_else(invalid)?;
    let address = parse_ip(address).map_err(|_| invalid())?;
    let plain =
        bits == "0" || (!bits.starts_with('0') && bits.bytes().all(|byte| byte.is_ascii_digit()));
    match bits.parse::<u8>() {
        Ok(bits) if plain && bits <= width(address) => Ok((address, bits)),
        _ => Err(invalid()),
    }
}

pub(super) fn ip_of(value: &Val<'_>) -> Option<IpAddr> {
    match value {
        Val::Ip(address) => Some(*address),
        _ => None,
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

fn within(network: (IpAddr, u8), address: IpAddr) -> bool {
    network.0.is_ipv4() == address.is_ipv4()
        && mask(network.0, network.1) == mask(address, network.1)
}

fn is_ip<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::String(text) => Ok(Val::Bool(parse_ip(text).is_ok())),
        _ => Err(EvalError::NoOverload("isIP")),
    }
}

fn is_canonical<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::String(text) => Ok(Val::Bool(parse_ip(text)?.to_string() == **text)),
        _ => Err(EvalError::NoOverload("ip.isCanonical")),
    }
}

fn to_cidr<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::String(text) => parse_cidr(text).map(|(address, bits)| Val::Cidr(address, bits)),
        _ => Err(EvalError::NoOverload("cidr")),
    }
}

fn is_cidr<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::String(text) => Ok(Val::Bool(parse_cidr(text).is_ok())),
        _ => Err(EvalError::NoOverload("isCIDR")),
    }
}

fn family<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    asked("family", args).map(|address| Val::Int(if address.is_ipv4() { 4 } else { 6 }))
}

fn asked(function: &'static str, args: &[Val<'_>]) -> Result<IpAddr> {
    ip_of(&args[0]).ok_or(EvalError::NoOverload(function))
}

fn is_unspecified<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    asked("isUnspecified", args).map(|address| Val::Bool(address.is_unspecified()))
}

fn is_loopback<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    asked("isLoopback", args).map(|address| Val::Bool(address.is_loopback()))
}

/// As Go's `IsGlobalUnicast`: private addresses are global unicast too.
fn is_global_unicast<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    asked("isGlobalUnicast", args).map(|address| {
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        let special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
        Val::Bool(!broadcast && !special && !link_local(address))
    })
}

fn is_link_local_multicast<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    asked("isLinkLocalMulticast", args).map(|address| {
        Val::Bool(match address {
            IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
            IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
        })
    })
}

fn is_link_local_unicast<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    asked("isLinkLocalUnicast", args).map(|address| Val::Bool(link_local(address)))
}

fn link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn contains_ip<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match (&args[0], &args[1]) {
        (Val::Cidr(address, bits), Val::Ip(ip)) => Ok(Val::Bool(within((*address, *bits), *ip))),
        (Val::Cidr(address, bits), Val::String(text)) => {
            Ok(Val::Bool(within((*address, *bits), parse_ip(text)?)))
        }
        _ => Err(EvalError::NoOverload("containsIP")),
    }
}

fn contains_cidr<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    let (inner, inner_bits) = match &args[1] {
        Val::Cidr(address, bits) => (*address, *bits),
        Val::String(text) => parse_cidr(text)?,
        _ => return Err(EvalError::NoOverload("containsCIDR")),
    };
    match &args[0] {
        Val::Cidr(address, bits) => Ok(Val::Bool(
            *bits <= inner_bits && within((*address, *bits), inner),
        )),
        _ => Err(EvalError::NoOverload("containsCIDR")),
    }
}

fn network(function: &'static str, args: &[Val<'_>]) -> Result<(IpAddr, u8)> {
    match &args[0] {
        Val::Cidr(address, bits) => Ok((*address, *bits)),
        _ => Err(EvalError::NoOverload(function)),
    }
}

fn address<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    network("ip", args).map(|(address, _)| Val::Ip(address))
}

fn masked<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    network("masked", args).map(|(address, bits)| Val::Cidr(mask(address, bits), bits))
}

fn prefix_length<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    network("prefixLength", args).map(|(_, bits)| Val::Int(bits.into()))
}
