//! One run of a script: its arguments, its answer, and what to do where a server does not know it.
//!
//! A plain call, as nearly every one is, is asked of a script that can nothing else and costs a third. It says so where a counter is
//! not as it mostly is; then, as for every other call, the script that can all is asked.

use std::time::Duration;

use mixer_adapter::{Ask, Grant, Outcome, Unavailable};
use redis::{Cmd, Value};

use super::{Group, Store};
use crate::link::Refused;
use crate::terms::Terms;

const PLAIN: &str = include_str!("../plain.lua");
const WHOLE: &str = include_str!("../allocate.lua");
const COUNTERS: &str = include_str!("../counters.lua");

/// Numbers that the script answers per ask.
const ANSWERS: usize = 4;

/// The scripts, each with its name.
#[derive(Debug)]
pub(super) struct Scripts {
    plain: Script,
    whole: Script,
    pub(super) counters: Script,
}

#[derive(Debug)]
pub(super) struct Script {
    name: String,
    source: &'static str,
}

/// What stands behind a script in a command that runs it.
pub(super) struct Arguments(pub(super) Cmd);

/// What a script is told.
struct Told {
    counters: Vec<String>,
    /// Of each ask, with the position of its counter.
    terms: Vec<(usize, Terms)>,
    remembered: Option<String>,
}

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

impl Scripts {
    pub(super) fn new() -> Self {
        let script = |source| Script {
            name: redis::Script::new(source).get_hash().to_owned(),
            source,
        };
        Self {
            plain: script(PLAIN),
            whole: script(WHOLE),
            counters: script(COUNTERS),
        }
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
        let told = self.told(call);
        let mut answer = Value::Nil;
        if let Some(packed) = told.plain(call) {
            let command = told.plainly(packed);
            answer = self
                .run(&self.scripts.plain, &command, self.timeout)
                .await?;
        }
        if answer == Value::Nil {
            let command = told.wholly(call);
            answer = self
                .run(&self.scripts.whole, &command, self.timeout)
                .await?;
        }
        let grants = read(&answer).filter(|grants| grants.len() == call.group.members.len());
        grants.ok_or_else(garbled)
    }

    /// The script itself is sent only where its name is not known; afterwards it is.
    pub(super) async fn run(
        &self,
        script: &Script,
        arguments: &Arguments,
        within: Duration,
    ) -> Result<Value, Unavailable> {
        let named = arguments.behind("EVALSHA", &script.name);
        let answer = match self.link.call(&named, within).await {
            Err(Refused::NoScript) => {
                let whole = arguments.behind("EVAL", script.source);
                self.link.call(&whole, within).await
            }
            other => other,
        };
        answer.map_err(|refused| match refused {
            Refused::NoScript => garbled(),
            Refused::Unavailable(unavailable) => unavailable,
        })
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

    fn told(&self, call: &Call<'_>) -> Told {
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
        Told {
            counters,
            terms,
            remembered,
        }
    }
}

impl Told {
    /// The argument of the plain script, if that is enough for the call.
    fn plain(&self, call: &Call<'_>) -> Option<Vec<u8>> {
        let alone = self.counters.len() == self.terms.len();
        if !alone || call.refused || call.forgotten.is_some() {
            return None;
        }
        let mut packed = Vec::new();
        for (_, terms) in &self.terms {
            packed.extend(terms.plain()?.map(f64::to_le_bytes).as_flattened());
        }
        Some(packed)
    }

    fn plainly(&self, packed: Vec<u8>) -> Arguments {
        self.arguments(&None, |arguments| {
            arguments.arg(packed);
        })
    }

    fn wholly(&self, call: &Call<'_>) -> Arguments {
        self.arguments(&call.forgotten, |arguments| {
            arguments
                .arg(self.counters.len())
                .arg(u8::from(self.remembered.is_some()))
                .arg(u8::from(call.refused));
            for (counter, terms) in &self.terms {
                terms.arguments(*counter, arguments);
            }
        })
    }

    /// The keys, then what `rest` adds.
    fn arguments(&self, forgotten: &Option<String>, rest: impl FnOnce(&mut Cmd)) -> Arguments {
        let keys = self.counters.len()
            + usize::from(self.remembered.is_some())
            + usize::from(forgotten.is_some());
        let mut arguments = Cmd::new();
        arguments
            .arg(keys)
            .arg(&self.counters)
            .arg(&self.remembered)
            .arg(forgotten);
        rest(&mut arguments);
        Arguments(arguments)
    }
}

impl Arguments {
    /// The whole command: how to run which script, with these.
    fn behind(&self, how: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(how);
        command.arg(script);
        for argument in self.0.args_iter() {
            if let redis::Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
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
