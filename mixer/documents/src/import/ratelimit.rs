//! Files of envoyproxy/ratelimit: a domain and a tree of descriptors, exact values before wildcards before keys alone.
//!
//! A request's descriptor walks that tree from the root and never goes back: it takes the child with its value, else the first
//! whose wildcard fits, else the one without a value, and meets the limit of the node at which its entries end. So each limit
//! is a quota whose condition names the keys in full, the values on the way, and the siblings that would have been taken.

use std::time::Duration;

use super::{Domain, Imported, Made, Windows, finish, literal, literals};
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::{boolean, integer, list, name, scalar, word};
use crate::yaml::{self, Node, Value};
use crate::{Code, Diagnostics, Sources, Span};

const FILE: Shape = Shape {
    what: "a file of limits",
    keys: &["domain", "descriptors"],
    later: &[],
};

const DESCRIPTOR: Shape = Shape {
    what: "a descriptor",
    keys: &[
        "key",
        "value",
        "rate_limit",
        "descriptors",
        "shadow_mode",
        "detailed_metric",
        "value_to_metric",
        "share_threshold",
        "quota_mode",
        "metadata",
    ],
    later: &[],
};

const LIMIT: Shape = Shape {
    what: "`rate_limit`",
    keys: &["unit", "requests_per_unit", "unlimited", "name", "replaces"],
    later: &[],
};

const UNITS: [(&str, u64); 7] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 3_600),
    ("day", 86_400),
    ("week", 7 * 86_400),
    ("month", 30 * 86_400),
    ("year", 365 * 86_400),
];

/// One step of a path through the tree.
#[derive(Clone)]
struct Step {
    key: String,
    value: Matcher,
    /// What siblings of the same key take before it.
    taken: Vec<Matcher>,
    /// All values share one counter.
    shared: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Matcher {
    Exact(String),
    /// With `*` somewhere.
    Wildcard(String),
    Any,
}

/// Policies that mean what the files in `sources` mean, one for each domain.
pub fn ratelimit(sources: Sources, windows: Windows) -> Result<Imported, Diagnostics> {
    let mut problems = Problems::default();
    let mut domains: Vec<(Domain, Span)> = Vec::new();
    for file in sources.ids() {
        for tree in yaml::documents(file, sources.text(file), &mut problems) {
            let Some(fields) = Fields::of(&tree, FILE, &mut problems) else {
                continue;
            };
            let why = "a file of limits needs `domain`";
            let Some(domain) = fields.need("domain", why, "", &mut problems) else {
                continue;
            };
            let Some(called) = name(domain, "`domain`", &mut problems) else {
                continue;
            };
            if let Some((_, first)) = domains.iter().find(|(held, _)| held.name == called) {
                problems
                    .error(
                        Code::NameTaken,
                        domain.span,
                        format!("the domain `{called}` is there already"),
                    )
                    .help(format!("the first is at {}", sources.place(*first)));
            }
            let mut quotas = Vec::new();
            if let Some(descriptors) = fields.get("descriptors") {
                walk(descriptors, &[], &mut quotas, &mut problems);
            }
            let name = called.to_owned();
            domains.push((Domain { name, quotas }, domain.span));
        }
    }
    let domains = domains.into_iter().map(|(domain, _)| domain).collect();
    finish(sources, domains, problems, windows)
}

fn walk(node: &Node, path: &[Step], quotas: &mut Vec<Made>, problems: &mut Problems) {
    let mut siblings: Vec<(Step, Fields<'_>)> = Vec::new();
    for node in list(node, "`descriptors`", problems).unwrap_or_default() {
        let Some(fields) = Fields::of(node, DESCRIPTOR, problems) else {
            continue;
        };
        let Some(step) = step(&fields, problems) else {
            continue;
        };
        if siblings
            .iter()
            .any(|(held, _)| held.key == step.key && held.value == step.value)
        {
            problems.error(
                Code::NameTaken,
                node.span,
                "this key and value are there already",
            );
        }
        siblings.push((step, fields));
    }
    let all: Vec<Step> = siblings.iter().map(|(step, _)| step.clone()).collect();
    for (at, (mut step, fields)) in siblings.into_iter().enumerate() {
        let before = |(position, sibling): (usize, &Step)| {
            let first = match (&sibling.value, &step.value) {
                (Matcher::Exact(_), Matcher::Wildcard(_) | Matcher::Any) => true,
                (Matcher::Wildcard(_), Matcher::Any) => true,
                (Matcher::Wildcard(_), Matcher::Wildcard(_)) => position < at,
                _ => false,
            };
            (first && sibling.key == step.key).then(|| sibling.value.clone())
        };
        step.taken = all.iter().enumerate().filter_map(before).collect();
        let mut path = path.to_vec();
        path.push(step);
        if let Some(made) = quota(&fields, &path, problems) {
            quotas.push(made);
        }
        if let Some(children) = fields.get("descriptors") {
            walk(children, &path, quotas, problems);
        }
    }
}

fn step(fields: &Fields<'_>, problems: &mut Problems) -> Option<Step> {
    let key = fields.need("key", "a descriptor needs `key`", "", problems)?;
    let key = scalar(key, "`key`", problems)?.text.clone();
    let value = match fields.get("value").map(|node| (node, &node.value)) {
        None | Some((_, Value::Null)) => String::new(),
        Some((node, _)) => scalar(node, "`value`", problems)?.text.clone(),
    };
    let mut flag = |key| {
        let node = fields.get(key)?;
        boolean(node, &format!("`{key}`"), problems)
    };
    let shared = flag("share_threshold") == Some(true);
    for metric in ["detailed_metric", "value_to_metric"] {
        if let Some(node) = fields.get(metric)
            && boolean(node, &format!("`{metric}`"), problems) == Some(true)
        {
            problems.warning(Code::NoMeaning,
                node.span,
                format!("`{metric}` names statistics and changes no limit: it is left out; Mixer counts by quota"),
            );
        }
    }
    for (key, why) in [
        ("quota_mode", "all quotas that apply are enforced here"),
        (
            "metadata",
            "what is told of a refusal is its policy, quota and id",
        ),
    ] {
        if let Some(entry) = fields.entry(key)
            && !matches!(&entry.value.value, Value::Scalar(scalar) if scalar.text == "false")
        {
            problems.error(
                Code::NotSupportedYet,
                entry.span,
                format!("`{key}` cannot be taken over: {why}"),
            );
        }
    }
    let value = match &*value {
        "" => Matcher::Any,
        text if text.contains('*') => Matcher::Wildcard(value),
        _ => Matcher::Exact(value),
    };
    if shared && matches!(value, Matcher::Exact(_)) {
        let why = "has no meaning for an exact value: it has one counter";
        fields.refuse("share_threshold", why, problems);
    }
    Some(Step {
        key,
        value,
        taken: Vec::new(),
        shared,
    })
}

/// The quota of the node at the end of `path`, if it limits anything.
fn quota(fields: &Fields<'_>, path: &[Step], problems: &mut Problems) -> Option<Made> {
    let shadow = match fields.get("shadow_mode") {
        Some(node) => boolean(node, "`shadow_mode`", problems)?,
        None => false,
    };
    let node = fields.get("rate_limit")?;
    let limit = Fields::of(node, LIMIT, problems)?;
    if let Some(entry) = limit.entry("replaces") {
        problems.error(
            Code::NotSupportedYet,
            entry.span,
            "`replaces` cannot be taken over: here no descriptor changes what another one meets",
        );
        return None;
    }
    if let Some(node) = limit.get("unlimited")
        && boolean(node, "`unlimited`", problems)?
    {
        // Nothing limits it, and its siblings leave it out.
        return None;
    }
    let mut needed = |key| limit.need(key, &format!("`rate_limit` needs `{key}`"), "", problems);
    let (unit, amount) = (needed("unit"), needed("requests_per_unit"));
    let seconds = word(unit?, "`unit`", &UNITS, &[], problems);
    let amount = integer(
        amount?,
        "`requests_per_unit`",
        1..=u64::from(u32::MAX),
        problems,
    );
    let own = limit
        .get("name")
        .and_then(|node| name(node, "`name`", problems));
    let (mut when, mut key) = (Vec::new(), Vec::new());
    let keys = path.iter().map(|step| &*step.key);
    when.push(format!("rate_limit.keys == {}", literals(keys)));
    for (at, step) in path.iter().enumerate() {
        let once = path.iter().filter(|other| other.key == step.key).count() == 1;
        let value = match once {
            true => format!("rate_limit.descriptor[{}]", literal(&step.key)),
            false => format!("rate_limit.values[{at}]"),
        };
        when.extend(step.conditions(&value));
        if !step.shared && !matches!(step.value, Matcher::Exact(_)) {
            key.push(value);
        }
    }
    Some(Made {
        sentence: own.map_or_else(|| sentence(path), str::to_owned),
        id: None,
        shadow,
        when,
        key,
        absent_skips: false,
        amount: amount?,
        window: Duration::from_secs(seconds?),
        on_the_clock: true,
        span: node.span,
    })
}

fn sentence(path: &[Step]) -> String {
    let steps = path.iter().map(|step| match &step.value {
        Matcher::Exact(value) | Matcher::Wildcard(value) => format!("{}={value}", step.key),
        Matcher::Any => step.key.clone(),
    });
    let sentence = steps.collect::<Vec<_>>().join(", ");
    // A sentence is at most 200 characters long.
    sentence.chars().take(180).collect()
}

impl Step {
    fn conditions(&self, value: &str) -> Vec<String> {
        let mut conditions: Vec<String> = self.value.condition(value).into_iter().collect();
        let exact: Vec<&str> = self
            .taken
            .iter()
            .filter_map(|taken| match taken {
                Matcher::Exact(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        if !exact.is_empty() {
            conditions.push(format!("!({value} in {})", literals(exact.into_iter())));
        }
        let wildcards = self
            .taken
            .iter()
            .filter(|taken| matches!(taken, Matcher::Wildcard(_)));
        let wildcards = wildcards.filter_map(|taken| taken.condition(value));
        conditions.extend(wildcards.map(|condition| format!("!{condition}")));
        conditions
    }
}

impl Matcher {
    fn condition(&self, value: &str) -> Option<String> {
        match self {
            Matcher::Any => None,
            Matcher::Exact(text) => Some(format!("{value} == {}", literal(text))),
            Matcher::Wildcard(pattern) => Some(match pattern.split('*').collect::<Vec<_>>()[..] {
                [start, ""] => format!("{value}.startsWith({})", literal(start)),
                ["", end] => format!("{value}.endsWith({})", literal(end)),
                ref parts => {
                    let parts: Vec<String> = parts.iter().map(|part| escaped(part)).collect();
                    let regex = format!("(?s)^{}$", parts.join(".*"));
                    format!("{value}.matches({})", literal(&regex))
                }
            }),
        }
    }
}

/// A text that a regular expression takes for itself.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        c if c.is_ascii_punctuation() && c != '_' => vec!['\\', c],
        c => vec![c],
    };
    text.chars().flat_map(escape).collect()
}
