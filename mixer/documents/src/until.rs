//! Trials that should have ended: what is in shadow `until` a time that has passed.
//!
//! The time changes no verdict and no revision, so that two Mixers whose clocks differ decide the same; it is a reminder, said
//! when documents are loaded. What time it is comes in from outside.

use std::sync::Arc;
use std::time::SystemTime;

use mixer_attributes::Timestamp;

use crate::{Code, Diagnostic, Diagnostics, PolicySet, Span};

/// How long something is meant to be in shadow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Until {
    /// As written: a date or an RFC 3339 time.
    pub text: Arc<str>,
    /// When it ends; a date ends with its day, in UTC.
    pub ends: Timestamp,
    /// Its place.
    pub span: Span,
}

impl PolicySet {
    /// Adds a warning to [`PolicySet::warnings`] for each policy, rule and quota that is still in shadow at `now` though it was
    /// to be only until before.
    pub fn warn_overdue(&mut self, now: SystemTime) {
        let now = Timestamp::from(now);
        let trials = self.policies.iter().flat_map(|policy| {
            let rules = policy.rules.iter().filter_map(|rule| rule.until.as_ref());
            let quotas = policy
                .quotas
                .iter()
                .filter_map(|quota| quota.until.as_ref());
            policy.until.iter().chain(rules).chain(quotas)
        });
        let overdue = trials.filter(|until| until.ends <= now).map(|until| {
            let message = format!("in shadow until {}, which has passed", until.text);
            let mut warning = Diagnostic::warning(Code::TrialOver, until.span, message);
            warning.help("enforce it (`mode: enforce`), or move the date");
            warning
        });
        let mut list = std::mem::take(&mut self.warnings.list);
        list.extend(overdue);
        let sources = std::mem::take(&mut self.warnings.sources);
        self.warnings = Diagnostics::new(sources, list);
    }
}
