//! Do two bodies share one place?
//!
//! Every vehicle was somewhere within the last second, and cannot have gone far. Who drives inside another, the
//! same way, for seconds, is not there; the one that was heard for the shorter time is doubted. One sample says
//! nothing: positions err by more than a car's width.

use milepost_wire::recent::Recent;

use super::claim::{Claim, turn_degrees};

const TILE_M: f64 = 25.0;
/// Vehicles that are kept of one tile; the longest silent leave first.
const TILE_LEN_MAX: usize = 16;
/// A place is known for so long, in ms.
const KNOWN_MS: u64 = 1_000;
/// Two centres nearer than this are one body, in metres: half a car's width.
const BODY_M: f64 = 1.0;
const SAME_WAY_DEGREES: f64 = 30.0;
/// Below this speed, in m/s, vehicles queue, and positions err by more than the gap.
const QUEUES_M_PER_S: f64 = 3.0;

/// Who is where.
#[derive(Clone, Debug)]
pub(super) struct Presence {
    tiles: Recent<(i64, i64), Vec<Present>>,
}

#[derive(Clone, Copy, Debug)]
struct Present {
    claim: Claim,
    since_ms: u64,
}

impl Presence {
    pub(super) fn new(tiles_max: usize) -> Self {
        Self {
            tiles: Recent::new(tiles_max),
        }
    }

    /// Whether a vehicle that was heard since `since_ms` drives inside one that was heard for longer.
    pub(super) fn overlaps(&self, claim: &Claim, since_ms: u64) -> bool {
        if claim.speed_m_per_s < QUEUES_M_PER_S {
            return false;
        }
        let (tile_x, tile_y) = claim.tile(TILE_M);
        (tile_x - 1..=tile_x + 1)
            .flat_map(|x| (tile_y - 1..=tile_y + 1).map(move |y| (x, y)))
            .filter_map(|key| self.tiles.get(&key))
            .flatten()
            .any(|other| other.since_ms < since_ms && other.shares_place(claim))
    }

    /// Remembers that the vehicle is there.
    pub(super) fn enter(&mut self, claim: &Claim, since_ms: u64) {
        let key = claim.tile(TILE_M);
        if self.tiles.touch(&key).is_none() {
            self.tiles.insert(key, Vec::new());
        }
        let tile = self
            .tiles
            .touch(&key)
            .expect("it was there, or was just put there");
        tile.retain(|other| {
            other.claim.vehicle != claim.vehicle && claim.at_ms.abs_diff(other.claim.at_ms) <= KNOWN_MS
        });
        if tile.len() >= TILE_LEN_MAX {
            tile.remove(0);
        }
        tile.push(Present {
            claim: *claim,
            since_ms,
        });
    }
}

impl Present {
    /// Whether it is where `claim` is, had it gone on as it said.
    fn shares_place(&self, claim: &Claim) -> bool {
        let other = &self.claim;
        let elapsed_ms = claim.at_ms.saturating_sub(other.at_ms);
        if other.vehicle == claim.vehicle
            || claim.at_ms.abs_diff(other.at_ms) > KNOWN_MS
            || other.speed_m_per_s < QUEUES_M_PER_S
            || turn_degrees(other.heading_degrees, claim.heading_degrees) > SAME_WAY_DEGREES
        {
            return false;
        }
        let metres = other.speed_m_per_s * elapsed_ms as f64 / 1000.0;
        let direction = other.heading_degrees.to_radians();
        let (x_m, y_m) = (
            other.x_m + metres * direction.sin(),
            other.y_m + metres * direction.cos(),
        );
        (x_m - claim.x_m).hypot(y_m - claim.y_m) < BODY_M
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plausibility::claim::tests::driving;

    #[test]
    fn who_drives_inside_another_overlaps_it_and_not_the_other_way_round() {
        let mut presence = Presence::new(100);
        presence.enter(&driving(1, 1000, 10.0, 90.0), 0);
        let ghost = driving(2, 1400, 10.0, 90.0);
        assert!(presence.overlaps(&ghost, 1400));
        assert!(!presence.overlaps(&ghost, 0), "heard for as long");
        let beside = Claim { y_m: 3.0, ..ghost };
        assert!(!presence.overlaps(&beside, 1400));
        let oncoming = Claim {
            heading_degrees: 270.0,
            ..ghost
        };
        assert!(!presence.overlaps(&oncoming, 1400));
        let late = Claim { at_ms: 2100, ..ghost };
        assert!(!presence.overlaps(&late, 2100));
    }
}
