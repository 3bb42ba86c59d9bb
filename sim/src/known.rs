//! What can those on the road learn from the ledger, and from one another?
//!
//! For who has the ledger's state at hand; who plays against real units knows less of it ([`crate::player`]).

use std::collections::BTreeMap;

use milepost_incentives::State;
use milepost_wire::{Cell, KeyId, Kind};

use crate::driver::Public;

/// cm/s in km/h.
const KMH: f64 = 0.036;

/// What was said of each road in each slot, and how often: sums for the plain mean.
#[derive(Clone, Debug, Default)]
pub struct Said(BTreeMap<(usize, u32), (f64, u32)>);

impl Said {
    /// Somebody said so of a road.
    pub fn add(&mut self, road: usize, slot: u32, speed_kmh: f64) {
        let (sum, count) = self.0.entry((road, slot)).or_default();
        *sum += speed_kmh;
        *count += 1;
    }

    /// The plain mean, in km/h; `None` where nobody said anything.
    pub fn mean_kmh(&self, road: usize, slot: u32) -> Option<f64> {
        let (sum, count) = self.0.get(&(road, slot))?;
        Some(sum / f64::from(*count))
    }

    /// Forgets what was said before a slot.
    pub fn forget_before(&mut self, slot: u64) {
        self.0.retain(|(_, said), _| u64::from(*said) >= slot);
    }
}

/// What can be learnt in a slot.
pub struct Known<'a> {
    /// The ledger after the newest block.
    pub state: &'a State,
    /// What was said so far.
    pub said: &'a Said,
    /// What the ledger calls each key, by number.
    pub ids: &'a [KeyId],
    /// Which slot it is.
    pub slot: u32,
}

impl Public for Known<'_> {
    fn published_kmh(&self, cell: Cell) -> Option<f64> {
        let road = self.state.road(cell, Kind::Speed)?;
        Some(f64::from(road.value) * KMH)
    }

    fn heard(&self, cell: Cell) -> Option<f64> {
        let road = self.state.road(cell, Kind::Speed)?;
        Some(f64::from(road.heard))
    }

    fn overheard_kmh(&self, road: usize) -> Option<f64> {
        self.said.mean_kmh(road, self.slot)
    }

    fn is_quarantined(&self, key: usize) -> bool {
        let vehicle = self.state.vehicle(&self.ids[key]);
        vehicle.is_some_and(|vehicle| vehicle.quarantine.is_some())
    }
}
