//! Looking at counters and putting them right by hand: what an operator asks of a store when a customer calls.
//!
//! A capability of its own beside [`crate::Quota`]: it is never on the way of a request, may take longer, and a store that
//! cannot do it still counts. Work is bounded call by call: a store looks through a part of its counters, and says where the next
//! call goes on. Giving tokens back needs nothing here: it is an [`crate::Ask`] with a negative cost.

use std::time::Duration;

use crate::{Algorithm, Limit, Unavailable};

/// Counters that one call answers at most, whatever it asks for.
pub const MOST_COUNTERS: usize = 1_000;

/// The counters of one quota, and the limit they are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Family<'a> {
    pub quota: &'a str,
    pub limit: Limit,
    /// Counters of another algorithm are not of this family, though they are of this quota.
    pub algorithm: Algorithm,
}

/// Which counters of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// The one with this key.
    Key(&'a [String]),
    /// Those whose key's first value begins so; empty: all, those included whose key is not known in full.
    Prefix(&'a str),
}

/// A part of some counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// In no order; none twice in one call, but over several calls a counter that changes meanwhile may be there twice or not at all.
    pub counters: Vec<Counted>,
    /// Counters that may be of the family, of which the store cannot tell since only a digest of their name is held.
    pub unnamed: u64,
    /// What the next call begins with; `None`: this was all.
    pub next: Option<String>,
}

/// A counter, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Names it.
    pub key: CounterKey,
    /// Tokens that count now; above the limit where tokens are owed, refusals are counted or the limit was lowered.
    pub spent: u64,
    /// Tokens left under the limit.
    pub left: u64,
    /// When one more token can be had: zero now, `None` never.
    pub next_in: Option<Duration>,
    /// When all it has spent is forgotten: zero when there is nothing to forget.
    pub free_in: Duration,
}

/// How a counter's key is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CounterKey {
    /// Its values.
    Values(Vec<String>),
    /// The digest that the store holds instead of a long key, in hexadecimal.
    Digest(String),
    /// It counts for all keys that found no room for counters of their own.
    Overflow,
}

/// What was forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Counters that are as new.
    pub counters: u64,
    /// As [`Listed::unnamed`]: these were left alone.
    pub unnamed: u64,
    /// What the next call begins with; `None`: this was all.
    pub next: Option<String>,
}

/// Shows counters, and forgets what they have counted.
pub trait Counters: Send + Sync + 'static {
    /// Counters that have spent something, at most `most` (and [`MOST_COUNTERS`]); `from` is empty or what the call before
    /// answered as `next`. A call that finds none may still have a `next`.
    fn list(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        most: usize,
        from: &str,
    ) -> impl Future<Output = Result<Listed, Unavailable>> + Send;

    /// Makes counters as new. Asked again it finds nothing to forget; so a call that was lost may be made again.
    fn forget(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        from: &str,
    ) -> impl Future<Output = Result<Forgotten, Unavailable>> + Send;
}
