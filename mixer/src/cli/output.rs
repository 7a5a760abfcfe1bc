//! What goes to standard output, as text or as JSON, and what a decision exits with.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

/// Exit code of a denial with `--exit-code`.
const DENIED: u8 = 10;

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// For programs: one JSON value.
    Json,
}

impl Output {
    /// Shows `result`.
    pub(super) fn show(self, result: &(impl Display + Serialize)) {
        match self {
            Output::Text => say(result),
            Output::Json => say_json(result),
        }
    }
}

/// Writes `text` to standard output, as it is. A reader that has gone away wants no more.
pub(super) fn say(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Writes `value` to standard output, as JSON.
pub(super) fn say_json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value);
    let text = text.expect("what verbs show has only text for keys and no failing serializer");
    say(format_args!("{text}\n"));
}

/// 0, or for a denial, if the caller asked for it with `--exit-code`, 10.
pub(super) fn exit_code(denied: bool, asked: bool) -> ExitCode {
    if denied && asked {
        ExitCode::from(DENIED)
    } else {
        ExitCode::SUCCESS
    }
}
