//! Charges, asks and grants.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mixer_proto::v1;

use super::denial::{Denial, refusal};
use super::protobuf::Writer;
use super::{WireError, span};
use crate::Tell;

/// Names one counter: the quota and the values of its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CounterId {
    pub(crate) quota: Arc<str>,
    pub(crate) key: Arc<[String]>,
}

#[cfg(test)]
impl CounterId {
    pub(crate) fn new(quota: &str, key: &[String]) -> Self {
        Self {
            quota: quota.into(),
            key: key.into(),
        }
    }
}

/// What a request costs one quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) counter: CounterId,
    pub(crate) cost: u64,
    pub(crate) on_error: OnError,
    /// The limit: at most `amount` in `window`.
    pub(crate) amount: u64,
    pub(crate) window: Duration,
    /// Whether tokens may be held in advance.
    pub(crate) leased: bool,
    pub(crate) tier: Arc<str>,
    pub(crate) policy: Arc<str>,
    pub(crate) sentence: Arc<str>,
    pub(crate) shadow: bool,
    /// What the caller is told when it is refused.
    pub(crate) refusal: Denial,
    /// It is freed when the request is over, unless so much time has passed.
    pub(crate) hold: Option<Duration>,
    /// A refused request counts.
    pub(crate) counts_denied: bool,
    /// What callers are told of it.
    pub(crate) tell: Tell,
}

impl Charge {
    /// Whether a refusal holds until it says: not where others free what is in flight, or each request must be counted.
    pub(crate) fn remembers_refusals(&self) -> bool {
        self.hold.is_none() && !self.counts_denied
    }
}

/// What happens when a charge cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnError {
    Allow,
    Deny,
    /// This client counts alone, up to this percentage of the limit.
    Local(u32),
}

/// What became of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) outcome: Outcome,
    /// Tokens beyond the cost, and how long they are good.
    pub(crate) lease: u64,
    pub(crate) lease_for: Duration,
    pub(crate) retry_after: Option<Duration>,
    /// Tokens left under the limit when it was granted or refused; what is leased is not among them.
    pub(crate) remaining: u64,
    /// Until all of the limit is there again, at most.
    pub(crate) reset: Duration,
}

/// Granted or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Granted,
    Refused,
    /// The store could not be asked.
    Unavailable,
    /// The quota does not exist (any more).
    Unknown,
}

/// One counter's part of a QuotaRequest.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) counter: CounterId,
    pub(crate) tier: Arc<str>,
    pub(crate) cost: u64,
    pub(crate) lease: bool,
    pub(crate) per_second: f64,
    pub(crate) unused: u64,
    /// The cost is freed, not taken, and was taken so long ago or less.
    pub(crate) freed: Option<Duration>,
    /// The cost is an estimate, to be committed.
    pub(crate) reserve: bool,
}

impl Ask {
    /// The plain cost of a charge.
    pub(crate) fn plain(charge: &Charge) -> Self {
        Self {
            counter: charge.counter.clone(),
            tier: charge.tier.clone(),
            cost: charge.cost,
            lease: false,
            per_second: 0.0,
            unused: 0,
            freed: None,
            reserve: false,
        }
    }

    /// What a charge took, to be freed.
    pub(crate) fn free(charge: &Charge) -> Self {
        Self {
            freed: Some(Duration::ZERO),
            ..Self::plain(charge)
        }
    }
}

/// A QuotaRequest.
pub(crate) fn quota_request(client: &str, dedup_id: &str, asks: &[Ask]) -> Bytes {
    let mut writer = Writer::with_capacity(64 + 128 * asks.len());
    writer.string(1, client);
    writer.string(2, dedup_id);
    for ask in asks {
        writer.message(3, |w| {
            w.string(1, &ask.counter.quota);
            ask.counter.key.iter().for_each(|value| w.string(2, value));
            w.string(3, &ask.tier);
            let cost = i64::try_from(ask.cost).unwrap_or(i64::MAX);
            w.int(4, if ask.freed.is_some() { -cost } else { cost });
            w.bool(5, ask.lease);
            w.double(6, ask.per_second);
            w.uint(7, ask.unused);
            w.bool(8, ask.reserve);
            if let Some(age) = ask.freed {
                w.message(9, |w| {
                    w.sint(1, i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
                    w.uint(2, age.subsec_nanos().into());
                });
            }
        });
    }
    writer.finish()
}

/// One grant for each of `asks`.
pub(crate) fn quota_response(
    response: v1::QuotaResponse,
    asks: usize,
) -> Result<Vec<Grant>, WireError> {
    grants(response.grants, asks)
}

/// A QuotaRequest that settles one reservation.
pub(crate) fn commit_request(client: &str, reservation: &str, actual: u64) -> Bytes {
    let mut writer = Writer::with_capacity(64 + client.len() + reservation.len());
    writer.string(1, client);
    writer.message(4, |w| {
        w.string(1, reservation);
        w.uint(2, actual);
    });
    writer.finish()
}

/// What became of it.
pub(crate) fn commit_response(response: v1::QuotaResponse) -> Result<Grant, WireError> {
    let mut commits = grants(response.commits, 1).map_err(|error| error.inside("commits"))?;
    Ok(commits.remove(0))
}

/// The reservations of a response, one for each ask, and how long they are good; none if none was asked for.
pub(crate) fn reservations(response: &mut v1::QuotaResponse) -> (Vec<String>, Duration) {
    let reserved_for = response.reserved_for.take();
    let valid_for = reserved_for.and_then(|time| span("reserved_for", time).ok());
    let reservations = std::mem::take(&mut response.reservations);
    (reservations, valid_for.unwrap_or_default())
}

pub(super) fn grants(grants: Vec<v1::Grant>, asks: usize) -> Result<Vec<Grant>, WireError> {
    if grants.len() != asks {
        return Err(WireError::new(
            "grants",
            "does not have one grant for each charge",
        ));
    }
    let grants = grants.into_iter().enumerate();
    grants
        .map(|(at, grant)| self::grant(grant).map_err(|error| error.within("grants", at)))
        .collect()
}

fn grant(grant: v1::Grant) -> Result<Grant, WireError> {
    use v1::grant::Outcome as Wire;
    let outcome = match Wire::try_from(grant.outcome) {
        Ok(Wire::Granted) => Outcome::Granted,
        Ok(Wire::Refused) => Outcome::Refused,
        Ok(Wire::Unavailable) => Outcome::Unavailable,
        Ok(Wire::Unknown) => Outcome::Unknown,
        Ok(Wire::Unspecified) | Err(_) => {
            return Err(WireError::new("outcome", "is not one that is known"));
        }
    };
    let retry_after = grant
        .retry_after
        .map(|time| span("retry_after", time))
        .transpose()?;
    let lease_for = grant
        .lease_for
        .map(|time| span("lease_for", time))
        .transpose()?
        .unwrap_or_default();
    let reset = grant
        .reset
        .map(|time| span("reset", time))
        .transpose()?
        .unwrap_or_default();
    // A lease that does not say how long it is good cannot be held.
    let lease = if lease_for.is_zero() { 0 } else { grant.lease };
    Ok(Grant {
        outcome,
        lease,
        lease_for,
        retry_after,
        remaining: grant.remaining,
        reset,
    })
}

pub(super) fn charge(charge: v1::Charge) -> Result<Charge, WireError> {
    if charge.quota.is_empty() {
        return Err(WireError::new("quota", "is empty"));
    }
    let cost = u64::try_from(charge.cost).map_err(|_| WireError::new("cost", "is negative"))?;
    let window = charge
        .window
        .map(|time| span("window", time))
        .transpose()?
        .unwrap_or_default();
    let on_error = match v1::OnError::try_from(charge.on_error) {
        Ok(v1::OnError::Allow) => OnError::Allow,
        Ok(v1::OnError::Deny) => OnError::Deny,
        Ok(v1::OnError::Local) if window.is_zero() => {
            return Err(WireError::new("window", "is missing"));
        }
        Ok(v1::OnError::Local) if charge.local_percent <= 100 => {
            OnError::Local(charge.local_percent)
        }
        Ok(v1::OnError::Local) => {
            return Err(WireError::new("local_percent", "is more than the whole"));
        }
        Ok(v1::OnError::Unspecified) | Err(_) => {
            return Err(WireError::new("on_error", "is not one that is known"));
        }
    };
    let sentence: Arc<str> = charge.sentence.into();
    let refusal = refusal(charge.refusal.unwrap_or_default(), &sentence)
        .map_err(|error| error.inside("refusal"))?;
    Ok(Charge {
        counter: CounterId {
            quota: charge.quota.into(),
            key: charge.key.into(),
        },
        cost,
        on_error,
        amount: charge.amount,
        window,
        leased: charge.lease != Some(0),
        tier: charge.tier.into(),
        policy: charge.policy.into(),
        sentence,
        shadow: charge.shadow,
        refusal,
        hold: charge.hold.map(|time| span("hold", time)).transpose()?,
        counts_denied: charge.counts_denied,
        // What is not known is not told.
        tell: match v1::Tell::try_from(charge.tell) {
            Ok(v1::Tell::RateLimit) => Tell::RateLimit,
            Ok(v1::Tell::XRateLimit) => Tell::XRateLimit,
            Ok(v1::Tell::Both) => Tell::Both,
            Ok(v1::Tell::Nothing) | Err(_) => Tell::Nothing,
        },
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn an_ask_reads_back() {
        let counter = CounterId::new("orders", &["alice".to_owned()]);
        let ask = Ask {
            counter,
            tier: "pro".into(),
            cost: 3,
            lease: true,
            per_second: 12.5,
            unused: 4,
            freed: Some(Duration::from_millis(1500)),
            reserve: true,
        };
        let read = v1::QuotaRequest::decode(quota_request("proxy-1", "d-1", &[ask])).unwrap();
        let expected = v1::Ask {
            quota: "orders".into(),
            key: vec!["alice".into()],
            tier: "pro".into(),
            cost: -3,
            lease: true,
            per_second: 12.5,
            unused: 4,
            reserve: true,
            age: Some(v1::Time {
                seconds: 1,
                nanos: 500_000_000,
            }),
        };
        assert_eq!(
            read,
            v1::QuotaRequest {
                client: "proxy-1".into(),
                dedup_id: "d-1".into(),
                asks: vec![expected],
                ..Default::default()
            }
        );
    }

    #[test]
    fn grants_that_make_no_sense_name_the_field() {
        let granted = v1::Grant {
            outcome: v1::grant::Outcome::Granted.into(),
            ..Default::default()
        };
        let negative = v1::Time {
            seconds: -1,
            nanos: 0,
        };
        let cases = [
            (
                vec![granted],
                2,
                "grants: does not have one grant for each charge",
            ),
            (
                vec![granted, v1::Grant::default()],
                2,
                "grants[1].outcome: is not one that is known",
            ),
            (
                vec![v1::Grant {
                    outcome: 77,
                    ..granted
                }],
                1,
                "grants[0].outcome: is not one that is known",
            ),
            (
                vec![v1::Grant {
                    lease_for: Some(negative),
                    ..granted
                }],
                1,
                "grants[0].lease_for: is negative",
            ),
            (
                vec![v1::Grant {
                    retry_after: Some(negative),
                    ..granted
                }],
                1,
                "grants[0].retry_after: is negative",
            ),
        ];
        for (grants, asks, problem) in cases {
            let error = quota_response(
                v1::QuotaResponse {
                    grants,
                    ..Default::default()
                },
                asks,
            )
            .unwrap_err();
            assert_eq!(error.to_string(), problem);
        }
    }

    #[test]
    fn a_lease_without_an_end_is_not_held() {
        let grant = v1::Grant {
            outcome: v1::grant::Outcome::Granted.into(),
            lease: 9,
            ..Default::default()
        };
        assert_eq!(
            quota_response(
                v1::QuotaResponse {
                    grants: vec![grant],
                    ..Default::default()
                },
                1
            )
            .unwrap()[0]
                .lease,
            0
        );
    }
}
