//! What is the newest figure for each piece of road?
//!
//! In: estimates, from committed blocks (the *final* picture) or from this unit's own word (the *live* one).
//! Out: the newest one per piece of road and kind, all or those within a box. Bounded: the longest unchanged
//! are forgotten first.

use std::collections::BTreeMap;

use milepost_wire::output::Estimate;
use milepost_wire::recent::Recent;
use milepost_wire::{Area, Cell, Kind, Timestamp};

use crate::level::FreeFlow;

/// Pieces of road, each with a kind, of which the newest figure is kept; at most twice as many.
pub const FIGURES_MAX: usize = 65_536;

/// The newest figures.
#[derive(Clone, Debug)]
pub struct Picture(Recent<(Cell, Kind), Figure>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The estimate.
    pub estimate: Estimate,
    /// When it was published: the block's time, or when this unit said so.
    pub at: Timestamp,
    /// What the figures of this road reached so far. Speeds alone have a meaning here.
    pub free_flow: FreeFlow,
}

impl Default for Picture {
    fn default() -> Self {
        Self(Recent::new(FIGURES_MAX))
    }
}

impl Picture {
    /// Takes a figure, unless a newer one is there.
    pub fn put(&mut self, estimate: Estimate, at: Timestamp) {
        let key = (estimate.item.cell, estimate.item.kind);
        let (slot, value) = (estimate.item.slot, estimate.value);
        let free_flow = match self.0.get(&key) {
            Some(known) if known.estimate.item.slot > slot => return,
            Some(known) => known.free_flow.with(value, known.estimate.item.slot < slot),
            None => FreeFlow::begin(value),
        };
        let figure = Figure {
            estimate,
            at,
            free_flow,
        };
        self.0.insert(key, figure);
    }

    /// How many figures there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The figures of `kind` within `area` that were published at `since` or later, in the order of cells;
    /// `None` stands for all.
    pub fn figures(&self, area: Option<Area>, kind: Option<Kind>, since: Timestamp) -> Vec<Figure> {
        let chosen: BTreeMap<_, _> = self
            .0
            .iter()
            .filter(|((_, of_kind), figure)| kind.is_none_or(|kind| kind == *of_kind) && figure.at >= since)
            .filter(|((cell, _), _)| area.is_none_or(|area| area.covers(*cell) == Some(true)))
            .collect();
        chosen.into_values().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::output::Item;
    use milepost_wire::time::Slot;
    use milepost_wire::{Heading, Place};

    fn estimate(longitude: f64, slot: u32, value: i32) -> Estimate {
        let place = Place::from_degrees(44.494, longitude).expect("on the globe");
        Estimate {
            item: Item {
                slot: Slot(slot),
                cell: Cell::at(place, Heading::from_degrees(0.0)),
                kind: Kind::Speed,
            },
            value,
            low: value,
            high: value,
            vehicles: 1,
            weight: 1,
            spread: 0,
        }
    }

    #[test]
    fn the_newest_slot_wins_in_any_order() {
        let at = Timestamp::from_millis(9);
        let mut picture = Picture::default();
        for slot in [2, 3, 1] {
            picture.put(estimate(11.3, slot, slot as i32), at);
        }
        picture.put(estimate(11.4, 1, 9), at);
        let values = |area: Option<Area>| -> Vec<i32> {
            let figures = picture.figures(area, None, at);
            figures.iter().map(|figure| figure.estimate.value).collect()
        };
        assert_eq!(values(None).len(), 2);
        assert_eq!(values("11.25,44.4,11.35,44.6".parse().ok()), [3]);
        assert!(picture.figures(None, Some(Kind::Hazard), at).is_empty());
        assert!(picture.figures(None, None, at.plus(1)).is_empty());
    }
}
