//! Envoy's rate limit service: which quotas apply to one descriptor, and what is left under them.
//!
//! A descriptor is judged on its own: its quotas are taken all or nothing, and what another descriptor of the same request
//! meets changes nothing. What is over the limit consumes nothing. Nothing here is kept by anybody, so that no referenced set
//! is made of it.

use std::time::Duration;

use mixer_attributes::AttributeBag;
use mixer_cel::Evaluation;
use mixer_documents::{Applicable, At, Limit, QuotaOnError};

use super::ask::contained;
use super::charge::Unchargeable;
use super::settle::Deciding;
use super::{Charge, Dispatcher, Outcome, Taken, Told};

/// What is asked about one descriptor, beside what its attributes say.
#[derive(Clone, Copy, Debug)]
pub struct Hits {
    /// Whether `rate_limit.hits` are taken.
    pub what: What,
    /// A limit that stands in for those of the quotas that apply.
    pub limit: Option<Limit>,
}

/// What is done with the hits of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// They are taken, if they are there.
    Take,
    /// Nothing is taken: would one more pass?
    Ask,
    /// They were taken before and are given back.
    GiveBack,
}

/// What a descriptor met; nothing in it: no quota applies.
#[derive(Debug, Default)]
pub struct Limited {
    /// Why it is over a limit; `None`: it is not.
    pub over: Option<Over>,
    /// The quota that is nearest to its limit, or over it; `None`: none applies, or none could be counted.
    pub nearest: Option<Nearest>,
    /// Quotas in shadow that were counted, and whether each would have refused: indices of policy and quota.
    pub shadow: Vec<((usize, usize), bool)>,
}

/// A quota and what is left under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// Indices of the policy and of the quota in it.
    pub place: (usize, usize),
    /// Its limit for this descriptor.
    pub limit: Limit,
    /// It refuses.
    pub over: bool,
    /// Tokens left.
    pub remaining: u64,
    /// Until the limit is whole again, at most; or, over it, until there may be room.
    pub reset: Duration,
}

/// Why a descriptor is over a limit.
#[derive(Debug)]
pub struct Over {
    /// What is at fault.
    pub why: Why,
    /// Indices of the policy and of the quota in it; `None` after a panic of ours.
    pub place: Option<(usize, usize)>,
    /// What the caller is told, `mesh.denials` applied.
    pub told: Option<Told>,
    /// What could not be decided, in full.
    pub detail: Option<String>,
    /// Names the refusal in logs.
    pub id: String,
}

/// What keeps a descriptor from passing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The limit is reached.
    Reached,
    /// The quota's key or cost could not be decided.
    Undetermined,
    /// The store could not be asked, and the quota says `on_error: deny`.
    Unavailable,
}

impl Dispatcher {
    /// Takes what one descriptor asks for from the quotas of `applicable`, the policies of its domain.
    pub async fn limit(
        &self,
        applicable: &Applicable,
        bag: &AttributeBag<'_>,
        hits: Hits,
        left: Duration,
    ) -> Limited {
        if applicable.plan.quotas.is_empty() {
            return Limited::default();
        }
        let mut charges = match contained(|| self.charges_of(applicable, bag)) {
            Some(Ok(charges)) if charges.is_empty() => return Limited::default(),
            Some(Ok(charges)) => charges,
            Some(Err(failed)) => return self.undetermined(Some(failed)),
            None => return self.undetermined(None),
        };
        if let Some(limit) = hits.limit {
            charges.iter_mut().for_each(|charge| charge.limit = limit);
        }
        if hits.what == What::GiveBack {
            self.give_back(&charges, left).await;
        }
        if hits.what != What::Take {
            charges.iter_mut().for_each(|charge| charge.cost = 0);
        }
        let taken = self.take(&charges, "", &[], "", left).await;
        self.limited(&charges, &taken, hits.what == What::Ask, bag)
    }

    /// What the quotas of `applicable` charge for what `bag` says.
    pub(super) fn charges_of(
        &self,
        applicable: &Applicable,
        bag: &AttributeBag<'_>,
    ) -> Result<Vec<Charge>, Unchargeable> {
        self.deciding(bag).charges(&applicable.plan.quotas)
    }

    fn deciding<'a>(&'a self, bag: &'a AttributeBag<'a>) -> Deciding<'a> {
        Deciding {
            snapshot: &self.snapshot,
            evaluation: Evaluation::new(bag, &self.snapshot.set.references),
            at: At::RateLimit,
            pending: Vec::new(),
            doubted: None,
        }
    }

    /// What the caller is told of a quota that refuses; `None` after a panic of ours.
    fn told(&self, (policy, quota): (usize, usize), bag: &AttributeBag<'_>) -> Option<Told> {
        let quota = &self.snapshot.set.policies[policy].quotas[quota];
        contained(|| self.deciding(bag).tell(&quota.reply, &quota.sentence))
    }

    fn limited(
        &self,
        charges: &[Charge],
        taken: &[Taken],
        only_asked: bool,
        bag: &AttributeBag<'_>,
    ) -> Limited {
        let mut limited = Limited::default();
        for (charge, taken) in charges.iter().zip(taken) {
            let why = refuses(charge, taken, only_asked);
            if charge.shadow {
                limited.shadow.push((charge.place, why.is_some()));
                continue;
            }
            if let (Some(why), None) = (why, &limited.over) {
                limited.over = Some(Over {
                    why,
                    place: Some(charge.place),
                    told: self.told(charge.place, bag).filter(|_| why == Why::Reached),
                    detail: None,
                    id: self.id(),
                });
            }
            if matches!(taken.outcome, Outcome::Granted | Outcome::Refused) {
                let near = left_under(charge, taken, why.is_some());
                if limited.nearest.is_none_or(|held| near.is_nearer(&held)) {
                    limited.nearest = Some(near);
                }
            }
        }
        limited
    }

    fn undetermined(&self, failed: Option<Unchargeable>) -> Limited {
        let (place, detail) = failed.map_or((None, None), |failed| {
            (Some(failed.place), Some(failed.reason))
        });
        Limited {
            over: Some(Over {
                why: Why::Undetermined,
                place,
                told: None,
                detail,
                id: self.id(),
            }),
            ..Limited::default()
        }
    }

    fn id(&self) -> String {
        format!("{:016x}", self.random.next())
    }
}

fn left_under(charge: &Charge, taken: &Taken, over: bool) -> Nearest {
    let reset = match taken.retry_after {
        Some(wait) if over && !wait.is_zero() => wait,
        _ => taken.reset,
    };
    Nearest {
        place: charge.place,
        limit: charge.limit,
        over,
        remaining: taken.remaining,
        reset,
    }
}

fn refuses(charge: &Charge, taken: &Taken, only_asked: bool) -> Option<Why> {
    match taken.outcome {
        Outcome::Refused => Some(Why::Reached),
        // Who only asks wants to know whether one more would pass.
        Outcome::Granted if only_asked && taken.remaining == 0 => Some(Why::Reached),
        // Its own snapshot has the quota; were it not so, nobody would have said that the request may pass.
        Outcome::Unknown => Some(Why::Unavailable),
        Outcome::Unavailable if charge.on_error == QuotaOnError::Deny => Some(Why::Unavailable),
        Outcome::Granted | Outcome::Unavailable => None,
    }
}

impl Nearest {
    /// Over a limit is nearer than under one; over several, what takes longest counts.
    fn is_nearer(&self, than: &Self) -> bool {
        match (self.over, than.over) {
            (true, true) => self.reset > than.reset,
            (false, false) => self.remaining < than.remaining,
            (over, _) => over,
        }
    }
}
