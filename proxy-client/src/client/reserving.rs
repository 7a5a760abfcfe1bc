//! Costs that are known only afterwards: reserve an estimate, commit what it was.

use std::time::Duration;

use mixer_proto::v1;

use super::{Client, Inner};
use crate::wire::{self, Ask, CounterId, Outcome};
use crate::{Failure, call};

/// An estimate that was taken, to be settled with [`Client::commit`]. What is never committed stays spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Names it to any Mixer.
    pub id: String,
    /// How long it may be committed.
    pub valid_for: Duration,
}

/// Why nothing was reserved or committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// The limit is reached.
    #[error("over the limit")]
    Refused {
        /// When it may be granted; `None`: never, or not known.
        retry_after: Option<Duration>,
    },
    /// Mixer knows no such quota, or no such reservation (any more).
    #[error("not known")]
    Unknown,
    /// The store could not be asked.
    #[error("the store cannot be asked")]
    Unavailable,
    /// Mixer could not be asked.
    #[error("Mixer cannot be asked")]
    Failed(Failure),
}

impl Client {
    /// Takes an estimate of what is to be spent of the counter of `quota` (its id) for `key`, in row `tier` of its table (empty:
    /// `otherwise`).
    pub async fn reserve(
        &self,
        quota: &str,
        key: &[String],
        tier: &str,
        estimate: u64,
    ) -> Result<Reservation, NotCounted> {
        let ask = Ask {
            counter: CounterId {
                quota: quota.into(),
                key: key.into(),
            },
            tier: tier.into(),
            cost: estimate,
            lease: false,
            per_second: 0.0,
            unused: 0,
            freed: None,
            reserve: true,
        };
        let inner = &*self.inner;
        let request = wire::quota_request(&inner.name, &inner.calls.dedup_id(), &[ask]);
        let mut response = inner.count(request).await?;
        let (reservations, valid_for) = wire::reservations(&mut response);
        let grants = wire::quota_response(response, 1).map_err(malformed)?;
        counted(grants[0])?;
        match reservations.into_iter().next().filter(|id| !id.is_empty()) {
            Some(id) => Ok(Reservation { id, valid_for }),
            None => Err(NotCounted::Unknown),
        }
    }

    /// Settles a reservation at what it did cost: the rest goes back, or more is taken, beyond the limit if need be. Settles
    /// once: committing again, with whatever cost, changes nothing. 0 releases it.
    pub async fn commit(&self, reservation: &str, actual: u64) -> Result<(), NotCounted> {
        let request = wire::commit_request(&self.inner.name, reservation, actual);
        let response = self.inner.count(request).await?;
        let settled = wire::commit_response(response).map_err(malformed)?;
        counted(settled)
    }
}

impl Inner {
    async fn count(&self, request: bytes::Bytes) -> Result<v1::QuotaResponse, NotCounted> {
        let until = self.clock.now() + self.calls.total_timeout();
        let answered = self.calls.ask(call::QUOTA, request, until).await;
        answered.map_err(|unanswered| NotCounted::Failed(unanswered.into()))
    }
}

fn counted(grant: wire::Grant) -> Result<(), NotCounted> {
    match grant.outcome {
        Outcome::Granted => Ok(()),
        Outcome::Refused => Err(NotCounted::Refused {
            retry_after: grant.retry_after,
        }),
        Outcome::Unavailable => Err(NotCounted::Unavailable),
        Outcome::Unknown => Err(NotCounted::Unknown),
    }
}

fn malformed(error: wire::WireError) -> NotCounted {
    tracing::debug!("grants of Mixer make no sense: {error}");
    NotCounted::Failed(Failure::Malformed)
}
