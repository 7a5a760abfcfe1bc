//! What is read from a CheckResponse, and what is refused.

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
