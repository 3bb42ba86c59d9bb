//! Could the vehicle have been there?
//!
//! In: a report, where the same vehicle was last, and the time. Out: where it is now, or what cannot be.
//! No state; constant cost per observation.
//!
//! A place must lie in the cell that is claimed for it or next to it, its heading in the cell's sector (a
//! segment of a map passes: its geometry is the map's). Nobody goes faster than [`Limits::speed_max_m_per_s`],
//! neither by its own word nor from one place to the next, beyond an error of [`Limits::error_m`]. Reports from
//! the future, or with nothing fresh in them, are refused.
//!
//! Not covered: what only several reports, or several vehicles, give away. That is for [`super::judge`].

use geo::{Distance, Haversine, Point};
use milepost_wire::cell::Sector;
use milepost_wire::{Cell, Measure, Observation, Place, Report, Timestamp};
use serde::{Deserialize, Serialize};

/// What is possible on a road.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The fastest that a vehicle goes, in m/s.
    pub speed_max_m_per_s: f64,
    /// How far off a position may be, in metres.
    pub error_m: f64,
    /// How far a vehicle's clock may run ahead, in ms.
    pub ahead_max_ms: u64,
    /// The age, in ms, at which the slowest kind of observation is worth nothing to the ledger.
    pub age_max_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            speed_max_m_per_s: 70.0,
            error_m: 50.0,
            ahead_max_ms: 2_000,
            age_max_ms: 900_000,
        }
    }
}

/// Where a vehicle was, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Where.
    pub place: Place,
    /// When.
    pub at: Timestamp,
}

/// What cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Implausible {
    /// Signed after now.
    #[error("signed {ahead_ms} ms in the future, {limit_ms} ms are allowed")]
    FromTheFuture {
        /// How far ahead.
        ahead_ms: u64,
        /// What is allowed.
        limit_ms: u64,
    },
    /// Nothing in it is fresh enough to count.
    #[error("its newest observation is {age_ms} ms old, {limit_ms} ms are allowed")]
    TooOld {
        /// The newest observation's age.
        age_ms: u64,
        /// What is allowed.
        limit_ms: u64,
    },
    /// The place lies elsewhere.
    #[error("{place:?} lies in {found}, neither in {claimed} nor next to it")]
    OutsideCell {
        /// Where the vehicle says it was.
        place: Place,
        /// The cell that it names.
        claimed: Cell,
        /// The cell that the place lies in.
        found: Cell,
    },
    /// The heading points elsewhere.
    #[error("a heading to the {found:?} is not of {claimed}")]
    OtherDirection {
        /// The cell that it names.
        claimed: Cell,
        /// Where the heading points.
        found: Sector,
    },
    /// No car is that fast.
    #[error("a speed of {found} m/s, {limit} m/s are allowed")]
    TooFast {
        /// The speed that it reports.
        found: f64,
        /// What is allowed.
        limit: f64,
    },
    /// Nothing gets from one place to the other in that time.
    #[error("{metres:.0} m within {elapsed_ms} ms, {limit:.0} m are allowed")]
    Jump {
        /// How far.
        metres: f64,
        /// In what time.
        elapsed_ms: u64,
        /// How far is possible.
        limit: f64,
    },
}

impl Implausible {
    /// The reason, as a metrics label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::FromTheFuture { .. } => "from_the_future",
            Self::TooOld { .. } => "too_old",
            Self::OutsideCell { .. } => "outside_cell",
            Self::OtherDirection { .. } => "other_direction",
            Self::TooFast { .. } => "too_fast",
            Self::Jump { .. } => "jump",
        }
    }
}

/// Checks a valid report (see [`Report::is_valid`]) and returns the newest of its places.
///
/// # Errors
///
/// [`Implausible`]: the first thing that cannot be; the cheap checks come first.
pub fn check(
    report: &Report,
    before: Option<Trace>,
    now: Timestamp,
    limits: &Limits,
) -> Result<Trace, Implausible> {
    let ahead_ms = report.sent_at.since(now);
    if ahead_ms > limits.ahead_max_ms {
        return Err(Implausible::FromTheFuture {
            ahead_ms,
            limit_ms: limits.ahead_max_ms,
        });
    }
    let mut path: Vec<Trace> = report
        .observations
        .iter()
        .map(|seen| Trace {
            place: seen.place,
            at: report.seen_at(seen),
        })
        .collect();
    path.sort_by_key(|trace| trace.at);
    let newest = *path.last().expect("a valid report has an observation");
    let age_ms = now.since(newest.at);
    if age_ms > limits.age_max_ms {
        return Err(Implausible::TooOld {
            age_ms,
            limit_ms: limits.age_max_ms,
        });
    }
    for seen in &report.observations {
        check_speed(seen, limits)?;
        check_cell(seen)?;
    }
    let mut from = before;
    for to in path {
        if let Some(from) = from {
            check_jump(from, to, limits)?;
        }
        from = Some(to);
    }
    // A report that was stored and comes late must not send the vehicle back in time.
    Ok(before.filter(|before| before.at > newest.at).unwrap_or(newest))
}

fn check_speed(seen: &Observation, limits: &Limits) -> Result<(), Implausible> {
    let Measure::Speed(speed) = seen.measure else {
        return Ok(());
    };
    let found = f64::from(speed.cm_per_s()) / 100.0;
    if found > limits.speed_max_m_per_s {
        return Err(Implausible::TooFast {
            found,
            limit: limits.speed_max_m_per_s,
        });
    }
    Ok(())
}

fn check_cell(seen: &Observation) -> Result<(), Implausible> {
    let (Some(claimed), Some(sector)) = (seen.cell.h3(), seen.cell.sector()) else {
        return Ok(());
    };
    let found = Cell::at(seen.place, seen.heading);
    let lies_in = found.h3().expect("a place lies in an H3 cell");
    // Two cells so far apart that H3 cannot compare them are no neighbours.
    if lies_in != claimed && !lies_in.is_neighbor_with(claimed).unwrap_or(false) {
        return Err(Implausible::OutsideCell {
            place: seen.place,
            claimed: seen.cell,
            found,
        });
    }
    let heading = Sector::of(seen.heading);
    if heading != sector {
        return Err(Implausible::OtherDirection {
            claimed: seen.cell,
            found: heading,
        });
    }
    Ok(())
}

fn check_jump(from: Trace, to: Trace, limits: &Limits) -> Result<(), Implausible> {
    let elapsed_ms = to.at.since(from.at).max(from.at.since(to.at));
    let metres = distance_m(from.place, to.place);
    let limit = limits.speed_max_m_per_s * elapsed_ms as f64 / 1000.0 + limits.error_m;
    if metres > limit {
        return Err(Implausible::Jump {
            metres,
            elapsed_ms,
            limit,
        });
    }
    Ok(())
}

/// Along the great circle, in metres.
fn distance_m(from: Place, to: Place) -> f64 {
    let point = |place: Place| Point::new(place.longitude_degrees(), place.latitude_degrees());
    Haversine.distance(point(from), point(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::{Heading, KeyId, Sequence, Speed};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(700_000_000_000);

    fn seen(latitude: f64, longitude: f64, speed_cm_per_s: u16, age_ms: u16) -> Observation {
        let place = Place::from_degrees(latitude, longitude).expect("on the globe");
        let heading = Heading::from_degrees(90.0);
        Observation {
            cell: Cell::at(place, heading),
            place,
            heading,
            age_ms,
            measure: Measure::Speed(Speed::from_cm_per_s(speed_cm_per_s).expect("a speed")),
        }
    }

    fn report(sent_at: Timestamp, observations: Vec<Observation>) -> Report {
        Report {
            version: Report::VERSION,
            vehicle: KeyId([1; 8]),
            sequence: Sequence(1),
            sent_at,
            observations,
        }
    }

    fn judge(report: &Report, before: Option<Trace>) -> Result<Trace, &'static str> {
        check(report, before, NOW, &Limits::default()).map_err(|implausible| implausible.label())
    }

    #[test]
    fn an_ordinary_drive_passes() {
        let first = judge(
            &report(NOW.minus(1000), vec![seen(44.4940, 11.3430, 1400, 0)]),
            None,
        );
        // 0.0002° of longitude are 16 m here.
        let second = judge(&report(NOW, vec![seen(44.4940, 11.3432, 1400, 0)]), first.ok());
        assert_eq!(second.map(|trace| trace.at), Ok(NOW));
    }

    #[test]
    fn clocks_bound_a_report_on_both_sides() {
        let observation = || vec![seen(44.494, 11.343, 1400, 0)];
        assert!(judge(&report(NOW.plus(2000), observation()), None).is_ok());
        assert_eq!(
            judge(&report(NOW.plus(2001), observation()), None),
            Err("from_the_future")
        );
        assert!(judge(&report(NOW.minus(900_000), observation()), None).is_ok());
        assert_eq!(
            judge(&report(NOW.minus(900_001), observation()), None),
            Err("too_old")
        );
    }

    #[test]
    fn a_cell_must_be_where_the_place_is() {
        let mut observation = seen(44.494, 11.343, 1400, 0);
        observation.cell = seen(44.5, 11.4, 1400, 0).cell;
        assert_eq!(judge(&report(NOW, vec![observation]), None), Err("outside_cell"));

        let mut observation = seen(44.494, 11.343, 1400, 0);
        observation.heading = Heading::from_degrees(270.0);
        assert_eq!(
            judge(&report(NOW, vec![observation]), None),
            Err("other_direction")
        );

        let mut observation = seen(44.494, 11.343, 1400, 0);
        observation.cell = Cell::segment("a road of a map");
        assert!(judge(&report(NOW, vec![observation]), None).is_ok());
    }

    #[test]
    fn no_car_is_faster_than_the_limit() {
        assert!(judge(&report(NOW, vec![seen(44.494, 11.343, 7000, 0)]), None).is_ok());
        assert_eq!(
            judge(&report(NOW, vec![seen(44.494, 11.343, 7001, 0)]), None),
            Err("too_fast")
        );
    }

    #[test]
    fn a_jump_is_refused_between_reports_and_within_one() {
        let before = judge(
            &report(NOW.minus(1000), vec![seen(44.494, 11.343, 1400, 0)]),
            None,
        )
        .ok();
        // 0.01° of latitude are 1.1 km.
        let there = report(NOW, vec![seen(44.504, 11.343, 1400, 0)]);
        assert_eq!(judge(&there, before), Err("jump"));
        let both = report(
            NOW,
            vec![seen(44.494, 11.343, 1400, 1000), seen(44.504, 11.343, 1400, 0)],
        );
        assert_eq!(judge(&both, None), Err("jump"));
        let slowly = report(
            NOW,
            vec![seen(44.494, 11.343, 1400, 20_000), seen(44.504, 11.343, 1400, 0)],
        );
        assert!(judge(&slowly, None).is_ok());
    }

    #[test]
    fn a_late_report_does_not_send_the_vehicle_back() {
        let before = judge(&report(NOW, vec![seen(44.494, 11.343, 1400, 0)]), None).ok();
        let late = report(NOW.minus(60_000), vec![seen(44.490, 11.343, 1400, 0)]);
        assert_eq!(judge(&late, before).ok(), before);
    }

    proptest! {
        #[test]
        fn no_valid_report_makes_it_panic(
            (latitude, longitude) in (-900_000_000i32..=900_000_000, -1_800_000_000i32..=1_800_000_000),
            bits: u64, age_ms: u16, sent_at: u64, now: u64, decidegrees in 0u16..3600,
        ) {
            let mut observation = seen(0.0, 0.0, 0, age_ms);
            observation.place = Place::from_tenth_microdegrees(latitude, longitude).expect("on the globe");
            observation.heading = Heading::from_decidegrees(decidegrees).expect("a heading");
            observation.cell = Cell::from_bits(bits);
            let report = report(Timestamp::from_millis(sent_at), vec![observation]);
            let before = Trace { place: seen(1.0, 2.0, 0, 0).place, at: NOW };
            let _ = check(&report, Some(before), Timestamp::from_millis(now), &Limits::default());
        }
    }
}
