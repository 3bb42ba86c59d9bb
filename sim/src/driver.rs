//! Who sits in the vehicles?
//!
//! [`muster`] hands the vehicles of a world to the fleets of a scenario. A [`Driver`] is one of them: the sensor
//! with its errors, the behaviour, and the stream of chance that both draw from. What it says goes into a
//! `milepost_obu::Vehicle` core, the same that drives real vehicles; the simulator and the demo both do that.

use std::sync::Arc;

use milepost_obu::vehicle::Sensed;
use milepost_wire::{Cell, Measure, Speed, Timestamp};

use crate::behaviour::{Behaviour, Say, Seen};
use crate::rng::Rng;
use crate::scenario::{Fleet, Size, minutes_ms};
use crate::world::{Sighting, World};

/// Errors of a sensor, in km/h.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensor {
    /// From reading to reading.
    pub sd_kmh: f64,
    /// For good, from vehicle to vehicle.
    pub bias_sd_kmh: f64,
}

impl Sensor {
    /// In the grid all vehicles of a cell go at one speed, so the sensor stands for their differences, too.
    pub const GRID: Self = Self {
        sd_kmh: 3.0,
        bias_sd_kmh: 2.0,
    };
    /// A recording's drivers differ by themselves.
    pub const RECORDED: Self = Self {
        sd_kmh: 0.5,
        bias_sd_kmh: 0.0,
    };
}

/// One fleet with its vehicles.
#[derive(Clone, Debug)]
pub struct Company {
    /// The behaviour's name.
    pub name: String,
    /// Its vehicles, in ascending order.
    pub vehicles: Vec<usize>,
    /// Whether they have one owner.
    pub one_owner: bool,
    behaviour: Behaviour,
    from_ms: u64,
    sensor: Sensor,
}

impl Company {
    /// Whether it listens to what others send.
    pub fn overhears(&self) -> bool {
        self.behaviour == Behaviour::Replay
    }
}

/// Hands `count` vehicles to the fleets, by lot. Who is in no fleet is honest.
///
/// # Errors
///
/// What was asked for, where the fleets want more vehicles than there are.
pub fn muster(fleets: &[Fleet], count: usize, sensor: Sensor, seed: u64) -> Result<Vec<Company>, String> {
    let mut lots: Vec<usize> = (0..count).collect();
    Rng::fork(seed, "fleets", 0).shuffle(&mut lots);
    let mut companies = Vec::new();
    for fleet in fleets {
        let wanted = match fleet.size {
            Size::Count(wanted) => wanted,
            // Shares that make a whole leave nobody over for want of half a vehicle.
            Size::Share(share) => ((share * count as f64).round() as usize).min(lots.len()),
        };
        if wanted > lots.len() {
            let left = lots.len();
            return Err(format!(
                "the fleet of {wanted} {} wants more vehicles than the {left} left",
                fleet.name
            ));
        }
        let mut vehicles = lots.split_off(lots.len() - wanted);
        vehicles.sort_unstable();
        companies.push(Company {
            name: fleet.name.clone(),
            vehicles,
            one_owner: fleet.one_owner,
            behaviour: fleet.behaviour,
            from_ms: minutes_ms(fleet.from_minute),
            sensor: Sensor {
                sd_kmh: fleet.sensor_sd_kmh.unwrap_or(sensor.sd_kmh),
                bias_sd_kmh: fleet.sensor_bias_sd_kmh.unwrap_or(sensor.bias_sd_kmh),
            },
        });
    }
    if !lots.is_empty() {
        lots.sort_unstable();
        companies.push(Company {
            name: "honest".into(),
            vehicles: lots,
            one_owner: false,
            behaviour: Behaviour::Honest,
            from_ms: 0,
            sensor,
        });
    }
    Ok(companies)
}

/// Which company each of `count` vehicles belongs to.
pub fn company_of(companies: &[Company], count: usize) -> Vec<usize> {
    let mut of = vec![0; count];
    for (index, company) in companies.iter().enumerate() {
        for vehicle in &company.vehicles {
            of[*vehicle] = index;
        }
    }
    of
}

/// What a driver does when it has looked at the road.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// It says this of this road.
    Tell {
        /// An index into [`World::roads`].
        road: usize,
        /// In km/h.
        speed_kmh: f64,
        /// As its vehicle senses it.
        sensed: Sensed,
    },
    /// It sends once more what it heard another vehicle send.
    Again,
    /// Nothing.
    Nothing,
}

/// One vehicle's driver.
#[derive(Clone, Debug)]
pub struct Driver {
    behaviour: Behaviour,
    from_ms: u64,
    sensor: Sensor,
    bias_kmh: f64,
    rng: Rng,
}

impl Driver {
    /// The driver of `vehicle`, which belongs to `company`.
    pub fn new(company: &Company, vehicle: usize, seed: u64) -> Self {
        let mut rng = Rng::fork(seed, "driver", vehicle as u64);
        let bias_kmh = company.sensor.bias_sd_kmh * rng.normal();
        Self {
            behaviour: company.behaviour,
            from_ms: company.from_ms,
            sensor: company.sensor,
            bias_kmh,
            rng,
        }
    }

    /// What it does about a sighting. `published_kmh` is the final picture as anybody can read it.
    pub fn look(
        &mut self,
        world: &World,
        sighting: &Sighting,
        now: Timestamp,
        published_kmh: impl Fn(Cell) -> Option<f64>,
    ) -> Deed {
        let road = &world.roads[sighting.road];
        let error_kmh = self.bias_kmh + self.sensor.sd_kmh * self.rng.normal();
        let seen = Seen {
            reading_kmh: (sighting.speed_kmh + error_kmh).max(0.0),
            published_kmh: published_kmh(road.cell),
            class_mean_kmh: world.class_means_kmh[road.class],
            road: sighting.road,
            roads: world.roads.len(),
            minute: sighting.at_ms as f64 / 60_000.0,
        };
        let honest = sighting.at_ms < self.from_ms;
        let behaviour = if honest { Behaviour::Honest } else { self.behaviour };
        match behaviour.say(&seen, &mut self.rng) {
            Say::Nothing => Deed::Nothing,
            Say::Again => Deed::Again,
            Say::Here(speed_kmh) => tell(
                world,
                sighting.road,
                sighting.place,
                sighting.heading,
                speed_kmh,
                now,
            ),
            Say::There(there) => {
                let road = &world.roads[there];
                let mean_kmh = world.class_means_kmh[road.class];
                let speed_kmh = published_kmh(road.cell).unwrap_or(mean_kmh);
                tell(world, there, road.place, road.heading, speed_kmh, now)
            }
        }
    }
}

fn tell(
    world: &World,
    road: usize,
    place: milepost_wire::Place,
    heading: milepost_wire::Heading,
    speed_kmh: f64,
    at: Timestamp,
) -> Deed {
    let on = &world.roads[road];
    let segment = on.cell.is_segment().then(|| Arc::from(on.name.as_str()));
    let speed = Speed::from_m_per_s_clamped(speed_kmh / 3.6);
    let sensed = Sensed {
        at,
        place,
        heading,
        measure: Measure::Speed(speed),
        segment,
    };
    Deed::Tell {
        road,
        speed_kmh: speed.km_per_h(),
        sensed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::world::grid::{Grid, draw};

    fn fleets(text: &str) -> Vec<Fleet> {
        Scenario::parse(&format!("[world]\nkind = \"grid\"\n{text}"), "test")
            .expect("a scenario")
            .fleet
    }

    #[test]
    fn every_vehicle_is_in_one_fleet_and_the_rest_is_honest() {
        let fleets = fleets(
            "[[fleet]]\nshare = 0.3\nbehaviour = \"bias\"\n[[fleet]]\ncount = 5\nbehaviour = \"random\"\n",
        );
        let companies = muster(&fleets, 30, Sensor::GRID, 1).expect("enough");
        let sizes: Vec<_> = companies
            .iter()
            .map(|company| (company.name.as_str(), company.vehicles.len()))
            .collect();
        assert_eq!(sizes, [("bias", 9), ("random", 5), ("honest", 16)]);
        let mut all: Vec<usize> = companies
            .iter()
            .flat_map(|company| company.vehicles.clone())
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..30).collect::<Vec<_>>());
        let error = muster(&fleets, 6, Sensor::GRID, 1).expect_err("too few");
        assert!(error.contains("5 random"), "{error}");
    }

    #[test]
    fn a_liar_is_honest_until_its_time_comes() {
        let world = draw(&Grid::default(), 20, 60_000, 1);
        let fleets =
            fleets("[[fleet]]\nshare = 1.0\nbehaviour = \"constant\"\nspeed_kmh = 7\nfrom_minute = 10\n");
        let companies = muster(&fleets, 300, Sensor::GRID, 1).expect("enough");
        for sighting in &world.sightings {
            let mut driver = Driver::new(&companies[0], sighting.vehicle, 1);
            let deed = driver.look(&world, sighting, Timestamp::default(), |_| None);
            let Deed::Tell { speed_kmh, .. } = deed else {
                panic!("it tells something")
            };
            assert_eq!(
                (speed_kmh - 7.0).abs() < 0.02,
                sighting.at_ms >= 600_000,
                "{sighting:?} {speed_kmh}"
            );
        }
    }
}
