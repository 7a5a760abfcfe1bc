//! Policies that undo each other, seen from outside of each.
//!
//! The policies of a destination that are no guards are one pool: an allow rule of one lets pass what another would deny
//! otherwise. That is how teams add to what the platform allows; it is said only where something can never come into force.

use super::coverage::covers;
use super::{ReadPolicy, Reading, warn};
use crate::{Code, Diagnostic, Mode, Otherwise, Policy, Quota, RuleKind};

pub(super) fn look(read: &Reading<'_>, found: &mut Vec<Diagnostic>) {
    let pool: Vec<&ReadPolicy<'_>> = read
        .policies
        .iter()
        .filter(|read| read.policy.mode == Mode::Enforce && !read.policy.guard)
        .collect();
    for here in &pool {
        let others = || {
            pool.iter().filter(|other| {
                !std::ptr::eq(other.policy, here.policy)
                    && other.policy.at == here.policy.at
                    && covers(&other.policy.selector, &here.policy.selector)
            })
        };
        match &here.policy.otherwise {
            Some(Otherwise::Deny { span, .. }) => {
                let open = others().find_map(|other| {
                    let all = other.rules.iter().find(|rule| {
                        rule.rule.kind == RuleKind::Allow && rule.is_unconditional()
                    })?;
                    Some((other.policy, all.rule))
                });
                if let Some((policy, rule)) = open {
                    warn(
                        found,
                        Code::OtherwiseDefeated,
                        *span,
                        format!(
                            "this is never reached: `{}` of policy `{}` lets every request to these destinations pass",
                            rule.sentence, policy.name
                        ),
                        "give that rule a `when`, or make this policy a guard (`guard: true`): it is then decided alone",
                    );
                }
            }
            Some(Otherwise::Allow { span }) => {
                let closed = others()
                    .find(|other| matches!(other.policy.otherwise, Some(Otherwise::Deny { .. })));
                if let Some(other) = closed {
                    warn(
                        found,
                        Code::OtherwiseDefeated,
                        *span,
                        format!(
                            "this is never reached: policy `{}` denies otherwise what these destinations are asked",
                            other.policy.name
                        ),
                        "one policy of a destination says what happens otherwise: let this one say nothing (without allow rules) or the same",
                    );
                }
            }
            None => {}
        }
    }
    twice(read, found);
}

/// Quotas that count the same requests against the same limit by the same key.
fn twice(read: &Reading<'_>, found: &mut Vec<Diagnostic>) {
    let quotas: Vec<(&Policy, &Quota)> = read
        .policies
        .iter()
        .filter(|read| read.policy.mode == Mode::Enforce)
        .flat_map(|read| read.policy.quotas.iter().map(|quota| (read.policy, quota)))
        .filter(|(_, quota)| quota.mode == Mode::Enforce)
        .collect();
    for (at, (policy, quota)) in quotas.iter().enumerate() {
        let first = quotas[..at].iter().find(|(other, before)| {
            policy.at == other.at
                && alike(quota, before)
                && (covers(&policy.selector, &other.selector)
                    || covers(&other.selector, &policy.selector))
        });
        if let Some((other, before)) = first {
            warn(
                found,
                Code::QuotaTwice,
                quota.span,
                format!(
                    "every request this counts is counted by `{}` of policy `{}` too, by the same key and against the same limit",
                    before.sentence, other.name
                ),
                "one of them is enough",
            );
        }
    }
}

fn alike(a: &Quota, b: &Quota) -> bool {
    let sources = |quota: &Quota| -> Vec<String> {
        let parts = quota.when.expressions().chain(&quota.key);
        let parts = parts.chain(&quota.cost).chain(&quota.limit.by);
        parts.map(|part| part.source().to_owned()).collect()
    };
    sources(a) == sources(b)
        && a.when.lines.len() == b.when.lines.len()
        && a.key.len() == b.key.len()
        && a.cost.is_some() == b.cost.is_some()
        && a.limit.otherwise == b.limit.otherwise
        && a.limit.table == b.limit.table
        && a.algorithm == b.algorithm
        && a.store == b.store
}
