//! `endpoints`, `subsets`, `balance`, `circuit`, `outlier` and `health` of a service.

use std::time::Duration;

use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{Vocabulary, host};
use mixer_cel::{Compiler, Expect};

use super::super::quota::SCALARS;
use super::SUBSET;
use crate::context::Context;
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::{integer, list, name, percent, scalar, span, word};
use crate::yaml::{Node, Value};
use crate::{Balance, BalanceBy, Circuit, Code, Endpoint, HashKey, Health, Outlier, Probe, Subset};

/// `balance`, as a map.
pub(crate) const BALANCE: Shape = Shape {
    what: "`balance`",
    keys: &["by", "slow_start", "panic"],
    later: &[],
};

/// `circuit`.
pub(crate) const CIRCUIT: Shape = Shape {
    what: "`circuit`",
    keys: &["connections", "pending", "requests"],
    later: &[],
};

/// `outlier`.
pub(crate) const OUTLIER: Shape = Shape {
    what: "`outlier`",
    keys: &["consecutive_errors", "eject", "max_ejected"],
    later: &[],
};

/// `health`.
pub(crate) const HEALTH: Shape = Shape {
    what: "`health`",
    keys: &["http", "tcp", "every", "timeout", "unhealthy", "healthy"],
    later: &[],
};

/// Bounds of what is counted.
const COUNT: std::ops::RangeInclusive<u64> = 1..=1_000_000;

pub(super) fn addresses(node: &Node, problems: &mut Problems) -> Vec<Endpoint> {
    let items = list(node, "`endpoints`", problems).unwrap_or_default();
    items
        .iter()
        .filter_map(|node| endpoint(node, problems))
        .collect()
}

/// A map from names to subsets.
pub(super) fn subsets(node: &Node, problems: &mut Problems) -> Vec<Subset> {
    let entries = match &node.value {
        Value::Map(entries) => entries,
        Value::Wrong => return Vec::new(),
        _ => {
            let message = format!(
                "`subsets` must be a map from names to subsets, this is {}",
                node.what()
            );
            problems
                .error(Code::WrongShape, node.span, message)
                .help("such as `subsets: { v1: { endpoints: [\"10.0.0.5:15006\"] } }`");
            return Vec::new();
        }
    };
    let mut subsets = Vec::new();
    for entry in entries {
        let key = entry.key_node();
        let called = name(&key, "the name of a subset", problems);
        let Some(fields) = Fields::of(&entry.value, SUBSET, problems) else {
            continue;
        };
        let why = "a subset needs `endpoints`";
        let endpoints = fields
            .need("endpoints", why, "", problems)
            .map(|node| addresses(node, problems))
            .unwrap_or_default();
        if let Some(called) = called {
            subsets.push(Subset {
                name: called.into(),
                endpoints,
            });
        }
    }
    subsets
}

/// `address:port` or `dns:name:port`.
fn endpoint(node: &Node, problems: &mut Problems) -> Option<Endpoint> {
    let text = &scalar(node, "an endpoint", problems)?.text;
    let named = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
        let normal = host::normalize(host).filter(|_| !host.contains(':'))?;
        Some((normal.into_owned(), port))
    };
    let parsed = match text.strip_prefix("dns:") {
        Some(rest) => named(rest).map(|(host, port)| Endpoint::Dns(host, port)),
        None => text
            .parse()
            .ok()
            .filter(|address: &std::net::SocketAddr| address.port() > 0)
            .map(Endpoint::Address),
    };
    if parsed.is_none() {
        let error = problems.error(
            Code::Endpoint,
            node.span,
            format!("an endpoint is `address:port` or `dns:name:port`, not `{text}`"),
        );
        if named(text).is_some() {
            error.help(format!("did you mean `dns:{text}`?"));
        }
    }
    parsed
}

pub(super) fn balance(node: &Node, context: &mut Context<'_>) -> Balance {
    let mut balance = Balance::default();
    let Value::Map(_) = &node.value else {
        balance.by = by(node, context).unwrap_or(balance.by);
        return balance;
    };
    let Some(fields) = Fields::of(node, BALANCE, &mut context.problems) else {
        return balance;
    };
    if let Some(node) = fields.get("by") {
        balance.by = by(node, context).unwrap_or(balance.by);
    }
    if let BalanceBy::RingHash(_) = balance.by {
        let why = "has no meaning with `ring-hash`: the hash says where a request goes";
        fields.refuse("slow_start", why, &mut context.problems);
    } else if let Some(node) = fields.get("slow_start") {
        balance.slow_start =
            span(node, "`slow_start`", &mut context.problems).unwrap_or(balance.slow_start);
    }
    if let Some(node) = fields.get("panic") {
        balance.panic = whole(node, "`panic`", &mut context.problems).unwrap_or(balance.panic);
    }
    balance
}

/// A word, or `ring-hash(CEL)`.
fn by(node: &Node, context: &mut Context<'_>) -> Option<BalanceBy> {
    const RING: &str = "ring-hash(";
    let text = &scalar(node, "`balance`", &mut context.problems)?.text;
    if text.starts_with(RING) && text.ends_with(')') {
        let expect = Expect::OneOf(SCALARS.to_vec());
        let range = RING.len()..text.len() - 1;
        let key = context.part(node, range, Producer::Check, expect)?;
        let mut proxy = Compiler::new(Vocabulary::new());
        if proxy
            .expression(
                key.source(),
                Producer::Check,
                Expect::OneOf(SCALARS.to_vec()),
            )
            .is_err()
        {
            let error = context.problems.error(
                Code::NoMeaning,
                node.span,
                "proxies choose endpoints, and do not know attributes of an `attributes` document",
            );
            error.help("hash the built-in attributes it is made from");
            return None;
        }
        return Some(BalanceBy::RingHash(HashKey(key)));
    }
    if let Some((_, by)) = Balance::WORDS.iter().find(|(word, _)| word == text) {
        return Some(by.clone());
    }
    let words = Balance::WORDS.map(|(word, _)| (word, ()));
    let words: Vec<(&str, ())> = words.into_iter().chain([("ring-hash(..)", ())]).collect();
    word(node, "`balance`", &words, &[], &mut context.problems);
    None
}

pub(super) fn circuit(node: &Node, problems: &mut Problems) -> Circuit {
    let mut circuit = Circuit::default();
    let Some(fields) = Fields::of(node, CIRCUIT, problems) else {
        return circuit;
    };
    for (key, place) in [
        ("connections", &mut circuit.connections),
        ("pending", &mut circuit.pending),
        ("requests", &mut circuit.requests),
    ] {
        count(&fields, key, place, problems);
    }
    circuit
}

pub(super) fn outlier(node: &Node, problems: &mut Problems) -> Outlier {
    let mut outlier = Outlier::default();
    let Some(fields) = Fields::of(node, OUTLIER, problems) else {
        return outlier;
    };
    count(
        &fields,
        "consecutive_errors",
        &mut outlier.consecutive_errors,
        problems,
    );
    if let Some(node) = fields.get("eject") {
        outlier.eject = span(node, "`eject`", problems).unwrap_or(outlier.eject);
    }
    if let Some(node) = fields.get("max_ejected") {
        outlier.max_ejected = whole(node, "`max_ejected`", problems).unwrap_or(outlier.max_ejected);
    }
    outlier
}

pub(super) fn health(node: &Node, problems: &mut Problems) -> Option<Health> {
    let fields = Fields::of(node, HEALTH, problems)?;
    let (key, asked) = fields.one_of(&["http", "tcp"], "`health`", problems)?;
    let ask = if key == "http" {
        Probe::Http(path(&asked.value, problems)?)
    } else {
        word(&asked.value, "`tcp`", &[("true", ())], &[], problems)?;
        Probe::Tcp
    };
    let mut health = Health {
        ask,
        every: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        unhealthy: 3,
        healthy: 2,
    };
    for (key, place) in [
        ("every", &mut health.every),
        ("timeout", &mut health.timeout),
    ] {
        if let Some(node) = fields.get(key) {
            *place = span(node, &format!("`{key}`"), problems).unwrap_or(*place);
        }
    }
    count(&fields, "unhealthy", &mut health.unhealthy, problems);
    count(&fields, "healthy", &mut health.healthy, problems);
    Some(health)
}

fn path(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = &scalar(node, "`http`", problems)?.text;
    let wrong = !text.starts_with('/')
        || text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '#' || !c.is_ascii());
    if wrong {
        problems.error(
            Code::WrongShape,
            node.span,
            format!("`http` is a path such as /healthz, not `{text}`"),
        );
        return None;
    }
    Some(text.clone())
}

fn count(fields: &Fields<'_>, key: &str, place: &mut u32, problems: &mut Problems) {
    if let Some(node) = fields.get(key)
        && let Some(count) = integer(node, &format!("`{key}`"), COUNT, problems)
    {
        *place = count as u32;
    }
}

/// A whole percentage.
fn whole(node: &Node, what: &str, problems: &mut Problems) -> Option<u8> {
    let share = percent(node, what, problems)?;
    if share.fract() != 0.0 {
        problems.error(
            Code::Share,
            node.span,
            format!("{what} is a whole percentage"),
        );
        return None;
    }
    Some(share as u8)
}
