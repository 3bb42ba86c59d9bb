//! Where is that, in metres?
//!
//! A [`Plane`] lays the neighbourhood of its origin flat: east and north along the circles through it. Within the
//! hundred kilometres around a roadside unit, distances come out right to some per cent; a report that comes from
//! further away is judged by others.

use milepost_wire::{Measure, Place, Report};

use super::Claim;

/// The length of a degree along a meridian, in metres: the mean radius of WGS 84.
const DEGREE_M: f64 = 111_195.0;
/// How far from its origin the plane is of use, in metres.
const RADIUS_M: f64 = 100_000.0;

/// A flat piece of the Earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plane {
    latitude_degrees: f64,
    longitude_degrees: f64,
    /// The length of a degree along the origin's parallel, in metres.
    parallel_m: f64,
}

impl Plane {
    /// The plane around this place.
    pub fn around(origin: Place) -> Self {
        Self {
            latitude_degrees: origin.latitude_degrees(),
            longitude_degrees: origin.longitude_degrees(),
            parallel_m: DEGREE_M * origin.latitude_degrees().to_radians().cos(),
        }
    }

    /// Metres to the east and north; nothing where the plane does not reach.
    pub fn metres(&self, place: Place) -> Option<(f64, f64)> {
        // The shorter way round, also across the date line.
        let east_degrees =
            (place.longitude_degrees() - self.longitude_degrees + 180.0).rem_euclid(360.0) - 180.0;
        let x_m = east_degrees * self.parallel_m;
        let y_m = (place.latitude_degrees() - self.latitude_degrees) * DEGREE_M;
        (x_m.hypot(y_m) < RADIUS_M).then_some((x_m, y_m))
    }

    /// What a report says of its vehicle's motion, oldest first: one claim for each speed that it saw and
    /// whose heading it knows.
    pub fn claims(&self, report: &Report) -> Vec<Claim> {
        let mut claims: Vec<Claim> = report
            .observations
            .iter()
            .filter_map(|seen| {
                let Measure::Speed(speed) = seen.measure else {
                    return None;
                };
                let heading_degrees = f64::from(seen.heading.decidegrees()?) / 10.0;
                let (x_m, y_m) = self.metres(seen.place)?;
                Some(Claim {
                    vehicle: u64::from_be_bytes(report.vehicle.0),
                    at_ms: report.seen_at(seen).millis(),
                    heard_ms: None,
                    x_m,
                    y_m,
                    speed_m_per_s: f64::from(speed.cm_per_s()) / 100.0,
                    heading_degrees,
                    acceleration_m_per_s2: None,
                    receiver_m: None,
                })
            })
            .collect();
        claims.sort_by_key(|claim| claim.at_ms);
        claims
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(latitude: f64, longitude: f64) -> Place {
        Place::from_degrees(latitude, longitude).expect("on the globe")
    }

    #[test]
    fn metres_are_metres() {
        let plane = Plane::around(place(44.494, 11.343));
        let (x_m, y_m) = plane.metres(place(44.503, 11.343)).expect("near");
        assert!(x_m.abs() < 0.1 && (y_m - 1000.7).abs() < 1.0, "{y_m}");
        let (x_m, _) = plane.metres(place(44.494, 11.3556)).expect("near");
        assert!((x_m - 999.4).abs() < 2.0, "{x_m}");
    }

    #[test]
    fn the_date_line_is_no_jump_and_the_far_side_is_out_of_reach() {
        let plane = Plane::around(place(-17.0, 179.999));
        let (x_m, _) = plane.metres(place(-17.0, -179.999)).expect("near");
        assert!((x_m - 212.7).abs() < 1.0, "{x_m}");
        assert_eq!(plane.metres(place(44.494, 11.343)), None);
    }
}
