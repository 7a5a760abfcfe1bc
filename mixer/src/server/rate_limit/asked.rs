//! A rate limit request as attributes. Keys and values are moved out of the message, not copied.

use std::borrow::Cow;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use mixer_attributes::vocabulary::{
    RATE_LIMIT_DESCRIPTOR, RATE_LIMIT_DOMAIN, RATE_LIMIT_HITS, RATE_LIMIT_INDEX, RATE_LIMIT_KEYS,
    RATE_LIMIT_VALUES,
};
use mixer_attributes::{AttributeBag, Entry, StringMap, Value};
use mixer_documents::Limit;

use crate::dispatch::{Hits, What};
use crate::server::wire::Malformed;

/// Descriptors in one request: each is a decision of its own.
const DESCRIPTORS: usize = 256;
/// Entries of one descriptor: looking a key up walks them.
const ENTRIES: usize = 64;

/// A request that keeps to the protocol.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) domain: String,
    pub(super) descriptors: Vec<Descriptor>,
}

/// One descriptor.
#[derive(Debug)]
pub(super) struct Descriptor {
    entries: Entries,
    index: i64,
    hits: i64,
    what: What,
    limit: Option<Limit>,
}

/// Its keys and values, in order.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Entries {
    keys: Vec<String>,
    values: Vec<String>,
}

impl Asked {
    pub(super) fn read(request: RateLimitRequest) -> Result<Self, Malformed> {
        let RateLimitRequest {
            domain,
            descriptors,
            hits_addend,
        } = request;
        if domain.is_empty() {
            return Err(Malformed::new("domain", "is empty"));
        }
        if descriptors.is_empty() {
            return Err(Malformed::new("descriptors", "there is none"));
        }
        if descriptors.len() > DESCRIPTORS {
            let problem = format!("are {}, at most {DESCRIPTORS}", descriptors.len());
            return Err(Malformed::new("descriptors", problem));
        }
        // Unset and 0 are the same here.
        let usual = u64::from(hits_addend).max(1);
        let read = |(at, descriptor)| Descriptor::read(at, descriptor, usual);
        let descriptors: Result<_, _> = descriptors.into_iter().enumerate().map(read).collect();
        Ok(Self {
            domain,
            descriptors: descriptors?,
        })
    }

    /// The domain alone.
    pub(super) fn domain_bag(&self) -> AttributeBag<'_> {
        let mut bag = AttributeBag::new();
        bag.set(RATE_LIMIT_DOMAIN, Value::String(&self.domain));
        bag
    }
}

impl Descriptor {
    fn read(at: usize, descriptor: RateLimitDescriptor, usual: u64) -> Result<Self, Malformed> {
        let malformed = |field: &str, problem: String| {
            Malformed::new(format!("descriptors[{at}].{field}"), problem)
        };
        let count = descriptor.entries.len();
        if count == 0 {
            return Err(malformed("entries", "there is none".to_owned()));
        }
        if count > ENTRIES {
            let problem = format!("are {count}, at most {ENTRIES}");
            return Err(malformed("entries", problem));
        }
        if descriptor.entries.iter().any(|entry| entry.key.is_empty()) {
            return Err(malformed("entries", "a key is empty".to_owned()));
        }
        let entries = descriptor.entries.into_iter();
        let entries = entries.map(|entry| (entry.key, entry.value)).collect();
        let hits = descriptor.hits_addend.map_or(usual, |hits| hits.value);
        let limit = descriptor.limit.map(limit).transpose();
        Ok(Self {
            entries,
            index: at as i64,
            hits: i64::try_from(hits).unwrap_or(i64::MAX),
            what: match (hits, descriptor.is_negative_hits) {
                (0, _) => What::Ask,
                (_, true) => What::GiveBack,
                (_, false) => What::Take,
            },
            limit: limit.map_err(|problem| malformed("limit.unit", problem))?,
        })
    }

    pub(super) fn hits(&self) -> Hits {
        Hits {
            what: self.what,
            limit: self.limit,
        }
    }

    /// What policies may read of it.
    pub(super) fn bag<'a>(&'a self, domain: &'a str) -> AttributeBag<'a> {
        let mut bag = AttributeBag::new();
        bag.set(RATE_LIMIT_DOMAIN, Value::String(domain));
        bag.set(RATE_LIMIT_KEYS, Value::List(self.entries.keys()));
        bag.set(RATE_LIMIT_VALUES, Value::List(self.entries.values()));
        bag.set(RATE_LIMIT_DESCRIPTOR, Value::Map(&self.entries));
        bag.set(RATE_LIMIT_HITS, Value::Int(self.hits));
        bag.set(RATE_LIMIT_INDEX, Value::Int(self.index));
        bag
    }
}

/// Units as whole seconds: a month is 30 days and a year 365. A request's own enum has the same numbers, but no week.
pub(super) const UNITS: [(Unit, u64); 7] = [
    (Unit::Second, 1),
    (Unit::Minute, 60),
    (Unit::Hour, 3_600),
    (Unit::Day, 86_400),
    (Unit::Week, 7 * 86_400),
    (Unit::Month, 30 * 86_400),
    (Unit::Year, 365 * 86_400),
];

fn limit(limit: RateLimitOverride) -> Result<Limit, String> {
    let known = UNITS.iter().find(|(unit, _)| *unit as i32 == limit.unit);
    let (_, seconds) = known.ok_or_else(|| format!("{} is no unit of time", limit.unit))?;
    Ok(Limit {
        amount: limit.requests_per_unit.into(),
        window: Duration::from_secs(*seconds),
    })
}

impl Entries {
    pub(crate) fn keys(&self) -> &[String] {
        &self.keys
    }

    pub(crate) fn values(&self) -> &[String] {
        &self.values
    }
}

impl FromIterator<(String, String)> for Entries {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(entries: T) -> Self {
        let (keys, values) = entries.into_iter().unzip();
        Self { keys, values }
    }
}

impl StringMap for Entries {
    fn lookup(&self, key: &str) -> Entry<'_> {
        let mut found = self
            .keys
            .iter()
            .zip(&self.values)
            .filter(|(k, _)| *k == key);
        match (found.next(), found.next()) {
            (None, _) => Entry::Absent,
            (Some((_, value)), None) => Entry::Value(Cow::Borrowed(value)),
            (Some(_), Some(_)) => Entry::Ambiguous,
        }
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)> {
        let mut keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        keys.sort_unstable();
        keys.dedup();
        let entry = |key| (Cow::Borrowed(key), self.lookup(key));
        keys.into_iter().map(entry).collect()
    }
}
