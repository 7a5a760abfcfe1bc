//! Policies that undo each other, seen from outside of each.
//!
//! The policies of a destination that are no guards are one pool: an allow rule of one lets pass what another would deny
//! otherwise. That is how teams add to what the platform allows; it is said only where something can never come into force.

use std::collections::HashMap;

use super::coverage::Coverage;
use super::{ReadPolicy, Reading, warn};
use crate::{At, Code, Diagnostic, Mode, Otherwise, Policy, Quota, RuleKind};

pub(super) fn look(read: &Reading<'_>, found: &mut Vec<Diagnostic>) {
    for at in [At::Inbound, At::Outbound] {
        let pool = read.policies.iter().filter(|read| {
            let policy = read.policy;
            policy.mode == Mode::Enforce && !policy.guard && policy.at == at
        });
        let pool: Vec<&ReadPolicy<'_>> = pool.collect();
        defeated(&pool, found);
    }
    twice(read, found);
}

fn defeated(pool: &[&ReadPolicy<'_>], found: &mut Vec<Diagnostic>) {
    // The policies that can defeat another's `otherwise`, with the rule that does.
    let open: Vec<_> = pool
        .iter()
        .filter_map(|read| {
            let all = |rule: &&super::ReadRule<'_>| {
                rule.rule.kind == RuleKind::Allow && rule.is_unconditional()
            };
            Some((read.policy, read.rules.iter().find(all)?.rule))
        })
        .collect();
    let closed: Vec<&Policy> = pool
        .iter()
        .map(|read| read.policy)
        .filter(|policy| matches!(policy.otherwise, Some(Otherwise::Deny { .. })))
        .collect();
    let open_to = Coverage::new(open.iter().map(|(policy, _)| &policy.selector));
    let closed_to = Coverage::new(closed.iter().map(|policy| &policy.selector));
    for here in pool.iter().map(|read| read.policy) {
        let other = |policy: &Policy| !std::ptr::eq(policy, here);
        match &here.otherwise {
            Some(Otherwise::Deny { span, .. }) => {
                let wide = open_to.of(&here.selector).into_iter().map(|at| open[at]);
                if let Some((policy, rule)) = wide.into_iter().find(|(policy, _)| other(policy)) {
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
                let wide = closed_to
                    .of(&here.selector)
                    .into_iter()
                    .map(|at| closed[at]);
                if let Some(policy) = wide.into_iter().find(|policy| other(policy)) {
                    warn(
                        found,
                        Code::OtherwiseDefeated,
                        *span,
                        format!(
                            "this is never reached: policy `{}` denies otherwise what these destinations are asked",
                            policy.name
                        ),
                        "one policy of a destination says what happens otherwise: let this one say nothing (without allow rules) or the same",
                    );
                }
            }
            None => {}
        }
    }
}

/// Quotas that count the same requests against the same limit by the same key.
fn twice(read: &Reading<'_>, found: &mut Vec<Diagnostic>) {
    let policies = read.policies.iter().map(|read| read.policy);
    let mut alike: HashMap<String, Vec<(&Policy, &Quota)>> = HashMap::new();
    for policy in policies.filter(|policy| policy.mode == Mode::Enforce) {
        for quota in policy
            .quotas
            .iter()
            .filter(|quota| quota.mode == Mode::Enforce)
        {
            let same = alike.entry(what_it_counts(policy.at, quota)).or_default();
            same.push((policy, quota));
        }
    }
    for quotas in alike.into_values().filter(|quotas| quotas.len() > 1) {
        let coverage = Coverage::new(quotas.iter().map(|(policy, _)| &policy.selector));
        for (at, (policy, quota)) in quotas.iter().enumerate() {
            let wide = coverage.of(&policy.selector);
            // Of two that cover each other the later one is told.
            let first = wide.into_iter().find(|other| {
                *other != at
                    && (*other < at || !coverage.of(&quotas[*other].0.selector).contains(&at))
            });
            if let Some((other, before)) = first.map(|first| quotas[first]) {
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
}

/// Equal for quotas that count alike.
fn what_it_counts(at: At, quota: &Quota) -> String {
    let sources = |parts: &mut dyn Iterator<Item = &mixer_cel::Expression>| -> Vec<String> {
        parts.map(|part| part.source().to_owned()).collect()
    };
    let when = sources(&mut quota.when.expressions());
    let key = sources(&mut quota.key.iter());
    let (cost, by) = (
        sources(&mut quota.cost.iter()),
        sources(&mut quota.limit.by.iter()),
    );
    let (table, otherwise) = (&quota.limit.table, quota.limit.otherwise);
    let (algorithm, denied, store) = (quota.algorithm, quota.denied, quota.store);
    format!(
        "{at:?} {when:?} {key:?} {cost:?} {by:?} {table:?} {otherwise:?} {algorithm:?} {denied:?} {store}"
    )
}
