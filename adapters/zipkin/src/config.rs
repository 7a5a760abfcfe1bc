//! What `config:` of a `zipkin` holds.

use std::time::Duration;

use mixer_adapter::http::Url;
use mixer_adapter::{Invalid, Period, Problem};
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of a `zipkin`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where spans are posted, such as `http://127.0.0.1:9411/api/v2/spans`.
    pub url: String,
    /// How many spans are sent at once. Default 100.
    #[serde(default = "default_batch")]
    #[schemars(range(min = 1, max = 10_000))]
    pub batch: usize,
    /// How long a span waits for others to be sent with. Default 1s.
    #[serde(default = "default_flush")]
    pub flush: Period,
    /// How many spans may wait; further ones are dropped and counted. Default 10,000.
    #[serde(default = "default_queue")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue: usize,
}

fn default_batch() -> usize {
    100
}

fn default_flush() -> Period {
    Period(Duration::from_secs(1))
}

fn default_queue() -> usize {
    10_000
}

impl Config {
    /// The address, when everything is right.
    pub(crate) fn check(&self) -> Result<Url, Invalid> {
        let mut problems = Vec::new();
        let url = Url::parse("url", &self.url);
        if let Err(invalid) = &url {
            problems.extend(invalid.problems.iter().cloned());
        }
        let mut within = |field: &str, value: usize, most: usize| {
            if value == 0 || value > most {
                let message = format!("must be from 1 to {most}");
                problems.push(Problem {
                    field: field.to_owned(),
                    message,
                });
            }
        };
        within("batch", self.batch, 10_000);
        within("queue", self.queue, 1_000_000);
        if problems.is_empty() {
            url
        } else {
            Err(Invalid { problems })
        }
    }
}
