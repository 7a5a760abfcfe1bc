//! The admin listener of a Mixer or a proxy, asked over HTTP.

use std::path::Path;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use mixer_adapter::HttpClient;
use mixer_adapter::http::{Bounds, Response, Url};
use mixer_runtime::Clock;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{UNREADABLE, USAGE};

/// EX_UNAVAILABLE.
const UNREACHABLE: u8 = 69;
/// A defect of ours.
const DEFECT: u8 = 1;

/// A store is waited for 5 seconds, thrice where tokens are granted.
const BOUNDS: Bounds = Bounds {
    deadline: Duration::from_secs(20),
    body: 16 << 20,
};

/// What a command ends with, and why.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) code: u8,
    pub(super) why: String,
}

/// A listener that can be asked.
pub(super) struct Listener {
    runtime: tokio::runtime::Runtime,
    client: HttpClient,
    /// What listens there: `Mixer` or `proxy`.
    whose: &'static str,
    flag: &'static str,
    admin: String,
    headers: HeaderMap,
}

impl Listener {
    /// The Mixer that listens there; asked with the token of that file.
    pub(super) fn of_mixer(admin: &str, token: Option<&Path>) -> Result<Self, Failed> {
        Self::at("Mixer", "--admin", admin, token)
    }

    /// The proxy that listens there.
    pub(super) fn of_proxy(admin: &str) -> Result<Self, Failed> {
        Self::at("proxy", "ADDR", admin, None)
    }

    fn at(
        whose: &'static str,
        flag: &'static str,
        admin: &str,
        token: Option<&Path>,
    ) -> Result<Self, Failed> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(file) = token {
            headers.insert(AUTHORIZATION, bearer(file)?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| Failed {
            code: DEFECT,
            why: format!("cannot start: {error}"),
        })?;
        Ok(Self {
            whose,
            flag,
            runtime,
            client: HttpClient::new(Clock::system()),
            admin: admin
                .trim_start_matches("http://")
                .trim_end_matches('/')
                .to_owned(),
            headers,
        })
    }

    pub(super) fn get(&self, page: &str, query: &[(&str, &str)]) -> Result<Value, Failed> {
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        let url = self.url(&format!("{page}?{}", query.join("&")))?;
        let asked = self.client.get(&url, self.headers.clone(), BOUNDS);
        self.answered(self.runtime.block_on(asked))
    }

    pub(super) fn post(&self, page: &str, body: &Value) -> Result<Value, Failed> {
        let url = self.url(page)?;
        let body = body.to_string().into();
        let asked = self.client.post(&url, self.headers.clone(), body, BOUNDS);
        self.answered(self.runtime.block_on(asked))
    }

    fn url(&self, page: &str) -> Result<Url, Failed> {
        let url = Url::parse(self.flag, &format!("http://{}/{page}", self.admin));
        url.map_err(|invalid| Failed {
            code: USAGE,
            why: format!(
                "{} {}: {}",
                self.flag, self.admin, invalid.problems[0].message
            ),
        })
    }

    fn answered(
        &self,
        answer: Result<Response, mixer_adapter::Unavailable>,
    ) -> Result<Value, Failed> {
        let Response { status, body, .. } = answer.map_err(|why| Failed {
            code: UNREACHABLE,
            why: format!("no {} answers there: {why}", self.whose),
        })?;
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        let told = answer.as_ref().and_then(|answer| answer["error"].as_str());
        let why = told.map_or_else(
            || {
                format!(
                    "{} answers {status}: is a {} there, and of this version?",
                    self.admin, self.whose
                )
            },
            str::to_owned,
        );
        match (status.as_u16(), answer) {
            (200, Some(answer)) => Ok(answer),
            (503, _) => Err(Failed {
                code: UNREACHABLE,
                why,
            }),
            (400..500, _) => Err(Failed { code: USAGE, why }),
            _ => Err(Failed { code: DEFECT, why }),
        }
    }
}

fn bearer(file: &Path) -> Result<HeaderValue, Failed> {
    let failed = |why: String| Failed {
        code: UNREADABLE,
        why: format!("--token-file {}: {why}", file.display()),
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
        .map_err(|_| failed("no header can carry what is in it".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
