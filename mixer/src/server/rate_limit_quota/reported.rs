//! Usage reports as attributes and numbers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use envoy_types::pb::envoy::service::rate_limit_quota::v3::rate_limit_quota_usage_reports::BucketQuotaUsage;
use envoy_types::pb::envoy::service::rate_limit_quota::v3::{BucketId, RateLimitQuotaUsageReports};
use envoy_types::pb::google::protobuf::Duration;
use mixer_attributes::vocabulary::{
    RATE_LIMIT_DESCRIPTOR, RATE_LIMIT_DOMAIN, RATE_LIMIT_HITS, RATE_LIMIT_INDEX, RATE_LIMIT_KEYS,
    RATE_LIMIT_VALUES,
};
use mixer_attributes::{AttributeBag, Value};

use crate::dispatch::assign::Usage;
use crate::server::rate_limit::Entries;
use crate::server::wire::Malformed;

/// Keys of a bucket's id, as of a descriptor.
const ENTRIES: usize = 64;
/// Bytes of a bucket's id: it is kept for as long as the stream has the bucket.
const BYTES: usize = 2 << 10;
/// Bytes of a domain.
const DOMAIN: usize = 1 << 10;

/// A bucket's id: a descriptor whose keys are sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(Arc<Entries>);

/// A message that keeps to the protocol. What is reported twice of a bucket is added up.
#[derive(Debug)]
pub(super) struct Reported {
    /// Empty: as before.
    pub(super) domain: String,
    pub(super) usages: BTreeMap<Id, Usage>,
}

impl Reported {
    /// Reads a message of a stream that may have `most` buckets.
    pub(super) fn read(
        message: RateLimitQuotaUsageReports,
        most: usize,
    ) -> Result<Self, Malformed> {
        let RateLimitQuotaUsageReports {
            domain,
            bucket_quota_usages: buckets,
        } = message;
        if domain.len() > DOMAIN {
            let problem = format!("has {} bytes, at most {DOMAIN}", domain.len());
            return Err(Malformed::new("domain", problem));
        }
        // Twice as many: some may be about to be abandoned.
        let most = 2 * most;
        if buckets.len() > most {
            let problem = format!("are {}, at most {most}", buckets.len());
            return Err(Malformed::new("bucket_quota_usages", problem));
        }
        let mut usages = BTreeMap::new();
        for (at, bucket) in buckets.into_iter().enumerate() {
            let (id, usage) = read(bucket).map_err(|(field, problem)| {
                Malformed::new(format!("bucket_quota_usages[{at}].{field}"), problem)
            })?;
            match usages.entry(id) {
                Entry::Vacant(vacant) => drop(vacant.insert(usage)),
                Entry::Occupied(mut held) => {
                    let sum: Usage = *held.get();
                    held.insert(sum.and(usage));
                }
            }
        }
        Ok(Self { domain, usages })
    }
}

fn read(bucket: BucketQuotaUsage) -> Result<(Id, Usage), (&'static str, String)> {
    let BucketQuotaUsage {
        bucket_id,
        time_elapsed,
        num_requests_allowed: allowed,
        num_requests_denied: denied,
    } = bucket;
    let id = bucket_id.map(|id| id.bucket).unwrap_or_default();
    let refused = |problem: String| Err(("bucket_id", problem));
    if id.is_empty() {
        return refused("is empty".to_owned());
    }
    if id.len() > ENTRIES {
        return refused(format!("has {} keys, at most {ENTRIES}", id.len()));
    }
    if id.contains_key("") {
        return refused("a key is empty".to_owned());
    }
    let bytes: usize = id.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > BYTES {
        return refused(format!("has {bytes} bytes, at most {BYTES}"));
    }
    if let Some(elapsed) = time_elapsed
        && !is_elapsed(&elapsed)
    {
        let Duration { seconds, nanos } = elapsed;
        return Err((
            "time_elapsed",
            format!("{seconds} s and {nanos} ns is no time that can have passed"),
        ));
    }
    let mut entries: Vec<(String, String)> = id.into_iter().collect();
    entries.sort_unstable();
    let id = Id(Arc::new(entries.into_iter().collect()));
    Ok((id, Usage { allowed, denied }))
}

fn is_elapsed(elapsed: &Duration) -> bool {
    elapsed.seconds >= 0 && (0..1_000_000_000).contains(&elapsed.nanos)
}

impl Id {
    /// What policies may read of it: as of a descriptor that asks for one hit.
    pub(super) fn bag<'a>(&'a self, domain: &'a str) -> AttributeBag<'a> {
        let mut bag = domain_bag(domain);
        bag.set(RATE_LIMIT_KEYS, Value::List(self.0.keys()));
        bag.set(RATE_LIMIT_VALUES, Value::List(self.0.values()));
        bag.set(RATE_LIMIT_DESCRIPTOR, Value::Map(&*self.0));
        bag.set(RATE_LIMIT_HITS, Value::Int(1));
        bag.set(RATE_LIMIT_INDEX, Value::Int(0));
        bag
    }

    /// As the protocol has it.
    pub(super) fn written(&self) -> BucketId {
        let (keys, values) = (self.0.keys().iter(), self.0.values().iter());
        BucketId {
            bucket: keys.cloned().zip(values.cloned()).collect(),
        }
    }
}

/// What says which policies apply.
pub(super) fn domain_bag(domain: &str) -> AttributeBag<'_> {
    let mut bag = AttributeBag::new();
    bag.set(RATE_LIMIT_DOMAIN, Value::String(domain));
    bag
}
