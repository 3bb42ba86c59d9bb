//! Who is on the road, and with which keys?
//!
//! [`muster`] hands the vehicles of a world to the fleets of a scenario. [`complete`] adds what reports besides them: the
//! further keys of vehicles that have several ([`Behaviour::keys`]), and roadside sensors. Each key is a vehicle more in
//! the [`World`], with sightings of its own, so that whoever plays it needs to know nothing of all this but the
//! owners ([`owner`]) and the roles ([`role`]).

use std::collections::{BTreeMap, BTreeSet};

use milepost_wire::{Address, Role};

use crate::behaviour::Behaviour;
use crate::rng::Rng;
use crate::scenario::{Anchor, Fleet, On, Size, minutes_ms};
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
    /// Its vehicles and their further keys, in ascending order.
    pub vehicles: Vec<usize>,
    /// Whether they have one owner.
    pub one_owner: bool,
    pub(crate) behaviour: Behaviour,
    pub(crate) from_ms: u64,
    pub(crate) sensor: Sensor,
    /// The further keys.
    further: BTreeMap<usize, Further>,
    /// The number of the member that owns each, where they are roadside sensors.
    operators: BTreeMap<usize, usize>,
}

/// A key that a vehicle has besides its first.
#[derive(Clone, Copy, Debug)]
struct Further {
    vehicle: usize,
    /// The vehicle's key before this one.
    before: usize,
}

impl Company {
    /// Whether it listens to what others send.
    pub fn overhears(&self) -> bool {
        self.behaviour == Behaviour::Replay
    }

    /// Whose key this is: the number of the vehicle's first key.
    pub fn vehicle_of(&self, key: usize) -> usize {
        self.further.get(&key).map_or(key, |further| further.vehicle)
    }

    /// Whether this key is a roadside sensor's.
    pub(crate) fn is_sensor(&self, key: usize) -> bool {
        self.operators.contains_key(&key)
    }

    /// Which key its vehicle had before.
    pub(crate) fn key_before(&self, key: usize) -> Option<usize> {
        self.further.get(&key).map(|further| further.before)
    }

    /// Whether its vehicle has another key after this one.
    pub(crate) fn has_key_after(&self, key: usize) -> bool {
        self.further.values().any(|further| further.before == key)
    }

    fn new(name: &str, behaviour: Behaviour, vehicles: Vec<usize>, sensor: Sensor) -> Self {
        Self {
            name: name.into(),
            vehicles,
            one_owner: false,
            behaviour,
            from_ms: 0,
            sensor,
            further: BTreeMap::new(),
            operators: BTreeMap::new(),
        }
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
        let sensor = Sensor {
            sd_kmh: fleet.sensor_sd_kmh.unwrap_or(sensor.sd_kmh),
            bias_sd_kmh: fleet.sensor_bias_sd_kmh.unwrap_or(sensor.bias_sd_kmh),
        };
        companies.push(Company {
            one_owner: fleet.one_owner,
            from_ms: minutes_ms(fleet.from_minute),
            ..Company::new(&fleet.name, fleet.behaviour, vehicles, sensor)
        });
    }
    if !lots.is_empty() {
        lots.sort_unstable();
        companies.push(Company::new("honest", Behaviour::Honest, lots, sensor));
    }
    Ok(companies)
}

/// Adds to the world, and to its companies, the further keys of vehicles that have several, and the roadside sensors of
/// so many members.
///
/// # Errors
///
/// Which road or member a sensor asks for that there is not.
pub fn complete(
    world: &mut World,
    companies: &mut Vec<Company>,
    anchors: &[Anchor],
    members: usize,
    slot_ms: u64,
    seed: u64,
) -> Result<(), String> {
    for company in companies.iter_mut() {
        issue_keys(world, company);
    }
    for (number, anchor) in anchors.iter().enumerate() {
        let roads = roads_of(world, anchor, seed, number as u64)?;
        if anchor.providers > members {
            return Err(format!(
                "anchor: expected at most {members} providers, as many as members, found {}",
                anchor.providers
            ));
        }
        let sensor = Sensor {
            sd_kmh: anchor.sensor_sd_kmh,
            bias_sd_kmh: 0.0,
        };
        let mut company = Company::new("anchor", Behaviour::Honest, Vec::new(), sensor);
        for (place, road) in roads.into_iter().enumerate() {
            for provider in 0..anchor.providers {
                let key = install(world, road, provider, slot_ms);
                company.vehicles.push(key);
                company.operators.insert(key, (place + provider) % members);
            }
        }
        companies.push(company);
    }
    world
        .sightings
        .sort_by_key(|sighting| (sighting.at_ms, sighting.vehicle));
    Ok(())
}

/// Each further key sees what its vehicle sees.
fn issue_keys(world: &mut World, company: &mut Company) {
    let more = company.behaviour.keys().saturating_sub(1);
    if more == 0 {
        return;
    }
    for vehicle in company.vehicles.clone() {
        let seen: Vec<Sighting> = world
            .sightings
            .iter()
            .filter(|sighting| sighting.vehicle == vehicle)
            .copied()
            .collect();
        let mut before = vehicle;
        for number in 2..=more + 1 {
            let key = world.vehicles.len();
            world
                .vehicles
                .push(format!("{}/key-{number}", world.vehicles[vehicle]));
            let own = seen.iter().map(|&sighting| Sighting {
                vehicle: key,
                ..sighting
            });
            world.sightings.extend(own);
            company.vehicles.push(key);
            company.further.insert(key, Further { vehicle, before });
            before = key;
        }
    }
}

fn roads_of(world: &World, anchor: &Anchor, seed: u64, number: u64) -> Result<Vec<usize>, String> {
    let count = world.roads.len();
    let wanted = match &anchor.on {
        On::Roads(names) => {
            let find = |name: &String| world.roads.iter().position(|road| road.name == *name);
            return names
                .iter()
                .map(|name| find(name).ok_or_else(|| format!("anchor: there is no road {name:?}")))
                .collect();
        }
        On::Lot(Size::Count(wanted)) if *wanted > count => {
            return Err(format!("anchor: expected at most {count} roads, found {wanted}"));
        }
        On::Lot(Size::Count(wanted)) => *wanted,
        On::Lot(Size::Share(share)) => (share * count as f64).round() as usize,
    };
    let mut lots: Vec<usize> = (0..count).collect();
    Rng::fork(seed, "anchors", number).shuffle(&mut lots);
    lots.truncate(wanted);
    lots.sort_unstable();
    Ok(lots)
}

/// A sensor reads the road's mean speed once a slot, where somebody drives there.
fn install(world: &mut World, road: usize, provider: usize, slot_ms: u64) -> usize {
    let key = world.vehicles.len();
    let on = &world.roads[road];
    world
        .vehicles
        .push(format!("sensor-{}-{}", on.name, provider + 1));
    let readings = world
        .truth
        .iter()
        .filter(|((of, _), truth)| *of == road && truth.vehicle_s > 0.0)
        .map(|((_, slot), truth)| Sighting {
            at_ms: u64::from(*slot) * slot_ms + slot_ms * 3 / 4,
            vehicle: key,
            road,
            place: on.place,
            heading: on.heading,
            speed_kmh: truth.speed_kmh,
        });
    let readings: Vec<Sighting> = readings.collect();
    world.sightings.extend(readings);
    key
}

/// Which company each of `count` keys belongs to.
pub fn company_of(companies: &[Company], count: usize) -> Vec<usize> {
    let mut of = vec![0; count];
    for (index, company) in companies.iter().enumerate() {
        for vehicle in &company.vehicles {
            of[*vehicle] = index;
        }
    }
    of
}

/// The number of a key's owner. Keys of one vehicle have one, unless it pretends to be another each time; so have the
/// vehicles of a fleet that says so.
pub fn owner(companies: &[Company], index: usize, key: usize) -> u64 {
    let company = &companies[index];
    if company.one_owner {
        // Above all vehicles' numbers.
        return (1 << 32) + index as u64;
    }
    match company.behaviour {
        Behaviour::Whitewash { .. } => key as u64,
        _ => company.vehicle_of(key) as u64,
    }
}

/// Whether a key is a vehicle's or a roadside sensor's of one of these members.
pub fn role(company: &Company, key: usize, members: &[Address]) -> Role {
    match company.operators.get(&key) {
        Some(&operator) => Role::Anchor {
            operator: members[operator],
        },
        None => Role::Vehicle,
    }
}

/// The numbers of all roadside sensors.
pub fn sensors(companies: &[Company]) -> BTreeSet<usize> {
    companies
        .iter()
        .flat_map(|company| company.operators.keys().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::world::grid::{Grid, draw};

    const GRID: &str = "[world]\nkind = \"grid\"\n";

    fn scenario(text: &str) -> Scenario {
        Scenario::parse(&format!("{GRID}{text}"), "test").expect("a scenario")
    }

    #[test]
    fn every_vehicle_is_in_one_fleet_and_the_rest_is_honest() {
        let fleets = scenario(
            "[[fleet]]\nshare = 0.3\nbehaviour = \"bias\"\n[[fleet]]\ncount = 5\nbehaviour = \"random\"\n",
        )
        .fleet;
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
    fn further_keys_see_what_their_vehicle_sees_and_have_its_owner_or_claim_another() {
        for (name, owners) in [("sybil", 1), ("whitewash", 3)] {
            let fleets = scenario(&format!(
                "[[fleet]]\ncount = 1\nbehaviour = \"{name}\"\nkeys = 3\n"
            ))
            .fleet;
            let mut world = draw(&Grid::default(), 5, 60_000, 1);
            let mut companies = muster(&fleets, world.vehicles.len(), Sensor::GRID, 1).expect("enough");
            complete(&mut world, &mut companies, &[], 4, 60_000, 1).expect("fine");
            let keys = companies[0].vehicles.clone();
            assert_eq!((keys.len(), world.vehicles.len()), (3, 302));
            let seen = |key: usize| -> Vec<u64> {
                let of = world.sightings.iter().filter(|sighting| sighting.vehicle == key);
                of.map(|sighting| sighting.at_ms).collect()
            };
            assert!(!seen(keys[0]).is_empty());
            assert_eq!((seen(keys[0]), seen(keys[0])), (seen(keys[1]), seen(keys[2])));
            let named: BTreeSet<u64> = keys.iter().map(|&key| owner(&companies, 0, key)).collect();
            assert_eq!(named.len(), owners, "{name}");
        }
    }

    #[test]
    fn sensors_read_the_truth_of_their_road_once_a_slot() {
        let scenario = scenario("[[anchor]]\nshare = 0.1\nproviders = 2\n[[anchor]]\nroads = [\"3/4\"]\n");
        let mut world = draw(&Grid::default(), 10, 60_000, 1);
        let mut companies = muster(&[], 300, Sensor::GRID, 1).expect("enough");
        complete(&mut world, &mut companies, &scenario.anchor, 4, 60_000, 1).expect("fine");
        assert_eq!(sensors(&companies).len(), 21);
        let last = world.vehicles.len() - 1;
        assert_eq!(world.vehicles[last], "sensor-3/4-1");
        let readings: Vec<_> = world
            .sightings
            .iter()
            .filter(|sighting| sighting.vehicle == last)
            .collect();
        assert!(!readings.is_empty());
        for reading in readings {
            let slot = (reading.at_ms / 60_000) as u32;
            assert_eq!(reading.speed_kmh, world.truth[&(reading.road, slot)].speed_kmh);
        }
        let nowhere = scenario_error("[[anchor]]\nroads = [\"nowhere\"]\n");
        assert!(nowhere.contains("nowhere"), "{nowhere}");
    }

    fn scenario_error(text: &str) -> String {
        let scenario = scenario(text);
        let mut world = draw(&Grid::default(), 1, 60_000, 1);
        complete(&mut world, &mut Vec::new(), &scenario.anchor, 4, 60_000, 1).expect_err("no such road")
    }
}
