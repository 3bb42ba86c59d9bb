//! A town from a recording: what every vehicle did, second by second.
//!
//! All vehicles make the truth; a share of them, drawn by the seed, reports. A road is an H3 cell with a
//! heading sector, or one of the recording's own edges (a lane without its number; the inside of a junction is
//! no road then). Slots follow the recording's clock: a slot of 60 s begins at a whole minute of it, so that
//! figures can be compared with those of other tools on the same recording.
//!
//! Memory: what the reporting vehicles did, some 60 bytes a record, and the truth.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use milepost_obu::source::{FcdReader, Record};
use milepost_wire::{Cell, Heading, Place};

use super::conditions::Conditions;
use super::{Road, Sighting, Truth, World, WorldError};
use crate::rng::Rng;

/// What counts as a road.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segments {
    /// An H3 cell and a heading sector.
    #[default]
    Cell,
    /// An edge of the recording's network.
    Edge,
}

/// What is made of a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// What counts as a road.
    pub segments: Segments,
    /// The share of vehicles that report.
    pub penetration: f64,
    /// A reporting vehicle looks at its road once in so many milliseconds.
    pub look_every_ms: u64,
    /// Length of a slot.
    pub slot_ms: u64,
    /// How far into a slot the world begins; `None` where slots follow the recording's clock.
    pub slot_offset_ms: Option<u64>,
    /// Read no further; `None` reads all.
    pub duration_max_ms: Option<u64>,
}

/// What a recording has said so far.
#[derive(Default)]
struct Heard {
    roads: Vec<Road>,
    road_of: HashMap<Cell, usize>,
    reporters: HashMap<std::sync::Arc<str>, Reporter>,
    vehicles: Vec<String>,
    sightings: Vec<Sighting>,
    sums: BTreeMap<(usize, u32), Sum>,
    /// How often each speed was driven, in cm/s, by road.
    speeds: Vec<Vec<u32>>,
    times_ms: BTreeSet<u64>,
}

/// A vehicle of the recording.
struct Reporter {
    /// Its number among those that report.
    number: Option<usize>,
    looks_next_ms: u64,
}

#[derive(Default)]
struct Sum {
    speed_kmh: f64,
    records: u32,
}

/// Reads a recording.
///
/// # Errors
///
/// [`WorldError`], naming the line where the recording says something unreadable.
pub fn read(records: FcdReader, file: &str, reading: &Reading, seed: u64) -> Result<World, WorldError> {
    let (mut heard, mut zero_ms, mut end_ms) = (Heard::default(), None, 0);
    for record in records {
        let record = record?;
        let zero_ms = *zero_ms.get_or_insert(match reading.slot_offset_ms {
            None => record.time_ms / reading.slot_ms * reading.slot_ms,
            Some(_) => record.time_ms,
        });
        let at_ms = record.time_ms - zero_ms;
        if reading.duration_max_ms.is_some_and(|max| at_ms >= max) {
            break;
        }
        end_ms = at_ms;
        heard.take(&record, at_ms, file, reading, seed)?;
    }
    let on = match reading.segments {
        Segments::Cell => "",
        Segments::Edge => " on edges",
    };
    if heard.sums.is_empty() {
        return Err(WorldError::Nobody {
            file: file.to_owned(),
            on,
        });
    }
    Ok(heard.into_world(zero_ms.unwrap_or(0), end_ms, reading))
}

impl Heard {
    fn take(
        &mut self,
        record: &Record,
        at_ms: u64,
        file: &str,
        reading: &Reading,
        seed: u64,
    ) -> Result<(), WorldError> {
        let place = Place::from_degrees(record.lat_deg, record.lon_deg).ok_or_else(|| {
            let (file, lat_deg, lon_deg) = (file.to_owned(), record.lat_deg, record.lon_deg);
            WorldError::OffTheGlobe {
                file,
                lat_deg,
                lon_deg,
            }
        })?;
        let heading = record
            .heading_deg
            .map_or(Heading::UNAVAILABLE, Heading::from_degrees);
        let (count, vehicles) = (self.reporters.len(), &mut self.vehicles);
        let reporter = self.reporters.entry(record.vehicle.clone()).or_insert_with(|| {
            let reports = Rng::fork(seed, &record.vehicle, 0).chance(reading.penetration);
            let number = reports.then_some(vehicles.len());
            vehicles.extend(reports.then(|| record.vehicle.to_string()));
            // Everyone looks up at a time of its own.
            Reporter {
                number,
                looks_next_ms: at_ms + count as u64 * 1000 % reading.look_every_ms.max(1),
            }
        });
        let Some(road) = road_of(
            &mut self.roads,
            &mut self.road_of,
            record,
            place,
            heading,
            reading.segments,
        ) else {
            return Ok(());
        };
        let speed_kmh = record.speed_m_s * 3.6;
        let slot = (at_ms + reading.slot_offset_ms.unwrap_or(0)) / reading.slot_ms;
        let sum = self.sums.entry((road, slot as u32)).or_default();
        sum.speed_kmh += speed_kmh;
        sum.records += 1;
        note_speed(&mut self.speeds, road, record.speed_m_s);
        self.times_ms.insert(at_ms);
        if let Some(vehicle) = reporter.number
            && at_ms >= reporter.looks_next_ms
        {
            reporter.looks_next_ms = at_ms + reading.look_every_ms;
            self.sightings.push(Sighting {
                at_ms,
                vehicle,
                road,
                place,
                heading,
                speed_kmh,
            });
        }
        Ok(())
    }

    fn into_world(mut self, zero_ms: u64, end_ms: u64, reading: &Reading) -> World {
        let times_ms: Vec<u64> = self.times_ms.into_iter().collect();
        let step_ms = times_ms
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .min()
            .unwrap_or(1000);
        let (sum_kmh, records) = self.sums.values().fold((0.0, 0.0), |(kmh, n), sum| {
            (kmh + sum.speed_kmh, n + f64::from(sum.records))
        });
        let truth = self.sums.iter().map(|(item, sum)| {
            let records = f64::from(sum.records);
            let (speed_kmh, vehicle_s) = (sum.speed_kmh / records, records * step_ms as f64 / 1000.0);
            (*item, Truth { speed_kmh, vehicle_s })
        });
        for (road, speeds) in self.roads.iter_mut().zip(&self.speeds) {
            road.free_flow_kmh = percentile_95(speeds) * 0.036;
        }
        self.sightings
            .sort_by_key(|sighting| (sighting.at_ms, sighting.vehicle));
        World {
            truth: truth.collect(),
            roads: self.roads,
            class_means_kmh: vec![sum_kmh / records],
            vehicles: self.vehicles,
            vehicles_total: self.reporters.len(),
            sightings: self.sightings,
            conditions: Conditions::default(),
            clock_zero_s: zero_ms / 1000,
            duration_ms: reading.duration_max_ms.unwrap_or(end_ms + step_ms),
            truth_min_vehicle_s: TRUTH_MIN_VEHICLE_S,
        }
    }
}

/// Notes that a speed was driven on a road.
fn note_speed(speeds: &mut Vec<Vec<u32>>, road: usize, speed_m_s: f64) {
    let speed = ((speed_m_s * 100.0).round() as usize).min(SPEED_MAX_CM_S);
    if speeds.len() <= road {
        speeds.resize_with(road + 1, Vec::new);
    }
    let speeds = &mut speeds[road];
    if speeds.len() <= speed {
        speeds.resize(speed + 1, 0);
    }
    speeds[speed] += 1;
}

/// Faster records count as this: 163.83 m/s, the fastest a message can carry.
const SPEED_MAX_CM_S: usize = 16_383;

/// Who was on a road for less does not tell how it was.
const TRUTH_MIN_VEHICLE_S: f64 = 10.0;

/// The 95th percentile of values, of each of which there are so many, between the two nearest.
fn percentile_95(counts: &[u32]) -> f64 {
    let all: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let rank = 0.95 * all.saturating_sub(1) as f64;
    let at = |rank: u64| {
        let mut below = 0;
        counts
            .iter()
            .position(|&count| {
                below += u64::from(count);
                below > rank
            })
            .unwrap_or(0) as f64
    };
    let (lower, upper) = (at(rank.floor() as u64), at(rank.ceil() as u64));
    lower + (upper - lower) * rank.fract()
}

/// The road's number; `None` where the record is on none.
fn road_of(
    roads: &mut Vec<Road>,
    numbers: &mut HashMap<Cell, usize>,
    record: &Record,
    place: Place,
    heading: Heading,
    segments: Segments,
) -> Option<usize> {
    let edge = record.edge().filter(|edge| !edge.starts_with(':'));
    let cell = match segments {
        Segments::Cell => Cell::at(place, heading),
        Segments::Edge => Cell::segment(edge?),
    };
    Some(*numbers.entry(cell).or_insert_with(|| {
        let name = match (segments, edge) {
            (Segments::Edge, Some(edge)) => edge.to_owned(),
            _ => cell.to_string(),
        };
        roads.push(Road {
            name,
            cell,
            class: 0,
            place,
            heading,
            free_flow_kmh: 0.0,
        });
        roads.len() - 1
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"<fcd-export>
        <timestep time="65.00">
            <vehicle id="a" x="8.80" y="44.30" angle="0.00" speed="10.00" lane="e_0"/>
            <vehicle id="b" x="8.80" y="44.30" angle="0.00" speed="20.00" lane="e_1"/>
            <vehicle id="c" x="8.81" y="44.31" angle="0.00" speed="5.00" lane=":j_0_0"/>
        </timestep>
        <timestep time="66.00">
            <vehicle id="a" x="8.80" y="44.30" angle="0.00" speed="0.00" lane="e_0"/>
        </timestep></fcd-export>"#;

    fn world(segments: Segments, penetration: f64) -> World {
        let reader = FcdReader::new(TRACE.as_bytes(), "trace", None).expect("a trace");
        let reading = Reading {
            segments,
            penetration,
            look_every_ms: 1000,
            slot_ms: 60_000,
            slot_offset_ms: None,
            duration_max_ms: None,
        };
        read(reader, "trace", &reading, 1).expect("a world")
    }

    #[test]
    fn the_truth_is_the_mean_over_all_vehicles_and_seconds() {
        let world = world(Segments::Edge, 0.0);
        assert_eq!(world.vehicles_total, 3);
        assert_eq!((world.vehicles.len(), world.sightings.len()), (0, 0));
        assert_eq!(world.truth.len(), 1);
        assert!(
            (world.roads[0].free_flow_kmh - 68.4).abs() < 1e-9,
            "95 % of the way from 36 to 72"
        );
        let truth = world.truth[&(0, 0)];
        assert!(
            (truth.speed_kmh - 36.0).abs() < 1e-9 && truth.vehicle_s == 3.0,
            "{truth:?}"
        );
    }

    #[test]
    fn slots_begin_where_the_recordings_clock_says_so() {
        let world = world(Segments::Edge, 1.0);
        assert_eq!(world.clock_zero_s, 60);
        assert_eq!(world.sightings[0].at_ms, 5_000);
        assert_eq!(world.roads[0].name, "e");
    }

    #[test]
    fn inside_a_junction_there_are_cells_but_no_edges() {
        assert_eq!(world(Segments::Edge, 1.0).roads.len(), 1);
        assert_eq!(world(Segments::Cell, 1.0).roads.len(), 2);
    }
}
