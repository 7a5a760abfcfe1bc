//! Limitador's limits: a YAML list, conditions and variables in CEL over `descriptors[N]`.
//!
//! The language is nearly ours: `descriptors[N]` is the descriptor at `rate_limit.index == N`. Two things are not. A condition
//! that cannot be evaluated is false there and makes a quota apply here, so that the keys a condition reads are tested for
//! before; where that would not come to the same, it is an error. And there a limit may read several descriptors at once.

use std::time::Duration;

use super::{Domain, Imported, Made, Windows, finish, literal};
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::{integer, list, name, scalar};
use crate::yaml::{self, Node};
use crate::{Code, Diagnostics, Sources};

mod expression;

use expression::Read;

const SHAPE: Shape = Shape {
    what: "a limit",
    keys: &[
        "namespace",
        "max_value",
        "seconds",
        "conditions",
        "variables",
        "name",
        "id",
    ],
    later: &[],
};

/// Policies that mean what the limits in `sources` mean, one for each namespace.
pub fn limitador(sources: Sources, windows: Windows) -> Result<Imported, Diagnostics> {
    let mut problems = Problems::default();
    let mut domains: Vec<Domain> = Vec::new();
    let mut seen: Vec<(Identity, String)> = Vec::new();
    for file in sources.ids() {
        for tree in yaml::documents(file, sources.text(file), &mut problems) {
            for node in list(&tree, "a file of limits", &mut problems).unwrap_or_default() {
                let Some((made, identity)) = limit(node, &mut problems) else {
                    continue;
                };
                let namespace = identity.0.clone();
                if let Some((_, first)) = seen.iter().find(|(held, _)| *held == identity) {
                    problems
                        .error(Code::NotSupportedYet, node.span, "this limit differs from another in `max_value`, `name` or `id` alone: Limitador keeps one of them")
                        .help(format!("the other is at {first}"));
                }
                seen.push((identity, sources.place(node.span)));
                match domains.iter_mut().find(|domain| domain.name == namespace) {
                    Some(domain) => domain.quotas.push(made),
                    None => domains.push(Domain {
                        name: namespace,
                        quotas: vec![made],
                    }),
                }
            }
        }
    }
    finish(sources, domains, problems, windows)
}

/// Namespace, seconds, conditions and variables.
type Identity = (String, u64, Vec<String>, Vec<String>);

fn limit(node: &Node, problems: &mut Problems) -> Option<(Made, Identity)> {
    let fields = Fields::of(node, SHAPE, problems)?;
    let before = problems.list.len();
    let mut needed = |key| fields.need(key, &format!("a limit needs `{key}`"), "", problems);
    let (namespace, amount, seconds) =
        (needed("namespace"), needed("max_value"), needed("seconds"));
    let namespace = name(namespace?, "`namespace`", problems);
    let amount = integer(amount?, "`max_value`", 1..=i64::MAX as u64, problems);
    let seconds = integer(seconds?, "`seconds`", 1..=u64::from(u32::MAX), problems);
    let conditions = reads(&fields, "conditions", problems);
    let variables = reads(&fields, "variables", problems);
    let mut text = |key| {
        let node = fields.get(key)?;
        name(node, &format!("`{key}`"), problems).map(str::to_owned)
    };
    let (title, id) = (text("name"), text("id"));

    let mut when = Vec::new();
    let mut index = None;
    for (node, read) in conditions.iter().chain(&variables) {
        for at in &read.indices {
            if *index.get_or_insert(*at) != *at {
                problems.error(Code::NotSupportedYet,
                    node.span,
                    "this limit reads several descriptors of one request: each is judged on its own here",
                );
            }
        }
    }
    for (node, read) in &conditions {
        match read.guards() {
            Ok(guards) => {
                for key in guards {
                    let guard = format!("{} in rate_limit.descriptor", literal(key));
                    if !when.contains(&guard) {
                        when.push(guard);
                    }
                }
                when.push(read.text.clone());
            }
            Err(why) => drop(problems.error(Code::NotSupportedYet, node.span, why)),
        }
    }
    for (node, read) in &variables {
        if let Some(why) = read.may_fail() {
            problems.error(Code::NotSupportedYet, node.span, why);
        }
    }
    when.push(format!("rate_limit.index == {}", index.unwrap_or(0)));
    if problems.list.len() > before {
        return None;
    }
    let (amount, seconds) = (amount?, seconds?);
    let own = |of: &[(&Node, Read)]| of.iter().map(|(_, read)| read.text.clone()).collect();
    let namespace = namespace?.to_owned();
    let identity = (
        namespace.clone(),
        seconds,
        own(&conditions),
        own(&variables),
    );
    let made = Made {
        sentence: title
            .or_else(|| id.clone())
            .unwrap_or_else(|| sentence(amount, seconds, &variables)),
        id: id.map(|id| format!("{namespace}/{id}")),
        shadow: false,
        when,
        key: own(&variables),
        absent_skips: !variables.is_empty(),
        amount,
        window: Duration::from_secs(seconds),
        on_the_clock: false,
        span: node.span,
    };
    Some((made, identity))
}

/// The expressions under `key`, each with its node; what cannot be taken over is said.
fn reads<'n>(fields: &Fields<'n>, key: &str, problems: &mut Problems) -> Vec<(&'n Node, Read)> {
    let Some(node) = fields.get(key) else {
        return Vec::new();
    };
    let items = list(node, &format!("`{key}`"), problems).unwrap_or_default();
    let mut reads = Vec::new();
    for item in items {
        let Some(scalar) = scalar(item, "an expression", problems) else {
            continue;
        };
        match Read::of(&scalar.text) {
            Ok(read) => reads.push((item, read)),
            Err(why) => drop(problems.error(Code::NotSupportedYet, item.span, why)),
        }
    }
    reads
}

fn sentence(amount: u64, seconds: u64, variables: &[(&Node, Read)]) -> String {
    let keys: Vec<&str> = variables
        .iter()
        .flat_map(|(_, read)| read.keys.iter().map(String::as_str))
        .collect();
    match keys.is_empty() {
        true => format!("{amount} in {seconds}s"),
        false => format!("{amount} in {seconds}s for each {}", keys.join(" and ")),
    }
}
