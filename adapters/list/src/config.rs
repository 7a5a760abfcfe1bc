//! What `config:` of a `list` holds.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use mixer_adapter::http::Url;
use mixer_adapter::{Invalid, Period, Problem, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::entries::Reading;

/// Configuration of a `list`: exactly one of `entries`, `file` and `url`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The entries themselves.
    pub entries: Option<Vec<String>>,
    /// A file of entries, one a line, relative to the document; read when the documents are loaded.
    pub file: Option<String>,
    /// An http or https address of entries, one a line; fetched again and again.
    pub url: Option<String>,
    /// What entries are: `strings` (compared exactly) or `ip` (addresses and networks). Default: `ip` when the input is an
    /// ip, else `strings`.
    pub kind: Option<Kind>,
    /// With `url`: how often it is fetched. Default 5m.
    pub refresh: Option<Period>,
    /// With `url`: how long what was fetched is used after the last fetch that succeeded. Default 24h.
    pub keep: Option<Period>,
    /// With `url`: a file of entries, relative to the document, used until the first fetch succeeds. Default: none, the list
    /// is unavailable until then.
    pub seed: Option<String>,
    /// With `url`: what has fewer entries is not taken for the list, the one before stays. Default 1.
    pub min_entries: Option<usize>,
    /// With `url`: headers of the request. Default: none.
    pub headers: BTreeMap<String, Secret>,
}

/// What entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Texts, compared exactly.
    Strings,
    /// IP addresses and networks.
    Ip,
}

/// Where entries come from.
#[derive(Debug)]
pub(crate) enum Source {
    Entries(Vec<String>),
    File(String),
    Address(Address),
}

/// An address that is fetched.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, Secret)>,
    pub(crate) refresh: Duration,
    pub(crate) keep: Duration,
    pub(crate) min_entries: usize,
    pub(crate) seed: Option<String>,
}

impl Config {
    /// How entries are to be read.
    pub(crate) fn reading(&self, input_is_ip: bool) -> Result<Reading, Invalid> {
        match (self.kind, input_is_ip) {
            (Some(Kind::Ip), _) | (None, true) => Ok(Reading::Networks),
            (Some(Kind::Strings), false) => Ok(Reading::Strings { networks_too: true }),
            (None, false) => Ok(Reading::Strings {
                networks_too: false,
            }),
            (Some(Kind::Strings), true) => Err(Invalid::one(
                "kind",
                "the input is an ip, which is looked up among networks: `kind: ip`, or no `kind`",
            )),
        }
    }

    /// The one source that is given, checked.
    pub(crate) fn source(self) -> Result<Source, Invalid> {
        let mut problems = Vec::new();
        let mut problem = |field: &str, message: &str| {
            problems.push(Problem {
                field: field.to_owned(),
                message: message.to_owned(),
            });
        };
        let sources = [
            self.entries.is_some(),
            self.file.is_some(),
            self.url.is_some(),
        ];
        if sources.into_iter().filter(|given| *given).count() != 1 {
            problem("", "needs exactly one of `entries`, `file` and `url`");
        }
        if self.url.is_none() {
            for (field, given) in [
                ("refresh", self.refresh.is_some()),
                ("keep", self.keep.is_some()),
                ("seed", self.seed.is_some()),
                ("min_entries", self.min_entries.is_some()),
                ("headers", !self.headers.is_empty()),
            ] {
                if given {
                    problem(field, "is for lists that are fetched: needs `url`");
                }
            }
        }
        let refresh = self
            .refresh
            .map_or(Duration::from_secs(300), |period| period.0);
        let keep = self
            .keep
            .map_or(Duration::from_secs(86_400), |period| period.0);
        if refresh < Duration::from_secs(1) {
            problem("refresh", "must be at least 1s");
        }
        if keep < refresh {
            problem("keep", "must not be shorter than `refresh` (default 5m)");
        }
        let mut headers = Vec::new();
        for (name, secret) in self.headers {
            let field = format!("headers.{name}");
            match HeaderName::try_from(&name) {
                Ok(name) => headers.push((name, secret.clone())),
                Err(_) => problem(&field, "is no header name"),
            }
            if let Secret::Literal(value) = &secret
                && HeaderValue::try_from(value).is_err()
            {
                problem(
                    &field,
                    "is no header value: it has characters that a header cannot have",
                );
            }
        }
        let url = self.url.map(|url| Url::parse("url", &url));
        if let Some(Err(invalid)) = &url {
            problems.extend(invalid.problems.iter().cloned());
        }
        if !problems.is_empty() {
            return Err(Invalid { problems });
        }
        let (min_entries, seed) = (self.min_entries.unwrap_or(1), self.seed);
        Ok(match (self.entries, self.file, url) {
            (Some(entries), _, _) => Source::Entries(entries),
            (_, Some(file), _) => Source::File(file),
            (_, _, url) => {
                let url = url.expect("one of the three is given")?;
                Source::Address(Address {
                    url,
                    headers,
                    refresh,
                    keep,
                    min_entries,
                    seed,
                })
            }
        })
    }
}
