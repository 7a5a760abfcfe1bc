//! What things are called: decisions in one line, places, attributes and their values.

use mixer_attributes::{AttributeBag, Dynamic, Entry, Value, Vocabulary};
use mixer_cel::Reference;
use mixer_documents::{Otherwise, Policy, PolicySet, Span};

use crate::dispatch::{Because, Decision, Verdict};

/// A decision in one line.
pub(crate) fn summary(decision: &Decision) -> String {
    let verdict = match decision.verdict {
        Verdict::Allow => "allowed",
        Verdict::Deny => "denied",
    };
    let by = match decision.because {
        Because::Default => "by the mesh's default".to_owned(),
        _ if decision.policy.is_empty() => "by nothing".to_owned(),
        _ => format!("by \"{}\" of policy {}", decision.rule, decision.policy),
    };
    let because = match decision.because {
        Because::Matched | Because::Otherwise | Because::Default => "",
        Because::Undetermined => " (undetermined)",
        Because::Quota => " (over the limit)",
        Because::Unavailable => " (unavailable)",
    };
    let detail = decision
        .detail
        .as_ref()
        .map_or(String::new(), |detail| format!(": {detail}"));
    format!("{verdict} {by}{because}{detail}")
}

/// `path:line:column` of what decided; `None` for the mesh's default.
pub(crate) fn place(set: &PolicySet, decision: &Decision) -> Option<String> {
    let policy = set
        .policies
        .iter()
        .find(|policy| policy.name == decision.policy)?;
    let span = span_of(policy, &decision.rule)?;
    Some(set.warnings.sources.place(span))
}

/// Where a sentence of `policy` stands.
fn span_of(policy: &Policy, sentence: &str) -> Option<Span> {
    let rules = policy.rules.iter().map(|rule| (&*rule.sentence, rule.span));
    let quotas = policy
        .quotas
        .iter()
        .map(|quota| (&*quota.sentence, quota.span));
    let otherwise = policy.otherwise.iter().map(|otherwise| match otherwise {
        Otherwise::Allow { span } => ("otherwise", *span),
        Otherwise::Deny { sentence, span, .. } => (&**sentence, *span),
    });
    let mut all = rules.chain(quotas).chain(otherwise);
    all.find(|(said, _)| *said == sentence)
        .map(|(_, span)| span)
}

/// The longest text that [`printable`] leaves whole, in characters.
const LONGEST: usize = 200;

/// A text of a request as it may go to a terminal: cut, and what could command the terminal escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (at, char) in text.chars().enumerate() {
        if at == LONGEST {
            shown.push_str("...");
            break;
        }
        if char.is_control() {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// `allow` or `deny`.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

/// As it is called on the wire and in metrics.
pub(crate) fn because(because: Because) -> &'static str {
    match because {
        Because::Matched => "matched",
        Because::Undetermined => "undetermined",
        Because::Otherwise => "otherwise",
        Because::Default => "default",
        Because::Quota => "quota",
        Because::Unavailable => "unavailable",
    }
}

/// `request.method`, or `request.headers["x-tester"]`.
pub(crate) fn name_of(reference: &Reference, vocabulary: &Vocabulary) -> String {
    let name = vocabulary
        .by_id(reference.attribute)
        .map_or("?", |attribute| attribute.name.as_str());
    match &reference.key {
        Some(key) => format!("{name}[{key:?}]"),
        None => name.to_owned(),
    }
}

/// Its value in the request; `None` when that has none.
pub(super) fn value_of(reference: &Reference, bag: &AttributeBag<'_>) -> Option<String> {
    match (bag.value(reference.attribute)?, &reference.key) {
        (Value::Dynamic(tree), None) => Some(json(tree).to_string()),
        (value, None) => Some(value.to_string()),
        (Value::Map(map), Some(key)) => match map.lookup(key) {
            Entry::Value(value) => Some(format!("{value:?}")),
            Entry::Ambiguous => Some("(given twice)".to_owned()),
            Entry::Absent => None,
        },
        (Value::Dynamic(tree), Some(key)) => {
            tree.member(key).map(|member| json(member).to_string())
        }
        (value, Some(_)) => Some(value.to_string()),
    }
}

fn json(tree: &Dynamic) -> serde_json::Value {
    match tree {
        Dynamic::Null => serde_json::Value::Null,
        Dynamic::Bool(bit) => (*bit).into(),
        Dynamic::Int(number) => (*number).into(),
        Dynamic::Double(number) => (*number).into(),
        Dynamic::String(text) => text.as_str().into(),
        Dynamic::List(items) => items.iter().map(json).collect(),
        Dynamic::Map(members) => {
            let members = members.iter();
            members
                .map(|(key, member)| (key.clone(), json(member)))
                .collect()
        }
    }
}
