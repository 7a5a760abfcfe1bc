//! What `config:` of a `memory-quota` holds.

use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of a `memory-quota`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many counters there may be at once; about 100 to 150 bytes each. Default 1,000,000.
    #[schemars(range(min = 1))]
    pub max_keys: usize,
    /// What a new key gets when `max_keys` is reached and no idle key can go: `share` (default): one counter per quota,
    /// shared by all new keys; `deny`: a refusal. Never an unlimited pass.
    pub full: Full,
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
        }
    }
}
