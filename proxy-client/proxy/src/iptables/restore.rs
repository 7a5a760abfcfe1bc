//! Rules as iptables-restore reads them, with `--noflush`: naming a chain empties it or makes it, and what is between `*nat` and
//! `COMMIT` comes into force at once or not at all. What is there already must be told, since a jump cannot be removed if it is not.

use std::fmt::Write;

use super::{Condition, Family, Rule, Rules, Verdict};

/// Where connections of others to this host come by, and those that begin here. Docker's host forwards what is not for itself.
const HOOKS: [(&str, &str); 2] = [
    ("PREROUTING", "-p tcp --syn -m addrtype --dst-type LOCAL"),
    ("OUTPUT", "-p tcp --syn"),
];

/// What a host has of our rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Present {
    /// Lines of `iptables-save` that jump to our chains.
    jumps: Vec<String>,
    chains: bool,
}

impl Present {
    /// Reads what `iptables-save -t nat` says.
    pub(super) fn read(saved: &str, rules: &Rules) -> Self {
        let chains = chains(rules);
        let jumps = saved.lines().filter(|line| {
            let jump = line.rsplit_once(" -j ");
            line.starts_with("-A ")
                && jump.is_some_and(|(_, to)| chains.iter().any(|chain| chain == to.trim()))
        });
        Self {
            jumps: jumps.map(str::to_owned).collect(),
            chains: saved.lines().any(|line| {
                let named = line
                    .strip_prefix(':')
                    .and_then(|line| line.split(' ').next());
                named.is_some_and(|named| chains.iter().any(|chain| chain == named))
            }),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.jumps.is_empty() && !self.chains
    }

    /// The lines that take the jumps away.
    fn removed(&self) -> String {
        self.jumps.iter().fold(String::new(), |mut text, jump| {
            let _ = writeln!(text, "-D {}", jump.trim_start_matches("-A "));
            text
        })
    }
}

/// The text that puts `rules` into force instead of what is `present`.
pub(super) fn rules(rules: &Rules, family: Family, present: &Present) -> String {
    let mut text = opening(rules, family);
    text += &present.removed();
    let chains = chains(rules);
    for ((hook, condition), chain) in HOOKS.iter().zip(&chains) {
        let _ = writeln!(text, "-A {hook} {condition} -j {chain}");
    }
    for (chain, rules) in chains.iter().zip([rules.inbound(), rules.outbound(family)]) {
        for rule in rules {
            let _ = writeln!(text, "-A {chain} {}", line(&rule));
        }
    }
    text + "COMMIT\n"
}

/// The text that removes what is `present`, and nothing else.
pub(super) fn removal(rules: &Rules, family: Family, present: &Present) -> String {
    let mut text = opening(rules, family);
    text += &present.removed();
    for chain in chains(rules) {
        let _ = writeln!(text, "-X {chain}");
    }
    text + "COMMIT\n"
}

fn opening(rules: &Rules, family: Family) -> String {
    let program = match family {
        Family::V4 => "iptables-restore",
        Family::V6 => "ip6tables-restore",
    };
    let mut text = format!("# {program} --noflush\n*nat\n");
    for chain in chains(rules) {
        let _ = writeln!(text, ":{chain} - [0:0]");
    }
    text
}

/// The chain of each hook.
fn chains(rules: &Rules) -> [String; 2] {
    let mesh = match rules.offset {
        0 => "MIXER".to_owned(),
        offset => format!("MIXER_{offset}"),
    };
    [format!("{mesh}_INBOUND"), format!("{mesh}_OUTPUT")]
}

fn line(rule: &Rule) -> String {
    let mut text = "-p tcp".to_owned();
    for condition in &rule.conditions {
        let _ = match condition {
            Condition::Port(port) => write!(text, " --dport {port}"),
            Condition::From(network) => write!(text, " -s {network}"),
            Condition::To(network) => write!(text, " -d {network}"),
            Condition::NotTo(network) => write!(text, " ! -d {network}"),
            Condition::OverLoopback => write!(text, " -o lo"),
            Condition::OfUser(id) => write!(text, " -m owner --uid-owner {id}"),
            Condition::OfGroup(id) => write!(text, " -m owner --gid-owner {id}"),
        };
    }
    let _ = match rule.verdict {
        Verdict::Pass => write!(text, " -j RETURN"),
        Verdict::Redirect(port) => write!(text, " -j REDIRECT --to-ports {port}"),
    };
    text
}
