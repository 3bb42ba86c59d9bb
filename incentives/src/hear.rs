//! Which of a block's reports count, and for what?
//!
//! A report counts once: its sequence number is ticked off in the vehicle's replay window, so that the second
//! roadside unit to relay it adds nothing, and reports may arrive out of order. Of its observations count those
//! that are fresh, not from the future, physically possible, and within 70 m/s of where the vehicle claimed to
//! be last; all observations of one vehicle on one item make one word ([`crate::sighting`]).
//!
//! Nothing here depends on the order in which a block lists its batches and reports: they are taken in the order
//! of (vehicle, sequence, digest). Where several units relayed a report in one block, the one whose address
//! lies nearest to the report's digest is its operator, which none of them can influence.
//!
//! Two reports of one name in one block are proof of a fraud ([`crate::quarantine`]); what observations tell of
//! dangers goes to [`crate::hazard`].
//!
//! An observation of a slot that is settled is always stale, since slots are settled when all that could be said
//! of them is.
//!
//! Not covered: whether the place lies in the cell, and whether the unit could hear the vehicle; those are the
//! roadside units' to check before they batch a report.

use std::collections::BTreeMap;

use milepost_wire::output::{Outcome, Output, Receipt};
use milepost_wire::state::Ground;
use milepost_wire::time::{Epoch, Slot};
use milepost_wire::{Address, Hash, Kind, Measure, Observation, Report, Timestamp};

use crate::apply::HeardBatch;
use crate::hazard::{self, DangerKey};
use crate::motion;
use crate::params::Params;
use crate::quarantine::{self, Moment};
use crate::sighting::{Sighting, Spot, Tally, TallyKey, Trace};
use crate::state::State;

/// Hears all reports of a block made at `now`. Out: a receipt for each report, however often it was relayed.
pub(crate) fn hear(state: &mut State, now: Timestamp, batches: &[HeardBatch<'_>]) -> Vec<Output> {
    let mut dangers = Vec::new();
    let reports = in_order(batches);
    let mut outputs: Vec<Output> = reports
        .iter()
        .map(|&(report, operator)| {
            Output::Receipt(Receipt {
                vehicle: report.vehicle,
                sequence: report.sequence,
                outcome: hear_one(state, now, report, operator, &mut dangers),
            })
        })
        .collect();
    outputs.extend(hazard::hear(state, now, &dangers));
    // Reports are in the order of vehicles and sequence numbers, and each is here once: two neighbours of one name are
    // two contents, and both are signed.
    for pair in reports.windows(2) {
        let (one, other) = (pair[0].0, pair[1].0);
        if (one.vehicle, one.sequence) == (other.vehicle, other.sequence) {
            let (vehicle, now) = (one.vehicle, Moment::of_block(state));
            outputs.extend(quarantine::impose(
                state,
                vehicle,
                Ground::TwoContents,
                now.epoch,
                now,
            ));
        }
    }
    outputs
}

/// Each report once, with its operator, in an order that does not depend on how the block lists them.
fn in_order<'a>(batches: &[HeardBatch<'a>]) -> Vec<(&'a Report, Address)> {
    let mut reports = BTreeMap::new();
    for batch in batches {
        for report in batch.reports {
            let digest = report.digest();
            let (_, operator) = reports
                .entry((report.vehicle, report.sequence, digest))
                .or_insert((&**report, batch.author));
            if distance(batch.author, digest) < distance(*operator, digest) {
                *operator = batch.author;
            }
        }
    }
    reports.into_values().collect()
}

fn distance(author: Address, digest: Hash) -> [u8; 20] {
    std::array::from_fn(|at| author.0[at] ^ digest.0[at])
}

/// What one report adds, before any of it is written.
struct Draft {
    trace: Option<Trace>,
    sightings: BTreeMap<Spot, Sighting>,
    tallies: BTreeMap<Epoch, Tally>,
    dangers: Vec<hazard::Heard>,
}

fn hear_one(
    state: &mut State,
    now: Timestamp,
    report: &Report,
    operator: Address,
    dangers: &mut Vec<hazard::Heard>,
) -> Outcome {
    let enrolled = state.vehicle(&report.vehicle);
    let Some(vehicle) = enrolled.filter(|vehicle| !vehicle.revoked && !vehicle.role.is_unit()) else {
        return Outcome::NotEnrolled;
    };
    let quarantined = vehicle.quarantine.is_some();
    let trace = state.open.traces.get(&report.vehicle).copied();
    if trace.is_some_and(|trace| !trace.replay.admits(report.sequence)) {
        return Outcome::HeardBefore;
    }
    if !report.is_valid() {
        return Outcome::NothingNew;
    }
    let mut draft = Draft {
        trace,
        sightings: BTreeMap::new(),
        tallies: BTreeMap::new(),
        dangers: Vec::new(),
    };
    for observation in &report.observations {
        draft.take(state, now, report, observation, operator);
    }
    let Some(mut trace) = draft.trace.filter(|_| !draft.sightings.is_empty()) else {
        return if quarantined {
            Outcome::Quarantined
        } else {
            Outcome::NothingNew
        };
    };

    // Every check is behind us.
    trace.replay.tick_off(report.sequence);
    dangers.append(&mut draft.dangers);
    state.open.traces.insert(report.vehicle, trace);
    for (spot, sighting) in draft.sightings {
        state.open.sightings.insert(spot, sighting);
    }
    for (epoch, tally) in draft.tallies {
        let vehicle = report.vehicle;
        state.open.tallies.insert(TallyKey { epoch, vehicle }, tally);
    }
    if quarantined {
        Outcome::Quarantined
    } else {
        Outcome::Counted
    }
}

impl Draft {
    /// Takes in one observation, if it counts.
    fn take(
        &mut self,
        state: &State,
        now: Timestamp,
        report: &Report,
        seen: &Observation,
        operator: Address,
    ) {
        let (params, kind) = (state.params(), seen.measure.kind());
        let seen_at = report.seen_at(seen);
        let slot = state.slot_of(seen_at);
        let possible = is_timely(
            params,
            state.genesis_time(),
            now,
            seen_at,
            params.freshness_ms.get(kind),
        ) && slot < Slot(u32::MAX)
            && is_physical(params, seen.measure)
            && self.trace.is_none_or(|trace| {
                motion::is_possible(
                    params,
                    params.place_error_cm,
                    (trace.place, trace.at),
                    (seen.place, seen_at),
                )
            });
        if !possible {
            return;
        }
        let spot = Spot {
            kind,
            slot,
            cell: seen.cell,
            vehicle: report.vehicle,
        };
        let (value, age_ms) = (seen.measure.value(), now.since(seen_at));
        let published = state
            .road(seen.cell, kind)
            .map_or(params.default_value(kind), |road| road.value);
        let before = self
            .sightings
            .get(&spot)
            .or_else(|| state.open.sightings.get(&spot))
            .copied();
        let sighting = match before {
            Some(mut sighting) => {
                sighting.add(kind, value, published, seen_at, age_ms);
                sighting
            }
            None => {
                let (epoch, vehicle) = (state.epoch_of_slot(slot), report.vehicle);
                let stored = || state.open.tallies.get(&TallyKey { epoch, vehicle }).copied();
                let tally = self
                    .tallies
                    .entry(epoch)
                    .or_insert_with(|| stored().unwrap_or_default());
                if tally.items >= params.items_max {
                    return;
                }
                tally.items += 1;
                Sighting::new(value, published, seen_at, age_ms, operator)
            }
        };
        self.sightings.insert(spot, sighting);
        self.dangers.push(hazard::Heard {
            key: DangerKey {
                cell: spot.cell,
                slot,
                vehicle: spot.vehicle,
            },
            at: seen_at,
            is_claim: kind == Kind::Hazard,
        });
        let trace = self.trace.get_or_insert(Trace {
            replay: Default::default(),
            place: seen.place,
            at: seen_at,
            lean: Default::default(),
        });
        if seen_at >= trace.at {
            (trace.place, trace.at) = (seen.place, seen_at);
        }
    }
}

/// Whether an observation is of this chain's time, fresh and not from the future.
fn is_timely(params: &Params, genesis: Timestamp, now: Timestamp, seen_at: Timestamp, fresh_ms: u64) -> bool {
    seen_at >= genesis && now.since(seen_at) < fresh_ms && seen_at.since(now) <= params.future_ms
}

/// Whether a road can be like this.
fn is_physical(params: &Params, measure: Measure) -> bool {
    match measure {
        Measure::Speed(speed) => u32::from(speed.cm_per_s()) <= params.motion_max_cm_s,
        Measure::Congestion(_) | Measure::Humidity(_) | Measure::Hazard(_) => true,
    }
}
