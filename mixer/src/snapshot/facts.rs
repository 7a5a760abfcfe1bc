//! What dispatch must know of each policy that its document does not say outright; worked out once.

use mixer_documents::{Mode, Policy};

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
