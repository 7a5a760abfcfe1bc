//! Answers that stand ready: nothing applies, or there was no decision.

use std::sync::Arc;
use std::time::Duration;

use crate::wire::Charge;
use crate::{Answer, Because, Failure, InFlight, Verdict};

/// Made once, so that an overload is not made worse by building its answers.
#[derive(Debug)]
pub(crate) struct Standing {
    nothing: Answer,
    closed: [Answer; 4],
    open: [Answer; 4],
}

/// When a caller is told to ask again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Standing {
    pub(crate) fn new() -> Self {
        let failures = [
            Failure::Unreachable,
            Failure::Overloaded,
            Failure::Cold,
            Failure::Malformed,
        ];
        let blank = blank();
        Self {
            closed: failures.map(|failure| Answer {
                failure: Some(failure),
                message: said(failure).into(),
                ..unavailable(&blank)
            }),
            open: failures.map(|failure| Answer {
                because: Because::Unavailable,
                failure: Some(failure),
                ..blank.clone()
            }),
            nothing: blank,
        }
    }

    /// Nothing applies to the destination.
    pub(crate) fn nothing(&self) -> Answer {
        self.nothing.clone()
    }

    /// There was no decision.
    pub(crate) fn failed(&self, failure: Failure, open: bool) -> Answer {
        let ready = if open { &self.open } else { &self.closed };
        ready[failure as usize].clone()
    }
}

/// The denial of a request that `decided` allows and whose charge is refused.
pub(crate) fn refused(decided: &Answer, charge: &Charge, retry_after: Option<Duration>) -> Answer {
    Answer {
        verdict: Verdict::Deny,
        because: Because::Quota,
        http_status: charge.refusal.http_status,
        grpc_status: charge.refusal.grpc_status,
        message: charge.refusal.message.clone(),
        location: charge.refusal.location.clone(),
        headers: charge.refusal.headers.clone(),
        body: charge.refusal.body.clone(),
        retry_after,
        ..charged(decided, charge)
    }
}

/// The denial of a request that `decided` allows and whose charge cannot be counted.
pub(crate) fn uncounted(decided: &Answer, charge: &Charge, failure: Option<Failure>) -> Answer {
    Answer {
        message: "cannot decide now: the quota cannot be counted".into(),
        failure,
        ..unavailable(&charged(decided, charge))
    }
}

fn charged(decided: &Answer, charge: &Charge) -> Answer {
    Answer {
        policy: charge.policy.clone(),
        rule: charge.sentence.clone(),
        rule_id: charge.counter.quota.clone(),
        headers: Arc::default(),
        ..decided.clone()
    }
}

fn unavailable(answer: &Answer) -> Answer {
    Answer {
        verdict: Verdict::Deny,
        because: Because::Unavailable,
        http_status: 503,
        grpc_status: 14,
        retry_after: Some(RETRY_AFTER),
        ..answer.clone()
    }
}

fn blank() -> Answer {
    let empty: Arc<str> = Arc::from("");
    Answer {
        verdict: Verdict::Allow,
        because: Because::Nothing,
        policy: empty.clone(),
        rule: empty.clone(),
        rule_id: empty.clone(),
        http_status: 200,
        grpc_status: 0,
        message: empty.clone(),
        location: None,
        retry_after: None,
        headers: Arc::default(),
        body: None,
        shadow: Arc::default(),
        id: empty,
        cached: false,
        failure: None,
        limits: None,
        in_flight: InFlight::default(),
    }
}

fn said(failure: Failure) -> &'static str {
    match failure {
        Failure::Unreachable => "policy cannot be decided: Mixer does not answer",
        Failure::Overloaded => "policy cannot be decided: Mixer is overloaded",
        Failure::Cold => "policy cannot be decided: Mixer was not heard of yet",
        Failure::Malformed => {
            "policy cannot be decided: Mixer and proxy do not understand each other"
        }
    }
}
