//! What became of rate limit descriptors, as metrics: an atomic for each outcome, and for refusals the quota that refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use mixer_adapter::exposition::rendered;
use mixer_adapter::{Exposition, FamilyKind};
use mixer_documents::PolicySet;

use crate::dispatch::{Limited, Why};
use crate::server::metrics::Counter;

const OUTCOMES: [&str; 5] = [
    "ok",
    "unmatched",
    "over_limit",
    "undetermined",
    "unavailable",
];

/// Series of refusals; those of quotas beyond it are in the outcomes alone.
const MOST_SERIES: usize = 10_000;

/// Counts of descriptors.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    outcomes: [Counter; OUTCOMES.len()],
    refusals: Mutex<BTreeMap<Series, u64>>,
}

/// Policy and quota.
type Series = [Arc<str>; 2];

impl Counts {
    pub(super) fn count(&self, limited: &Limited, set: &PolicySet) {
        let outcome = match (&limited.over, &limited.nearest) {
            (None, Some(_)) => 0,
            (None, None) => 1,
            (Some(over), _) => match over.why {
                Why::Reached => 2,
                Why::Undetermined => 3,
                Why::Unavailable => 4,
            },
        };
        self.outcomes[outcome].add(1);
        let Some((policy, quota)) = limited.over.as_ref().and_then(|over| over.place) else {
            return;
        };
        let policy = &set.policies[policy];
        let series = [policy.name.clone(), policy.quotas[quota].id.clone()];
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let room = refusals.len() < MOST_SERIES;
        match refusals.get_mut(&series) {
            Some(count) => *count += 1,
            None if room => drop(refusals.insert(series, 1)),
            None => {}
        }
    }

    /// Writes them.
    pub(crate) fn expose(&self, page: &mut Exposition) {
        let help = "Descriptors that the rate limit service judged";
        if let Some(mut written) =
            page.family("mixer_rate_limit_descriptors", help, FamilyKind::Counter)
        {
            for (outcome, count) in OUTCOMES.iter().zip(&self.outcomes) {
                written.value(&rendered(&[("outcome", outcome)]), count.read() as f64);
            }
        }
        let help = "Descriptors that a quota refused";
        if let Some(mut written) =
            page.family("mixer_rate_limit_refusals", help, FamilyKind::Counter)
        {
            let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            for ([policy, quota], count) in &*refusals {
                let labels = rendered(&[("policy", policy), ("quota", quota)]);
                written.value(&labels, *count as f64);
            }
        }
    }
}

/// In metrics and metadata.
pub(crate) fn word(why: Why) -> &'static str {
    match why {
        Why::Reached => "quota",
        Why::Undetermined => "undetermined",
        Why::Unavailable => "unavailable",
    }
}
