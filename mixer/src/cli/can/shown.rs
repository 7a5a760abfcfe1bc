//! An answer, as it is shown.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::Serialize;

use crate::explanation::Explanation;

/// Yes or no, and why.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// `inbound`: the destination's proxy says so; `outbound`: the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    /// HTTP status of a denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    because: String,
    /// Empty when no policy decides.
    policy: String,
    rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Quotas it is charged to when it passes.
    charges: Vec<Charged>,
    /// What something in shadow would have done.
    shadow: Vec<String>,
    #[serde(skip)]
    policies: usize,
}

#[derive(Debug, Serialize)]
struct Charged {
    quota: String,
    place: String,
    cost: i64,
    limit: u64,
    window_seconds: f64,
}

impl Answer {
    pub(super) fn of(story: &Explanation) -> Self {
        let decision = &story.decision;
        let allowed = decision.verdict == "allow";
        let quotas = story.policies.iter().flat_map(|policy| &policy.quotas);
        let charges = quotas.filter_map(|quota| {
            let charge = quota.charge.as_ref()?;
            Some(Charged {
                quota: quota.quota.to_string(),
                place: quota.place.clone(),
                cost: charge.cost,
                limit: charge.limit,
                window_seconds: charge.window_seconds,
            })
        });
        let shadow = decision.shadow.iter().map(|shadow| {
            format!(
                "\"{}\" of policy {} would {}",
                shadow.rule, shadow.policy, shadow.would
            )
        });
        Self {
            allowed,
            side: Some(story.side),
            status: (!allowed).then_some(decision.http_status),
            because: decision.because.to_owned(),
            policy: decision.policy.to_string(),
            rule: decision.rule.to_string(),
            place: decision.place.clone(),
            detail: decision.detail.clone(),
            charges: charges.collect(),
            shadow: shadow.collect(),
            policies: story.policies.len(),
        }
    }

    /// A no that no policy says.
    pub(super) fn refused(status: u16, why: &str) -> Self {
        Self {
            allowed: false,
            side: None,
            status: Some(status),
            because: "refused".to_owned(),
            policy: String::new(),
            rule: String::new(),
            place: None,
            detail: Some(why.to_owned()),
            charges: Vec::new(),
            shadow: Vec::new(),
            policies: 0,
        }
    }

    pub(super) fn nothing_applies(&self) -> bool {
        self.side.is_some() && self.policies == 0
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allowed { "yes" } else { "no" })?;
        if let Some(status) = self.status {
            write!(f, " ({status})")?;
        }
        f.write_str(": ")?;
        match (&*self.policy, &self.place, &self.detail) {
            ("", _, Some(detail)) => writeln!(f, "{detail}")?,
            ("", _, None) => writeln!(f, "no policy decides, by the mesh's default")?,
            (policy, place, detail) => {
                write!(f, "\"{}\" of policy {policy}", self.rule)?;
                if let Some(place) = place {
                    write!(f, " ({place})")?;
                }
                if let Some(detail) = detail {
                    write!(f, ": {detail}")?;
                }
                writeln!(f)?;
            }
        }
        for charge in &self.charges {
            writeln!(
                f,
                "  charged {} of {} in {:?}: \"{}\" ({})",
                charge.cost,
                charge.limit,
                Duration::from_secs_f64(charge.window_seconds),
                charge.quota,
                charge.place
            )?;
        }
        for shadow in &self.shadow {
            writeln!(f, "  in shadow: {shadow}")?;
        }
        Ok(())
    }
}
