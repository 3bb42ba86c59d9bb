//! What have the members decided, and what is before them?
//!
//! Answers from the newest ledger: who votes, who was sentenced, who listens for whom, the numbers of the rules, proposals that are open and changes that are
//! decided and not yet in force. Bounded by the ledger's own limits: so many members, so many open proposals each.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use milepost_incentives::State as Ledger;
use milepost_wire::{Address, Members};
use serde_json::{Value, json};

use crate::rfc3339;
use crate::served::Served;

/// Members as they are told everywhere, with what others complained of them.
pub(super) fn list(members: &Members, state: &Ledger, is_connected: impl Fn(Address) -> bool) -> Vec<Value> {
    members
        .iter()
        .map(|(id, member)| {
            json!({
                "id": id,
                "key": member.key,
                "provider": member.provider,
                "power": member.power,
                "connected": is_connected(id),
                "withheld": state.withheld(&id),
            })
        })
        .collect()
}

pub(super) async fn members(served: State<Arc<Served>>) -> Json<Value> {
    let (view, readings) = (served.view(), served.readings());
    let is_connected = |id| id == served.me || readings.peers.contains(&id);
    let (members, following) = (view.members(), view.ledger().following());
    let sentences: Vec<Value> = view
        .state()
        .sentences()
        .map(|(id, sentence)| {
            let member = sentence.jailed.as_ref().or_else(|| members.get(&id));
            json!({
                "id": id,
                "provider": member.map(|member| &member.provider),
                "times": sentence.times,
                "epoch": sentence.epoch,
                "jailed_until": sentence.jailed.as_ref().map(|_| sentence.until),
                "absolved": sentence.absolved,
            })
        })
        .collect();
    Json(json!({
        "height": view.height(),
        "id": served.me,
        "votes": members.get(&served.me).is_some(),
        "works_for": view.state().provider(&served.me),
        "members": list(members, view.state(), is_connected),
        "power": members.total_power(),
        "quorum": members.quorum(),
        "next": (following != members).then(|| json!({
            "height": view.height().next().next(),
            "members": list(following, view.state(), is_connected),
        })),
        "epoch": view.state().books().epoch,
        "sentences": sentences,
    }))
}

pub(super) async fn units(served: State<Arc<Served>>) -> Json<Value> {
    let (view, readings) = (served.view(), served.readings());
    let state = view.state();
    let units: Vec<Value> = state
        .units()
        .filter_map(|(operator, id)| {
            let (unit, address) = (state.vehicle(&id)?, state.vehicle_address(&id)?);
            Some(json!({
                "id": id,
                "address": address,
                "key": unit.key,
                "operator": operator,
                "provider": state.members().get(&operator).map(|member| &member.provider),
                "enrolled_at": unit.enrolled_at,
                "connected": address == served.me || readings.peers.contains(&address),
            }))
        })
        .collect();
    Json(json!({ "height": view.height(), "units": units }))
}

pub(super) async fn params(served: State<Arc<Served>>) -> Json<Value> {
    let view = served.view();
    Json(json!({
        "height": view.height(),
        "access": view.state().charter().access,
        "params": view.state().params(),
    }))
}

pub(super) async fn proposals(served: State<Arc<Served>>) -> Json<Value> {
    let view = served.view();
    let state = view.state();
    let open: Vec<Value> = state
        .proposals()
        .map(|(id, open)| {
            let approvals: Vec<Value> = state
                .approvals_of(id)
                .into_iter()
                .map(|(member, since)| json!({ "member": member, "since": since }))
                .collect();
            json!({
                "id": id,
                "by": open.by,
                "change": open.change,
                "from": open.from,
                "made_at": open.made_at,
                "until": rfc3339::format(open.until),
                "approvals": approvals,
                "power": state.approving_power(id),
            })
        })
        .collect();
    let scheduled: Vec<Value> = state
        .scheduled()
        .map(|(height, id, change)| json!({ "id": id, "height": height, "change": change }))
        .collect();
    Json(json!({
        "height": view.height(),
        "power": view.members().total_power(),
        "quorum": view.members().quorum(),
        "open": open,
        "scheduled": scheduled,
    }))
}
