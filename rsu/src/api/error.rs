//! What does the API say when it cannot answer?
//!
//! A status and `{"error": what is wrong, "hint": what to do}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// An answer that is none.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    error: String,
    hint: String,
}

impl ApiError {
    fn new(status: StatusCode, error: impl ToString, hint: impl ToString) -> Self {
        Self {
            status,
            error: error.to_string(),
            hint: hint.to_string(),
        }
    }

    /// The question is none: 400.
    pub(crate) fn bad(error: impl ToString, hint: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, hint)
    }

    /// Nobody knows who asks: 401.
    pub(crate) fn unknown(error: impl ToString, hint: impl ToString) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error, hint)
    }

    /// Whoever asks may not read: 403.
    pub(crate) fn forbidden(error: impl ToString, hint: impl ToString) -> Self {
        Self::new(StatusCode::FORBIDDEN, error, hint)
    }

    /// There is no such thing: 404.
    pub(crate) fn absent(error: impl ToString, hint: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, hint)
    }

    /// The way of asking is none: 405.
    pub(crate) fn method() -> Self {
        let hint = "every route answers GET; /v1/transactions and /v1/transactions/check answer POST alone";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this method is not allowed here",
            hint,
        )
    }

    /// It does not fit what is there: 409.
    pub(crate) fn conflict(error: impl ToString, hint: impl ToString) -> Self {
        Self::new(StatusCode::CONFLICT, error, hint)
    }

    /// Not now: 503.
    pub(crate) fn busy(error: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, "try again in a moment")
    }

    /// Our own failure: 500.
    pub(crate) fn failed(error: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error, "see the unit's log")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.error, "hint": self.hint });
        (self.status, Json(body)).into_response()
    }
}
