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

/// What was said of each road in each slot besides speed, in the kind's unit: how often each value.
#[derive(Clone, Debug, Default)]
pub struct Words(BTreeMap<(Kind, usize, u32), BTreeMap<i32, u32>>);

impl Words {
    /// Somebody said so of a road.
    pub fn add(&mut self, kind: Kind, road: usize, slot: u32, value: i32) {
        let counts = self.0.entry((kind, road, slot)).or_default();
        *counts.entry(value).or_default() += 1;
    }

    /// What was said most often; of equally frequent values, the smallest.
    pub fn most_frequent(&self, kind: Kind, road: usize, slot: u32) -> Option<i32> {
        let counts = self.0.get(&(kind, road, slot))?;
        let best = counts
            .iter()
            .max_by_key(|&(value, count)| (*count, std::cmp::Reverse(*value)));
        best.map(|(value, _)| *value)
    }

    /// The plain mean.
    pub fn mean(&self, kind: Kind, road: usize, slot: u32) -> Option<f64> {
        let counts = self.0.get(&(kind, road, slot))?;
        let (sum, count) = counts.iter().fold((0.0, 0.0), |(sum, all), (value, count)| {
            let count = f64::from(*count);
            (sum + f64::from(*value) * count, all + count)
        });
        Some(sum / count)
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

    fn published(&self, cell: Cell, kind: Kind) -> Option<i32> {
        self.state.road(cell, kind).map(|road| road.value)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equally_frequent_words_the_smallest_counts() {
        let mut words = Words::default();
        let most_frequent = |words: &Words| words.most_frequent(Kind::Congestion, 1, 2);
        assert_eq!(most_frequent(&words), None);
        for level in [3, 1, 5] {
            words.add(Kind::Congestion, 1, 2, level);
        }
        assert_eq!(most_frequent(&words), Some(1));
        words.add(Kind::Congestion, 1, 2, 5);
        assert_eq!(most_frequent(&words), Some(5));
        assert_eq!(words.mean(Kind::Congestion, 1, 2), Some(3.5));
        assert_eq!(words.mean(Kind::Humidity, 1, 2), None);
    }
}
