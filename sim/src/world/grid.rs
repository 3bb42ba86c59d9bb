//! A town drawn from a seed: a square of cells, some fast, some slow.
//!
//! Each cell has a usual speed around its class's mean, a deviation that drifts from slot to slot, and now and
//! then an incident that leaves two fifths of its speed for a while. Vehicles walk from cell to neighbouring
//! cell, drawn to the popular ones, and look up in some slots. It is the world in which the reward rules were
//! first tried (`docs/adr`, incentives), so that figures can be compared.
//!
//! Rain and obstacles come on top ([`super::conditions`]) and slow nobody down.
//!
//! Cells lie [`SPACING_M`] apart on open sea in the Gulf of Genoa, each in an H3 cell of its own; a walk to
//! the next takes a slot, so no step is faster than a car.

use std::collections::BTreeMap;

use milepost_wire::{Cell, Heading, Place};

use super::conditions::Conditions;
use super::{Road, Sighting, Truth, World};
use crate::rng::Rng;

/// What the grid is like. Speeds in km/h.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// How many cells; rows are filled up to a square.
    pub cells: usize,
    /// How many vehicles walk about; all of them report.
    pub vehicles: usize,
    /// The share of cells that are fast.
    pub fast_share: f64,
    /// The share of slots in which a vehicle looks at its road.
    pub look_share: f64,
    /// The share of slots in which a vehicle thinks of moving on.
    pub move_share: f64,
    /// The chance, slot by slot, that an incident begins in a cell that has none.
    pub incident_rate: f64,
}

impl Default for Grid {
    fn default() -> Self {
        Self {
            cells: 100,
            vehicles: 300,
            fast_share: 0.4,
            look_share: 0.6,
            move_share: 0.5,
            incident_rate: 0.01,
        }
    }
}

/// The south-western cell, in degrees.
const ORIGIN: (f64, f64) = (44.30, 8.80);
/// From one cell to the next, in metres.
pub const SPACING_M: f64 = 334.0;
/// [`SPACING_M`] northwards and eastwards at [`ORIGIN`], in degrees.
const SPACING_DEG: (f64, f64) = (0.003, 0.0042);
/// Mean speeds of the two classes.
const CLASS_MEANS_KMH: [f64; 2] = [60.0, 35.0];
const CELL_SD_KMH: f64 = 5.0;
const DRIFT_KEPT: f64 = 0.85;
const DRIFT_SD_KMH: f64 = 3.0;
const INCIDENT_SLOTS: (u64, u64) = (4, 15);
const INCIDENT_SPEED: f64 = 0.4;
const SPEED_MIN_KMH: f64 = 3.0;

/// A cell's weather.
struct Weather {
    usual_kmh: f64,
    drift_kmh: f64,
    incident_slots: u64,
}

impl Weather {
    fn step(&mut self, grid: &Grid, rng: &mut Rng) {
        self.drift_kmh = DRIFT_KEPT * self.drift_kmh + DRIFT_SD_KMH * rng.normal();
        if self.incident_slots > 0 {
            self.incident_slots -= 1;
        } else if rng.chance(grid.incident_rate) {
            self.incident_slots = INCIDENT_SLOTS.0 + rng.below(INCIDENT_SLOTS.1 - INCIDENT_SLOTS.0);
        }
    }

    fn speed_kmh(&self) -> f64 {
        let free = self.usual_kmh + self.drift_kmh;
        let now = if self.incident_slots > 0 {
            free * INCIDENT_SPEED
        } else {
            free
        };
        now.max(SPEED_MIN_KMH)
    }
}

/// A vehicle on its way.
struct Walker {
    rng: Rng,
    cell: usize,
    /// Everyone has a time of its own within the slot: vehicles do not report in chorus.
    phase_ms: u64,
}

/// Draws a town of `slots` slots.
pub fn draw(grid: &Grid, slots: u32, slot_ms: u64, seed: u64) -> World {
    let mut rng = Rng::fork(seed, "grid", 0);
    let side = side_of(grid.cells);
    let mut roads: Vec<Road> = (0..grid.cells)
        .map(|cell| road(cell, side, grid, &mut rng))
        .collect();
    let mut weather: Vec<Weather> = roads
        .iter()
        .map(|road| Weather {
            usual_kmh: CLASS_MEANS_KMH[road.class] + CELL_SD_KMH * rng.normal(),
            drift_kmh: 0.0,
            incident_slots: 0,
        })
        .collect();
    for (road, weather) in roads.iter_mut().zip(&weather) {
        road.free_flow_kmh =
            weather.usual_kmh + 1.645 * DRIFT_SD_KMH / (1.0 - DRIFT_KEPT * DRIFT_KEPT).sqrt();
    }
    let mut popularity: Vec<f64> = (0..grid.cells).map(|rank| popularity_of(rank + 1)).collect();
    rng.shuffle(&mut popularity);

    let mut walkers: Vec<Walker> = (0..grid.vehicles)
        .map(|vehicle| {
            let mut rng = Rng::fork(seed, "walk", vehicle as u64);
            let cell = rng.weighted(&popularity);
            let phase_ms = rng.below(slot_ms * 8 / 10);
            Walker { rng, cell, phase_ms }
        })
        .collect();
    let (mut sightings, mut truth) = (Vec::new(), BTreeMap::new());
    for slot in 0..slots {
        weather.iter_mut().for_each(|cell| cell.step(grid, &mut rng));
        let begin_ms = u64::from(slot) * slot_ms;
        let mut present = vec![0u32; grid.cells];
        let first = sightings.len();
        for (vehicle, Walker { rng, cell, phase_ms }) in walkers.iter_mut().enumerate() {
            if rng.chance(grid.move_share) {
                *cell = step(*cell, side, &popularity, rng);
            }
            present[*cell] += 1;
            let offset_ms = *phase_ms + rng.below(slot_ms / 10);
            if rng.chance(grid.look_share) {
                sightings.push(Sighting {
                    at_ms: begin_ms + offset_ms,
                    vehicle,
                    road: *cell,
                    place: roads[*cell].place,
                    heading: roads[*cell].heading,
                    speed_kmh: weather[*cell].speed_kmh(),
                });
            }
        }
        sightings[first..].sort_by_key(|sighting| (sighting.at_ms, sighting.vehicle));
        truth.extend(
            weather
                .iter()
                .zip(&present)
                .enumerate()
                .map(|(cell, (weather, present))| {
                    let vehicle_s = f64::from(*present) * (slot_ms as f64 / 1000.0);
                    let speed_kmh = weather.speed_kmh();
                    ((cell, slot), Truth { speed_kmh, vehicle_s })
                }),
        );
    }
    World {
        roads,
        class_means_kmh: CLASS_MEANS_KMH.to_vec(),
        vehicles: (0..grid.vehicles).map(|vehicle| format!("v{vehicle}")).collect(),
        vehicles_total: grid.vehicles,
        sightings,
        truth,
        conditions: Conditions::default(),
        clock_zero_s: 0,
        duration_ms: u64::from(slots) * slot_ms,
        truth_min_vehicle_s: 0.0,
    }
}

/// How many cells the smallest square has at its side that holds so many.
pub(super) fn side_of(cells: usize) -> usize {
    (1..)
        .find(|side| side * side >= cells)
        .expect("some square is large enough")
}

fn road(cell: usize, side: usize, grid: &Grid, rng: &mut Rng) -> Road {
    let (x, y) = (cell % side, cell / side);
    let place = Place::from_degrees(
        ORIGIN.0 + SPACING_DEG.0 * y as f64,
        ORIGIN.1 + SPACING_DEG.1 * x as f64,
    )
    .expect("the grid lies on the globe");
    let heading = Heading::from_decidegrees(0).expect("north is a heading");
    Road {
        name: format!("{x}/{y}"),
        cell: Cell::at(place, heading),
        class: usize::from(!rng.chance(grid.fast_share)),
        place,
        heading,
        free_flow_kmh: 0.0,
    }
}

/// A neighbour that is as popular is always worth the walk, another in proportion (Metropolis).
fn step(cell: usize, side: usize, popularity: &[f64], rng: &mut Rng) -> usize {
    let (x, y) = (cell % side, cell / side);
    let next = match rng.below(4) {
        0 => (x + 1 < side).then(|| cell + 1),
        1 => x.checked_sub(1).map(|_| cell - 1),
        2 => Some(cell + side),
        _ => y.checked_sub(1).map(|_| cell - side),
    };
    match next.filter(|&next| next < popularity.len()) {
        Some(next) if rng.chance(popularity[next] / popularity[cell]) => next,
        _ => cell,
    }
}

/// `rank` to the power of −11/16, by square roots alone: Zipf's law, a little flattened.
fn popularity_of(rank: usize) -> f64 {
    let half = (rank as f64).sqrt();
    let eighth = half.sqrt().sqrt();
    1.0 / (half * eighth * eighth.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_of_the_grid_has_an_h3_cell_of_its_own() {
        let world = draw(
            &Grid {
                cells: 400,
                ..Grid::default()
            },
            1,
            60_000,
            1,
        );
        let cells: std::collections::BTreeSet<_> = world.roads.iter().map(|road| road.cell).collect();
        assert_eq!(cells.len(), 400);
    }

    #[test]
    fn one_seed_draws_one_town() {
        let (one, two) = (
            draw(&Grid::default(), 20, 60_000, 5),
            draw(&Grid::default(), 20, 60_000, 5),
        );
        assert_eq!(one.sightings, two.sightings);
        assert_eq!(one.truth, two.truth);
        assert_ne!(one.sightings, draw(&Grid::default(), 20, 60_000, 6).sightings);
    }

    #[test]
    fn sightings_come_in_order_and_about_as_often_as_asked() {
        let world = draw(&Grid::default(), 50, 60_000, 9);
        assert!(
            world
                .sightings
                .is_sorted_by_key(|sighting| (sighting.at_ms, sighting.vehicle))
        );
        let share = world.sightings.len() as f64 / (50.0 * 300.0);
        assert!((share - 0.6).abs() < 0.02, "{share}");
        assert_eq!(world.truth.len(), 50 * 100);
    }

    #[test]
    fn nobody_walks_faster_than_a_car() {
        let world = draw(
            &Grid {
                look_share: 1.0,
                ..Grid::default()
            },
            50,
            60_000,
            9,
        );
        let mut last: BTreeMap<usize, Sighting> = BTreeMap::new();
        for sighting in world.sightings {
            if let Some(before) = last.insert(sighting.vehicle, sighting)
                && before.road != sighting.road
            {
                let elapsed_s = (sighting.at_ms - before.at_ms) as f64 / 1000.0;
                assert!(SPACING_M / elapsed_s < 70.0, "{before:?} {sighting:?}");
            }
        }
    }

    #[test]
    fn popularity_falls_with_rank() {
        assert!((popularity_of(1) - 1.0).abs() < 1e-12);
        // 10 to the power of −0.6875.
        assert!(
            (popularity_of(10) - 0.205_352_5).abs() < 1e-6,
            "{}",
            popularity_of(10)
        );
    }
}
