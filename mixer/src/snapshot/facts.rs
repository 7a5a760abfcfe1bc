//! What dispatch must know of each policy that its document does not say outright; worked out once.

use mixer_attributes::{AttributeId, Vocabulary, vocabulary};
use mixer_cel::Expression;
use mixer_documents::{Condition, Mode, Policy, PolicySet, Protocol, Quota, Rule};

/// Of one policy.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Adapters its rules ask, each once.
    pub(crate) asks: Vec<usize>,
    /// It is enforced and has shadow rules.
    pub(crate) has_shadow_rules: bool,
    /// Per rule: it reads something of a request, so that it does not apply to services declared tcp.
    pub(crate) rule_reads_request: Vec<bool>,
    /// Per quota, likewise.
    pub(crate) quota_reads_request: Vec<bool>,
}

impl Facts {
    /// Of `policy`.
    pub(crate) fn of(policy: &Policy, vocabulary: &Vocabulary) -> Self {
        let mut asks: Vec<usize> = policy
            .rules
            .iter()
            .filter_map(|rule| rule.ask.as_ref())
            .map(|ask| ask.adapter)
            .collect();
        asks.sort_unstable();
        asks.dedup();
        let reads = |expression: &Expression| {
            expression
                .reads()
                .iter()
                .any(|read| is_of_request(read.attribute, vocabulary))
        };
        Self {
            asks,
            has_shadow_rules: policy.mode == Mode::Enforce
                && policy.rules.iter().any(|rule| rule.mode == Mode::Shadow),
            rule_reads_request: policy
                .rules
                .iter()
                .map(|rule| of_rule(rule).any(reads))
                .collect(),
            quota_reads_request: policy
                .quotas
                .iter()
                .map(|quota| of_quota(quota).any(reads))
                .collect(),
        }
    }
}

/// The attributes (and keys of `destination.labels`) that decide which policies apply, and whether the destination is tcp.
pub(crate) fn consulted(set: &PolicySet, facts: &[Facts]) -> Vec<(AttributeId, Option<String>)> {
    let policies = set.policies.iter().map(|policy| &policy.selector);
    let telemetry = set.telemetry.iter().map(|telemetry| &telemetry.selector);
    let mut consulted: Vec<_> = policies
        .chain(telemetry)
        .flat_map(|selector| selector.reads())
        .collect();
    consulted.push((vocabulary::CONTEXT_REPORTER, None));
    let some_tcp = set
        .services
        .iter()
        .any(|service| service.protocol == Some(Protocol::Tcp));
    let some_request = facts.iter().any(|facts| {
        facts
            .rule_reads_request
            .iter()
            .chain(&facts.quota_reads_request)
            .any(|reads| *reads)
    });
    if some_tcp && some_request {
        consulted.push((vocabulary::DESTINATION_SERVICE, None));
    }
    consulted.sort_unstable();
    consulted.dedup();
    consulted
}

fn is_of_request(attribute: AttributeId, vocabulary: &Vocabulary) -> bool {
    vocabulary
        .by_id(attribute)
        .is_some_and(|attribute| attribute.name.starts_with("request."))
}

fn of_rule(rule: &Rule) -> impl Iterator<Item = &Expression> {
    let that = rule.that.iter().flat_map(of_condition);
    let with = rule.ask.iter().flat_map(|ask| &ask.with);
    of_condition(&rule.when).chain(that).chain(with)
}

fn of_quota(quota: &Quota) -> impl Iterator<Item = &Expression> {
    of_condition(&quota.when)
        .chain(&quota.key)
        .chain(&quota.limit.by)
        .chain(&quota.cost)
}

fn of_condition(condition: &Condition) -> impl Iterator<Item = &Expression> {
    condition.lines.iter().map(|(line, _)| line)
}
