//! What dispatch must know of a set that its documents do not say outright; worked out once.

use mixer_attributes::{AttributeId, vocabulary};
use mixer_documents::{Mode, Policy, PolicySet, Protocol};

/// Of one policy.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Adapters its rules ask, each once.
    pub(crate) asks: Vec<usize>,
    /// It is enforced and has shadow rules.
    pub(crate) has_shadow_rules: bool,
}

impl Facts {
    /// Of `policy`.
    pub(crate) fn of(policy: &Policy) -> Self {
        let asked = policy.rules.iter().filter_map(|rule| rule.ask.as_ref());
        let mut asks: Vec<usize> = asked.map(|ask| ask.adapter).collect();
        asks.sort_unstable();
        asks.dedup();
        let has_shadow_rules = policy.mode == Mode::Enforce
            && policy.rules.iter().any(|rule| rule.mode == Mode::Shadow);
        Self {
            asks,
            has_shadow_rules,
        }
    }
}

/// The attributes (and keys of `destination.labels`) that decide what applies.
pub(crate) fn consulted(set: &PolicySet) -> Vec<(AttributeId, Option<String>)> {
    let policies = set.policies.iter().map(|policy| &policy.selector);
    let telemetry = set.telemetry.iter().map(|telemetry| &telemetry.selector);
    let mut consulted: Vec<_> = policies
        .chain(telemetry)
        .flat_map(|selector| selector.reads())
        .collect();
    consulted.push((vocabulary::CONTEXT_REPORTER, None));
    if set
        .services
        .iter()
        .any(|service| service.protocol == Some(Protocol::Tcp))
    {
        consulted.push((vocabulary::DESTINATION_SERVICE, None));
    }
    consulted.sort_unstable();
    consulted.dedup();
    consulted
}
