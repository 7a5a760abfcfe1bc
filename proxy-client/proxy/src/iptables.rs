//! The rules that redirect a host's connections to its proxy: the set that meshes have made known, said once and written for
//! iptables and for nft.
//!
//! What the proxy's own user sends passes, as does what stays on the host; the rest of TCP goes to the proxy. A connection that is
//! open when the rules come is left alone (only its first packet would be redirected), as is what this host only forwards. Nothing
//! but TCP is touched, and DNS is not where it is TCP.

mod apply;
mod nft;
mod restore;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

pub(crate) use apply::{apply, clean};

/// DNS over TCP.
const DNS: u16 = 53;
/// Who administers a host must not be locked out by a proxy that fails.
const SSH: u16 = 22;

/// Which connections are redirected, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Whose connections pass: the proxy's.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Where the proxy listens.
    pub(crate) inbound: u16,
    pub(crate) outbound: u16,
    pub(crate) admin: u16,
    /// Ports that are redirected when others connect to them.
    pub(crate) include_inbound: Only<u16>,
    pub(crate) exclude_inbound: Vec<u16>,
    pub(crate) exclude_outbound: Vec<u16>,
    /// Destinations to which connections are redirected.
    pub(crate) include_ranges: Only<Network>,
    pub(crate) exclude_ranges: Vec<Network>,
    /// What was added to the ports and ids; it is part of the names too, so that sets of different ones live side by side.
    pub(crate) offset: u16,
}

/// Everything, or only these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Only<T> {
    All,
    These(Vec<T>),
}

/// An address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

/// IPv4 or IPv6: each has rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// One rule: what all must hold, and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    conditions: Vec<Condition>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Port(u16),
    From(Network),
    To(Network),
    NotTo(Network),
    /// It stays on this host.
    OverLoopback,
    OfUser(u32),
    OfGroup(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    /// To this port of the proxy.
    Redirect(u16),
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            uid: 1337,
            gid: 1337,
            inbound: 15_006,
            outbound: 15_001,
            admin: 15_020,
            include_inbound: Only::All,
            exclude_inbound: Vec::new(),
            exclude_outbound: Vec::new(),
            include_ranges: Only::All,
            exclude_ranges: Vec::new(),
            offset: 0,
        }
    }
}

impl Rules {
    /// Ids and ports moved by `offset`, for a host where another mesh has these; `None`: there is no such port.
    pub(crate) fn moved(mut self, offset: u16) -> Option<Self> {
        for port in [&mut self.inbound, &mut self.outbound, &mut self.admin] {
            *port = port.checked_add(offset)?;
        }
        for id in [&mut self.uid, &mut self.gid] {
            *id = id.checked_add(offset.into())?;
        }
        self.offset = offset;
        Some(self)
    }

    /// What is done with connections of others to this host.
    fn inbound(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self
            .not_inbound()
            .map(|port| pass([Condition::Port(port)]))
            .collect();
        let redirect = Verdict::Redirect(self.inbound);
        rules.extend(self.included_ports().map(|port| Rule {
            conditions: port.into_iter().collect(),
            verdict: redirect,
        }));
        rules
    }

    /// What is done with connections that begin on this host.
    fn outbound(&self, family: Family) -> Vec<Rule> {
        use Condition::{From, NotTo, OfGroup, OfUser, OverLoopback, Port, To};
        let mut rules = Vec::new();
        let mut ports = vec![DNS];
        ports.extend(&self.exclude_outbound);
        rules.extend(distinct(ports).map(|port| pass([Port(port)])));
        let of_proxy = [OfUser(self.uid), OfGroup(self.gid)];
        // The proxy's way to its application, by the address it leaves from.
        let to_application = From(family.to_application());
        rules.extend(of_proxy.map(|of_proxy| pass([to_application, OverLoopback, of_proxy])));
        rules.extend(
            self.not_inbound()
                .map(|port| pass([OverLoopback, Port(port)])),
        );
        // An application that calls its own service: the proxy sends it to an endpoint that is this host, and there it comes in
        // like any other's.
        for of_proxy in of_proxy {
            rules.extend(self.included_ports().map(|port| {
                Rule {
                    conditions: [NotTo(family.loopback()), OverLoopback, of_proxy]
                        .into_iter()
                        .chain(port)
                        .collect(),
                    verdict: Verdict::Redirect(self.inbound),
                }
            }));
        }
        rules.push(pass([OverLoopback]));
        rules.extend(of_proxy.map(|of_proxy| pass([of_proxy])));
        let here = |network: &&Network| network.family() == family;
        rules.extend(
            self.exclude_ranges
                .iter()
                .filter(here)
                .map(|network| pass([To(*network)])),
        );
        let redirect = |conditions| Rule {
            conditions,
            verdict: Verdict::Redirect(self.outbound),
        };
        match &self.include_ranges {
            Only::All => rules.push(redirect(Vec::new())),
            Only::These(networks) => {
                rules.extend(
                    networks
                        .iter()
                        .filter(here)
                        .map(|network| redirect(vec![To(*network)])),
                );
            }
        }
        rules
    }

    /// Ports of this host that are never redirected.
    fn not_inbound(&self) -> impl Iterator<Item = u16> {
        let mut ports = vec![self.inbound, self.outbound, self.admin];
        if !matches!(&self.include_inbound, Only::These(ports) if ports.contains(&SSH)) {
            ports.push(SSH);
        }
        ports.extend(&self.exclude_inbound);
        distinct(ports)
    }

    /// The condition on the port of each rule that redirects inbound.
    fn included_ports(&self) -> impl Iterator<Item = Option<Condition>> {
        match &self.include_inbound {
            Only::All => vec![None],
            Only::These(ports) => ports
                .iter()
                .map(|port| Some(Condition::Port(*port)))
                .collect(),
        }
        .into_iter()
    }
}

impl Family {
    fn loopback(self) -> Network {
        match self {
            Family::V4 => Network::single(Ipv4Addr::LOCALHOST.into()),
            Family::V6 => Network::single(Ipv6Addr::LOCALHOST.into()),
        }
    }

    fn to_application(self) -> Network {
        let (v4, v6) = crate::intercept::TO_APPLICATION;
        match self {
            Family::V4 => Network::single(v4.into()),
            Family::V6 => Network::single(v6.into()),
        }
    }
}

impl Network {
    fn single(address: IpAddr) -> Self {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Self { address, bits }
    }

    fn family(self) -> Family {
        if self.address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// `10.0.0.0/8`, or an address alone.
impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("{text}: not a range; write an address, or an address/bits like 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
        };
        let whole = Self::single(address.parse().map_err(|_| wrong())?);
        let bits = bits.unwrap_or(whole.bits);
        if bits > whole.bits {
            return Err(format!("{text}: an address has {} bits", whole.bits));
        }
        Ok(Self { bits, ..whole })
    }
}

/// `*`, or a list with commas.
impl<T: FromStr<Err: fmt::Display>> FromStr for Only<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Ok(Only::All);
        }
        let these = text.split(',').map(|one| {
            one.trim()
                .parse::<T>()
                .map_err(|error| format!("{one}: {error}"))
        });
        these.collect::<Result<_, _>>().map(Only::These)
    }
}

fn pass<const N: usize>(conditions: [Condition; N]) -> Rule {
    Rule {
        conditions: conditions.into(),
        verdict: Verdict::Pass,
    }
}

fn distinct(ports: Vec<u16>) -> impl Iterator<Item = u16> {
    let mut seen = std::collections::HashSet::new();
    ports.into_iter().filter(move |port| seen.insert(*port))
}

/// What rules are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tool {
    Iptables,
    Nft,
}

/// The text that puts `rules` into force on a host that has none of them.
pub(crate) fn text(rules: &Rules, tool: Tool, families: &[Family]) -> String {
    match tool {
        Tool::Nft => nft::rules(rules, families),
        Tool::Iptables => families
            .iter()
            .map(|family| restore::rules(rules, *family, &restore::Present::default()))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}
