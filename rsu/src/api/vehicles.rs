//! What does the ledger know of a vehicle, and what was it paid for what?

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use milepost_node::store::Store;
use milepost_node::view::explanation;
use milepost_wire::output::{EpochClosed, Output, Payment, Score};
use milepost_wire::payout::adds_up;
use milepost_wire::state::Vehicle;
use milepost_wire::time::Epoch;
use milepost_wire::{Address, KeyId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::VEHICLES_MAX;
use super::asked::{Answer, Asked, parameters, parse, read, segment, unreadable};
use super::error::ApiError;
use super::geojson::fraction;
use crate::served::Served;

pub(super) async fn account(State(served): State<Arc<Served>>, path: Asked<String>) -> Answer {
    let address: Address = parse(&segment(path)?, "an address of 40 hexadecimal digits")?;
    // Whoever never got anything has an empty account.
    let account = served.view().state().account(&address);
    Ok(Json(
        json!({ "address": address, "balance": account.balance, "nonce": account.nonce }),
    ))
}

pub(super) async fn vehicle(State(served): State<Arc<Served>>, path: Asked<String>) -> Answer {
    let id: KeyId = parse(&segment(path)?, "a key id of 16 hexadecimal digits")?;
    let view = served.view();
    let vehicle = view.state().vehicle(&id).ok_or_else(|| {
        ApiError::absent(
            format!("{id} is not enrolled"),
            "see /v1/vehicles for those that are",
        )
    })?;
    Ok(Json(describe_vehicle(id, vehicle)))
}

fn describe_vehicle(id: KeyId, vehicle: &Vehicle) -> Value {
    json!({
        "id": id,
        "address": vehicle.key.address().ok(),
        "key": vehicle.key,
        "group": vehicle.group,
        "role": vehicle.role,
        "operator": vehicle.operator(),
        "bond": vehicle.bond,
        "enrolled_at": vehicle.enrolled_at,
        "revoked": vehicle.revoked,
        "reputation": fraction(u64::from(vehicle.standing.reputation())),
        "evaluated": vehicle.standing.evaluated,
        "debt": vehicle.standing.debt as f64 / milepost_wire::state::Q as f64,
        "quarantine": vehicle.quarantine,
        "unvested": vehicle.unvested,
        "earned": vehicle.earned,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VehiclesQuery {
    after: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn vehicles(
    State(served): State<Arc<Served>>,
    query: Result<Query<VehiclesQuery>, QueryRejection>,
) -> Answer {
    let query = parameters(query, "after=KEYID, limit")?;
    let after = query
        .after
        .as_deref()
        .map(|text| parse::<KeyId>(text, "after=16 hexadecimal digits"));
    let after = after.transpose()?;
    let limit = query.limit.unwrap_or(100).clamp(1, VEHICLES_MAX);
    let view = served.view();
    let mut page: Vec<_> = view
        .state()
        .vehicles()
        .filter(|(id, _)| after.is_none_or(|after| **id > after))
        .take(limit + 1)
        .collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|(id, _)| **id);
    let vehicles: Vec<Value> = page
        .iter()
        .map(|(id, vehicle)| describe_vehicle(**id, vehicle))
        .collect();
    Ok(Json(json!({ "vehicles": vehicles, "next": next })))
}

pub(super) async fn explain(State(served): State<Arc<Served>>, path: Asked<(String, String)>) -> Answer {
    let Path((vehicle, epoch)) = path.map_err(|error| unreadable(&error))?;
    let vehicle: KeyId = parse(&vehicle, "a key id of 16 hexadecimal digits")?;
    let epoch = Epoch(parse(&epoch, "an epoch such as 3")?);
    read(served, move |served| {
        let (mut scores, mut payment) = (Vec::<Score>::new(), None::<Payment>);
        let (mut paid_in, mut closed, mut events) = (None, None::<EpochClosed>, Vec::<Output>::new());
        for (height, index) in explanation(&served.store, vehicle, epoch)? {
            let outputs = served.store.outputs(height)?.unwrap_or_default();
            match outputs.get(index as usize) {
                Some(Output::Score(score)) => scores.push(*score),
                Some(Output::Payment(found)) => (payment, paid_in) = (Some(*found), Some(height)),
                Some(Output::EpochClosed(found)) => closed = Some(*found),
                Some(event @ (Output::Bond(_) | Output::Quarantined { .. })) => events.push(event.clone()),
                _ => {}
            }
        }
        let adds_up = payment
            .zip(closed)
            .map(|(payment, closed)| adds_up(&scores, &payment, &closed));
        Ok(Ok(Json(json!({
            "vehicle": vehicle,
            "epoch": epoch,
            "lines": scores,
            "payment": payment,
            "sums": closed,
            "events": events,
            "height": paid_in,
            "adds_up": adds_up,
        }))))
    })
    .await
}
