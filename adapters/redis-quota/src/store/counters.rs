//! Counters shown and forgotten by hand: a script of its own, which scans where a group's counters are.
//!
//! One call to the server looks at [`KEYS_A_SCAN`] of its keys, and one of ours makes [`SCANS`] of them at most. Where to go on is a
//! group, a cursor of SCAN, and the last name that was answered of it.

use std::time::Duration;

use mixer_adapter::{
    Ask, Counted, CounterKey, Family, Forgotten, Listed, MOST_COUNTERS, Over, Unavailable, Which,
};
use redis::Value;

use super::Store;
use super::call::{Arguments, garbled};
use crate::keys::{escaped, key_of, pattern};
use crate::terms::Terms;

/// Keys of a server that one run of the script looks at: some tenths of a millisecond in which it does nothing else.
const KEYS_A_SCAN: usize = 500;
/// Runs of the script in one call.
const SCANS: usize = 20;
/// How long one run is waited for: nobody's request waits with it.
const PATIENCE: Duration = Duration::from_secs(1);

impl Store {
    /// See [`mixer_adapter::Counters::list`].
    pub(crate) async fn list(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        most: usize,
        from: &str,
    ) -> Result<Listed, Unavailable> {
        let mut place = Place::parse(from)?;
        let prefix = match which {
            Which::Key(key) => {
                let answer = self.one("list", family, key).await?;
                return Ok(Listed {
                    counters: answer.counted(family, |_| Some(CounterKey::Values(key.to_vec()))),
                    ..Listed::default()
                });
            }
            Which::Prefix(prefix) => prefix,
        };
        let mut room = most.clamp(1, MOST_COUNTERS);
        let part = Part::new(self, family, prefix);
        let mut listed = Listed::default();
        for _ in 0..SCANS {
            let Some(group) = part.groups.get(place.group) else {
                return Ok(listed);
            };
            let mut answer = self.part("list", &part, group, &place.cursor).await?;
            if place.after.is_empty() {
                listed.unnamed += answer.unnamed;
            }
            answer.held.sort_unstable();
            answer.held.dedup();
            answer.held.retain(|(name, _)| *name > place.after);
            let more = answer.held.len() > room;
            answer.held.truncate(room);
            room -= answer.held.len();
            let last = answer.held.last().map(|(name, _)| name.clone());
            let stem = part.stem(group);
            let key = |name: &str| key_of(name.strip_prefix(&stem)?);
            listed.counters.extend(answer.counted(family, key));
            match last.filter(|_| more) {
                Some(name) => place.after = name,
                None => place.goes_on(answer.cursor),
            }
            if room == 0 {
                break;
            }
        }
        listed.next = place.unless_over(part.groups.len());
        Ok(listed)
    }

    /// See [`mixer_adapter::Counters::forget`].
    pub(crate) async fn forget(
        &self,
        family: &Family<'_>,
        which: Which<'_>,
        from: &str,
    ) -> Result<Forgotten, Unavailable> {
        let mut place = Place::parse(from)?;
        let mut forgotten = Forgotten::default();
        let prefix = match which {
            Which::Key(key) => {
                forgotten.counters = self.one("forget", family, key).await?.gone;
                return Ok(forgotten);
            }
            Which::Prefix(prefix) => prefix,
        };
        let part = Part::new(self, family, prefix);
        for _ in 0..SCANS {
            let Some(group) = part.groups.get(place.group) else {
                return Ok(forgotten);
            };
            let answer = self.part("forget", &part, group, &place.cursor).await?;
            forgotten.counters += answer.gone;
            forgotten.unnamed += answer.unnamed;
            place.goes_on(answer.cursor);
        }
        forgotten.next = place.unless_over(part.groups.len());
        Ok(forgotten)
    }

    async fn one(
        &self,
        what: &str,
        family: &Family<'_>,
        key: &[String],
    ) -> Result<Answer, Unavailable> {
        let ask = Ask {
            quota: family.quota,
            key,
            cost: 0,
            limit: family.limit,
            algorithm: family.algorithm,
            extra: 0,
            over: Over::Refuse,
            age: Duration::ZERO,
        };
        let group = self.naming.group(&ask);
        let letter = Terms::of(&ask).letter();
        let name = self.naming.counter(&group, letter, &ask);
        self.tell(what, &name, &["0"]).await
    }

    async fn part(
        &self,
        what: &str,
        part: &Part,
        group: &str,
        cursor: &str,
    ) -> Result<Answer, Unavailable> {
        let stem = part.stem(group);
        let (keys, pattern) = (KEYS_A_SCAN.to_string(), format!("{}*", pattern(&stem)));
        let arguments = ["1", cursor, &keys, &pattern, &part.bare, &part.beginning];
        let digests = if part.digests { "1" } else { "0" };
        self.tell(what, &stem, &[&arguments[..], &[digests]].concat())
            .await
    }

    async fn tell(&self, what: &str, key: &str, more: &[&str]) -> Result<Answer, Unavailable> {
        let mut arguments = redis::Cmd::new();
        arguments.arg(1).arg(key).arg(what).arg(more);
        let script = &self.scripts.counters;
        let answer = self.run(script, &Arguments(arguments), PATIENCE).await?;
        Answer::read(what, answer).ok_or_else(garbled)
    }
}

/// Which counters are meant, in each of the groups that they may be in.
struct Part {
    prefix: String,
    letter: char,
    groups: Vec<String>,
    /// The rest of the name where a key has no values; no name's, where a prefix is asked for.
    bare: String,
    /// How it begins where it has some.
    beginning: String,
    /// Whether those whose name is a digest may be meant.
    digests: bool,
}

impl Part {
    fn new(store: &Store, family: &Family<'_>, prefix: &str) -> Self {
        let naming = &store.naming;
        let quota = escaped(family.quota);
        Self {
            prefix: naming.prefix.clone(),
            letter: Terms::new(family.limit, family.algorithm).letter(),
            groups: naming.groups(family.quota),
            beginning: format!("{quota}|{}", escaped(prefix)),
            bare: if prefix.is_empty() {
                quota
            } else {
                "|".to_owned()
            },
            digests: prefix.is_empty(),
        }
    }

    fn stem(&self, group: &str) -> String {
        let Self { prefix, letter, .. } = self;
        format!("{prefix}:{{{group}}}:{letter}:")
    }
}

/// What the script answered.
#[derive(Debug, Default)]
struct Answer {
    cursor: String,
    now: u64,
    unnamed: u64,
    gone: u64,
    held: Vec<(String, Vec<u8>)>,
}

impl Answer {
    fn read(what: &str, answer: Value) -> Option<Self> {
        let Value::Array(answer) = answer else {
            return None;
        };
        let text = |value: Value| match value {
            Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
            _ => None,
        };
        let number = |value: Value| match value {
            Value::Int(number) => u64::try_from(number).ok(),
            _ => None,
        };
        let mut answer = answer.into_iter();
        let mut read = Self {
            cursor: text(answer.next()?)?,
            now: text(answer.next()?)?.parse().ok()?,
            unnamed: number(answer.next()?)?,
            ..Self::default()
        };
        if what == "forget" {
            read.gone = number(answer.next()?)?;
            return Some(read);
        }
        while let Some(name) = answer.next() {
            let Value::BulkString(value) = answer.next()? else {
                return None;
            };
            read.held.push((text(name)?, value));
        }
        Some(read)
    }

    /// What there is to show. A value that is no counter's is somebody else's.
    fn counted(
        &self,
        family: &Family<'_>,
        key: impl Fn(&str) -> Option<CounterKey>,
    ) -> Vec<Counted> {
        let terms = Terms::new(family.limit, family.algorithm);
        let counted = self.held.iter().filter_map(|(name, value)| {
            let reading = terms.read(value, self.now)?;
            (reading.spent > 0).then_some(Counted {
                key: key(name)?,
                spent: reading.spent,
                left: reading.left,
                next_in: reading.next_in,
                free_in: reading.free_in,
            })
        });
        counted.collect()
    }
}

/// Where a walk goes on.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    group: usize,
    /// Of SCAN.
    cursor: String,
    /// Behind this name, of those that the cursor gives.
    after: String,
}

impl Place {
    fn goes_on(&mut self, cursor: String) {
        if cursor == "0" {
            self.group += 1;
        }
        (self.cursor, self.after) = (cursor, String::new());
    }

    fn unless_over(&self, groups: usize) -> Option<String> {
        let Self {
            group,
            cursor,
            after,
        } = self;
        (*group < groups).then(|| format!("{group}-{cursor}-{after}"))
    }

    fn parse(text: &str) -> Result<Self, Unavailable> {
        let place = if text.is_empty() { "0-0-" } else { text };
        let mut parts = place.splitn(3, '-');
        let mut part = || parts.next();
        let group = part().and_then(|group| group.parse().ok());
        let is_number = |cursor: &&str| cursor.parse::<u64>().is_ok();
        let cursor = part().filter(is_number).map(str::to_owned);
        let after = part().map(str::to_owned);
        match (group, cursor, after) {
            (Some(group), Some(cursor), Some(after)) => Ok(Self {
                group,
                cursor,
                after,
            }),
            _ => Err(Unavailable {
                reason: "no listing of this store goes on there".into(),
                retry: false,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is() {
        for (group, cursor, after) in [(0, "0", ""), (7, "123", "mixer:{a-b}:w:q|a-b")] {
            let place = Place {
                group,
                cursor: cursor.to_owned(),
                after: after.to_owned(),
            };
            let written = place.unless_over(8).unwrap();
            assert_eq!(Place::parse(&written).unwrap(), place);
            assert_eq!(place.unless_over(group), None);
        }
        for text in ["0", "0-0", "x-0-", "0-x-"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }
}
