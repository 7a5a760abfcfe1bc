//! What a request that passes is charged.

use std::fmt::Display;

use mixer_attributes::{Value, vocabulary};
use mixer_documents::{Absent, At, Condition, Mode, Quota, Rules};

use super::decision::{Charge, Told};
use super::settle::Deciding;

/// A key that is absent and shares one counter with all that lack it. No value looks like it: one that begins with NUL gets
/// another before it.
const ABSENT: &str = "\0";

/// A quota that cannot be charged, which denies.
#[derive(Debug)]
pub(super) struct Unchargeable {
    pub(super) place: (usize, usize),
    pub(super) reason: String,
}

impl<'a> Deciding<'a> {
    /// The charges of the quotas that apply; enforced ones in decision order, then those of shadow policies. What cannot be
    /// charged and is enforced denies; in shadow it is left out.
    pub(super) fn charges(&mut self, quotas: &Rules) -> Result<Vec<Charge>, Unchargeable> {
        let mut charges = Vec::new();
        let mut candidates = quotas.candidates();
        while let Some(place) = candidates.next(&mut self.evaluation, true) {
            match self.charge(place) {
                Ok(charge) => charges.extend(charge),
                Err(failed) if self.is_enforced_quota(place) => return Err(failed),
                Err(_) => {}
            }
        }
        Ok(charges)
    }

    /// Shadow quotas that cannot be charged.
    pub(super) fn unchargeable_in_shadow(&mut self, quotas: &Rules) -> Vec<Unchargeable> {
        let mut failed = Vec::new();
        let mut candidates = quotas.candidates();
        while let Some(place) = candidates.next(&mut self.evaluation, true) {
            if !self.is_enforced_quota(place) {
                failed.extend(self.charge(place).err());
            }
        }
        failed
    }

    fn is_enforced_quota(&self, (policy, quota): (usize, usize)) -> bool {
        let policy = &self.snapshot.set.policies[policy];
        policy.mode == Mode::Enforce && policy.quotas[quota].mode == Mode::Enforce
    }

    /// `None` when the quota does not apply.
    fn charge(&mut self, place: (usize, usize)) -> Result<Option<Charge>, Unchargeable> {
        let failed = |reason| Unchargeable { place, reason };
        self.charge_or_reason(place).map_err(failed)
    }

    fn charge_or_reason(&mut self, place: (usize, usize)) -> Result<Option<Charge>, String> {
        let quota: &'a Quota = &self.snapshot.set.policies[place.0].quotas[place.1];
        if !self.applies(&quota.when) {
            return Ok(None);
        }
        let mut key = Vec::with_capacity(quota.key.len());
        for expression in &quota.key {
            match (expression.evaluate(&mut self.evaluation), quota.absent) {
                (Ok(value), _) => key.push(key_part(Some(value.to_text()))),
                (Err(error), Absent::Share) if error.is_absence() => key.push(key_part(None)),
                (Err(error), Absent::Skip) if error.is_absence() => return Ok(None),
                // What is there but cannot be read (a name given twice) is not absent: nobody picks a counter that way.
                (Err(error), _) => return Err(undetermined(&error)),
            }
        }
        let row = match &quota.limit.by {
            None => None,
            Some(by) => match by.evaluate(&mut self.evaluation) {
                Ok(row) => Some(row.to_text()),
                // Nobody picks a row by giving its name twice.
                Err(error) if error.is_ambiguity() => return Err(undetermined(&error)),
                Err(_) => None,
            },
        };
        let row = row.filter(|row| quota.limit.table.iter().any(|(name, _)| **name == **row));
        let tier = row.unwrap_or_default();
        let limit = if tier.is_empty() {
            quota.limit.otherwise
        } else {
            quota.limit.row(&tier)
        };
        let cost = match &quota.cost {
            None => self.usual_cost(),
            Some(cost) => {
                let value = cost
                    .evaluate(&mut self.evaluation)
                    .map_err(|error| undetermined(&error))?;
                let cost = value
                    .as_int()
                    .ok_or("cannot decide: the cost is not an integer")?;
                if cost < 0 {
                    return Err(format!("cannot decide: the cost is {cost}"));
                }
                cost
            }
        };
        let (quota_id, on_error) = (quota.id.clone(), quota.on_error);
        let shadow = !self.is_enforced_quota(place);
        // Who asks about a descriptor is told only when it is refused, and keeps nothing.
        let told = match self.at {
            At::RateLimit => Told::default(),
            _ => self.tell(&quota.reply, &quota.sentence),
        };
        Ok(Some(Charge {
            place,
            quota: quota_id,
            key,
            cost,
            limit,
            tier,
            on_error,
            shadow,
            told,
        }))
    }

    /// One; of a rate limit descriptor, the hits it asks for.
    fn usual_cost(&self) -> i64 {
        match self.evaluation.bag().value(vocabulary::RATE_LIMIT_HITS) {
            Some(Value::Int(hits)) if self.at == At::RateLimit => hits,
            _ => 1,
        }
    }

    /// A `when` that cannot be decided applies.
    fn applies(&mut self, when: &'a Condition) -> bool {
        when.test(&mut self.evaluation).unwrap_or(true)
    }
}

pub(super) fn undetermined(error: &dyn Display) -> String {
    format!("cannot decide: {error}")
}

/// The text in a counter's key that stands for a value, or for its absence.
pub(super) fn key_part(value: Option<String>) -> String {
    value.map_or_else(|| ABSENT.to_owned(), escaped)
}

/// The value that such a text stands for, or its absence.
pub(super) fn key_value(part: &str) -> Option<&str> {
    match part.strip_prefix(ABSENT) {
        Some("") => None,
        Some(escaped) => Some(escaped),
        None => Some(part),
    }
}

fn escaped(text: String) -> String {
    if text.starts_with('\0') {
        format!("\0{text}")
    } else {
        text
    }
}
