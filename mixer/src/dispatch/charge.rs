//! What a request that passes is charged.

use std::fmt::Display;

use mixer_documents::{Absent, Applicable, Condition, Mode, Quota};

use super::decision::Charge;
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
    /// charged and is enforced denies; a shadow quota that would have is on the second list.
    pub(super) fn charges(
        &mut self,
        applicable: &Applicable,
    ) -> Result<(Vec<Charge>, Vec<Unchargeable>), Unchargeable> {
        let (mut charges, mut would) = (Vec::new(), Vec::new());
        if !applicable.scope.quotas {
            return Ok((charges, would));
        }
        for &policy in applicable
            .guards
            .iter()
            .chain(&applicable.pool)
            .chain(&applicable.shadow)
        {
            let document = &self.snapshot.set.policies[policy];
            for (at, quota) in document.quotas.iter().enumerate() {
                if self.tcp && quota.reads_request {
                    continue;
                }
                let shadow = quota.mode == Mode::Shadow || document.mode == Mode::Shadow;
                match self.charge((policy, at), quota, shadow) {
                    Ok(charge) => charges.extend(charge),
                    Err(reason) => {
                        let failed = Unchargeable {
                            place: (policy, at),
                            reason,
                        };
                        if !shadow {
                            return Err(failed);
                        }
                        would.push(failed);
                    }
                }
            }
        }
        Ok((charges, would))
    }

    /// `None` when the quota does not apply.
    fn charge(
        &mut self,
        place: (usize, usize),
        quota: &'a Quota,
        shadow: bool,
    ) -> Result<Option<Charge>, String> {
        if !self.applies(&quota.when) {
            return Ok(None);
        }
        let mut key = Vec::with_capacity(quota.key.len());
        for expression in &quota.key {
            match (expression.evaluate(&mut self.evaluation), quota.absent) {
                (Ok(value), _) => key.push(escaped(value.to_text())),
                (Err(error), Absent::Share) if error.is_absence() => key.push(ABSENT.to_owned()),
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
            None => 1,
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
        let told = self.tell(&quota.reply, &quota.sentence);
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

    /// A `when` that cannot be decided applies.
    fn applies(&mut self, when: &'a Condition) -> bool {
        when.test(&mut self.evaluation).unwrap_or(true)
    }
}

pub(super) fn undetermined(error: &dyn Display) -> String {
    format!("cannot decide: {error}")
}

fn escaped(text: String) -> String {
    if text.starts_with('\0') {
        format!("\0{text}")
    } else {
        text
    }
}
