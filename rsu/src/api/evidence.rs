//! What speaks against vehicles?
//!
//! The newest signed reports that this unit held to be impossible or unlikely, each with the report before it, and those under
//! whose number the vehicle signed something else, each with that, for the members: they judge ([`crate::ear`] keeps them, `milepost-rsu quarantine` acts on them). Who may ask: [`super::readers`].

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use milepost_wire::{KeyId, Report, Verified, encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::asked::{Answer, parameters, parse};
use crate::rfc3339;
use crate::served::Served;

/// The most reports in one answer.
const PIECES_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    vehicle: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn newest(
    State(served): State<Arc<Served>>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Answer {
    let query = parameters(query, "vehicle=KEYID, limit")?;
    let vehicle = query
        .vehicle
        .as_deref()
        .map(|text| parse::<KeyId>(text, "vehicle=16 hexadecimal digits"));
    let limit = query.limit.unwrap_or(100).clamp(1, PIECES_MAX);
    let evidence: Vec<Value> = served
        .evidence(vehicle.transpose()?, limit)
        .iter()
        .map(|evidence| {
            let signed = |report: &Verified<Report>| hex::encode(encode(report.signed()));
            json!({
                "vehicle": evidence.report.vehicle,
                "sequence": evidence.report.sequence,
                "sent_at": rfc3339::format(evidence.report.sent_at),
                "reason": evidence.why.label(),
                "why": evidence.why.to_string(),
                "report": signed(&evidence.report),
                "before": evidence.before.as_ref().map(signed),
            })
        })
        .collect();
    Ok(Json(json!({ "evidence": evidence })))
}
