//! What is read from a CheckResponse, and what is refused.

use super::*;
use crate::Body;

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
    let refusing = |refusal| v1::Charge {
        refusal: Some(refusal),
        ..charge.clone()
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
                body: Some(v1::Body::default()),
                ..deny()
            }),
            "decision.body.content_type: is not a header value",
        ),
        (
            Some(v1::Decision {
                charges: vec![refusing(v1::Refusal {
                    http_status: 302,
                    ..Default::default()
                })],
                ..allow()
            }),
            "decision.charges[0].refusal.location: is missing though the status redirects",
        ),
        (
            Some(v1::Decision {
                charges: vec![refusing(v1::Refusal {
                    http_status: 200,
                    ..Default::default()
                })],
                ..allow()
            }),
            "decision.charges[0].refusal.http_status: is not a status of a denial",
        ),
        (
            Some(v1::Decision {
                charges: vec![refusing(v1::Refusal {
                    headers: vec![v1::HeaderOperation {
                        value: Some("a\nb".into()),
                        ..header.clone()
                    }],
                    ..Default::default()
                })],
                ..allow()
            }),
            "decision.charges[0].refusal.headers[0].value: is not a header value",
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
fn what_a_denied_caller_is_told_is_taken_whole() {
    let header = |name: &str, value: &str| v1::HeaderOperation {
        target: 2,
        name: name.into(),
        value: Some(value.into()),
    };
    let body = v1::Body {
        content_type: "text/html".into(),
        text: "<p>no</p>".into(),
    };
    let expected_body = Some(Arc::new(Body {
        content_type: "text/html".into(),
        text: "<p>no</p>".into(),
    }));
    let denied = v1::Decision {
        http_status: 401,
        grpc_status: 16,
        headers: vec![header("WWW-Authenticate", "Bearer")],
        body: Some(body.clone()),
        ..decision(v1::Verdict::Deny)
    };
    let answer = |decision| {
        let grants = vec![v1::Grant {
            outcome: 1,
            ..Default::default()
        }];
        let response = v1::CheckResponse {
            decision: Some(decision),
            grants,
        };
        check_response(response).unwrap().decided
    };
    let denied = answer(denied).answer;
    assert_eq!((denied.http_status, denied.grpc_status), (401, 16));
    assert_eq!(denied.body, expected_body);
    let [authenticate] = &*denied.headers else {
        panic!()
    };
    assert!(authenticate.on_response);
    assert_eq!(
        (&*authenticate.name, authenticate.value.as_deref()),
        ("www-authenticate", Some("Bearer"))
    );

    let charged = |refusal| {
        let charge = v1::Charge {
            quota: "q".into(),
            on_error: 1,
            sentence: "requests per client".into(),
            refusal,
            ..Default::default()
        };
        let decision = v1::Decision {
            charges: vec![charge],
            ..decision(v1::Verdict::Allow)
        };
        answer(decision).charges[0].refusal.clone()
    };
    let plain = charged(None);
    assert_eq!(
        (plain.http_status, plain.grpc_status, &*plain.message),
        (429, 8, "requests per client")
    );
    let moved = charged(Some(v1::Refusal {
        http_status: 303,
        grpc_status: 14,
        message: "wait".into(),
        location: "/queue".into(),
        headers: vec![header("x-a", "b")],
        body: Some(body),
    }));
    assert_eq!(
        (moved.http_status, moved.grpc_status, &*moved.message),
        (303, 14, "wait")
    );
    assert_eq!(moved.location.as_deref(), Some("/queue"));
    assert_eq!((moved.headers.len(), moved.body), (1, expected_body));
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
