//! Quotas and counters as JSON.

use mixer_adapter::{Counted, CounterKey};
use mixer_documents::{Algorithm, Limit, Mode};
use serde_json::{Value, json};

use crate::dispatch::CountersOf;

pub(super) fn quota(counters: &CountersOf<'_>) -> Value {
    let CountersOf { policy, quota, .. } = counters;
    let rows = quota.limit.table.iter();
    let rows = rows.map(|(row, held)| (row.to_string(), limit(*held)));
    let shadow = quota.mode == Mode::Shadow || policy.mode == Mode::Shadow;
    json!({
        "quota": &*quota.id,
        "policy": &*policy.name,
        "sentence": &*quota.sentence,
        "key": quota.key.iter().map(|key| key.source()).collect::<Vec<_>>(),
        "limit": limit(quota.limit.otherwise),
        "tiers": rows.collect::<serde_json::Map<_, _>>(),
        "algorithm": algorithm(&quota.algorithm),
        "store": &**counters.store().name(),
        "mode": if shadow { "shadow" } else { "enforce" },
    })
}

/// A page of counters.
pub(super) fn page(
    counters: &CountersOf<'_>,
    shown: Vec<Value>,
    unnamed: u64,
    next: Option<&str>,
) -> Value {
    json!({
        "quota": &*counters.quota.id,
        "algorithm": algorithm(&counters.quota.algorithm),
        "limit": limit(counters.limit),
        "counters": shown,
        "unnamed": unnamed,
        "next": next,
    })
}

pub(super) fn counter(counted: &Counted) -> Value {
    let seconds = |span: std::time::Duration| span.as_secs_f64();
    let (values, digest) = match &counted.key {
        CounterKey::Values(key) => (Some(CountersOf::values(key)), None),
        CounterKey::Digest(digest) => (None, Some(digest)),
        CounterKey::Overflow => (None, None),
    };
    json!({
        "key": values,
        "digest": digest,
        "overflow": counted.key == CounterKey::Overflow,
        "spent": counted.spent,
        "left": counted.left,
        "next_in_seconds": counted.next_in.map(seconds),
        "free_in_seconds": seconds(counted.free_in),
    })
}

/// A counter that has nothing to remember.
pub(super) fn unspent(counters: &CountersOf<'_>, key: &[String]) -> Value {
    let left = match counters.quota.algorithm {
        Algorithm::Gcra { burst } => burst,
        _ => counters.limit.amount,
    };
    let zero = std::time::Duration::ZERO;
    counter(&Counted {
        key: CounterKey::Values(key.to_vec()),
        spent: 0,
        left,
        next_in: (left > 0).then_some(zero),
        free_in: zero,
    })
}

fn limit(limit: Limit) -> Value {
    json!({ "amount": limit.amount, "window_seconds": limit.window.as_secs_f64() })
}

fn algorithm(algorithm: &Algorithm) -> &'static str {
    match algorithm {
        Algorithm::SlidingWindow => "sliding-window",
        Algorithm::Gcra { .. } => "gcra",
        Algorithm::FixedWindow { .. } => "fixed-window",
        Algorithm::Concurrency { .. } => "concurrency",
    }
}
