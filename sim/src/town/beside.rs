//! How good is the picture of what is not speed?
//!
//! In: a town at the end of its run. Out: [`Row`]s and [`Notice`]s, of which [`crate::figures::kinds`] makes figures.

use std::collections::{BTreeMap, BTreeSet};

use milepost_wire::output::Estimate;
use milepost_wire::{Cell, Kind};

use super::Town;
use crate::crew;
use crate::figures::PictureFigures;
use crate::figures::kinds::{self, Notice, Row, Value};
use crate::world::Truth;
use crate::world::conditions::level;

impl Town<'_> {
    /// The rows of all kinds that vehicles report besides speed, by kind, slot and road.
    pub(super) fn rows_beside(&self) -> Vec<Row> {
        let told = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Speed);
        told.filter(|kind| self.world.conditions.are_told(*kind))
            .flat_map(|kind| self.rows_of(kind))
            .collect()
    }

    /// Adds what they come to.
    pub(super) fn judge_beside(&self, rows: &[Row], picture: &mut PictureFigures) {
        let conditions = &self.world.conditions;
        let of = |kind: Kind| {
            let own: Vec<Row> = rows.iter().filter(|row| row.kind == kind).cloned().collect();
            conditions.are_told(kind).then_some(own)
        };
        let least_s = self.world.truth_min_vehicle_s;
        picture.congestion = of(Kind::Congestion).map(|rows| kinds::congestion(&rows, least_s));
        picture.humidity = of(Kind::Humidity).map(|rows| kinds::humidity(&rows, least_s));
        picture.hazards = conditions.are_told(Kind::Hazard).then(|| {
            let sensors = crew::sensors(&self.companies);
            let passes = self
                .world
                .sightings
                .iter()
                .filter(|sighting| !sensors.contains(&sighting.vehicle))
                .map(|sighting| (sighting.vehicle, sighting.road, sighting.at_ms));
            let witnesses = kinds::witnesses(&conditions.dangers, passes);
            kinds::hazards(&conditions.dangers, &witnesses, &self.notices())
        });
    }

    fn rows_of(&self, kind: Kind) -> Vec<Row> {
        let slot_ms = self.scenario.slot_ms();
        let published: BTreeMap<(u32, usize), Estimate> = self
            .published(kind)
            .map(|(road, _, estimate)| ((estimate.item.slot.0, road), *estimate))
            .collect();
        let true_items = self
            .world
            .truth
            .keys()
            .map(|&(road, slot)| (slot, road))
            .filter(|&(slot, road)| kind != Kind::Hazard || self.danger_within(road, slot).is_some());
        let all: BTreeSet<(u32, usize)> = published.keys().copied().chain(true_items).collect();
        let seconds = |slot: u32| self.world.clock_zero_s + u64::from(slot) * slot_ms / 1000;
        all.into_iter()
            .map(|(slot, road)| {
                let driven = self.world.truth.get(&(road, slot)).copied();
                Row {
                    place: self.world.roads[road].name.clone(),
                    kind,
                    slot_begin_s: seconds(slot),
                    slot_end_s: seconds(slot + 1),
                    published: published.get(&(slot, road)).map(value),
                    truth: driven.and_then(|driven| self.truth_beside(kind, road, slot, &driven)),
                    truth_vehicle_s: driven.map_or(0.0, |driven| driven.vehicle_s),
                    plain: self.plain(kind, road, slot),
                }
            })
            .collect()
    }

    /// What was published of a kind: the road, when in microseconds, and the estimate.
    fn published(&self, kind: Kind) -> impl Iterator<Item = (usize, u64, &Estimate)> {
        let road_of: BTreeMap<Cell, usize> = self.world.roads.iter().map(|road| road.cell).zip(0..).collect();
        let of_kind = self
            .watch
            .beside
            .iter()
            .filter(move |(_, estimate)| estimate.item.kind == kind);
        of_kind
            .filter_map(move |(at_us, estimate)| Some((*road_of.get(&estimate.item.cell)?, *at_us, estimate)))
    }

    fn notices(&self) -> Vec<Notice> {
        let slot_ms = self.scenario.slot_ms();
        self.published(Kind::Hazard)
            .map(|(road, at_us, estimate)| {
                let begin_ms = u64::from(estimate.item.slot.0) * slot_ms;
                Notice {
                    road,
                    begin_ms,
                    end_ms: begin_ms + slot_ms,
                    cause: estimate.value,
                    at_ms: at_us / 1000,
                }
            })
            .collect()
    }

    fn truth_beside(&self, kind: Kind, road: usize, slot: u32, driven: &Truth) -> Option<f64> {
        match kind {
            Kind::Speed => Some(driven.speed_kmh),
            Kind::Congestion => {
                let free_flow_kmh = self.world.roads[road].free_flow_kmh;
                Some(f64::from(level(driven.speed_kmh, free_flow_kmh).code()))
            }
            Kind::Humidity => self.world.conditions.humidity_pct.get(&(road, slot)).copied(),
            Kind::Hazard => Some(f64::from(self.danger_within(road, slot).unwrap_or(0))),
        }
    }

    fn danger_within(&self, road: usize, slot: u32) -> Option<u8> {
        let begin_ms = u64::from(slot) * self.scenario.slot_ms();
        let end_ms = begin_ms + self.scenario.slot_ms();
        let dangers = self.world.conditions.dangers.iter();
        let mut there = dangers.filter(|danger| danger.road == road && danger.is_within(begin_ms, end_ms));
        there.next().map(|danger| danger.cause)
    }

    /// What the same reporters said, without any judgement.
    fn plain(&self, kind: Kind, road: usize, slot: u32) -> Option<f64> {
        if kind.is_category() {
            self.words.most_frequent(kind, road, slot).map(f64::from)
        } else {
            self.words.mean(kind, road, slot).map(|mean| in_unit(kind, mean))
        }
    }
}

fn value(estimate: &Estimate) -> Value {
    let kind = estimate.item.kind;
    let number = |value: i32| in_unit(kind, f64::from(value));
    Value {
        value: number(estimate.value),
        interval: (!kind.is_category()).then(|| (number(estimate.low), number(estimate.high))),
        vehicles: estimate.vehicles,
    }
}

/// From the ledger's unit into that of the tables.
fn in_unit(kind: Kind, value: f64) -> f64 {
    match kind {
        Kind::Speed => value * 0.036,
        Kind::Humidity => value / 10.0,
        Kind::Congestion | Kind::Hazard => value,
    }
}
