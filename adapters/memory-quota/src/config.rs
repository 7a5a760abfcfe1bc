//! What `config:` of a `memory-quota` holds.

use std::time::Duration;

use mixer_adapter::Period;
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of a `memory-quota`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many counters there may be at once; about 80 to 110 bytes each. Default 1,000,000.
    #[schemars(range(min = 1, max = 500_000_000))]
    pub max_keys: usize,
    /// What a new key gets when `max_keys` is reached and no idle key can go: `share` (default): one counter per quota,
    /// shared by all new keys; `deny`: a refusal. Never an unlimited pass.
    pub full: Full,
    /// Keeps counters over a restart. Without it they begin with nothing spent.
    pub snapshot: Option<Snapshot>,
}

/// Where counters are kept over a restart.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The file; one of its own for each Mixer. A relative path begins at the directory of the document.
    #[schemars(length(min = 1))]
    pub file: String,
    /// How often it is written, besides when Mixer ends. Default 30s.
    #[serde(default = "thirty_seconds")]
    pub every: Period,
}

fn thirty_seconds() -> Period {
    Period(Duration::from_secs(30))
}

/// What a new key gets when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Full {
    /// One counter per quota, shared by all new keys.
    Share,
    /// A refusal.
    Deny,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_keys: 1_000_000,
            full: Full::Share,
            snapshot: None,
        }
    }
}
