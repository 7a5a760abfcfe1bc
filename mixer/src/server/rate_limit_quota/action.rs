//! What a bucket is assigned, in the terms of the protocol that Envoy's filter understands.
//!
//! It takes blanket rules and token buckets, no `requests_per_time_unit`; a time to live in whole seconds, where none is no time
//! at all; a refill over whole seconds. A token bucket that replaces another begins as full as that was, in parts of a whole: right
//! for a rate that changes, wrong for requests that were counted out. Those are told as two actions, first that nothing passes,
//! then the new bucket, which is full as none was before it. Envoy takes all actions of an answer before a request sees any.

use envoy_types::pb::envoy::service::rate_limit_quota::v3::BucketId;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_response::BucketAction;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_response::bucket_action::{
    AbandonAction, BucketAction as Action, QuotaAssignmentAction,
};
use envoy_types::pb::envoy::r#type::v3::rate_limit_strategy::{BlanketRule, Strategy as Written};
use envoy_types::pb::envoy::r#type::v3::{RateLimitStrategy, TokenBucket};
use envoy_types::pb::google::protobuf::{Duration, UInt32Value};

use crate::dispatch::assign::{LIFE, Strategy};

/// A bucket that does not refill gets one token in this time.
const NEVER: i64 = 86_400;

/// Tells what becomes of `bucket`, which was told `before`; `None`: it is abandoned.
pub(super) fn actions(
    bucket: &BucketId,
    before: Option<Strategy>,
    now: Option<Strategy>,
) -> Vec<BucketAction> {
    let emptied = match now {
        Some(Strategy::Tokens { .. } | Strategy::Rate { serial: 1.., .. }) if now != before => {
            Some(assignment(Strategy::DenyAll))
        }
        _ => None,
    };
    let told = now.map_or(Action::AbandonAction(AbandonAction {}), assignment);
    let action = |action| BucketAction {
        bucket_id: Some(bucket.clone()),
        bucket_action: Some(action),
    };
    emptied.into_iter().chain([told]).map(action).collect()
}

fn assignment(strategy: Strategy) -> Action {
    Action::QuotaAssignmentAction(QuotaAssignmentAction {
        assignment_time_to_live: Some(Duration {
            seconds: LIFE.as_secs() as i64,
            nanos: 0,
        }),
        rate_limit_strategy: Some(RateLimitStrategy {
            strategy: Some(written(strategy)),
        }),
    })
}

fn written(strategy: Strategy) -> Written {
    match strategy {
        Strategy::AllowAll => Written::BlanketRule(BlanketRule::AllowAll.into()),
        Strategy::DenyAll
        | Strategy::Tokens { requests: 0, .. }
        | Strategy::Rate { burst: 0, .. }
        | Strategy::Rate { fill: 0, .. } => Written::BlanketRule(BlanketRule::DenyAll.into()),
        Strategy::Tokens { requests, .. } => bucket(requests, 1, NEVER),
        Strategy::Rate {
            burst, fill, every, ..
        } => {
            let every = i64::try_from(every.as_secs()).unwrap_or(NEVER);
            bucket(burst, fill, every.max(1))
        }
    }
}

fn bucket(max_tokens: u32, fill: u32, every: i64) -> Written {
    Written::TokenBucket(TokenBucket {
        max_tokens,
        tokens_per_fill: Some(UInt32Value { value: fill }),
        fill_interval: Some(Duration {
            seconds: every,
            // Of two intervals Envoy compares the nanoseconds alone, and then reads the seconds alone.
            nanos: (every % 1_000_000) as i32,
        }),
    })
}
