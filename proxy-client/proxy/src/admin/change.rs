//! What can be changed while the proxy runs.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use mixer_runtime::Refusal;
use serde::Deserialize;
use serde_json::json;

use super::Admin;
use crate::logging::{self, Unchanged};

/// Why nothing was changed: a status, and a sentence.
pub(super) struct Problem(StatusCode, String);

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.status, refusal.sentence)
    }
}

impl From<Unchanged> for Problem {
    fn from(why: Unchanged) -> Self {
        let status = match why {
            Unchanged::NotOurs => StatusCode::CONFLICT,
            Unchanged::Malformed(_) => StatusCode::BAD_REQUEST,
        };
        Self(status, why.to_string())
    }
}

/// As JSON: `{"error": ".."}`.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    level: String,
}

pub(super) async fn level() -> Result<String, Problem> {
    Ok(logging::level()? + "\n")
}

pub(super) async fn set_level(
    State(admin): State<Admin>,
    headers: HeaderMap,
    query: Result<Query<Level>, QueryRejection>,
) -> Result<String, Problem> {
    admin.guard.may_operate(&headers).await?;
    let asked = query.map_err(|why| Problem(StatusCode::BAD_REQUEST, why.body_text()))?;
    logging::set_level(&asked.level)?;
    tracing::warn!(level = asked.level, "the log level was changed by hand");
    Ok(logging::level()? + "\n")
}

pub(super) async fn drain(
    State(admin): State<Admin>,
    headers: HeaderMap,
) -> Result<(StatusCode, &'static str), Problem> {
    admin.guard.may_operate(&headers).await?;
    tracing::warn!("it was told to end by hand");
    admin.end.cancel();
    Ok((
        StatusCode::ACCEPTED,
        "ending: no new connections, requests in flight may finish\n",
    ))
}
