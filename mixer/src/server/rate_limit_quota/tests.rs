//! Messages of the rate limit quota service: what is refused, what is read, what is written.

use std::collections::HashMap;
use std::time::Duration as Span;

use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_usage_reports::BucketQuotaUsage;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::{BucketId, RateLimitQuotaUsageReports};
use envoy_types::pb::envoy::r#type::v3::rate_limit_strategy::Strategy as Written;
use envoy_types::pb::google::protobuf::Duration;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_response::BucketAction;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_response::bucket_action::BucketAction as Action;
use mixer_attributes::{Entry, Value, vocabulary};

use super::action::actions;
use super::reported::Reported;
use crate::dispatch::assign::{Strategy, Usage};

const MOST: usize = 4;

fn usage(id: &[(&str, &str)], allowed: u64, denied: u64) -> BucketQuotaUsage {
    let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    BucketQuotaUsage {
        bucket_id: Some(BucketId {
            bucket: id.iter().map(entry).collect(),
        }),
        time_elapsed: None,
        num_requests_allowed: allowed,
        num_requests_denied: denied,
    }
}

fn message(usages: Vec<BucketQuotaUsage>) -> RateLimitQuotaUsageReports {
    RateLimitQuotaUsageReports {
        domain: "edge".to_owned(),
        bucket_quota_usages: usages,
    }
}

fn refused(usage: BucketQuotaUsage) -> String {
    Reported::read(message(vec![usage]), MOST)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_bucket_is_a_descriptor_with_sorted_keys() {
    let read = Reported::read(message(vec![usage(&[("b", "2"), ("a", "1")], 3, 4)]), MOST).unwrap();
    assert_eq!(read.domain, "edge");
    let (id, reported) = read.usages.first_key_value().unwrap();
    let expected = Usage {
        allowed: 3,
        denied: 4,
    };
    assert_eq!(*reported, expected);
    let bag = id.bag("edge");
    let list = |id| match bag.value(id) {
        Some(Value::List(list)) => list.to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(list(vocabulary::RATE_LIMIT_KEYS), ["a", "b"]);
    assert_eq!(list(vocabulary::RATE_LIMIT_VALUES), ["1", "2"]);
    let Some(Value::Map(descriptor)) = bag.value(vocabulary::RATE_LIMIT_DESCRIPTOR) else {
        panic!("no descriptor")
    };
    assert_eq!(descriptor.lookup("b"), Entry::Value("2".into()));
    assert_eq!(bag.value(vocabulary::RATE_LIMIT_HITS), Some(Value::Int(1)));
    assert_eq!(
        id.written(),
        usage(&[("a", "1"), ("b", "2")], 0, 0).bucket_id.unwrap()
    );
}

#[test]
fn what_is_said_twice_of_a_bucket_is_added_up() {
    let (some, more) = (
        usage(&[("a", "1"), ("b", "2")], 1, u64::MAX),
        usage(&[("b", "2"), ("a", "1")], 2, 5),
    );
    let read = Reported::read(message(vec![some, more]), MOST).unwrap();
    let sum = Usage {
        allowed: 3,
        denied: u64::MAX,
    };
    assert_eq!(read.usages.into_values().collect::<Vec<_>>(), [sum]);
}

#[test]
fn what_breaks_the_protocol_is_refused_with_its_place() {
    let many: HashMap<String, String> = (0..65).map(|at| (at.to_string(), String::new())).collect();
    let timed = |seconds, nanos| BucketQuotaUsage {
        time_elapsed: Some(Duration { seconds, nanos }),
        ..usage(&[("a", "1")], 0, 0)
    };
    let long = "x".repeat(3_000);
    for (usage, expected) in [
        (BucketQuotaUsage::default(), "bucket_id: is empty"),
        (usage(&[], 0, 0), "bucket_id: is empty"),
        (usage(&[("", "1")], 0, 0), "bucket_id: a key is empty"),
        (
            usage(&[("a", &long)], 0, 0),
            "bucket_id: has 3001 bytes, at most 2048",
        ),
        (
            BucketQuotaUsage {
                bucket_id: Some(BucketId { bucket: many }),
                ..BucketQuotaUsage::default()
            },
            "bucket_id: has 65 keys, at most 64",
        ),
        (timed(-1, 0), "time_elapsed: -1 s"),
        (timed(0, -1), "time_elapsed: 0 s and -1 ns"),
        (
            timed(0, 1_000_000_000),
            "time_elapsed: 0 s and 1000000000 ns",
        ),
        (timed(i64::MIN, i32::MIN), "time_elapsed: "),
    ] {
        let told = refused(usage);
        let expected = format!("bucket_quota_usages[0].{expected}");
        assert!(told.starts_with(&expected), "{told} is not {expected}");
    }
    let nine = (0..9).map(|_| usage(&[("a", "1")], 0, 0)).collect();
    let told = Reported::read(message(nine), MOST).unwrap_err().to_string();
    assert_eq!(told, "bucket_quota_usages: are 9, at most 8");
    let far = RateLimitQuotaUsageReports {
        domain: long,
        bucket_quota_usages: Vec::new(),
    };
    assert!(Reported::read(far, MOST).is_err());
}

/// What a bucket that was told `before` is told now.
fn told(before: Option<Strategy>, now: Option<Strategy>) -> Vec<String> {
    let word = |action: BucketAction| match action.bucket_action.unwrap() {
        Action::AbandonAction(_) => "abandon".to_owned(),
        Action::QuotaAssignmentAction(assignment) => {
            // A time to live is one of whole seconds, and there is one.
            let life = assignment.assignment_time_to_live.unwrap();
            assert!(life.seconds > 0 && life.nanos == 0, "{life:?}");
            match assignment.rate_limit_strategy.unwrap().strategy.unwrap() {
                Written::BlanketRule(0) => "allow".to_owned(),
                Written::BlanketRule(_) => "deny".to_owned(),
                Written::TokenBucket(bucket) => {
                    let every = bucket.fill_interval.unwrap();
                    let fill = bucket.tokens_per_fill.unwrap().value;
                    format!(
                        "{} +{fill}/{}s{}",
                        bucket.max_tokens, every.seconds, every.nanos
                    )
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let actions = actions(&BucketId::default(), before, now);
    actions.into_iter().map(word).collect()
}

#[test]
fn requests_that_are_counted_out_begin_with_a_bucket_of_their_own() {
    let tokens = |requests, serial| Some(Strategy::Tokens { requests, serial });
    let rate = |every, serial| {
        Some(Strategy::Rate {
            burst: 5,
            fill: 2,
            every: Span::from_secs(every),
            serial,
        })
    };
    let (allow, deny) = (Some(Strategy::AllowAll), Some(Strategy::DenyAll));
    for (before, now, expected) in [
        (None, allow, &["allow"][..]),
        (None, deny, &["deny"]),
        (allow, None, &["abandon"]),
        (None, tokens(7, 1), &["deny", "7 +1/86400s86400"]),
        (tokens(7, 1), tokens(7, 1), &["7 +1/86400s86400"]),
        (tokens(7, 1), tokens(7, 2), &["deny", "7 +1/86400s86400"]),
        (tokens(7, 1), tokens(0, 2), &["deny", "deny"]),
        // A rate goes on, and is seen to be another.
        (rate(1, 0), rate(2, 0), &["5 +2/2s2"]),
        (rate(1, 0), rate(1, 0), &["5 +2/1s1"]),
        // This one was counted out too.
        (rate(1, 1), rate(1, 2), &["deny", "5 +2/1s1"]),
    ] {
        assert_eq!(told(before, now), expected, "{before:?} and {now:?}");
    }
}
