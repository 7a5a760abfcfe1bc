//! One run of the script: its arguments, its answer, and what to do where a server does not know it.

use std::time::Duration;

use mixer_adapter::{Ask, Grant, Outcome, Unavailable};
use redis::{Cmd, Value};

use super::{Group, Store};
use crate::link::Refused;
use crate::terms::Terms;

const SOURCE: &str = include_str!("../allocate.lua");

/// Numbers that the script answers per ask.
const ANSWERS: usize = 4;

/// The script and its name.
#[derive(Debug)]
pub(super) struct Script(String);

/// What is asked of one group.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) group: &'a Group,
    pub(super) asks: &'a [Ask<'a>],
    /// What the answer is remembered under; empty: it is not.
    pub(super) id: &'a str,
    /// Another group has refused the request: this one only gives back.
    pub(super) refused: bool,
    /// A remembered answer to forget.
    pub(super) forgotten: Option<String>,
}

impl Script {
    pub(super) fn new() -> Self {
        Self(redis::Script::new(SOURCE).get_hash().to_owned())
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(group: &'a Group, asks: &'a [Ask<'a>], id: &'a str) -> Self {
        Self {
            group,
            asks,
            id,
            refused: false,
            forgotten: None,
        }
    }

    fn members(&self) -> impl Iterator<Item = &'a Ask<'a>> {
        self.group.members.iter().map(|member| &self.asks[*member])
    }
}

impl Store {
    /// Runs the script; one grant per member of the group.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Vec<Grant>, Unavailable> {
        if call.group.members.is_empty() {
            return Ok(Vec::new());
        }
        let Script(name) = &self.script;
        let answer = match self
            .link
            .call(&self.command("EVALSHA", name, call), self.timeout)
            .await
        {
            // Where the script itself is sent it is known afterwards.
            Err(Refused::NoScript) => {
                let whole = self.command("EVAL", SOURCE, call);
                self.link.call(&whole, self.timeout).await
            }
            other => other,
        };
        let answer = answer.map_err(|refused| match refused {
            Refused::NoScript => garbled(),
            Refused::Unavailable(unavailable) => unavailable,
        })?;
        let grants = read(&answer).filter(|grants| grants.len() == call.group.members.len());
        grants.ok_or_else(garbled)
    }

    /// The key of what was answered to a group's asks under an id.
    pub(super) fn remembered(&self, group: &Group, asks: &[Ask<'_>], id: &str) -> String {
        let members: Vec<&Ask<'_>> = group.members.iter().map(|at| &asks[*at]).collect();
        let kinds = members
            .iter()
            .map(|ask| (Terms::of(ask).letter(), ask.over));
        let kinds = format!("{:?}", kinds.collect::<Vec<_>>());
        self.naming.answer(&group.name, id, &members, &kinds)
    }

    fn command(&self, how: &str, script: &str, call: &Call<'_>) -> Cmd {
        let mut counters: Vec<String> = Vec::new();
        let mut terms: Vec<(usize, Terms)> = Vec::new();
        for ask in call.members() {
            let of_ask = Terms::of(ask);
            let key = self.naming.counter(&call.group.name, of_ask.letter(), ask);
            let known = counters.iter().position(|counter| *counter == key);
            let counter = known.unwrap_or_else(|| {
                counters.push(key);
                counters.len() - 1
            });
            terms.push((counter + 1, of_ask));
        }
        let remembered =
            (!call.id.is_empty()).then(|| self.remembered(call.group, call.asks, call.id));
        let keys = counters.len()
            + usize::from(remembered.is_some())
            + usize::from(call.forgotten.is_some());
        let mut command = redis::cmd(how);
        command
            .arg(script)
            .arg(keys)
            .arg(&counters)
            .arg(&remembered)
            .arg(&call.forgotten)
            .arg(counters.len())
            .arg(u8::from(remembered.is_some()))
            .arg(u8::from(call.refused));
        for (counter, terms) in terms {
            terms.arguments(counter, &mut command);
        }
        command
    }
}

fn read(answer: &Value) -> Option<Vec<Grant>> {
    let Value::Array(numbers) = answer else {
        return None;
    };
    let numbers: Option<Vec<i64>> = numbers
        .iter()
        .map(|number| match number {
            Value::Int(number) => Some(*number),
            _ => None,
        })
        .collect();
    let (asks, rest) = numbers.as_deref()?.as_chunks::<ANSWERS>();
    rest.is_empty().then(|| asks.iter().map(grant).collect())
}

fn grant(&[refused, extra, remaining, wait]: &[i64; ANSWERS]) -> Grant {
    Grant {
        outcome: if refused == 0 {
            Outcome::Granted
        } else {
            Outcome::Refused
        },
        extra: extra.unsigned_abs(),
        remaining: remaining.unsigned_abs(),
        retry_after: u64::try_from(wait).ok().map(Duration::from_micros),
    }
}

/// Somebody else answers where the store should be.
pub(super) fn garbled() -> Unavailable {
    Unavailable {
        reason: "the quota store gave an answer that is none".into(),
        retry: true,
    }
}
