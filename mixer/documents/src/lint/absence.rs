//! Conditions that mean something else where what they read is absent.
//!
//! Reading what is not there has no value. A deny rule that has none denies, an allow rule that has none lets nobody pass;
//! with `==` that is what everybody expects, with `!=` it is not.

use mixer_attributes::vocabulary::{self, AttributeId};
use mixer_cel::{Clause, ClauseKind, Comparison, Place};

use super::contradiction::same;
use super::{ReadPolicy, Reading, warn};
use crate::{Code, Diagnostic, RuleKind};

/// What a caller without a verified identity has not.
const IDENTITY: [AttributeId; 6] = [
    vocabulary::SOURCE_PRINCIPAL,
    vocabulary::SOURCE_TRUST_DOMAIN,
    vocabulary::SOURCE_NAMESPACE,
    vocabulary::SOURCE_SERVICE_ACCOUNT,
    vocabulary::AUTH_ISSUER,
    vocabulary::AUTH_PRINCIPAL,
];

pub(super) fn look(read: &Reading<'_>, policy: &ReadPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for line in policy.conditions().flat_map(|condition| &condition.lines) {
        line.clause.visit(&mut |part| {
            if let ClauseKind::Any(branches) = &part.kind
                && let Some(branch) = asked_where_absent(branches)
            {
                let span = read.place(line, branch.span.clone());
                warn(
                    found,
                    Code::AbsentBranch,
                    span,
                    "this is asked only where what it reads is absent, and then has no value",
                    "`has(x) && x == ..` asks a value that is there; `!has(x) || x == ..` lets an absent one pass",
                );
            }
        });
    }
    for rule in &policy.rules {
        let differs: Vec<_> = rule
            .when
            .terms()
            .filter_map(|(line, term)| Some((line, term, unlike(term)?)))
            .filter(|(.., place)| !is_tested(place, rule.when.terms().map(|(_, term)| term)))
            .collect();
        for (line, term, place) in differs {
            let (message, help) = match rule.rule.kind {
                RuleKind::Deny
                    if !rule.rule.absent_matches && IDENTITY.contains(&place.attribute) =>
                {
                    (
                        "callers without this identity are denied too: what is absent cannot be compared, and a deny rule that cannot be decided denies",
                        "if that is meant, give the rule `absent: match`; else write `has(..) && ..`",
                    )
                }
                RuleKind::Allow if place.key.is_some() => (
                    "a request that lacks this key does not pass: what is absent cannot be compared",
                    "say what an absent one counts as: `[?\"x\"].orValue(\"\")`; or write `!has(..) || ..`",
                ),
                _ => continue,
            };
            let span = read.place(line, term.span.clone());
            warn(found, Code::AbsentDiffers, span, message, help);
        }
    }
}

/// What a term demands to be unlike something, absent or not.
fn unlike(term: &Clause) -> Option<&Place> {
    let place = match &term.kind {
        ClauseKind::Compare(place, Comparison::IsNot(_)) => place,
        ClauseKind::Not(inner) => match &inner.kind {
            ClauseKind::Compare(place, _) => place,
            _ => return None,
        },
        _ => return None,
    };
    Some(place).filter(|place| place.or_value.is_none())
}

/// Whether some term demands that it is there.
fn is_tested<'c>(place: &Place, mut terms: impl Iterator<Item = &'c Clause>) -> bool {
    terms.any(|term| match &term.kind {
        ClauseKind::Has(tested) => same(tested, place),
        ClauseKind::Compare(other, Comparison::OneOf(_)) => same(other, place),
        _ => false,
    })
}

/// In `has(x) || x == ..`, the second.
fn asked_where_absent(branches: &[Clause]) -> Option<&Clause> {
    branches.iter().enumerate().find_map(|(at, branch)| {
        let place = match &branch.kind {
            ClauseKind::Compare(place, _) | ClauseKind::Holds(place) => place,
            _ => return None,
        };
        let tested = branches[..at]
            .iter()
            .any(|before| matches!(&before.kind, ClauseKind::Has(tested) if same(tested, place)));
        (tested && place.or_value.is_none()).then_some(branch)
    })
}
