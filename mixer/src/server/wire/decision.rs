//! Decisions, grants and scopes as messages. A decision is encoded here and nowhere else, whole: a verdict cannot be left out.

use mixer_attributes::{AttributeId, Vocabulary};
use mixer_cel::Reference;
use mixer_documents::{Algorithm, Denied, Fail, LeaseLimit, PolicySet, QuotaOnError, Tell};
use mixer_proto::v1;
use mixer_proto::v1::header_operation::Target;

use super::time;
use crate::dispatch::{
    Because, Body, Charge, Decision, Enforced, HeaderOperation, Outcome, Taken, Told, Verdict,
    no_more_than,
};

/// The answer to a Check. `set` is the one that decided.
pub(crate) fn check_response(
    decision: Decision,
    grants: Vec<v1::Grant>,
    set: &PolicySet,
) -> v1::CheckResponse {
    let charges = decision
        .charges
        .into_iter()
        .map(|made| charge(made, &decision.id, set))
        .collect();
    let referenced = decision.referenced.iter();
    let decision = v1::Decision {
        verdict: verdict(decision.verdict).into(),
        because: because(decision.because).into(),
        policy: decision.policy.as_ref().to_owned(),
        rule: decision.rule.as_ref().to_owned(),
        rule_id: decision.rule_id.as_ref().to_owned(),
        http_status: decision.http_status.into(),
        grpc_status: decision.grpc_status.into(),
        message: decision.message,
        location: decision.location.unwrap_or_default(),
        retry_after_seconds: decision.retry_after.map_or(0, whole_seconds),
        revision: decision.revision.as_ref().to_owned(),
        // What is in shadow is evaluated after this answer, and counted by Mixer.
        shadow: Vec::new(),
        headers: each(decision.headers, Target::Request)
            .chain(each(decision.reply_headers, Target::Response))
            .collect(),
        charges,
        referenced: referenced
            .map(|(read, present)| reference(read, *present, &set.vocabulary))
            .collect(),
        valid_for: decision.valid_for.map(time),
        valid_uses: decision.valid_uses,
        id: decision.id,
        body: decision.body.map(body),
    };
    v1::CheckResponse {
        decision: Some(decision),
        grants,
    }
}

/// What an asker says it answered a request with; `None`: it asks for a decision.
pub(crate) fn answered(request: &v1::CheckRequest) -> Option<Enforced> {
    let verdict = match request.answered() {
        v1::Verdict::Unspecified => return None,
        v1::Verdict::Allow => Verdict::Allow,
        v1::Verdict::Deny => Verdict::Deny,
    };
    let because = match request.answered_because() {
        v1::Because::Undetermined => Because::Undetermined,
        v1::Because::Otherwise => Because::Otherwise,
        v1::Because::Default => Because::Default,
        v1::Because::Quota => Because::Quota,
        v1::Because::Unavailable => Because::Unavailable,
        v1::Because::Matched | v1::Because::Unspecified => Because::Matched,
    };
    Some((verdict, because))
}

/// What became of one charge.
pub(crate) fn grant(taken: &Taken) -> v1::Grant {
    let outcome = match taken.outcome {
        Outcome::Granted => v1::grant::Outcome::Granted,
        Outcome::Refused => v1::grant::Outcome::Refused,
        Outcome::Unavailable => v1::grant::Outcome::Unavailable,
        Outcome::Unknown => v1::grant::Outcome::Unknown,
    };
    v1::Grant {
        outcome: outcome.into(),
        lease: taken.lease,
        lease_for: (taken.lease > 0).then(|| time(taken.lease_for)),
        retry_after: taken.retry_after.map(time),
        remaining: taken.remaining,
        reset: (!taken.reset.is_zero()).then(|| time(taken.reset)),
    }
}

/// What a proxy must know about one destination.
pub(crate) fn scope(destination: &str, scope: &mixer_documents::Scope) -> v1::Scope {
    v1::Scope {
        destination: destination.to_owned(),
        revision: scope.revision.as_ref().to_owned(),
        rules: scope.rules,
        quotas: scope.quotas,
        fail: fail(scope.fail).into(),
        reads_path: scope.reads_path,
        records: scope.records,
        trace_sample: scope.trace_sample,
        standard_metrics: scope.standard_metrics,
        shadow: scope.shadow,
        reads_claims: scope.reads_claims,
    }
}

fn fail(fail: Fail) -> v1::Fail {
    match fail {
        Fail::Closed => v1::Fail::Closed,
        Fail::Open => v1::Fail::Open,
    }
}

fn verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Allow => v1::Verdict::Allow,
        Verdict::Deny => v1::Verdict::Deny,
    }
}

fn because(because: Because) -> v1::Because {
    match because {
        Because::Matched => v1::Because::Matched,
        Because::Undetermined => v1::Because::Undetermined,
        Because::Otherwise => v1::Because::Otherwise,
        Because::Default => v1::Because::Default,
        Because::Quota => v1::Because::Quota,
        Because::Unavailable => v1::Because::Unavailable,
    }
}

fn each(
    operations: Vec<HeaderOperation>,
    target: Target,
) -> impl Iterator<Item = v1::HeaderOperation> {
    operations
        .into_iter()
        .map(move |operation| v1::HeaderOperation {
            target: target.into(),
            name: operation.name,
            value: operation.value,
        })
}

fn body(body: Body) -> v1::Body {
    v1::Body {
        content_type: body.content_type.as_ref().to_owned(),
        text: body.text,
    }
}

fn refusal(told: Told, decision: &str) -> v1::Refusal {
    v1::Refusal {
        http_status: told.http_status.into(),
        grpc_status: told.grpc_status.into(),
        message: told.message.unwrap_or_else(|| no_more_than(decision)),
        location: told.location.unwrap_or_default(),
        headers: each(told.headers, Target::Response).collect(),
        body: told.body.map(body),
    }
}

/// A charge of the decision of that id.
fn charge(charge: Charge, decision: &str, set: &PolicySet) -> v1::Charge {
    let (policy, quota) = charge.place;
    let policy = &set.policies[policy];
    let quota = &policy.quotas[quota];
    let (on_error, local_percent) = match charge.on_error {
        QuotaOnError::Allow => (v1::OnError::Allow, 0),
        QuotaOnError::Deny => (v1::OnError::Deny, 0),
        QuotaOnError::Local(percent) => (v1::OnError::Local, percent.into()),
    };
    v1::Charge {
        quota: charge.quota.as_ref().to_owned(),
        key: charge.key,
        cost: charge.cost,
        on_error: on_error.into(),
        local_percent,
        amount: charge.limit.amount,
        window: Some(time(charge.limit.window)),
        lease: match quota.lease {
            LeaseLimit::Auto => None,
            LeaseLimit::AtMost(most) => Some(most),
        },
        tier: charge.tier,
        policy: policy.name.as_ref().to_owned(),
        sentence: quota.sentence.as_ref().to_owned(),
        shadow: charge.shadow,
        refusal: Some(refusal(charge.told, decision)),
        hold: match quota.algorithm {
            Algorithm::Concurrency { hold } => Some(time(hold)),
            _ => None,
        },
        counts_denied: quota.denied == Denied::Counts,
        tell: match quota.tell {
            Tell::Nothing => v1::Tell::Nothing,
            Tell::RateLimit => v1::Tell::RateLimit,
            Tell::XRateLimit => v1::Tell::XRateLimit,
            Tell::Both => v1::Tell::Both,
        }
        .into(),
    }
}

/// Built-in attributes travel by id, custom ones by name.
fn reference(reference: &Reference, present: bool, vocabulary: &Vocabulary) -> v1::Reference {
    let (id, name) = match reference.attribute.is_custom() {
        false => (reference.attribute.number().into(), String::new()),
        true => (0, name(reference.attribute, vocabulary)),
    };
    v1::Reference {
        id,
        name,
        key: reference.key.as_deref().map(str::to_owned),
        present,
    }
}

fn name(id: AttributeId, vocabulary: &Vocabulary) -> String {
    let declared = vocabulary
        .by_id(id)
        .expect("a set's expressions read its own vocabulary");
    declared.name.clone()
}

/// Rounded up, so that who waits that long does not come too early.
fn whole_seconds(span: std::time::Duration) -> u32 {
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
