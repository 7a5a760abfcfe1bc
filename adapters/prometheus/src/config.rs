//! What `config:` of a `prometheus` holds.

use std::time::Duration;

use mixer_adapter::{Invalid, Period};
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of a `prometheus`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many series a metric may have; samples of further ones are added to a series whose labels are all `other`.
    /// Default 10,000.
    #[schemars(range(min = 1))]
    pub max_series: usize,
    /// How long a series that gets no sample is still shown. Default 1h.
    #[schemars(with = "String")]
    pub expire: Period,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.max_series == 0 {
            return Err(Invalid::one("max_series", "must be at least 1"));
        }
        if self.expire.0 < Duration::from_secs(60) {
            let message = "must be at least 1m: a series must outlive a few scrapes";
            return Err(Invalid::one("expire", message));
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_series: 10_000,
            expire: Period(Duration::from_secs(3600)),
        }
    }
}
