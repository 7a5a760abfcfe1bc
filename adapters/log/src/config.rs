//! What `config:` of a `log` holds.

use mixer_adapter::Invalid;
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of a `log`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where lines go: `stdout` (default), `stderr`, or `{file: PATH}`, which is appended to; a relative path is resolved
    /// against the document's directory.
    #[schemars(with = "To")]
    pub to: To,
    /// How many lines may wait; further ones are dropped and counted. Default 10,000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue: usize,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum To {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file.
    File(String),
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.queue == 0 || self.queue > 1_000_000 {
            return Err(Invalid::one("queue", "must be from 1 to 1000000"));
        }
        if self.to == To::File(String::new()) {
            return Err(Invalid::one("to.file", "names no file"));
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            to: To::Stdout,
            queue: 10_000,
        }
    }
}
