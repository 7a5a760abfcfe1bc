//! `mixer-proxy iptables`: the rules that redirect a host's connections to its proxy, shown, put into force, taken away.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::{FAILED, USAGE, fail};
use crate::iptables::{self, Family, Network, Only, Rules, Tool};

/// Rules that redirect connections to this proxy.
#[derive(Debug, Args)]
pub(super) struct Iptables {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Writes the rules to standard output.
    Print(Chosen),
    /// Puts the rules into force, instead of what `apply` did before; as root.
    Apply(Chosen),
    /// Takes away what `apply` did, and nothing else; as root.
    Clean(Chosen),
}

/// Which rules, for what.
#[derive(Debug, Args)]
struct Chosen {
    /// The proxy's user: its connections pass.
    #[arg(long, value_name = "ID", default_value_t = 1337)]
    uid: u32,
    /// The proxy's group: its connections pass.
    #[arg(long, value_name = "ID", default_value_t = 1337)]
    gid: u32,
    /// Where the proxy takes requests to the service.
    #[arg(long, value_name = "PORT", default_value_t = 15_006)]
    inbound_port: u16,
    /// Where the proxy takes the application's own requests.
    #[arg(long, value_name = "PORT", default_value_t = 15_001)]
    outbound_port: u16,
    /// Where the proxy tells of itself; never redirected.
    #[arg(long, value_name = "PORT", default_value_t = 15_020)]
    admin_port: u16,
    /// Added to the ids and the ports above, for a host where another mesh has them.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u16,
    /// Ports of this host that are redirected, `*` for all.
    #[arg(long, value_name = "PORTS", default_value = "*")]
    include_inbound_ports: Only<u16>,
    /// Ports of this host that are not. Neither is 22, unless it is included by name.
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    exclude_inbound_ports: Vec<u16>,
    /// Ports of others that are not redirected. Neither is 53.
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    exclude_outbound_ports: Vec<u16>,
    /// Destinations to which connections are redirected, `*` for all.
    #[arg(long, value_name = "RANGES", default_value = "*")]
    include_outbound_ranges: Only<Network>,
    /// Destinations to which they are not.
    #[arg(long, value_name = "RANGES", value_delimiter = ',')]
    exclude_outbound_ranges: Vec<Network>,
    /// What the rules are for, and put into force with.
    #[arg(long, value_enum, default_value_t = Tool::Iptables)]
    tool: Tool,
    /// Which versions of IP.
    #[arg(long, value_enum, default_value_t = Families::Both)]
    family: Families,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Families {
    Both,
    Ipv4,
    Ipv6,
}

impl Families {
    fn list(self) -> &'static [Family] {
        match self {
            Families::Both => &[Family::V4, Family::V6],
            Families::Ipv4 => &[Family::V4],
            Families::Ipv6 => &[Family::V6],
        }
    }
}

impl Chosen {
    fn rules(&self) -> Option<Rules> {
        let rules = Rules {
            uid: self.uid,
            gid: self.gid,
            inbound: self.inbound_port,
            outbound: self.outbound_port,
            admin: self.admin_port,
            include_inbound: self.include_inbound_ports.clone(),
            exclude_inbound: self.exclude_inbound_ports.clone(),
            exclude_outbound: self.exclude_outbound_ports.clone(),
            include_ranges: self.include_outbound_ranges.clone(),
            exclude_ranges: self.exclude_outbound_ranges.clone(),
            offset: 0,
        };
        rules.moved(self.offset)
    }
}

impl Iptables {
    pub(super) fn run(self) -> ExitCode {
        let (Verb::Print(chosen) | Verb::Apply(chosen) | Verb::Clean(chosen)) = &self.verb;
        let (tool, families) = (chosen.tool, chosen.family.list());
        let Some(rules) = chosen.rules() else {
            let offset = chosen.offset;
            return fail(&format!("--offset {offset}: there is no such port"), USAGE);
        };
        let done = match self.verb {
            Verb::Print(_) => {
                // Nobody may be left to read it.
                let _ = write!(io::stdout(), "{}", iptables::text(&rules, tool, families));
                Ok(())
            }
            Verb::Apply(_) => iptables::apply(&rules, tool, families),
            Verb::Clean(_) => iptables::clean(&rules, tool, families),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string(), FAILED),
        }
    }
}
