//! What descriptors met, as a rate limit response: the only place that makes one.

use std::collections::HashMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::google::protobuf;
use envoy_types::pb::google::protobuf::value::Kind;
use mixer_documents::PolicySet;

use super::asked::UNITS;
use super::counts::word;
use crate::dispatch::{Limited, Nearest, Over, Told, no_more_than};

/// A response that is being made. It says OVER_LIMIT as soon as one descriptor does, in the words of the first that does.
#[derive(Debug, Default)]
pub(super) struct Answer {
    statuses: Vec<DescriptorStatus>,
    refusal: Option<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    headers: Vec<HeaderValue>,
    body: String,
    metadata: protobuf::Struct,
}

impl Answer {
    /// Adds the status of the next descriptor.
    pub(super) fn add(&mut self, limited: &Limited, set: &PolicySet) {
        let code = match limited.over {
            Some(_) => Code::OverLimit,
            None => Code::Ok,
        };
        let nearest = limited.nearest.as_ref();
        self.statuses.push(DescriptorStatus {
            code: code.into(),
            current_limit: nearest.map(|nearest| current_limit(nearest, set)),
            limit_remaining: nearest.map_or(0, |nearest| clamped(nearest.remaining)),
            duration_until_reset: nearest.map(|nearest| duration(nearest.reset)),
            quota: None,
        });
        if let (Some(over), None) = (&limited.over, &self.refusal) {
            self.refusal = Some(Refusal::of(over, set));
        }
    }

    pub(super) fn finish(self) -> RateLimitResponse {
        let Some(refusal) = self.refusal else {
            return RateLimitResponse {
                overall_code: Code::Ok.into(),
                statuses: self.statuses,
                ..RateLimitResponse::default()
            };
        };
        RateLimitResponse {
            overall_code: Code::OverLimit.into(),
            statuses: self.statuses,
            response_headers_to_add: refusal.headers,
            raw_body: refusal.body.into_bytes(),
            dynamic_metadata: Some(refusal.metadata),
            ..RateLimitResponse::default()
        }
    }
}

impl Refusal {
    fn of(over: &Over, set: &PolicySet) -> Self {
        let mut metadata = HashMap::from([
            ("decision".to_owned(), text(&over.id)),
            ("because".to_owned(), text(word(over.why))),
        ]);
        if let Some((policy, quota)) = over.place {
            let policy = &set.policies[policy];
            metadata.insert("policy".to_owned(), text(&policy.name));
            metadata.insert("quota".to_owned(), text(&policy.quotas[quota].sentence));
        }
        let metadata = protobuf::Struct { fields: metadata };
        let (mut headers, body) = match &over.told {
            Some(told) => said(told),
            None => (Vec::new(), None),
        };
        let body = body.unwrap_or_else(|| {
            headers.push(header("content-type", "text/plain"));
            no_more_than(&over.id)
        });
        Self {
            headers,
            body,
            metadata,
        }
    }
}

/// Headers and the body that the caller is told.
fn said(told: &Told) -> (Vec<HeaderValue>, Option<String>) {
    let headers = told.headers.iter().filter_map(|operation| {
        let value = operation.value.as_ref()?;
        Some(header(&operation.name, value))
    });
    let mut headers: Vec<HeaderValue> = headers.collect();
    let body = match (&told.body, &told.message) {
        (Some(body), _) => Some((&*body.content_type, &body.text)),
        (None, Some(message)) => Some(("text/plain", message)),
        (None, None) => None,
    };
    let body = body.map(|(content_type, text)| {
        headers.push(header("content-type", content_type));
        text.clone()
    });
    (headers, body)
}

fn header(name: &str, value: &str) -> HeaderValue {
    HeaderValue {
        key: name.to_owned(),
        value: value.to_owned(),
        ..HeaderValue::default()
    }
}

fn text(text: &str) -> protobuf::Value {
    protobuf::Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

/// In the protocol's terms. A window that has no unit is UNKNOWN, and the number is that of the window.
fn current_limit(nearest: &Nearest, set: &PolicySet) -> RateLimit {
    let (policy, quota) = nearest.place;
    let window = nearest.limit.window;
    let unit = UNITS
        .iter()
        .find(|(_, seconds)| Duration::from_secs(*seconds) == window);
    RateLimit {
        name: set.policies[policy].quotas[quota].sentence.to_string(),
        requests_per_unit: clamped(nearest.limit.amount),
        unit: unit.map_or(0, |(unit, _)| *unit as i32),
    }
}

fn clamped(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn duration(span: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: span.subsec_nanos() as i32,
    }
}
