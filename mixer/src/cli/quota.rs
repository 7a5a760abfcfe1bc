//! `mixer quota ls|get|reset|grant`: what the counters of a running Mixer say, and putting them right.

mod shown;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::USAGE;
use super::asking::{Failed, Listener};
use super::output::{Output, say, say_json};

/// How an absent value of a key is written.
const ABSENT: &str = "(absent)";

/// Shows the counters of a running Mixer's quotas, and puts them right.
///
/// A counter is named by its quota (the id, `POLICY/SENTENCE`, or the sentence where only one quota has it) and by the values of
/// its key, in the quota's order; `(absent)` is a value that is absent. What proxies hold as leases, for a second at most, is not taken
/// from them, and a proxy that was refused asks again within five seconds.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// The admin listener of the Mixer that is asked. With the store `memory` each Mixer has counters of its own.
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        env = "MIXER_ADMIN",
        default_value = "127.0.0.1:15014"
    )]
    admin: String,
    /// The file of the token that this Mixer was started with (--admin-token-file): to reset and grant.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "MIXER_ADMIN_TOKEN_FILE"
    )]
    token_file: Option<PathBuf>,
    /// How it is shown.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORM",
        default_value = "text"
    )]
    output: Output,
    /// The same as `-o json`.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Lists the quotas in force; of one, its counters that have spent something.
    Ls {
        /// The quota.
        quota: Option<String>,
        /// Only keys whose first value begins so.
        #[arg(long, value_name = "K", default_value = "", requires = "quota")]
        prefix: String,
        /// How many counters at most.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..), requires = "quota")]
        limit: u32,
        /// Holds them against this row of the quota's table of limits, instead of `otherwise`.
        #[arg(long, value_name = "ROW", requires = "quota")]
        tier: Option<String>,
    },
    /// Shows one counter.
    Get {
        /// The quota.
        quota: String,
        /// The values of its key.
        key: Vec<String>,
        /// Holds it against this row of the quota's table of limits, instead of `otherwise`.
        #[arg(long, value_name = "ROW")]
        tier: Option<String>,
    },
    /// Makes a counter as new; without a key all counters of the quota.
    Reset {
        /// The quota.
        quota: String,
        /// The values of its key.
        key: Vec<String>,
    },
    /// Gives tokens back: AMOUNT is taken off what the counter has spent, never below nothing.
    Grant {
        /// The quota.
        quota: String,
        /// The values of its key, and how many tokens.
        #[arg(required = true, num_args = 1.., value_names = ["KEY.. AMOUNT"])]
        key_and_amount: Vec<String>,
    },
}

/// Asks, and shows what was answered.
pub(crate) fn run(args: Args) -> ExitCode {
    let output = if args.json { Output::Json } else { args.output };
    match shown(&args, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code, why }) => {
            eprintln!("{why}");
            ExitCode::from(code)
        }
    }
}

fn shown(args: &Args, output: Output) -> Result<(), Failed> {
    let mixer = Listener::of_mixer(&args.admin, args.token_file.as_deref())?;
    let (answer, text) = match &args.verb {
        Verb::Ls { quota: None, .. } => {
            let answer = mixer.get("quotas", &[])?;
            let text = shown::quotas(&answer);
            (answer, text)
        }
        Verb::Ls {
            quota: Some(quota),
            prefix,
            limit,
            tier,
        } => {
            let answer = list(&mixer, quota, prefix, *limit, tier.as_deref())?;
            let text = shown::counters(&answer);
            (answer, text)
        }
        Verb::Get { quota, key, tier } => {
            let key = values(key).to_string();
            let tier = tier.as_deref().map(|tier| ("tier", tier));
            let asked = [("quota", &**quota), ("key", &key)];
            let asked: Vec<_> = asked.into_iter().chain(tier).collect();
            let mut answer = mixer.get("quotas/counters", &asked)?;
            let text = shown::counter(&answer, &answer["counters"][0]);
            if let Some(counter) = answer["counters"].get_mut(0) {
                let counter = counter.take();
                answer["counter"] = counter;
            }
            for of_a_list in ["counters", "unnamed", "next"] {
                answer.as_object_mut().map(|held| held.remove(of_a_list));
            }
            (answer, text)
        }
        Verb::Reset { quota, key } => {
            let answer = reset(&mixer, quota, key)?;
            let text = shown::reset(&answer);
            (answer, text)
        }
        Verb::Grant {
            quota,
            key_and_amount,
        } => {
            let (key, amount) = amount(key_and_amount)?;
            let body = json!({ "quota": quota, "key": values(key), "amount": amount });
            let answer = mixer.post("quotas/grant", &body)?;
            let text = shown::granted(&answer);
            (answer, text)
        }
    };
    match output {
        Output::Text => say(text),
        Output::Json => say_json(&answer),
    }
    Ok(())
}

/// All pages, until there are enough counters.
fn list(
    mixer: &Listener,
    quota: &str,
    prefix: &str,
    limit: u32,
    tier: Option<&str>,
) -> Result<Value, Failed> {
    let (mut counters, mut unnamed, mut from) = (Vec::new(), 0, String::new());
    loop {
        let room = (limit as usize).saturating_sub(counters.len()).to_string();
        let asked = [
            ("quota", quota),
            ("prefix", prefix),
            ("limit", &room),
            ("from", &from),
        ];
        let tier = tier.map(|tier| ("tier", tier));
        let asked: Vec<_> = asked.into_iter().chain(tier).collect();
        let mut page = mixer.get("quotas/counters", &asked)?;
        if let Some(held) = page["counters"].as_array_mut() {
            counters.append(held);
        }
        unnamed += page["unnamed"].as_u64().unwrap_or(0);
        let next = page["next"].as_str().map(str::to_owned);
        let enough = counters.len() >= limit as usize;
        match next {
            Some(next) if !enough => from = next,
            next => {
                counters.sort_by_cached_key(|counter| counter["key"].to_string());
                if next.is_some() {
                    eprintln!(
                        "these are the first {limit} found: --limit N shows more, --prefix K others"
                    );
                }
                shown::tell_unnamed(unnamed, "are not shown");
                page["counters"] = Value::Array(counters);
                page["unnamed"] = unnamed.into();
                page["more"] = next.is_some().into();
                page.as_object_mut().map(|held| held.remove("next"));
                return Ok(page);
            }
        }
    }
}

/// Of one key, or of all counters, page by page.
fn reset(mixer: &Listener, quota: &str, key: &[String]) -> Result<Value, Failed> {
    let key = (!key.is_empty()).then(|| values(key));
    let (mut reset, mut unnamed, mut from) = (0, 0, String::new());
    loop {
        let body = json!({ "quota": quota, "key": key, "from": from });
        let answer = mixer.post("quotas/reset", &body)?;
        reset += answer["reset"].as_u64().unwrap_or(0);
        unnamed += answer["unnamed"].as_u64().unwrap_or(0);
        match answer["next"].as_str() {
            Some(next) => from = next.to_owned(),
            None => {
                shown::tell_unnamed(unnamed, "were left alone");
                return Ok(json!({ "quota": answer["quota"], "reset": reset, "unnamed": unnamed }));
            }
        }
    }
}

fn values(key: &[String]) -> Value {
    let values = key.iter();
    values
        .map(|value| match &**value {
            ABSENT => Value::Null,
            value => value.into(),
        })
        .collect()
}

fn amount(key_and_amount: &[String]) -> Result<(&[String], u64), Failed> {
    let wrong = |given: &str| Failed {
        code: USAGE,
        why: format!("how many tokens? The last argument is a number above 0, not `{given}`"),
    };
    let (last, key) = key_and_amount.split_last().ok_or_else(|| wrong(""))?;
    let amount = last.parse().ok().filter(|amount| *amount > 0);
    Ok((key, amount.ok_or_else(|| wrong(last))?))
}
