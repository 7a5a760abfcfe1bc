//! A CheckResponse as an answer.
//!
//! Everything that is missing or not known here is an error: a release that does not understand an answer must not guess
//! that it allows.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::Vocabulary;
use mixer_proto::v1;

use super::denial::{body, denial, header, location};
use super::quota::{Charge, Grant, charge, grants};
use super::{WireError, each, span};
use crate::cache::Reference;
use crate::{Answer, Because, InFlight, Shadow, Verdict};

/// What Mixer answered to Check.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) decided: Decided,
    /// One for each charge of an allow.
    pub(crate) grants: Vec<Grant>,
}

/// An answer and what may be done with it.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) answer: Answer,
    pub(crate) revision: Arc<str>,
    pub(crate) charges: Arc<[Charge]>,
    /// What was read and whether it was there; `None` when some of it has no number here, so that it cannot be compared.
    pub(crate) read: Option<Vec<(Reference, bool)>>,
    /// `None`: while the revision is in force.
    pub(crate) valid_for: Option<Duration>,
    /// This use included; 0: no bound.
    pub(crate) valid_uses: u32,
}

/// The answer to a Check that takes.
pub(crate) fn check_response(response: v1::CheckResponse) -> Result<Checked, WireError> {
    let decision = response
        .decision
        .ok_or(WireError::new("decision", "is missing"))?;
    let decided = decided(decision)?;
    let grants = match decided.answer.verdict {
        Verdict::Allow => grants(response.grants, decided.charges.len())?,
        Verdict::Deny => Vec::new(),
    };
    Ok(Checked { decided, grants })
}

fn decided(decision: v1::Decision) -> Result<Decided, WireError> {
    let verdict = verdict("decision.verdict", decision.verdict)?;
    let because = because("decision.because", decision.because)?;
    let (http_status, grpc_status) = match verdict {
        Verdict::Allow => (200, 0),
        Verdict::Deny => {
            denial(because, decision.http_status, decision.grpc_status).map_err(in_decision)?
        }
    };
    let location = location(decision.location, http_status).map_err(in_decision)?;
    let body = decision.body.map(body).transpose().map_err(in_decision)?;
    let rule: Arc<str> = decision.rule.into();
    let rule_id = if decision.rule_id.is_empty() {
        rule.clone()
    } else {
        decision.rule_id.into()
    };
    let retry_after = u64::from(decision.retry_after_seconds);
    let charges = decision.charges.into_iter().enumerate();
    Ok(Decided {
        answer: Answer {
            limits: None,
            verdict,
            because,
            policy: decision.policy.into(),
            rule,
            rule_id,
            http_status,
            grpc_status,
            message: decision.message.into(),
            location,
            retry_after: (retry_after > 0).then_some(Duration::from_secs(retry_after)),
            headers: each(decision.headers, "decision.headers", header)?,
            shadow: each(decision.shadow, "decision.shadow", shadow)?,
            body,
            id: decision.id.into(),
            cached: false,
            failure: None,
            in_flight: InFlight::default(),
        },
        revision: decision.revision.into(),
        charges: charges
            .map(|(at, each)| charge(each).map_err(|error| error.within("decision.charges", at)))
            .collect::<Result<_, _>>()?,
        read: decision.referenced.into_iter().map(reference).collect(),
        valid_for: decision
            .valid_for
            .map(|time| span("decision.valid_for", time))
            .transpose()?,
        valid_uses: decision.valid_uses,
    })
}

fn in_decision(error: WireError) -> WireError {
    error.inside("decision")
}

fn verdict(field: &'static str, wire: i32) -> Result<Verdict, WireError> {
    match v1::Verdict::try_from(wire) {
        Ok(v1::Verdict::Allow) => Ok(Verdict::Allow),
        Ok(v1::Verdict::Deny) => Ok(Verdict::Deny),
        Ok(v1::Verdict::Unspecified) | Err(_) => {
            Err(WireError::new(field, "is not one that is known"))
        }
    }
}

fn because(field: &'static str, wire: i32) -> Result<Because, WireError> {
    match v1::Because::try_from(wire) {
        Ok(v1::Because::Matched) => Ok(Because::Matched),
        Ok(v1::Because::Undetermined) => Ok(Because::Undetermined),
        Ok(v1::Because::Otherwise) => Ok(Because::Otherwise),
        Ok(v1::Because::Default) => Ok(Because::Default),
        Ok(v1::Because::Quota) => Ok(Because::Quota),
        Ok(v1::Because::Unavailable) => Ok(Because::Unavailable),
        Ok(v1::Because::Unspecified) | Err(_) => {
            Err(WireError::new(field, "is not one that is known"))
        }
    }
}

fn shadow(shadow: v1::ShadowVerdict) -> Result<Shadow, WireError> {
    Ok(Shadow {
        policy: shadow.policy.into(),
        rule: shadow.rule.into(),
        would: verdict("would", shadow.would)?,
        because: because("because", shadow.because)?,
    })
}

/// `None` for an attribute without a number here: of a newer release, or one that documents declare.
fn reference(reference: v1::Reference) -> Option<(Reference, bool)> {
    let attribute = Vocabulary::by_number(reference.id)?.id;
    Some((
        Reference {
            attribute,
            key: reference.key.map(Into::into),
        },
        reference.present,
    ))
}
