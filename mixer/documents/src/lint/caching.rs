//! Rules that keep proxies from reusing answers.
//!
//! An answer holds for every request that is equal in what was read for it. A rule that reads what no two requests share makes
//! every request to its destinations a question to Mixer.

use mixer_attributes::vocabulary::{self, AttributeId};
use mixer_cel::{Expression, Read};

use super::{Reading, warn};
use crate::{Code, Diagnostic, Policy};

/// No two requests share them.
const OWN: [AttributeId; 2] = [vocabulary::REQUEST_ID, vocabulary::REQUEST_TIME];

pub(super) fn look(read: &Reading<'_>, found: &mut Vec<Diagnostic>) {
    let vocabulary = &read.set.vocabulary;
    for policy in read.policies.iter().map(|read| read.policy) {
        for rule in &policy.rules {
            let conditions = rule
                .when
                .expressions()
                .chain(rule.that.iter().flat_map(|that| that.expressions()));
            let inputs = rule.ask.iter().flat_map(|ask| &ask.with);
            let costly = conditions
                .chain(inputs)
                .flat_map(Expression::reads)
                .find(|read| is_own(read));
            let Some(costly) = costly else { continue };
            let name = vocabulary
                .by_id(costly.attribute)
                .map_or("", |attribute| attribute.name.as_str());
            let what = match costly.attribute {
                vocabulary::REQUEST_HEADERS => {
                    format!("it reads all of `{name}`, which hardly two requests share")
                }
                _ => format!("it reads `{name}`, which no two requests share"),
            };
            warn(
                found,
                Code::CacheDefeated,
                rule.span,
                format!(
                    "because of this rule no answer for {} can be used again: {what}",
                    destinations(policy)
                ),
                "proxies then ask Mixer about every request; read single keys, or what callers have in common",
            );
        }
    }
}

fn is_own(read: &Read) -> bool {
    OWN.contains(&read.attribute)
        || (read.attribute == vocabulary::REQUEST_HEADERS && read.key.is_none())
}

fn destinations(policy: &Policy) -> String {
    match policy.selector.only(vocabulary::DESTINATION_SERVICE) {
        Some(services) if !services.is_empty() => services
            .iter()
            .map(|service| format!("`{service}`"))
            .collect::<Vec<_>>()
            .join(", "),
        _ => "the destinations of this policy".to_owned(),
    }
}
