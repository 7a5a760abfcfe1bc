//! What became of buckets, as metrics.

use mixer_adapter::exposition::rendered;
use mixer_adapter::{Exposition, FamilyKind};

use super::super::rate_limit::word;
use crate::dispatch::Why;
use crate::dispatch::assign::{Assigned, Strategy, Usage};
use crate::server::metrics::{Counter, Gauge};

const KINDS: [&str; 5] = ["allow", "tokens", "rate", "deny", "abandon"];
const WHYS: [Why; 3] = [Why::Reached, Why::Undetermined, Why::Unavailable];
const REFUSED: [&str; 2] = ["streams", "buckets"];
const OUTCOMES: [&str; 2] = ["allowed", "denied"];

/// What there was no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Stream,
    Bucket,
}

/// Counts of streams, buckets and assignments.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(super) streams: Gauge,
    pub(super) buckets: Gauge,
    assignments: [Counter; KINDS.len()],
    denials: [Counter; WHYS.len()],
    refused: [Counter; REFUSED.len()],
    requests: [Counter; OUTCOMES.len()],
}

impl Counts {
    pub(super) fn assigned(&self, assigned: &Assigned) {
        let kind = match assigned.strategy {
            Some(Strategy::AllowAll) => 0,
            Some(Strategy::Tokens { .. }) => 1,
            Some(Strategy::Rate { .. }) => 2,
            Some(Strategy::DenyAll) => 3,
            None => 4,
        };
        self.assignments[kind].add(1);
        if let Some(why) = assigned.why {
            let at = WHYS.iter().position(|known| *known == why);
            self.denials[at.expect("all are listed")].add(1);
        }
    }

    pub(super) fn refused(&self, what: Refused) {
        self.refused[what as usize].add(1);
    }

    pub(super) fn reported(&self, usage: Usage) {
        self.requests[0].add(usage.allowed);
        self.requests[1].add(usage.denied);
    }

    /// Writes them.
    pub(crate) fn expose(&self, page: &mut Exposition) {
        let streams = self.streams.read();
        page.gauge(
            "mixer_rate_limit_quota_streams",
            "Envoys that stream usage of rate limit quotas",
            &[],
            streams,
        );
        let buckets = self.buckets.read();
        page.gauge(
            "mixer_rate_limit_quota_buckets",
            "Buckets that they report",
            &[],
            buckets,
        );
        let whys = WHYS.map(word);
        for (name, help, label, words, counts) in [
            (
                "mixer_rate_limit_quota_assignments",
                "What buckets were assigned",
                "strategy",
                &KINDS[..],
                &self.assignments[..],
            ),
            (
                "mixer_rate_limit_quota_denials",
                "Assignments of nothing",
                "because",
                &whys[..],
                &self.denials[..],
            ),
            (
                "mixer_rate_limit_quota_refused",
                "What there was no room for",
                "what",
                &REFUSED[..],
                &self.refused[..],
            ),
            (
                "mixer_rate_limit_quota_requests",
                "Requests that Envoys reported",
                "outcome",
                &OUTCOMES[..],
                &self.requests[..],
            ),
        ] {
            if let Some(mut written) = page.family(name, help, FamilyKind::Counter) {
                for (word, count) in words.iter().zip(counts) {
                    written.value(&rendered(&[(label, word)]), count.read() as f64);
                }
            }
        }
    }
}
