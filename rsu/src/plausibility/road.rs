//! Is there a road?
//!
//! In: where vehicles say they are. Out: how many others drove right here, and how many drove the same way
//! within sight ahead. No map is needed, the traffic draws one. Where many pass in parallel and nobody
//! passes here, there is no lane: somebody's position is off by a constant.
//!
//! A vehicle leaves a mark every ten metres, unless four others' marks say the same already.

use milepost_wire::recent::Recent;

use super::claim::{Claim, turn_degrees};

/// A mark is left, and evidence taken, once a vehicle has moved so far.
pub(super) const SPACING_M: f64 = 10.0;

/// What a sample says that the one before did not, as a share.
const SAMPLE_PART: f64 = 0.22;
const TILE_M: f64 = 25.0;
const MARKS_MAX: usize = 128;
/// Positions err by up to five metres, each way, in both vehicles; lanes lie side by side.
const HERE_M: f64 = 12.5;
const HERE_DEGREES: f64 = 60.0;
const HERE_MAX: usize = 4;
/// A mark within so many metres says the same.
const SAME_M: f64 = 4.0;
/// Tiles to each side that are within sight: 75 to 100 m.
const SIGHT_TILES: i64 = 3;
const SECTORS: usize = 16;
const PARALLEL_MAX: usize = 32;

#[derive(Clone, Copy, Debug)]
struct Mark {
    x_m: f64,
    y_m: f64,
    heading_degrees: f64,
    vehicle: u64,
}

/// What is known of a tile.
#[derive(Clone, Debug, Default)]
struct Tile {
    /// The newest marks, in a ring.
    marks: Vec<Mark>,
    next: usize,
    /// Who passed, by direction.
    passed: [Vec<u64>; SECTORS],
}

/// Where vehicles were.
#[derive(Clone, Debug)]
pub(super) struct Roads {
    tiles: Recent<(i64, i64), Tile>,
}

/// Who else was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Others {
    /// How many went the same way right here; at most four are counted.
    pub(super) here: usize,
    /// How many went the same way within sight ahead; at most 32 are counted.
    pub(super) parallel: usize,
}

impl Roads {
    pub(super) fn new(tiles_max: usize) -> Self {
        Self {
            tiles: Recent::new(tiles_max),
        }
    }

    /// Who else was where this claim is.
    pub(super) fn others(&self, claim: &Claim) -> Others {
        let (tile_x, tile_y) = claim.tile(TILE_M);
        let sector = sector_of(claim);
        let mut here = Distinct::<HERE_MAX>::new(claim.vehicle);
        let mut parallel = Distinct::<PARALLEL_MAX>::new(claim.vehicle);
        for x in tile_x - SIGHT_TILES..=tile_x + SIGHT_TILES {
            for y in tile_y - SIGHT_TILES..=tile_y + SIGHT_TILES {
                let Some(tile) = self.tiles.get(&(x, y)) else {
                    continue;
                };
                // Who leads a platoon on a new road has others behind, and nobody ahead.
                if is_ahead(claim, (x, y)) {
                    for aside in [SECTORS - 1, 0, 1] {
                        for vehicle in &tile.passed[(sector + aside) % SECTORS] {
                            parallel.add(*vehicle);
                        }
                    }
                }
                if (x - tile_x).abs() <= 1 && (y - tile_y).abs() <= 1 {
                    for mark in tile.marks.iter().filter(|mark| mark.is_near(claim, HERE_M)) {
                        here.add(mark.vehicle);
                    }
                }
            }
        }
        Others {
            here: here.len,
            parallel: parallel.len,
        }
    }

    /// Remembers that the vehicle was there.
    pub(super) fn mark(&mut self, claim: &Claim) {
        let key = claim.tile(TILE_M);
        if self.tiles.touch(&key).is_none() {
            self.tiles.insert(key, Tile::default());
        }
        let tile = self
            .tiles
            .touch(&key)
            .expect("it was there, or was just put there");
        let passed = &mut tile.passed[sector_of(claim)];
        if passed.len() < PARALLEL_MAX && !passed.contains(&claim.vehicle) {
            passed.push(claim.vehicle);
        }
        let same = tile.marks.iter().filter(|mark| mark.is_near(claim, SAME_M));
        if same.count() >= HERE_MAX {
            return;
        }
        let mark = Mark {
            x_m: claim.x_m,
            y_m: claim.y_m,
            heading_degrees: claim.heading_degrees,
            vehicle: claim.vehicle,
        };
        if tile.marks.len() < MARKS_MAX {
            tile.marks.push(mark);
        } else {
            tile.marks[tile.next] = mark;
            tile.next = (tile.next + 1) % MARKS_MAX;
        }
    }
}

impl Others {
    /// The evidence that the vehicle is not where it says, in decibans.
    ///
    /// Rows: at least 0, 1, 3, 7, 15, 31 in parallel; columns: 0 to 4 and more here. Measured on a recording with
    /// a fifth of the positions shifted by 30 to 100 m (docs/adr/0009-plausibility.md). A sample ten metres on
    /// says mostly what the one before said, so each counts for a part.
    pub(super) fn weight_decibans(self) -> f64 {
        const WEIGHTS: [[i8; HERE_MAX + 1]; 6] = [
            [0, 0, 0, 0, 0],
            [3, -9, -10, -10, -10],
            [7, -3, -7, -8, -10],
            [13, 4, 0, -6, -12],
            [17, 12, 6, 2, -11],
            [22, 15, 7, 2, -9],
        ];
        let row = (self.parallel + 1).ilog2() as usize;
        f64::from(WEIGHTS[row.min(5)][self.here]) * SAMPLE_PART
    }
}

impl Mark {
    fn is_near(&self, claim: &Claim, radius_m: f64) -> bool {
        (self.x_m - claim.x_m).hypot(self.y_m - claim.y_m) < radius_m
            && turn_degrees(self.heading_degrees, claim.heading_degrees) < HERE_DEGREES
    }
}

/// Counts different vehicles other than one, up to a number.
struct Distinct<const MAX: usize> {
    but: u64,
    found: [u64; MAX],
    len: usize,
}

impl<const MAX: usize> Distinct<MAX> {
    fn new(but: u64) -> Self {
        Self {
            but,
            found: [0; MAX],
            len: 0,
        }
    }

    fn add(&mut self, vehicle: u64) {
        if self.len < MAX && vehicle != self.but && !self.found[..self.len].contains(&vehicle) {
            self.found[self.len] = vehicle;
            self.len += 1;
        }
    }
}

/// Whether the tile's centre lies ahead by half a tile at least.
fn is_ahead(claim: &Claim, (tile_x, tile_y): (i64, i64)) -> bool {
    let direction = claim.heading_degrees.to_radians();
    let east_m = (tile_x as f64 + 0.5) * TILE_M - claim.x_m;
    let north_m = (tile_y as f64 + 0.5) * TILE_M - claim.y_m;
    east_m * direction.sin() + north_m * direction.cos() > TILE_M / 2.0
}

fn sector_of(claim: &Claim) -> usize {
    let turn = claim.heading_degrees.rem_euclid(360.0) / 360.0;
    (turn * SECTORS as f64) as usize % SECTORS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plausibility::claim::tests::driving;

    /// So many vehicles, one a minute, along one road to the east for 200 m.
    fn travelled(vehicles: u64) -> Roads {
        let mut roads = Roads::new(1000);
        for vehicle in 1..=vehicles {
            for second in 0..20 {
                roads.mark(&driving(vehicle, 1000 * second, 10.0, 90.0));
            }
        }
        roads
    }

    fn beside(metres: f64) -> Claim {
        Claim {
            y_m: metres,
            ..driving(99, 10_000, 10.0, 90.0)
        }
    }

    #[test]
    fn who_drives_where_all_do_is_cleared_and_who_drives_beside_is_suspect() {
        let roads = travelled(20);
        assert_eq!(roads.others(&beside(3.0)).here, 4);
        assert!(roads.others(&beside(3.0)).weight_decibans() < 0.0);
        let off = roads.others(&beside(-40.0));
        assert_eq!((off.here, off.parallel), (0, 20));
        assert!(off.weight_decibans() > 0.0);
    }

    #[test]
    fn a_new_road_away_from_others_or_across_them_says_nothing() {
        let roads = travelled(20);
        assert_eq!(roads.others(&beside(500.0)).weight_decibans(), 0.0);
        let across = Claim {
            heading_degrees: 0.0,
            ..beside(40.0)
        };
        assert_eq!(roads.others(&across).weight_decibans(), 0.0);
    }

    #[test]
    fn one_vehicle_alone_draws_no_road_for_itself() {
        let roads = travelled(1);
        let own = Claim {
            vehicle: 1,
            ..beside(0.0)
        };
        assert_eq!(roads.others(&own), Others { here: 0, parallel: 0 });
    }

    #[test]
    fn more_traffic_here_never_speaks_against_a_vehicle() {
        for parallel in [0, 1, 3, 7, 15, 31] {
            let weights = [0, 1, 2, 3, 4].map(|here| Others { here, parallel }.weight_decibans());
            assert!(weights.is_sorted_by(|more, less| more >= less), "{weights:?}");
        }
    }

    #[test]
    fn what_is_remembered_of_a_tile_is_bounded() {
        let mut roads = Roads::new(4);
        for vehicle in 0..5000u64 {
            let heading = (vehicle * 37 % 360) as f64;
            let claim = Claim {
                x_m: (vehicle % 25) as f64,
                y_m: (vehicle / 25 % 25) as f64,
                ..driving(vehicle, 0, 10.0, heading)
            };
            roads.mark(&claim);
        }
        for (_, tile) in roads.tiles.iter() {
            assert!(tile.marks.len() <= MARKS_MAX);
            assert!(tile.passed.iter().all(|passed| passed.len() <= PARALLEL_MAX));
        }
    }
}
