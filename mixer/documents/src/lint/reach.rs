//! Rules that never decide: what stands before them in the order of decision always does.
//!
//! Within one policy: behind an unconditional deny nothing else of the policy decides, behind an unconditional allow no later
//! allow and no `otherwise` does, and a rule that demands all that an earlier one of its kind demands, and more, matches only
//! where that one matches too. Rules on trial are left alone: they decide nothing by design.

use super::{ReadPolicy, ReadRule, warn};
use crate::{Code, Diagnostic, Otherwise, RuleKind};

pub(super) fn look(policy: &ReadPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let rules = &policy.rules;
    let first = |kind: RuleKind| {
        rules
            .iter()
            .position(|rule| rule.rule.kind == kind && rule.is_unconditional())
    };
    let (deny, allow) = (first(RuleKind::Deny), first(RuleKind::Allow));
    for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.enforced) {
        let before = match rule.rule.kind {
            RuleKind::Deny => deny.filter(|deny| *deny < at),
            RuleKind::Require => deny,
            RuleKind::Allow => deny.or(allow.filter(|allow| *allow < at)),
        };
        if let Some(before) = before {
            let before = &rules[before].rule;
            let does = match before.kind {
                RuleKind::Allow => "lets every request pass",
                _ => "denies every request",
            };
            warn(
                found,
                Code::RuleUnreachable,
                rule.rule.span,
                format!("this rule never decides: `{}` {does}", before.sentence),
                "give that rule a `when`, or remove this one",
            );
        } else if let Some(earlier) = rules[..at].iter().find(|earlier| includes(earlier, rule)) {
            warn(
                found,
                Code::RuleShadowed,
                rule.rule.span,
                format!(
                    "this rule never decides: `{}` matches whenever it does",
                    earlier.rule.sentence
                ),
                "put the special rule before the general one, or remove it",
            );
        }
    }
    if let Some(Otherwise::Deny { span, .. }) = &policy.policy.otherwise
        && let Some(before) = deny.or(allow)
    {
        let before = &rules[before].rule;
        let help = match before.kind {
            RuleKind::Allow => "write `otherwise: allow` in the place of the rule",
            _ => "remove it, or give the rule a `when`",
        };
        warn(
            found,
            Code::OtherwiseUnreachable,
            *span,
            format!(
                "this is never reached: `{}` decides every request",
                before.sentence
            ),
            help,
        );
    }
}

/// Whether `earlier` decides wherever `later` would.
fn includes(earlier: &ReadRule<'_>, later: &ReadRule<'_>) -> bool {
    let sure = earlier.enforced && earlier.rule.ask.is_none();
    if !sure || earlier.rule.kind != later.rule.kind || !later.when.demands_all_of(&earlier.when) {
        return false;
    }
    match (&earlier.that, &later.that) {
        (None, None) => earlier.rule.kind != RuleKind::Require,
        // The later one is unmet only where something of `that` is, and the earlier demands the same.
        (Some(earlier), Some(later)) => earlier.demands_all_of(later),
        _ => false,
    }
}
