//! Who sits in the vehicles?
//!
//! A [`Driver`] sits behind one key of a company's ([`crate::crew`]): the sensor with its errors, the behaviour, and the
//! stream of chance that both draw from; beside them the senses for all that is not speed ([`crate::beside`]). What it says goes into a `milepost_obu::Vehicle` core, the same that drives real
//! vehicles; the simulator and the demo both do that. What anybody can learn from the ledger and the air comes in as
//! a [`Public`].

use std::sync::Arc;

use milepost_obu::vehicle::Sensed;
use milepost_wire::{Cell, Kind, Measure, Speed, Timestamp};

use crate::behaviour::{Behaviour, Say, Seen};
use crate::beside::{Senses, Speech};
use crate::crew::{Company, Sensor};
use crate::rng::Rng;
use crate::world::{Sighting, World};

/// What anybody can learn from the ledger and the air. Who plays against real units cannot tell all of it.
pub trait Public {
    /// The final picture of a road, in km/h.
    fn published_kmh(&self, cell: Cell) -> Option<f64>;

    /// The final picture of a road, of any kind, in the kind's unit; `None` where that is not known.
    fn published(&self, _cell: Cell, _kind: Kind) -> Option<i32> {
        None
    }

    /// How many groups report of a road in a slot, on the long run; `None` where that is not known.
    fn heard(&self, _cell: Cell) -> Option<f64> {
        None
    }

    /// What was said of the road of this number in the current slot, so far: the mean, in km/h.
    fn overheard_kmh(&self, _road: usize) -> Option<f64> {
        None
    }

    /// Whether the key of this number is in quarantine.
    fn is_quarantined(&self, _key: usize) -> bool {
        false
    }
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
    /// It claims a danger on this road.
    Warn {
        /// An index into [`World::roads`].
        road: usize,
        /// As its vehicle senses it.
        sensed: Sensed,
    },
    /// It sends once more what it heard another vehicle send.
    Again,
    /// Nothing.
    Nothing,
}

/// All that a driver says when it has looked at the road.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Of speed, or a danger that is not there.
    pub deed: Deed,
    /// What it says besides, in the order of kinds; nothing where the world does not ask.
    pub beside: Vec<Word>,
}

/// A word on a road besides speed.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// An index into [`World::roads`].
    pub road: usize,
    /// As its vehicle senses it.
    pub sensed: Sensed,
}

/// One key's driver.
#[derive(Clone, Debug)]
pub struct Driver {
    behaviour: Behaviour,
    from_ms: u64,
    sensor: Sensor,
    bias_kmh: f64,
    rng: Rng,
    /// `None` for a roadside sensor, which measures speed.
    senses: Option<Senses>,
    key: usize,
    key_before: Option<usize>,
    has_key_after: bool,
}

impl Driver {
    /// The driver behind `key`, which belongs to `company`.
    pub fn new(company: &Company, key: usize, seed: u64) -> Self {
        // All keys of a vehicle say the same.
        let mut rng = Rng::fork(seed, "driver", company.vehicle_of(key) as u64);
        let bias_kmh = company.sensor.bias_sd_kmh * rng.normal();
        Self {
            behaviour: company.behaviour,
            from_ms: company.from_ms,
            sensor: company.sensor,
            bias_kmh,
            rng,
            senses: (!company.is_sensor(key)).then(|| Senses::new(company.vehicle_of(key), seed)),
            key,
            key_before: company.key_before(key),
            has_key_after: company.has_key_after(key),
        }
    }

    /// What it does about a sighting, and says of speed.
    pub fn look(&mut self, world: &World, sighting: &Sighting, now: Timestamp, public: &impl Public) -> Deed {
        self.tell(world, sighting, now, public).deed
    }

    /// What it does about a sighting, and all that it says.
    pub fn tell(&mut self, world: &World, sighting: &Sighting, now: Timestamp, public: &impl Public) -> Told {
        let error_kmh = self.bias_kmh + self.sensor.sd_kmh * self.rng.normal();
        let reading = self
            .senses
            .as_mut()
            .and_then(|senses| senses.read(world, sighting));
        let road = &world.roads[sighting.road];
        let begun_ms = sighting.at_ms.checked_sub(self.from_ms);
        let mut told = Told {
            deed: Deed::Nothing,
            beside: Vec::new(),
        };
        if !self.is_in_use(begun_ms.is_some(), public) {
            return told;
        }
        let seen = Seen {
            reading_kmh: (sighting.speed_kmh + error_kmh).max(0.0),
            published_kmh: public.published_kmh(road.cell),
            class_mean_kmh: world.class_means_kmh[road.class],
            road: sighting.road,
            roads: world.roads.len(),
            minute: begun_ms.unwrap_or(0) as f64 / 60_000.0,
        };
        let behaviour = match begun_ms {
            Some(_) => self.behaviour,
            None => Behaviour::Honest,
        };
        let said = behaviour.say(&seen, &mut self.rng);
        let claimed = match said {
            Say::There(there) => elsewhere(world, sighting, there),
            Say::Scarcest => elsewhere(world, sighting, scarcest(world, public).unwrap_or(sighting.road)),
            _ => *sighting,
        };
        let speed_kmh = match said {
            Say::Nothing => return told,
            Say::Again => Err(Deed::Again),
            Say::Here(speed_kmh) => Ok(speed_kmh),
            Say::Overheard => public.overheard_kmh(sighting.road).ok_or(Deed::Nothing),
            Say::There(_) | Say::Scarcest => Ok(usual_kmh(world, &claimed, public)),
            Say::Danger(cause) => Err(Deed::Warn {
                road: sighting.road,
                sensed: sensed(world, sighting, Measure::Hazard(cause), now),
            }),
        };
        let speed_kmh = match speed_kmh {
            Ok(speed_kmh) => speed_kmh,
            Err(deed) => {
                told.deed = deed;
                return told;
            }
        };
        told.deed = tell(world, &claimed, speed_kmh, now);
        if let (Some(senses), Some(reading)) = (&mut self.senses, reading) {
            let speech = Speech {
                speed_kmh,
                is_true: said == Say::Here(seen.reading_kmh),
                minute: seen.minute,
            };
            let words = senses.say(&behaviour, world, &claimed, &speech, &reading, public);
            told.beside = words
                .into_iter()
                .map(|measure| Word {
                    road: claimed.road,
                    sensed: sensed(world, &claimed, measure, now),
                })
                .collect();
        }
        told
    }

    /// Whether its vehicle reports under this key: all at once, or one after the other.
    fn is_in_use(&self, has_begun: bool, public: &impl Public) -> bool {
        let Some(before) = self.key_before else {
            let is_dropped = self.has_key_after && self.takes_turns() && public.is_quarantined(self.key);
            return !is_dropped;
        };
        if self.takes_turns() {
            let is_dropped = self.has_key_after && public.is_quarantined(self.key);
            return has_begun && public.is_quarantined(before) && !is_dropped;
        }
        has_begun
    }

    fn takes_turns(&self) -> bool {
        matches!(self.behaviour, Behaviour::Whitewash { .. })
    }
}

/// The road that is known and that fewest report of.
fn scarcest(world: &World, public: &impl Public) -> Option<usize> {
    let heard = world.roads.iter().enumerate();
    heard
        .filter_map(|(number, road)| Some((number, public.heard(road.cell)?)))
        .min_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(number, _)| number)
}

/// As if its vehicle were on another road.
fn elsewhere(world: &World, sighting: &Sighting, there: usize) -> Sighting {
    let road = &world.roads[there];
    Sighting {
        road: there,
        place: road.place,
        heading: road.heading,
        ..*sighting
    }
}

/// What is published of a road's speed, or usual on roads of its class.
fn usual_kmh(world: &World, claimed: &Sighting, public: &impl Public) -> f64 {
    let road = &world.roads[claimed.road];
    let mean_kmh = world.class_means_kmh[road.class];
    public.published_kmh(road.cell).unwrap_or(mean_kmh)
}

fn tell(world: &World, sighting: &Sighting, speed_kmh: f64, now: Timestamp) -> Deed {
    let speed = Speed::from_m_per_s_clamped(speed_kmh / 3.6);
    Deed::Tell {
        road: sighting.road,
        speed_kmh: speed.km_per_h(),
        sensed: sensed(world, sighting, Measure::Speed(speed), now),
    }
}

fn sensed(world: &World, sighting: &Sighting, measure: Measure, at: Timestamp) -> Sensed {
    let on = &world.roads[sighting.road];
    Sensed {
        at,
        place: sighting.place,
        heading: sighting.heading,
        measure,
        segment: on.cell.is_segment().then(|| Arc::from(on.name.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::crew::{complete, muster};
    use crate::scenario::Scenario;
    use crate::world::grid::{Grid, draw};

    /// What is known of a town: the same of every road, and who is in quarantine.
    #[derive(Default)]
    struct Known {
        heard: Option<f64>,
        overheard_kmh: Option<f64>,
        quarantined: BTreeSet<usize>,
    }

    impl Public for Known {
        fn published_kmh(&self, _: Cell) -> Option<f64> {
            Some(44.0)
        }

        fn heard(&self, _: Cell) -> Option<f64> {
            self.heard
        }

        fn overheard_kmh(&self, _: usize) -> Option<f64> {
            self.overheard_kmh
        }

        fn is_quarantined(&self, key: usize) -> bool {
            self.quarantined.contains(&key)
        }
    }

    /// A town in which everybody behaves like this.
    fn town(fleet: &str) -> (World, Company) {
        let text = format!("[world]\nkind = \"grid\"\n[[fleet]]\nshare = 1.0\n{fleet}");
        let fleets = Scenario::parse(&text, "test").expect("a scenario").fleet;
        let mut world = draw(&Grid::default(), 20, 60_000, 1);
        let mut companies = muster(&fleets, 300, Sensor::GRID, 1).expect("enough");
        complete(&mut world, &mut companies, &[], 4, 60_000, 1).expect("fine");
        (world, companies.remove(0))
    }

    fn speed_kmh(deed: &Deed) -> f64 {
        match deed {
            Deed::Tell { speed_kmh, .. } => *speed_kmh,
            other => panic!("it tells something, not {other:?}"),
        }
    }

    #[test]
    fn a_liar_is_honest_until_its_time_comes() {
        let (world, company) = town("behaviour = \"constant\"\nspeed_kmh = 7\nfrom_minute = 10\n");
        for sighting in &world.sightings {
            let mut driver = Driver::new(&company, sighting.vehicle, 1);
            let deed = driver.look(&world, sighting, Timestamp::default(), &Known::default());
            assert_eq!(
                (speed_kmh(&deed) - 7.0).abs() < 0.02,
                sighting.at_ms >= 600_000,
                "{sighting:?} {deed:?}"
            );
        }
    }

    #[test]
    fn an_eavesdropper_waits_for_others_words() {
        let (world, company) = town("behaviour = \"eavesdrop\"\n");
        let sighting = &world.sightings[0];
        let look = |known: &Known| {
            Driver::new(&company, sighting.vehicle, 1).look(&world, sighting, Timestamp::default(), known)
        };
        assert_eq!(look(&Known::default()), Deed::Nothing);
        let known = Known {
            overheard_kmh: Some(36.0),
            ..Known::default()
        };
        assert!((speed_kmh(&look(&known)) - 36.0).abs() < 0.02);
    }

    #[test]
    fn a_whitewasher_changes_its_key_when_it_is_quarantined_and_a_sybil_uses_all() {
        for (name, in_turn) in [("whitewash", true), ("sybil", false)] {
            let (world, company) = town(&format!("behaviour = \"{name}\"\nkeys = 2\n"));
            let sighting = world.sightings.iter().find(|sighting| sighting.vehicle >= 300);
            let second = sighting.expect("second keys see something");
            let first = Sighting {
                vehicle: company.vehicle_of(second.vehicle),
                ..*second
            };
            let speaks = |sighting: &Sighting, known: &Known| {
                let mut driver = Driver::new(&company, sighting.vehicle, 1);
                driver.look(&world, sighting, Timestamp::default(), known) != Deed::Nothing
            };
            let free = Known::default();
            assert_eq!(
                (speaks(&first, &free), speaks(second, &free)),
                (true, !in_turn),
                "{name}"
            );
            let caught = Known {
                quarantined: BTreeSet::from([first.vehicle]),
                ..Known::default()
            };
            assert_eq!(
                (speaks(&first, &caught), speaks(second, &caught)),
                (!in_turn, true),
                "{name}"
            );
        }
    }
}
