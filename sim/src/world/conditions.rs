//! What is a road like besides how fast one drives there?
//!
//! In: which kinds a scenario's vehicles report, and a seed. Out: the truth about the road's surface and its dangers.
//! How congested a road is follows from its speed and its free flow ([`level`]), by the limits that roadside units use.
//!
//! It rains from fronts: bands of [`BAND_M`] that cross the town one after the other, each straight and in a direction of
//! its own. Under a band a road gets wet within minutes, behind it each dries at a pace of its own. Obstacles fall onto
//! roads now and then, and lie there for some minutes.
//!
//! All of it has streams of chance of its own, so that the traffic is the same whatever is asked for here.
//!
//! Not covered: rain that slows traffic down, and obstacles that do. A recording tells of neither: there vehicles can
//! report speed and congestion alone.

use std::collections::BTreeMap;

use milepost_rsu::level::Level;
use milepost_wire::Kind;

use super::grid::{SPACING_M, side_of};
use crate::rng::Rng;

/// What the roads of a town are like.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// What vehicles report; speed always.
    pub kinds: Vec<Kind>,
    /// How wet the surface is, in per cent, by road and slot; empty where nobody asks.
    pub humidity_pct: BTreeMap<(usize, u32), f64>,
    /// What lies about, in order of time and road; empty where nobody asks.
    pub dangers: Vec<Danger>,
    slot_ms: u64,
}

impl Default for Conditions {
    /// Vehicles report speed, and nothing else is known of the roads.
    fn default() -> Self {
        Self {
            kinds: vec![Kind::Speed],
            humidity_pct: BTreeMap::new(),
            dangers: Vec::new(),
            slot_ms: 1,
        }
    }
}

/// Something on a road that one should know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Danger {
    /// On which road: an index into [`World::roads`](super::World::roads).
    pub road: usize,
    /// What it is: `CauseCodeType` of ETSI TS 102 894-2.
    pub cause: u8,
    /// Since when, in milliseconds since the world began.
    pub begin_ms: u64,
    /// Until when.
    pub end_ms: u64,
}

impl Danger {
    /// Whether it is there at some moment from `begin_ms` up to but not including `end_ms`.
    pub fn is_within(&self, begin_ms: u64, end_ms: u64) -> bool {
        self.begin_ms < end_ms && begin_ms < self.end_ms
    }
}

/// Hazardous location, obstacle on the road.
pub const OBSTACLE: u8 = 10;

/// How wide a band of rain is.
pub const BAND_M: f64 = 3_000.0;
/// How fast it moves.
const FRONT_M_S: f64 = 20.0 / 3.6;
/// How far it is from the town when the last one has left.
const FRONT_AWAY_M: (f64, f64) = (3_000.0, 10_000.0);
/// What a road's humidity is when it has not rained for long, from road to road.
const DRY_PCT: (f64, f64) = (3.0, 20.0);
/// Which share of what is missing to all wet comes on in a minute of rain.
const WETTING: f64 = 0.4;
/// Which share of the wetness goes in a minute without, from road to road.
const DRYING: (f64, f64) = (0.03, 0.09);
/// The chance that an obstacle falls onto a road that has none, in a minute.
const DANGER_RATE: f64 = 0.004;
/// How long it lies there.
const DANGER_MINUTES: (f64, f64) = (5.0, 20.0);

impl Conditions {
    /// Those of a recording, which tells of traffic alone.
    pub fn of_traffic(kinds: &[Kind], slot_ms: u64) -> Self {
        Self {
            kinds: kinds.to_vec(),
            slot_ms,
            ..Self::default()
        }
    }

    /// Those of a grid of so many cells for so many slots; only what is asked for.
    pub fn draw(kinds: &[Kind], cells: usize, slots: u32, slot_ms: u64, seed: u64) -> Self {
        let mut conditions = Self::of_traffic(kinds, slot_ms);
        if conditions.are_told(Kind::Humidity) {
            conditions.humidity_pct = rain(cells, slots, slot_ms, seed);
        }
        if conditions.are_told(Kind::Hazard) {
            conditions.dangers = dangers(cells, slots, slot_ms, seed);
        }
        conditions
    }

    /// Whether vehicles report them.
    pub fn are_told(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// How wet a road is, in per cent; `None` where that is not known.
    pub fn humidity_pct(&self, road: usize, at_ms: u64) -> Option<f64> {
        let slot = u32::try_from(at_ms / self.slot_ms.max(1)).ok()?;
        self.humidity_pct.get(&(road, slot)).copied()
    }

    /// What is dangerous on a road.
    pub fn danger(&self, road: usize, at_ms: u64) -> Option<u8> {
        let there = |danger: &&Danger| danger.road == road && danger.is_within(at_ms, at_ms + 1);
        self.dangers.iter().find(there).map(|danger| danger.cause)
    }
}

/// The level of service that a speed is, of a road's free flow; to a thousandth of a km/h.
pub fn level(kmh: f64, free_flow_kmh: f64) -> Level {
    let whole = |kmh: f64| (kmh * 1e3).round().max(0.0) as u64;
    Level::of(whole(kmh), whole(free_flow_kmh))
}

/// A band of rain.
struct Front {
    direction: (f64, f64),
    /// How far its head has come in that direction.
    head_m: f64,
    /// Where the town ends in that direction.
    end_m: f64,
}

impl Front {
    /// The next one, on its way to a square of this side.
    fn draw(side_m: f64, rng: &mut Rng) -> Self {
        let drawn = (rng.between(-1.0, 1.0), rng.between(-1.0, 1.0));
        let length = (drawn.0 * drawn.0 + drawn.1 * drawn.1).sqrt();
        let direction = if length > 0.0 {
            (drawn.0 / length, drawn.1 / length)
        } else {
            (1.0, 0.0)
        };
        let along = |sign: f64| {
            let part = |component: f64| (component * sign).max(0.0) * side_m * sign;
            part(direction.0) + part(direction.1)
        };
        Self {
            direction,
            head_m: along(-1.0) - rng.between(FRONT_AWAY_M.0, FRONT_AWAY_M.1),
            end_m: along(1.0),
        }
    }

    fn has_left(&self) -> bool {
        self.head_m - BAND_M > self.end_m
    }

    fn rains_on(&self, (x_m, y_m): (f64, f64)) -> bool {
        let at_m = self.direction.0 * x_m + self.direction.1 * y_m;
        (self.head_m - BAND_M..=self.head_m).contains(&at_m)
    }
}

/// How wet every road is in every slot.
fn rain(cells: usize, slots: u32, slot_ms: u64, seed: u64) -> BTreeMap<(usize, u32), f64> {
    let side = side_of(cells);
    let side_m = side.saturating_sub(1) as f64 * SPACING_M;
    let (slot_s, slot_minutes) = (slot_ms as f64 / 1e3, slot_ms as f64 / 6e4);
    let mut rng = Rng::fork(seed, "rain", 0);
    // Of each road: what it is when dry, how it dries, and how wet it is.
    let mut roads: Vec<(f64, f64, f64)> = (0..cells)
        .map(|_| {
            let dry_pct = rng.between(DRY_PCT.0, DRY_PCT.1);
            (dry_pct, rng.between(DRYING.0, DRYING.1), dry_pct)
        })
        .collect();
    let mut front = Front::draw(side_m, &mut rng);
    let mut humidity = BTreeMap::new();
    for slot in 0..slots {
        if front.has_left() {
            front = Front::draw(side_m, &mut rng);
        }
        for (cell, (dry_pct, drying, pct)) in roads.iter_mut().enumerate() {
            let place_m = ((cell % side) as f64 * SPACING_M, (cell / side) as f64 * SPACING_M);
            let (towards_pct, rate) = if front.rains_on(place_m) {
                (100.0, WETTING)
            } else {
                (*dry_pct, *drying)
            };
            *pct += (towards_pct - *pct) * (rate * slot_minutes).min(1.0);
            humidity.insert((cell, slot), *pct);
        }
        front.head_m += FRONT_M_S * slot_s;
    }
    humidity
}

/// What falls onto roads, and when it is cleared away.
fn dangers(cells: usize, slots: u32, slot_ms: u64, seed: u64) -> Vec<Danger> {
    let mut rng = Rng::fork(seed, "dangers", 0);
    let rate = DANGER_RATE * slot_ms as f64 / 6e4;
    let mut free_from_ms = vec![0; cells];
    let mut dangers = Vec::new();
    for slot in 0..slots {
        for (road, free_from_ms) in free_from_ms.iter_mut().enumerate() {
            let begin_ms = u64::from(slot) * slot_ms + rng.below(slot_ms);
            if !rng.chance(rate) || begin_ms < *free_from_ms {
                continue;
            }
            let minutes = rng.between(DANGER_MINUTES.0, DANGER_MINUTES.1);
            let end_ms = begin_ms + (minutes * 6e4) as u64;
            // Between two dangers of a road there is a slot without, so that each is one.
            *free_from_ms = end_ms + 2 * slot_ms;
            dangers.push(Danger {
                road,
                cause: OBSTACLE,
                begin_ms,
                end_ms,
            });
        }
    }
    dangers.sort_by_key(|danger| (danger.begin_ms, danger.road));
    dangers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(kinds: &[Kind], seed: u64) -> Conditions {
        Conditions::draw(kinds, 100, 120, 60_000, seed)
    }

    #[test]
    fn one_seed_draws_one_weather_and_only_what_is_asked_for() {
        assert_eq!(drawn(&Kind::ALL, 5), drawn(&Kind::ALL, 5));
        assert_ne!(drawn(&Kind::ALL, 5), drawn(&Kind::ALL, 6));
        let speed_alone = drawn(&[Kind::Speed], 5);
        assert!(speed_alone.humidity_pct.is_empty() && speed_alone.dangers.is_empty());
        assert_eq!(
            drawn(&[Kind::Humidity], 5).humidity_pct,
            drawn(&Kind::ALL, 5).humidity_pct
        );
        assert_eq!(drawn(&[Kind::Hazard], 5).dangers, drawn(&Kind::ALL, 5).dangers);
    }

    #[test]
    fn a_front_crosses_the_town_and_roads_dry_behind_it() {
        for seed in 1..=5 {
            let humidity = drawn(&Kind::ALL, seed).humidity_pct;
            assert_eq!(humidity.len(), 100 * 120);
            assert!(humidity.values().all(|pct| (0.0..=100.0).contains(pct)));
            // Every road is dry at first, gets wet, and dries again; not all at once.
            let mut wet_from = std::collections::BTreeSet::new();
            for road in 0..100 {
                let pct = |slot: u32| humidity[&(road, slot)];
                assert!(pct(0) < 21.0);
                let wettest = (0..120)
                    .find(|&slot| pct(slot) > 80.0)
                    .expect("it rains everywhere");
                let dried = (wettest..120).any(|slot| pct(slot) < 60.0);
                assert!(dried, "road {road}, seed {seed}");
                wet_from.insert(wettest);
            }
            assert!(wet_from.len() > 5, "{wet_from:?}");
        }
    }

    #[test]
    fn dangers_lie_for_some_minutes_and_one_at_a_time() {
        let conditions = drawn(&Kind::ALL, 1);
        let mut until = BTreeMap::new();
        assert!((20..80).contains(&conditions.dangers.len()));
        for danger in &conditions.dangers {
            let ms = danger.end_ms - danger.begin_ms;
            assert!((300_000..1_200_000).contains(&ms), "{danger:?}");
            assert!(
                until
                    .insert(danger.road, danger.end_ms)
                    .is_none_or(|end| end < danger.begin_ms)
            );
            let there = |at_ms: u64| conditions.danger(danger.road, at_ms);
            assert_eq!(
                (there(danger.begin_ms), there(danger.end_ms)),
                (Some(OBSTACLE), None)
            );
        }
    }
}
