//! `mixer tls report`: whom `tls: strict` would refuse.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::asking::{Failed, Listener};
use super::output::{Output, exit_code, say, say_json};

/// Tells about mutual TLS.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Tells whom `tls: strict` would refuse: asks proxies of services who called them in plaintext since they began.
    ///
    /// A service whose proxies all say `nobody`, for as long as its rarest caller takes to come back, may be `strict`. A proxy remembers
    /// 1,000 addresses; of others it tells how often they called.
    Report(Report),
}

#[derive(Debug, clap::Args)]
struct Report {
    /// Admin listeners of proxies.
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:15020")]
    proxies: Vec<String>,
    /// How it is shown.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Output,
    /// Exits with 10 if anybody would be refused.
    #[arg(long)]
    exit_code: bool,
}

/// Runs the verb.
pub(crate) fn run(args: Args) -> ExitCode {
    let Verb::Report(args) = args.verb;
    let asked: Result<Vec<Value>, Failed> = args.proxies.iter().map(|addr| ask(addr)).collect();
    let told = match asked {
        Ok(told) => told,
        Err(Failed { code, why }) => {
            eprintln!("{why}");
            return ExitCode::from(code);
        }
    };
    let refuses = told.iter().any(|proxy| !verdict(proxy).is_strictable());
    match args.output {
        Output::Text => say(text(&told)),
        Output::Json => say_json(&json!({ "proxies": told, "strict_refuses": refuses })),
    }
    exit_code(refuses, args.exit_code)
}

fn ask(addr: &str) -> Result<Value, Failed> {
    let mut told = Listener::of_proxy(addr)?.get("tls", &[])?;
    told["admin"] = addr.into();
    Ok(told)
}

/// What `strict` would mean for a proxy's service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is so already.
    Strict,
    /// TLS is the application's own affair.
    Disabled,
    /// It has no certificate: it could take nobody's call.
    NoIdentity,
    /// Plaintext comes.
    Refuses,
    /// No plaintext came.
    Nobody,
}

impl Verdict {
    fn is_strictable(self) -> bool {
        matches!(self, Verdict::Strict | Verdict::Nobody)
    }
}

fn verdict(proxy: &Value) -> Verdict {
    match proxy["tls"].as_str() {
        Some("strict") => Verdict::Strict,
        Some("disable") => Verdict::Disabled,
        _ if proxy["identity"].is_null() => Verdict::NoIdentity,
        _ if callers(proxy).is_empty() && others(proxy) == 0 => Verdict::Nobody,
        _ => Verdict::Refuses,
    }
}

fn callers(proxy: &Value) -> &[Value] {
    proxy["plaintext"]["callers"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

/// Connections of callers that have no place of their own.
fn others(proxy: &Value) -> u64 {
    proxy["plaintext"]["others"].as_u64().unwrap_or_default()
}

fn text(told: &[Value]) -> String {
    let mut text = String::new();
    for proxy in told {
        let word = |key: &str| proxy[key].as_str().unwrap_or("-");
        let what = match verdict(proxy) {
            Verdict::Strict => "takes mutual TLS only".to_owned(),
            Verdict::Disabled => "leaves TLS to the application (`tls: disable`)".to_owned(),
            Verdict::NoIdentity => "has no certificate: `strict` would refuse everybody".to_owned(),
            Verdict::Nobody => {
                format!("nobody called in plaintext since {}", word("since"))
            }
            Verdict::Refuses => {
                let all = callers(proxy).len();
                let more = if others(proxy) > 0 { " and more" } else { "" };
                format!("`strict` would refuse {all} addresses{more}:")
            }
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} ({}): {what}", word("service"), word("admin"));
        for caller in callers(proxy) {
            let _ = writeln!(
                text,
                "  {:<40} {:>8} connections, last {}",
                caller["address"].as_str().unwrap_or("-"),
                caller["connections"],
                caller["last"].as_str().unwrap_or("-"),
            );
        }
        if others(proxy) > 0 {
            let _ = writeln!(
                text,
                "  {:<40} {:>8} connections",
                "(others)",
                others(proxy)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strict_would_mean_is_said() {
        let proxy = |tls: &str, identity: Option<&str>, callers: Value, others: u64| {
            json!({
                "service": "a.shop", "admin": "h:1", "tls": tls, "identity": identity, "since": "T0",
                "plaintext": { "callers": callers, "others": others },
            })
        };
        let id = Some("spiffe://a/b");
        let caller = json!([{ "address": "10.0.0.1", "connections": 3, "last": "T1" }]);
        let told = [
            proxy("strict", id, json!([]), 0),
            proxy("disable", id, json!([]), 0),
            proxy("permissive", None, json!([]), 0),
            proxy("permissive", id, json!([]), 0),
            proxy("permissive", id, caller, 0),
            proxy("permissive", id, json!([]), 7),
        ];
        let able: Vec<bool> = told
            .iter()
            .map(|one| verdict(one).is_strictable())
            .collect();
        assert_eq!(able, [true, false, false, true, false, false]);
        let text = text(&told);
        for line in [
            "a.shop (h:1): takes mutual TLS only",
            "a.shop (h:1): nobody called in plaintext since T0",
            "a.shop (h:1): `strict` would refuse 1 addresses:",
            "(others)",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.contains("10.0.0.1") && text.contains("3 connections, last T1"));
    }
}
