//! How is a question read, and the disk for its answer?

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use milepost_node::store::StoreError;
use serde_json::Value;

use super::error::ApiError;
use crate::served::Served;

pub(super) type Answer = Result<Json<Value>, ApiError>;
pub(super) type Asked<T> = Result<Path<T>, PathRejection>;

/// Reads the store beside the runtime: the disk may be slow.
pub(super) async fn read(
    served: Arc<Served>,
    read: impl FnOnce(&Served) -> Result<Answer, StoreError> + Send + 'static,
) -> Answer {
    let asked = Arc::clone(&served);
    match tokio::task::spawn_blocking(move || read(&asked)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            served.update(|readings| readings.store_errors += 1);
            tracing::error!(%error, "cannot answer");
            Err(ApiError::failed(error))
        }
        Err(error) => Err(ApiError::failed(error)),
    }
}

pub(super) fn segment(path: Asked<String>) -> Result<String, ApiError> {
    path.map(|Path(text)| text).map_err(|error| unreadable(&error))
}

pub(super) fn unreadable(error: &PathRejection) -> ApiError {
    ApiError::bad(
        error.body_text(),
        "the path is UTF-8, percent-encoded where needed",
    )
}

pub(super) fn parameters<T>(query: Result<Query<T>, QueryRejection>, expected: &str) -> Result<T, ApiError> {
    let known = format!("known parameters are {expected}");
    query
        .map(|Query(query)| query)
        .map_err(|error| ApiError::bad(error.body_text(), known))
}

pub(super) fn parse<T: FromStr>(text: &str, expected: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| unexpected(text, expected))
}

pub(super) fn unexpected(text: &str, expected: &str) -> ApiError {
    let shown: String = text.chars().take(80).collect();
    ApiError::bad(
        format!("expected {expected}, found {shown:?}"),
        "see the routes in the manual",
    )
}
