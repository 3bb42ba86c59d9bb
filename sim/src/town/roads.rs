//! What goes on on the roads?
//!
//! Sightings come from the world, drivers say something of them, vehicles put reports on the air.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milepost_node::View;
use milepost_obu::journal::Journal as _;
use milepost_obu::outbox::Change;
use milepost_obu::vehicle::{Input as VehicleInput, Output as VehicleOutput};
use milepost_wire::output::Estimate;
use milepost_wire::time::Slot;
use milepost_wire::{Cell, Kind, Output as LedgerOutput};

use super::{Event, OVERHEARD_MAX, Town};
use crate::driver::{Deed, Word};
use crate::known::Known;

impl Town<'_> {
    pub(super) fn plan_sighting(&mut self, number: usize) {
        if let Some(sighting) = self.world.sightings.get(number) {
            self.queue.at(sighting.at_ms * 1000, Event::Sighting(number));
        }
    }

    pub(super) fn see(&mut self, number: usize) {
        let sighting = self.world.sightings[number];
        let newest = self.newest.clone();
        let slot = (sighting.at_ms / self.scenario.slot_ms()) as u32;
        let known = Known {
            state: newest.state(),
            said: &self.said,
            ids: &self.ids,
            slot,
        };
        let now = self.now();
        let onboard = &mut self.vehicles[sighting.vehicle];
        onboard.road = sighting.road;
        let told = onboard.driver.tell(&self.world, &sighting, now, &known);
        match told.deed {
            Deed::Nothing => {}
            Deed::Warn { sensed, .. } => self.drive(sighting.vehicle, VehicleInput::Sensed(sensed)),
            Deed::Again => {
                let count = self.overheard.len() as u64;
                if let Some(bytes) = self.overheard.get(self.radio.below(count) as usize).cloned() {
                    self.broadcast(sighting.vehicle, &bytes);
                }
            }
            Deed::Tell {
                road,
                speed_kmh,
                sensed,
            } => {
                self.said.add(road, slot, speed_kmh);
                self.drive(sighting.vehicle, VehicleInput::Sensed(sensed));
            }
        }
        for Word { road, sensed } in told.beside {
            let (kind, value) = (sensed.measure.kind(), sensed.measure.value());
            self.words.add(kind, road, slot, value);
            self.drive(sighting.vehicle, VehicleInput::Sensed(sensed));
        }
        self.plan_sighting(number + 1);
    }

    pub(super) fn drive(&mut self, vehicle: usize, input: VehicleInput) {
        let (now, now_us) = (self.now(), self.queue.now_us());
        let onboard = &mut self.vehicles[vehicle];
        for output in onboard.vehicle.handle(now, input) {
            match output {
                VehicleOutput::Store(change) => {
                    let Ok(()) = self.vehicles[vehicle].journal.record(&change);
                    if let Change::Keep(kept) = change {
                        self.watch
                            .sent(now_us, self.vehicles[vehicle].vehicle.id(), kept.sequence);
                    }
                }
                VehicleOutput::Put { bytes, .. } => {
                    let bytes = Arc::new(bytes);
                    if self.overhears {
                        if self.overheard.len() == OVERHEARD_MAX {
                            self.overheard.pop_front();
                        }
                        self.overheard.push_back(bytes.clone());
                    }
                    self.broadcast(vehicle, &bytes);
                }
                VehicleOutput::WakeAt(at) => {
                    self.queue
                        .at(at.since(self.genesis.time) * 1000, Event::Tick(vehicle));
                }
                // Here heads come checked, so nobody needs light blocks.
                VehicleOutput::Finalised { .. } | VehicleOutput::Paid(_) | VehicleOutput::AskLight(_) => {}
            }
        }
    }

    /// A vehicle puts a message on the air. Each unit hears it for itself, or does not.
    fn broadcast(&mut self, vehicle: usize, bytes: &Arc<Vec<u8>>) {
        for to in 0..self.members.len() {
            let arrival = self.arrival();
            if let Some(at_us) = arrival.filter(|_| self.takes_up(to, vehicle)) {
                self.queue.at(
                    at_us,
                    Event::Report {
                        to,
                        bytes: bytes.clone(),
                    },
                );
            }
        }
    }

    /// Asks the ledger, where it has just settled a slot, about the roads that nobody spoke of.
    pub(super) fn look_everywhere(&mut self, view: &View) {
        let settled: BTreeMap<Slot, BTreeSet<Cell>> =
            view.outputs()
                .iter()
                .fold(BTreeMap::new(), |mut settled, output| {
                    if let LedgerOutput::Estimate(Estimate { item, .. }) = output
                        && item.kind == Kind::Speed
                    {
                        settled
                            .entry(item.slot)
                            .or_insert_with(BTreeSet::new)
                            .insert(item.cell);
                    }
                    settled
                });
        let elsewhere = (!settled.is_empty())
            .then(|| view.state().elsewhere(Kind::Speed))
            .flatten();
        for (slot, heard) in settled {
            for (number, road) in self.world.roads.iter().enumerate() {
                let outlook = view.state().outlook(road.cell, Kind::Speed, slot).or(elsewhere);
                if let Some(outlook) = outlook.filter(|_| !heard.contains(&road.cell)) {
                    self.outlooks.insert((slot.0, number), outlook);
                }
            }
        }
    }
}
