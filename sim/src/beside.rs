//! What does a vehicle say of a road besides its speed?
//!
//! In: how the road is ([`crate::world::conditions`]), and what the vehicle says of its speed ([`crate::behaviour`]). Out: a
//! word each on congestion, humidity and dangers, as far as the scenario asks for them.
//!
//! Congestion is the level that the vehicle's speed is of what it takes for the road's free flow: who lies about speed
//! claims the level that fits the lie. Who tells the truth of speed tells it of the rest. Who does not
//!
//! - draws it, where it draws its speed, and sometimes a danger;
//! - repeats what is published, where it repeats, and sees no danger;
//! - tells of a flood, and of an obstacle on one road in ten, where it colludes: its fellows agree;
//! - else says the road wetter than it is, and hides dangers.
//!
//! Sensors err: by [`HUMIDITY_SD_PCT`] and friends. Chance comes from a stream of its own, so that speeds are the same
//! whatever is said besides.

use milepost_wire::{Humidity, Kind, Measure};

use crate::behaviour::{Behaviour, is_false_danger};
use crate::driver::Public;
use crate::rng::Rng;
use crate::world::conditions::{OBSTACLE, level};
use crate::world::{Sighting, World};

/// How far each vehicle's idea of a road's free flow is off for good: a share of it.
const FREE_FLOW_SD: f64 = 0.05;
/// How far a reading of humidity is off, in per cent.
const HUMIDITY_SD_PCT: f64 = 4.0;
/// How far each vehicle's are off for good.
const HUMIDITY_BIAS_SD_PCT: f64 = 3.0;
/// The share of dangers that a vehicle drives by without seeing them.
const MISSED: f64 = 0.1;
/// The share of looks at a safe road in which it sees a danger.
const IMAGINED: f64 = 0.000_5;

/// How much wetter than it is a liar says the road is, unless it says otherwise.
pub const OFFSET_PCT: f64 = 40.0;
/// What one says who always says the same.
const CONSTANT_PCT: f64 = 50.0;
/// What colluders say.
const FLOOD_PCT: f64 = 95.0;
/// On so many roads colluders invent an obstacle.
const INVENTED_SHARE: f64 = 0.1;
/// In so many looks who draws its words draws a danger.
const DRAWN_SHARE: f64 = 0.02;

/// The senses of one vehicle, besides its speedometer.
#[derive(Clone, Debug)]
pub struct Senses {
    rng: Rng,
    free_flow_share: f64,
    humidity_bias_pct: f64,
}

/// What they tell of a road.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    humidity_pct: f64,
    danger: Option<u8>,
}

/// What a vehicle says of its speed, and what is behind it.
#[derive(Clone, Copy, Debug)]
pub struct Speech {
    /// In km/h.
    pub speed_kmh: f64,
    /// Whether that is what its sensor reads.
    pub is_true: bool,
    /// Minutes since it began to behave so.
    pub minute: f64,
}

impl Senses {
    /// Those of the vehicle of this number.
    pub fn new(vehicle: usize, seed: u64) -> Self {
        let mut rng = Rng::fork(seed, "senses", vehicle as u64);
        Self {
            free_flow_share: (1.0 + FREE_FLOW_SD * rng.normal()).max(0.5),
            humidity_bias_pct: HUMIDITY_BIAS_SD_PCT * rng.normal(),
            rng,
        }
    }

    /// What they tell; `None` where nobody asks.
    pub fn read(&mut self, world: &World, sighting: &Sighting) -> Option<Reading> {
        let conditions = &world.conditions;
        if conditions.kinds.len() < 2 {
            return None;
        }
        // Always as many draws: all keys of a vehicle read the same.
        let error_pct = self.humidity_bias_pct + HUMIDITY_SD_PCT * self.rng.normal();
        let chance = self.rng.uniform();
        let pct = conditions
            .humidity_pct(sighting.road, sighting.at_ms)
            .unwrap_or(0.0);
        let danger = match conditions.danger(sighting.road, sighting.at_ms) {
            Some(cause) => (chance >= MISSED).then_some(cause),
            None => (chance < IMAGINED).then_some(OBSTACLE),
        };
        Some(Reading {
            humidity_pct: pct + error_pct,
            danger,
        })
    }

    /// What a vehicle says that behaves so, of the road that it claims to be on, in the order of kinds.
    pub fn say(
        &mut self,
        behaviour: &Behaviour,
        world: &World,
        claimed: &Sighting,
        speech: &Speech,
        reading: &Reading,
        public: &impl Public,
    ) -> Vec<Measure> {
        let road = &world.roads[claimed.road];
        let congestion = level(speech.speed_kmh, road.free_flow_kmh * self.free_flow_share).code();
        let published_pct = || {
            let published = public.published(road.cell, Kind::Humidity);
            published.map_or(0.0, |permille| f64::from(permille) / 10.0)
        };
        let (humidity_pct, danger) = if speech.is_true {
            (reading.humidity_pct, reading.danger)
        } else {
            match *behaviour {
                Behaviour::Random { .. } => {
                    let pct = self.rng.between(0.0, 100.0);
                    let cause = 1 + self.rng.below(u64::from(Measure::HAZARD_MAX)) as u8;
                    (pct, self.rng.chance(DRAWN_SHARE).then_some(cause))
                }
                Behaviour::Constant { .. } => (CONSTANT_PCT, None),
                Behaviour::ClassMean
                | Behaviour::Copycat
                | Behaviour::Ghost { .. }
                | Behaviour::Scarcity
                | Behaviour::Eavesdrop => (published_pct(), None),
                Behaviour::Collude { .. } | Behaviour::ColludeCell { .. } => {
                    let invents = is_false_danger(claimed.road, speech.minute, INVENTED_SHARE);
                    (FLOOD_PCT, invents.then_some(OBSTACLE))
                }
                Behaviour::Bias { offset_pct, .. } => (reading.humidity_pct + offset_pct, None),
                _ => (reading.humidity_pct + OFFSET_PCT, None),
            }
        };
        let permille = (humidity_pct.clamp(0.0, 100.0) * 10.0).round() as u16;
        let words = [
            Some(Measure::Congestion(congestion)),
            Humidity::from_permille(permille).map(Measure::Humidity),
            danger.map(Measure::Hazard),
        ];
        words
            .into_iter()
            .flatten()
            .filter(|word| world.conditions.are_told(word.kind()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use milepost_wire::Cell;

    use super::*;
    use crate::world::conditions::Conditions;
    use crate::world::grid::{Grid, draw};

    /// Every road is published as half wet.
    struct HalfWet;

    impl Public for HalfWet {
        fn published_kmh(&self, _: Cell) -> Option<f64> {
            None
        }

        fn published(&self, _: Cell, kind: Kind) -> Option<i32> {
            (kind == Kind::Humidity).then_some(500)
        }
    }

    fn town(kinds: &[Kind]) -> World {
        let mut world = draw(&Grid::default(), 60, 60_000, 1);
        world.conditions = Conditions::draw(kinds, 100, 60, 60_000, 1);
        world
    }

    fn named(name: &str) -> Behaviour {
        Behaviour::named(name, &BTreeMap::new()).expect("a behaviour")
    }

    /// All that somebody says who is at every sighting of the town, and whether it says the speed as it is.
    fn words(name: &str, is_true: bool) -> Vec<(Sighting, Measure)> {
        let world = town(&Kind::ALL);
        let mut senses = Senses::new(0, 1);
        let mut words = Vec::new();
        for sighting in &world.sightings {
            let speech = Speech {
                speed_kmh: sighting.speed_kmh,
                is_true,
                minute: 0.0,
            };
            let reading = senses.read(&world, sighting).expect("somebody asks");
            let said = senses.say(&named(name), &world, sighting, &speech, &reading, &HalfWet);
            words.extend(said.into_iter().map(|word| (*sighting, word)));
        }
        words
    }

    fn humidity_pct(words: &[(Sighting, Measure)]) -> Vec<f64> {
        let pct = |(_, word): &(Sighting, Measure)| match word {
            Measure::Humidity(humidity) => Some(f64::from(humidity.permille()) / 10.0),
            _ => None,
        };
        words.iter().filter_map(pct).collect()
    }

    fn mean_off(name: &str, is_true: bool) -> f64 {
        let (world, words) = (town(&Kind::ALL), words(name, is_true));
        let off = humidity_pct(&words)
            .into_iter()
            .zip(&world.sightings)
            .map(|(pct, at)| {
                pct - world
                    .conditions
                    .humidity_pct(at.road, at.at_ms)
                    .expect("it is known")
            });
        off.sum::<f64>() / world.sightings.len() as f64
    }

    #[test]
    fn nobody_says_more_than_is_asked_for() {
        let world = town(&[Kind::Speed]);
        assert_eq!(Senses::new(0, 1).read(&world, &world.sightings[0]), None);
        let world = town(&[Kind::Speed, Kind::Humidity]);
        let mut senses = Senses::new(0, 1);
        let speech = Speech {
            speed_kmh: 1.0,
            is_true: true,
            minute: 0.0,
        };
        let reading = senses.read(&world, &world.sightings[0]).expect("somebody asks");
        let said = senses.say(
            &Behaviour::Honest,
            &world,
            &world.sightings[0],
            &speech,
            &reading,
            &HalfWet,
        );
        assert!(matches!(said[..], [Measure::Humidity(_)]), "{said:?}");
    }

    #[test]
    fn the_honest_err_a_little_and_the_biased_much() {
        assert!(mean_off("honest", true).abs() < 10.0);
        assert!(mean_off("bias", true).abs() < 10.0, "it does not lie yet");
        assert!(mean_off("bias", false) > 25.0);
        assert!(
            humidity_pct(&words("collude", false))
                .iter()
                .all(|pct| *pct == FLOOD_PCT)
        );
        assert!(
            humidity_pct(&words("copycat", false))
                .iter()
                .all(|pct| *pct == 50.0)
        );
        let drawn = humidity_pct(&words("random", false));
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        assert!(
            (mean - 50.0).abs() < 2.0 && drawn.iter().any(|pct| *pct < 5.0),
            "{mean}"
        );
    }

    #[test]
    fn who_says_it_is_jammed_says_the_level_of_a_jam() {
        let world = town(&Kind::ALL);
        let sighting = &world.sightings[0];
        let mut senses = Senses::new(0, 1);
        let reading = senses.read(&world, sighting).expect("somebody asks");
        let free_flow_kmh = world.roads[sighting.road].free_flow_kmh;
        for (speed_kmh, expected) in [(free_flow_kmh * 1.5, 0), (0.0, Measure::CONGESTION_MAX)] {
            let speech = Speech {
                speed_kmh,
                is_true: false,
                minute: 0.0,
            };
            let said = senses.say(&named("bias"), &world, sighting, &speech, &reading, &HalfWet);
            assert!(said.contains(&Measure::Congestion(expected)), "{said:?}");
        }
    }

    #[test]
    fn the_honest_see_nine_dangers_in_ten_and_liars_hide_or_invent_them() {
        let world = town(&Kind::ALL);
        let is_there = |at: &Sighting| world.conditions.danger(at.road, at.at_ms).is_some();
        let there = world.sightings.iter().filter(|at| is_there(at)).count();
        let told = |name: &str, is_true: bool| -> (usize, usize) {
            let words = words(name, is_true);
            let told = words.iter().filter(|(_, word)| word.kind() == Kind::Hazard);
            let told: Vec<bool> = told.map(|(at, _)| is_there(at)).collect();
            let real = told.iter().filter(|is_real| **is_real).count();
            (real, told.len() - real)
        };
        let (seen, imagined) = told("honest", true);
        assert!(
            (0.85..0.95).contains(&(seen as f64 / there as f64)),
            "{seen} of {there}"
        );
        assert!(imagined < world.sightings.len() / 500);
        assert_eq!(told("bias", false), (0, 0));
        assert!(told("random", false).1 > 100);
        assert!(told("collude", false).1 > 200);
    }
}
