//! Why a page of the admin listener is not answered: a status, and a sentence for who asked.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mixer_runtime::Refusal;
use serde_json::json;

/// As JSON: `{"error": ".."}`.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    sentence: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self {
            status,
            sentence: sentence.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.sentence)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, axum::Json(json!({ "error": self.sentence }))).into_response()
    }
}
