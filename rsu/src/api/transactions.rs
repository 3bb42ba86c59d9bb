//! What does a transaction say, and will it be taken?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::StringRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use milepost_wire::{Action, Evidence, Hash, SignedTransaction, Transaction, Verified, decode};
use serde_json::{Value, json};

use super::asked::Answer;
use super::error::ApiError;
use crate::served::{Origin, Served};

pub(super) async fn take(
    State(served): State<Arc<Served>>,
    body: Result<String, StringRejection>,
) -> Result<Response, ApiError> {
    let checked = read(&served, body)?;
    let digest = checked.digest();
    match served.take_transaction(checked, Origin::Api) {
        Ok(()) => Ok((StatusCode::ACCEPTED, Json(json!({ "digest": digest }))).into_response()),
        Err(error) => Err(ApiError::busy(error)),
    }
}

pub(super) async fn check(
    State(served): State<Arc<Served>>,
    body: Result<String, StringRejection>,
) -> Answer {
    let checked = read(&served, body)?;
    let view = served.view();
    view.state()
        .rehearse(view.height().next(), &checked)
        .map_err(|why| {
            ApiError::conflict(why, "it would not be done as things stand after the newest block")
        })?;
    Ok(Json(
        json!({ "digest": checked.digest(), "height": view.height() }),
    ))
}

fn read(served: &Served, body: Result<String, StringRejection>) -> Result<Verified<Transaction>, ApiError> {
    let expected = "the body is one signed transaction in hexadecimal, as `milepost-obu transfer` makes it";
    let body = body.map_err(|error| ApiError::bad(error.body_text(), expected))?;
    let digits = body.trim();
    let bytes = hex::decode(digits.strip_prefix("0x").unwrap_or(digits))
        .map_err(|error| ApiError::bad(error, expected))?;
    let signed: SignedTransaction = decode(&bytes).map_err(|error| ApiError::bad(error, expected))?;
    served
        .check_transaction(signed)
        .map_err(|error| ApiError::bad(error, expected))
}

/// `done` is unknown where the block's outputs are pruned.
pub(super) fn describe(signed: &SignedTransaction, digest: Hash, done: Option<bool>) -> Value {
    let transaction = &signed.message;
    let action = match &transaction.action {
        Action::Transfer { to, amount } => json!({ "transfer": { "to": to, "amount": amount } }),
        Action::Enrol(enrolment) => json!({ "enrol": enrolment }),
        Action::SelfEnrol => json!("self_enrol"),
        Action::Revoke { vehicle } => json!({ "revoke": { "vehicle": vehicle } }),
        Action::Accuse { one, other } => json!({ "accuse": {
            "vehicle": one.message.vehicle,
            "sequences": [one.message.sequence, other.message.sequence],
        } }),
        Action::Blame(Evidence::Equivocation(words)) => json!({ "blame": {
            "member": words.member,
            "step": words.step,
            "height": words.height,
            "round": words.round,
        } }),
        Action::Blame(Evidence::BadBatch(batch)) => json!({ "blame": {
            "author": batch.author(),
            "batch": batch.head.message.sequence,
            "height": batch.head.message.height,
            "report": { "vehicle": batch.report.message.vehicle, "sequence": batch.report.message.sequence },
        } }),
        Action::Complain(complaint) => json!({ "complain": {
            "member": complaint.accused(),
            "batch": complaint.batch,
            "height": complaint.promise.message.height,
        } }),
        Action::Propose { change, from } => json!({ "propose": { "change": change, "from": from } }),
        Action::Approve { proposal } => json!({ "approve": proposal }),
        Action::Withdraw { proposal } => json!({ "withdraw": proposal }),
    };
    json!({
        "digest": digest,
        "done": done,
        "from": transaction.from.address().ok(),
        "nonce": transaction.nonce,
        "action": action,
    })
}
