//! A CheckResponse as an answer.
//!
//! Everything that is missing or not known here is an error: a release that does not understand an answer must not guess
//! that it allows.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use mixer_attributes::Vocabulary;
use mixer_proto::v1;

use super::quota::{Charge, Grant, charge, grants};
use super::{WireError, span};
use crate::cache::Reference;
use crate::{Answer, Because, HeaderOperation, Shadow, Verdict};

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
        Verdict::Deny => denial(because, decision.http_status, decision.grpc_status)?,
    };
    let location = (!decision.location.is_empty()).then_some(decision.location);
    if let Some(target) = &location {
        HeaderValue::from_str(target)
            .map_err(|_| WireError::new("decision.location", "is not a header value"))?;
    } else if (300..400).contains(&http_status) {
        return Err(WireError::new(
            "decision.location",
            "is missing though the status redirects",
        ));
    }
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
            verdict,
            because,
            policy: decision.policy.into(),
            rule,
            rule_id,
            http_status,
            grpc_status,
            message: decision.message.into(),
            location: location.map(Into::into),
            retry_after: (retry_after > 0).then_some(Duration::from_secs(retry_after)),
            headers: each(decision.headers, "decision.headers", header)?,
            shadow: each(decision.shadow, "decision.shadow", shadow)?,
            id: decision.id.into(),
            cached: false,
            failure: None,
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

/// The statuses of a denial; those that are not said follow from why it is one.
fn denial(because: Because, http: u32, grpc: u32) -> Result<(u16, u8), WireError> {
    let (usual_http, usual_grpc) = match because {
        Because::Quota => (429, 8),
        Because::Unavailable => (503, 14),
        _ => (403, 7),
    };
    let http = match http {
        0 => usual_http,
        301 | 302 | 303 | 307 | 308 | 400..=599 => http as u16,
        _ => {
            return Err(WireError::new(
                "decision.http_status",
                "is not a status of a denial",
            ));
        }
    };
    let grpc = match grpc {
        0 => usual_grpc,
        1..=16 => grpc as u8,
        _ => {
            return Err(WireError::new(
                "decision.grpc_status",
                "is not a status of gRPC",
            ));
        }
    };
    Ok((http, grpc))
}

fn header(operation: v1::HeaderOperation) -> Result<HeaderOperation, WireError> {
    use v1::header_operation::Target;
    let on_response = match Target::try_from(operation.target) {
        Ok(Target::Request) => false,
        Ok(Target::Response) => true,
        Ok(Target::Unspecified) | Err(_) => {
            return Err(WireError::new("target", "is not one that is known"));
        }
    };
    let name = HeaderName::from_bytes(operation.name.as_bytes())
        .map_err(|_| WireError::new("name", "is not a header name"))?;
    if let Some(value) = &operation.value {
        HeaderValue::from_str(value)
            .map_err(|_| WireError::new("value", "is not a header value"))?;
    }
    Ok(HeaderOperation {
        on_response,
        name: name.as_str().into(),
        value: operation.value.map(Into::into),
    })
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

fn each<W, T>(
    list: Vec<W>,
    name: &str,
    read: impl Fn(W) -> Result<T, WireError>,
) -> Result<Arc<[T]>, WireError> {
    let list = list.into_iter().enumerate();
    list.map(|(at, element)| read(element).map_err(|error| error.within(name, at)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(verdict: v1::Verdict) -> v1::Decision {
        v1::Decision {
            verdict: verdict.into(),
            because: v1::Because::Matched.into(),
            ..Default::default()
        }
    }

    fn problem(decision: Option<v1::Decision>) -> String {
        check_response(v1::CheckResponse {
            decision,
            grants: vec![],
        })
        .unwrap_err()
        .to_string()
    }

    #[test]
    fn what_makes_no_sense_is_an_error_that_names_the_field_never_an_allow() {
        let allow = || decision(v1::Verdict::Allow);
        let deny = || decision(v1::Verdict::Deny);
        let charge = v1::Charge {
            quota: "q".into(),
            on_error: 1,
            ..Default::default()
        };
        let header = v1::HeaderOperation {
            target: 1,
            name: "x-a".into(),
            value: Some("1".into()),
        };
        let shadow = v1::ShadowVerdict {
            would: 2,
            because: 1,
            ..Default::default()
        };
        let negative = Some(v1::Time {
            seconds: -1,
            nanos: 0,
        });
        let cases = [
            (None, "decision: is missing"),
            (
                Some(decision(v1::Verdict::Unspecified)),
                "decision.verdict: is not one that is known",
            ),
            (
                Some(v1::Decision {
                    verdict: 3,
                    ..allow()
                }),
                "decision.verdict: is not one that is known",
            ),
            (
                Some(v1::Decision {
                    because: 0,
                    ..allow()
                }),
                "decision.because: is not one that is known",
            ),
            (
                Some(v1::Decision {
                    http_status: 200,
                    ..deny()
                }),
                "decision.http_status: is not a status of a denial",
            ),
            (
                Some(v1::Decision {
                    grpc_status: 17,
                    ..deny()
                }),
                "decision.grpc_status: is not a status of gRPC",
            ),
            (
                Some(v1::Decision {
                    http_status: 302,
                    ..deny()
                }),
                "decision.location: is missing though the status redirects",
            ),
            (
                Some(v1::Decision {
                    http_status: 302,
                    location: "a\r\nb".into(),
                    ..deny()
                }),
                "decision.location: is not a header value",
            ),
            (
                Some(v1::Decision {
                    valid_for: negative,
                    ..allow()
                }),
                "decision.valid_for: is negative",
            ),
            (
                Some(v1::Decision {
                    charges: vec![charge.clone()],
                    ..allow()
                }),
                "grants: does not have one grant for each charge",
            ),
            (
                Some(v1::Decision {
                    charges: vec![v1::Charge {
                        cost: -1,
                        ..charge.clone()
                    }],
                    ..allow()
                }),
                "decision.charges[0].cost: is negative",
            ),
            (
                Some(v1::Decision {
                    charges: vec![v1::Charge {
                        on_error: 0,
                        ..charge
                    }],
                    ..allow()
                }),
                "decision.charges[0].on_error: is not one that is known",
            ),
            (
                Some(v1::Decision {
                    headers: vec![
                        header.clone(),
                        v1::HeaderOperation {
                            target: 0,
                            ..header.clone()
                        },
                    ],
                    ..allow()
                }),
                "decision.headers[1].target: is not one that is known",
            ),
            (
                Some(v1::Decision {
                    headers: vec![v1::HeaderOperation {
                        value: Some("a\nb".into()),
                        ..header
                    }],
                    ..allow()
                }),
                "decision.headers[0].value: is not a header value",
            ),
            (
                Some(v1::Decision {
                    shadow: vec![v1::ShadowVerdict { would: 0, ..shadow }],
                    ..allow()
                }),
                "decision.shadow[0].would: is not one that is known",
            ),
        ];
        for (decision, expected) in cases {
            assert_eq!(problem(decision), expected);
        }
    }

    #[test]
    fn statuses_that_are_not_said_follow_from_the_reason() {
        let cases = [
            (v1::Because::Matched, 403, 7),
            (v1::Because::Undetermined, 403, 7),
            (v1::Because::Otherwise, 403, 7),
            (v1::Because::Default, 403, 7),
            (v1::Because::Unavailable, 503, 14),
            (v1::Because::Quota, 429, 8),
        ];
        for (because, http, grpc) in cases {
            let decision = v1::Decision {
                because: because.into(),
                ..decision(v1::Verdict::Deny)
            };
            let response = v1::CheckResponse {
                decision: Some(decision),
                grants: vec![],
            };
            let answer = check_response(response).unwrap().decided.answer;
            assert_eq!(
                (answer.http_status, answer.grpc_status),
                (http, grpc),
                "{because:?}"
            );
        }
    }

    #[test]
    fn a_reference_without_a_number_here_makes_the_answer_incomparable() {
        let known = v1::Reference {
            id: 18,
            present: true,
            ..Default::default()
        };
        let named = v1::Reference {
            name: "cart.size".into(),
            present: true,
            ..Default::default()
        };
        let newer = v1::Reference {
            id: 1_000,
            present: true,
            ..Default::default()
        };
        for (referenced, comparable) in [
            (vec![known.clone()], true),
            (vec![known.clone(), named], false),
            (vec![known, newer], false),
        ] {
            let decision = v1::Decision {
                referenced,
                ..decision(v1::Verdict::Allow)
            };
            let response = v1::CheckResponse {
                decision: Some(decision),
                grants: vec![],
            };
            assert_eq!(
                check_response(response).unwrap().decided.read.is_some(),
                comparable
            );
        }
    }
}
