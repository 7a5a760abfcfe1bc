//! Charging a request: leases first, then Mixer, then what `on_error` says.

use mixer_proto::v1;
use mixer_runtime::Instant;

use super::Inner;
use crate::cache::Entry;
use crate::lease::{Bill, ShadowCharge};
use crate::stats::Counters;
use crate::wire::{self, Ask, Charge, Grant, OnError, Outcome};
use crate::{Answer, Because, Failure, InFlight, RateLimit, Shadow, Tell, Verdict, call, standing};

/// What became of charges that had to be asked for.
pub(super) enum Paid {
    Answered(Answer),
    /// Mixer does not know the quota: the decision is out of date.
    OutOfDate,
}

impl Inner {
    /// A kept answer whose enforced charges are paid; shadow charges add what they would have done.
    pub(super) fn passes(&self, entry: &Entry, now: Instant) -> Answer {
        let mut answer = entry.answer.clone();
        for charge in entry.charges.iter().filter(|charge| charge.shadow) {
            if self.leases.spend_shadow(charge, now) == ShadowCharge::WouldRefuse {
                let shadow = Shadow {
                    policy: charge.policy.clone(),
                    rule: charge.sentence.clone(),
                    would: Verdict::Deny,
                    because: Because::Quota,
                };
                answer.shadow = answer.shadow.iter().cloned().chain([shadow]).collect();
            }
        }
        self.telling(answer, &entry.charges, now)
    }

    /// `answer`, which was charged `charges`, with what callers are told of these.
    pub(super) fn telling(&self, answer: Answer, charges: &[Charge], now: Instant) -> Answer {
        let told = |charge: &&Charge| charge.tell != Tell::Nothing && !charge.shadow;
        if !charges.iter().any(|charge| told(&charge)) {
            return answer;
        }
        let limits = charges.iter().filter(told).filter_map(|charge| {
            let (remaining, reset) = self.leases.left(charge, now)?;
            let refuses =
                answer.because == Because::Quota && answer.rule_id == charge.counter.quota;
            Some(RateLimit {
                sentence: charge.sentence.clone(),
                amount: charge.amount,
                window: charge.window,
                remaining,
                reset: answer.retry_after.filter(|_| refuses).unwrap_or(reset),
                refuses,
                tell: charge.tell,
            })
        });
        Answer {
            limits: Some(limits.collect()),
            ..answer
        }
    }

    /// Asks for the charges that leases did not cover. What is refused while tokens of ours are on their way is tried once more when
    /// they have arrived.
    pub(super) async fn pay(&self, entry: &Entry, bill: Bill, until: Instant) -> Paid {
        let paid = self.pay_once(entry, bill, until).await;
        let now = self.clock.now();
        let Some(refused) = refused_in(&paid, &entry.charges) else {
            return paid;
        };
        if !self.leases.may_pay_soon(refused, &entry.charges, now) {
            return paid;
        }
        let settled = self.leases.settled(refused, &self.clock);
        if self.clock.within(until.since(now), settled).await.is_none() {
            return paid;
        }
        match self.leases.spend(&entry.charges, self.clock.now()) {
            Err(_) => paid,
            Ok(bill) if bill.missing.is_empty() => {
                Paid::Answered(self.passes(entry, self.clock.now()))
            }
            Ok(bill) => self.pay_once(entry, bill, until).await,
        }
    }

    async fn pay_once(&self, entry: &Entry, bill: Bill, until: Instant) -> Paid {
        let asks: Vec<Ask> = bill.missing.iter().map(|(_, ask)| ask.clone()).collect();
        let sent = self.clock.now();
        let answered = self.ask_quota(&asks, until).await;
        let now = self.clock.now();
        let charges = bill.missing.iter().map(|(at, _)| &entry.charges[*at]);
        let mut in_flight = InFlight::default();
        let denial = match answered {
            Err(failure) => {
                asks.iter().for_each(|ask| self.leases.unanswered(ask));
                charges
                    .filter_map(|charge| self.uncounted(&entry.answer, charge, Some(failure), now))
                    .next()
            }
            Ok(grants) => {
                let taken = anything_taken(charges.clone().zip(&grants));
                for (ask, grant) in asks.iter().zip(&grants) {
                    self.leases.answered(ask, grant, taken, sent, now);
                }
                if grants.iter().any(|grant| grant.outcome == Outcome::Unknown) {
                    self.leases.put_back(bill, &entry.charges);
                    return Paid::OutOfDate;
                }
                in_flight = self.in_flight(charges.clone().zip(&grants).filter(|_| taken), sent);
                self.enforce(&entry.answer, charges.zip(&grants), now)
            }
        };
        match denial {
            None => Paid::Answered(Answer {
                in_flight,
                ..self.passes(entry, now)
            }),
            Some(denial) => {
                self.leases.put_back(bill, &entry.charges);
                Paid::Answered(self.telling(denial, &entry.charges, now))
            }
        }
    }

    /// What of `charges`, asked for at `sent` and taken, is to be freed.
    pub(super) fn in_flight<'a>(
        &self,
        charges: impl Iterator<Item = (&'a Charge, &'a Grant)>,
        sent: Instant,
    ) -> InFlight {
        InFlight::of(charges, sent, &self.clock, &self.ended)
    }

    /// The denial that follows from grants of enforced charges, if one does.
    pub(super) fn enforce<'a>(
        &self,
        decided: &Answer,
        grants: impl Iterator<Item = (&'a Charge, &'a Grant)>,
        now: Instant,
    ) -> Option<Answer> {
        let mut unavailable = None;
        for (charge, grant) in grants {
            match grant.outcome {
                Outcome::Granted => {}
                Outcome::Refused => {
                    return Some(standing::refused(decided, charge, grant.retry_after));
                }
                Outcome::Unavailable | Outcome::Unknown => {
                    unavailable =
                        unavailable.or_else(|| self.uncounted(decided, charge, None, now));
                }
            }
        }
        unavailable
    }

    /// What `on_error` makes of a charge that could not be counted: `None` lets it pass.
    pub(super) fn uncounted(
        &self,
        decided: &Answer,
        charge: &Charge,
        failure: Option<Failure>,
        now: Instant,
    ) -> Option<Answer> {
        Counters::count(&self.counters.quota_failed);
        match charge.on_error {
            OnError::Allow => None,
            OnError::Deny => Some(standing::uncounted(decided, charge, failure)),
            OnError::Local(percent) => {
                let fits = self.leases.fits_alone(charge, percent, now);
                (!fits).then(|| standing::refused(decided, charge, None))
            }
        }
    }

    pub(super) async fn ask_quota(
        &self,
        asks: &[Ask],
        until: Instant,
    ) -> Result<Vec<Grant>, Failure> {
        Counters::count(&self.counters.quota_calls);
        let request = wire::quota_request(&self.name, &self.calls.dedup_id(), asks);
        let response = self
            .calls
            .ask::<v1::QuotaResponse>(call::QUOTA, request, until)
            .await?;
        wire::quota_response(response, asks.len()).map_err(|error| {
            tracing::debug!("grants of Mixer make no sense: {error}");
            Failure::Malformed
        })
    }
}

/// The charge that was refused, if that is what came of `charges`.
fn refused_in<'a>(paid: &Paid, charges: &'a [Charge]) -> Option<&'a Charge> {
    let Paid::Answered(answer) = paid else {
        return None;
    };
    charges
        .iter()
        .filter(|_| answer.because == Because::Quota)
        .find(|charge| !charge.shadow && charge.counter.quota == answer.rule_id)
}

/// Charges are taken all or nothing: one enforced charge that is refused, unknown, or may not pass uncounted, and none was.
pub(super) fn anything_taken<'a>(
    mut grants: impl Iterator<Item = (&'a Charge, &'a Grant)>,
) -> bool {
    !grants.any(|(charge, grant)| {
        let undone = match grant.outcome {
            Outcome::Granted => false,
            Outcome::Refused | Outcome::Unknown => true,
            Outcome::Unavailable => charge.on_error == OnError::Deny,
        };
        undone && !charge.shadow
    })
}
