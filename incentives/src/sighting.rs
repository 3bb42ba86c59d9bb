//! What is remembered of a vehicle's word on an item until the item is settled?
//!
//! One [`Sighting`] for each (vehicle, item), however many observations it rests on: a vehicle that reports its
//! speed every second says one thing about a slot. Numbers are averaged; of codes, which have no average, the
//! latest counts, and of two equally late the smaller. Both are the same in whatever order reports arrive.

use milepost_wire::time::{Epoch, Slot};
use milepost_wire::{Address, Cell, KeyId, Kind, Place, Timestamp};
use wincode::{SchemaRead, SchemaWrite};

use crate::lean::Lean;
use crate::replay::Replay;

/// Where a sighting stands in the ledger's memory. Items of one kind and slot are settled together, so they lie
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub(crate) struct Spot {
    pub(crate) kind: Kind,
    pub(crate) slot: Slot,
    pub(crate) cell: Cell,
    pub(crate) vehicle: KeyId,
}

impl Spot {
    /// Before all sightings of this kind and slot.
    pub(crate) fn first(kind: Kind, slot: Slot) -> Self {
        Self {
            kind,
            slot,
            cell: Cell::from_bits(0),
            vehicle: KeyId([0; 8]),
        }
    }

    /// After all sightings of this kind and slot.
    pub(crate) fn last(kind: Kind, slot: Slot) -> Self {
        Self {
            kind,
            slot,
            cell: Cell::from_bits(u64::MAX),
            vehicle: KeyId([0xff; 8]),
        }
    }
}

/// One vehicle's word on one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Sighting {
    /// The sum of the observed numbers, or the latest code.
    sum: i64,
    /// What anybody could read of the road in the published picture when each was heard: the sum of the numbers, or
    /// the latest code.
    known_sum: i64,
    /// How many observations the sums are of.
    count: u32,
    /// The sum of their ages when their blocks were made.
    age_sum_ms: u64,
    /// When the latest was made.
    latest: Timestamp,
    /// The roadside unit that brought the first one.
    pub(crate) operator: Address,
}

impl Sighting {
    pub(crate) fn new(value: i32, known: i32, seen_at: Timestamp, age_ms: u64, operator: Address) -> Self {
        Self {
            sum: value.into(),
            known_sum: known.into(),
            count: 1,
            age_sum_ms: age_ms,
            latest: seen_at,
            operator,
        }
    }

    /// Takes in another observation of the same item by the same vehicle.
    pub(crate) fn add(&mut self, kind: Kind, value: i32, known: i32, seen_at: Timestamp, age_ms: u64) {
        if kind.is_category() {
            let newer = seen_at > self.latest || (seen_at == self.latest && i64::from(value) < self.sum);
            if newer {
                *self = Self::new(value, known, seen_at, age_ms, self.operator);
            }
            return;
        }
        // A million observations a second for an hour would be needed to stop at the end.
        if let Some(count) = self.count.checked_add(1) {
            self.count = count;
            self.sum = self.sum.saturating_add(value.into());
            self.known_sum = self.known_sum.saturating_add(known.into());
            self.age_sum_ms = self.age_sum_ms.saturating_add(age_ms);
            self.latest = self.latest.max(seen_at);
        }
    }

    /// What the vehicle says, in the kind's unit, rounded down.
    pub(crate) fn value(&self) -> i64 {
        self.sum.div_euclid(i64::from(self.count.max(1)))
    }

    /// What was published of the road when it was heard, in the kind's unit, rounded down.
    pub(crate) fn known(&self) -> i64 {
        self.known_sum.div_euclid(i64::from(self.count.max(1)))
    }

    /// How many observations it rests on: at one a second, the seconds that the vehicle spent there.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// How old its observations were on average, in ms.
    pub(crate) fn age_ms(&self) -> u64 {
        self.age_sum_ms / u64::from(self.count.max(1))
    }
}

/// What is remembered of a vehicle so as to judge what it says next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Trace {
    /// Which reports were heard.
    pub(crate) replay: Replay,
    /// Where the vehicle claimed to be ...
    pub(crate) place: Place,
    /// ... at the latest moment that it spoke of.
    pub(crate) at: Timestamp,
    /// How its speeds lay from the others', lately.
    pub(crate) lean: Lean,
}

/// Whose tally, and of which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub(crate) struct TallyKey {
    pub(crate) epoch: Epoch,
    pub(crate) vehicle: KeyId,
}

/// What a vehicle has gathered in an epoch that is not closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Tally {
    /// Items it spoke of.
    pub(crate) items: u32,
    /// The sum of its scores' points.
    pub(crate) points: i64,
    /// The worth of its reports that were well reputed.
    pub(crate) base: u64,
    /// Reports that others' could judge.
    pub(crate) evaluated: u32,
    /// How many of them were near the others', each as far as its judges weigh against it, in
    /// [`milepost_wire::state::Q`], ...
    pub(crate) good: u64,
    /// ... and how many far off.
    pub(crate) bad: u64,
}

/// Which roadside unit, and in which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub(crate) struct ServedKey {
    pub(crate) epoch: Epoch,
    pub(crate) operator: Address,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_of_observations_does_not_matter(
            seen in prop::collection::vec((0i32..100, 0u64..50, 0u64..60_000), 1..20),
            turn in 0usize..20,
        ) {
            for kind in Kind::ALL {
                let gather = |seen: &[(i32, u64, u64)]| {
                    let mut all = seen.iter().map(|&(value, at, age)| (value, Timestamp::from_millis(at), age + at));
                    let (value, at, age) = all.next().expect("not empty");
                    let mut sighting = Sighting::new(value, 7, at, age, Address::default());
                    all.for_each(|(value, at, age)| sighting.add(kind, value, 7, at, age));
                    (sighting.value(), if kind.is_category() { 0 } else { sighting.age_ms() })
                };
                let mut turned = seen.clone();
                turned.rotate_left(turn % seen.len());
                prop_assert_eq!(gather(&seen), gather(&turned));
            }
        }
    }
}
