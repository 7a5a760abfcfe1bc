//! Putting rules into force and taking them away, with the host's own programs.
//!
//! Rules of one family come into force at once (a transaction of nft, or of one table of iptables). With iptables both families are
//! tried first, so that a host that cannot do one of them gets neither.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use super::{Family, Rules, Tool, nft, restore};

/// Why rules did not come into force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("{program} cannot be run: {error}; install it, or choose another with --tool")]
    Missing {
        program: &'static str,
        error: io::Error,
    },
    #[error("{program} refuses: {said}")]
    Refused { program: &'static str, said: String },
}

/// The programs of iptables for a family.
struct Programs {
    save: &'static str,
    restore: &'static str,
}

/// Puts `rules` into force, instead of what was in force of the same offset.
pub(crate) fn apply(rules: &Rules, tool: Tool, families: &[Family]) -> Result<(), ApplyError> {
    if tool == Tool::Nft {
        return run("nft", &["-f", "-"], &nft::rules(rules, families)).map(drop);
    }
    restore_all(
        families,
        |family, present| Some(restore::rules(rules, family, present)),
        rules,
    )
}

/// Takes away what is in force of `rules`, and nothing else. There may be nothing.
pub(crate) fn clean(rules: &Rules, tool: Tool, families: &[Family]) -> Result<(), ApplyError> {
    if tool == Tool::Nft {
        return run("nft", &["-f", "-"], &nft::removal(rules, families)).map(drop);
    }
    let removal = |family, present: &restore::Present| {
        (!present.is_nothing()).then(|| restore::removal(rules, family, present))
    };
    restore_all(families, removal, rules)
}

fn restore_all(
    families: &[Family],
    text: impl Fn(Family, &restore::Present) -> Option<String>,
    rules: &Rules,
) -> Result<(), ApplyError> {
    let mut texts = Vec::new();
    for family in families {
        let programs = programs(*family);
        let saved = run(programs.save, &["-t", "nat"], "")?;
        let present = restore::Present::read(&saved, rules);
        texts.extend(text(*family, &present).map(|text| (programs.restore, text)));
    }
    for (restore, text) in &texts {
        run(restore, &["--noflush", "--test"], text)?;
    }
    for (restore, text) in &texts {
        run(restore, &["--noflush", "--wait", "5"], text)?;
    }
    Ok(())
}

fn programs(family: Family) -> Programs {
    match family {
        Family::V4 => Programs {
            save: "iptables-save",
            restore: "iptables-restore",
        },
        Family::V6 => Programs {
            save: "ip6tables-save",
            restore: "ip6tables-restore",
        },
    }
}

/// Runs `program` with `input`: what it wrote, or what it complained of.
fn run(program: &'static str, arguments: &[&str], input: &str) -> Result<String, ApplyError> {
    let missing = |error| ApplyError::Missing { program, error };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(missing)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends early says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(missing)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ApplyError::Refused { program, said })
}
