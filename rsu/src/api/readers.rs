//! Who may ask?
//!
//! Under the access policy `private`, whoever signs the question with a key that the ledger knows, or with this unit's own:
//! see [`Question`]. Under the others, anyone. What tells nothing of the road stays open to all: whether the unit is alive,
//! its counters, and transactions, which carry signatures of their own. What tells where one vehicle was, and why it is not
//! believed, is for members alone under every policy.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use milepost_wire::Access;
use milepost_wire::question::Question;

use super::error::ApiError;
use crate::clock;
use crate::served::Served;

/// What anyone may ask for, under every policy.
const OPEN: [&str; 3] = ["/healthz", "/metrics", "/v1/transactions"];

/// What members alone may ask for.
const OPERATORS: &str = "/v1/evidence";

/// Lets a question through, or says why not.
pub(super) async fn admit(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    match is_admitted(&served, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn is_admitted(served: &Served, request: &Request) -> Result<(), ApiError> {
    let view = served.view();
    let state = view.state();
    let path = request.uri().path();
    let for_members = path == OPERATORS;
    if !for_members && (state.charter().access != Access::Private || OPEN.contains(&path)) {
        return Ok(());
    }
    let hint = if for_members {
        "evidence is for members: sign the question with a member's key, as `milepost-rsu quarantine evidence --home DIR` does"
    } else {
        "this chain is private: sign the question with the key of a member or of what one enrolled, as `milepost-rsu … --home DIR` does"
    };
    let header = request.headers().get(AUTHORIZATION);
    let header = header.ok_or_else(|| ApiError::unknown("nobody signed the question", hint))?;
    let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
    let asked = format!("{} {asked}", request.method());
    let header = header.to_str().unwrap_or_default();
    let reader = Question::reader(header, &served.genesis.chain, &asked, clock::wall())
        .map_err(|error| ApiError::unknown(error, hint))?;
    if for_members && reader != served.me && view.members().get(&reader).is_none() {
        return Err(ApiError::forbidden(format!("{reader} is no member"), hint));
    }
    if reader != served.me && !state.may_read(&reader) {
        let error = format!("{reader} is neither a member nor enrolled");
        return Err(ApiError::forbidden(error, hint));
    }
    Ok(())
}
