//! What goes on in the town?
//!
//! In: a seed and a few numbers ([`grid`]), or a recording ([`fcd`]). Out: a [`World`]: its roads, who comes by
//! when and how fast (the sightings), and the truth about every road and slot; where asked, also what the roads are
//! like besides ([`conditions`]). It is plain data, fixed before
//! the first message is sent: nothing that the ledger does moves a car.
//!
//! Floats are welcome here, as long as every machine makes the same ones: see [`crate::rng`].

pub mod conditions;
pub mod fcd;
pub mod grid;

use std::collections::BTreeMap;

use milepost_wire::{Cell, Heading, Place};

use self::conditions::Conditions;
use crate::rng::Rng;

/// A town for as long as a run takes.
#[derive(Clone, Debug)]
pub struct World {
    /// Every piece of road that anybody comes by.
    pub roads: Vec<Road>,
    /// The mean speed of each class of road, in km/h: what anybody knows about a road without looking.
    pub class_means_kmh: Vec<f64>,
    /// The names of the vehicles that report.
    pub vehicles: Vec<String>,
    /// How many vehicles there are, whether they report or not.
    pub vehicles_total: usize,
    /// What the reporting vehicles come by, in order of time, then of vehicle.
    pub sightings: Vec<Sighting>,
    /// How fast the road really was, by road and slot.
    pub truth: BTreeMap<(usize, u32), Truth>,
    /// What the roads are like besides.
    pub conditions: Conditions,
    /// What the world's own clock shows when slot 0 begins, in seconds.
    pub clock_zero_s: u64,
    /// How long it lasts, in milliseconds.
    pub duration_ms: u64,
    /// A truth over fewer seconds of vehicles is no measure of anything, and not compared with.
    pub truth_min_vehicle_s: f64,
}

impl World {
    /// The same world with `count` of its vehicles reporting, drawn by lot.
    #[must_use]
    pub fn with_reporters(mut self, count: usize, seed: u64) -> Self {
        let mut lots: Vec<usize> = (0..self.vehicles.len()).collect();
        Rng::fork(seed, "reporters", 0).shuffle(&mut lots);
        lots.truncate(count);
        lots.sort_unstable();
        let number: BTreeMap<usize, usize> = lots.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        self.vehicles = lots.iter().map(|old| self.vehicles[*old].clone()).collect();
        self.sightings
            .retain_mut(|sighting| match number.get(&sighting.vehicle) {
                Some(new) => {
                    sighting.vehicle = *new;
                    true
                }
                None => false,
            });
        self
    }
}

/// A piece of road.
#[derive(Clone, Debug, PartialEq)]
pub struct Road {
    /// Its name in tables.
    pub name: String,
    /// Its name in reports.
    pub cell: Cell,
    /// Which class of road it is: an index into [`World::class_means_kmh`].
    pub class: usize,
    /// A place on it.
    pub place: Place,
    /// A direction in which it is driven.
    pub heading: Heading,
    /// How fast one goes there when nothing is in the way, in km/h: the 95th percentile of all speeds.
    pub free_flow_kmh: f64,
}

/// A vehicle on a road.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    /// When, in milliseconds since the world began.
    pub at_ms: u64,
    /// Which vehicle: an index into [`World::vehicles`].
    pub vehicle: usize,
    /// Which road: an index into [`World::roads`].
    pub road: usize,
    /// Where on it.
    pub place: Place,
    /// Heading where.
    pub heading: Heading,
    /// How fast it goes, in km/h, as a perfect sensor would read it.
    pub speed_kmh: f64,
}

/// How it really was on one road during one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Truth {
    /// The mean over all vehicles and seconds, in km/h.
    pub speed_kmh: f64,
    /// Over how many seconds of vehicles.
    pub vehicle_s: f64,
}

/// Why there is no world.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The recording cannot be read.
    #[error(transparent)]
    Fcd(#[from] milepost_obu::source::FcdError),
    /// It can, and nothing is in it.
    #[error("{file}: expected records of vehicles{on}, found none")]
    Nobody {
        /// Which file.
        file: String,
        /// What was asked of them.
        on: &'static str,
    },
    /// A place off the globe.
    #[error("{file}: {lat_deg}, {lon_deg} is no place on earth")]
    OffTheGlobe {
        /// Which file.
        file: String,
        /// Degrees north.
        lat_deg: f64,
        /// Degrees east.
        lon_deg: f64,
    },
}
