//! The log of the process, and how much of it there is: what `RUST_LOG` says until somebody says otherwise.
//!
//! A process has one log, so this is the one thing here that is not a proxy's own: with several proxies in a process a change is
//! about all of them, and in a process that logs in its own way there is nothing to change.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// Without `RUST_LOG`. What callers do wrong in TLS is counted; the library would say it once per handshake.
const DEFAULT: &str = "info,rustls=off";

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Why the log stays as it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unchanged {
    #[error("this process logs in its own way")]
    NotOurs,
    #[error(
        "{0}: write a level (off, error, warn, info, debug, trace), or several as in info,mixer_proxy=debug"
    )]
    Malformed(String),
}

/// Begins to log on stderr. A process that logs already keeps its own way.
pub(crate) fn begin() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT.into());
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let begun = tracing_subscriber::registry().with(filter).with(lines);
    if begun.try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// How much is logged now.
pub(crate) fn level() -> Result<String, Unchanged> {
    let filter = FILTER.get().ok_or(Unchanged::NotOurs)?;
    filter
        .with_current(ToString::to_string)
        .map_err(|_| Unchanged::NotOurs)
}

/// Logs as much as `level` says: one level, or several with what they are for.
pub(crate) fn set_level(level: &str) -> Result<(), Unchanged> {
    let parsed = parse(level)?;
    let filter = FILTER.get().ok_or(Unchanged::NotOurs)?;
    filter.reload(parsed).map_err(|_| Unchanged::NotOurs)
}

fn parse(text: &str) -> Result<EnvFilter, Unchanged> {
    let malformed = || Unchanged::Malformed(text.escape_debug().to_string());
    // `debgu` alone would be taken for the name of a module.
    let plain = text.split(',').all(|part| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        !level.is_empty() && level.parse::<LevelFilter>().is_ok()
    });
    if !plain {
        return Err(malformed());
    }
    EnvFilter::builder().parse(text).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_and_what_is_none_is_refused() {
        for text in [
            "off",
            "debug",
            "WARN",
            "info,mixer_proxy=debug",
            "mixer_proxy::pool=trace",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "debgu",
            "info,",
            "info,mixer_proxy",
            "mixer_proxy=",
            "a=b=c",
            "info,[x{y=1}]",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
