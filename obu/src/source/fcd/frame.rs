//! Where on earth is a trace's `x` and `y`?
//!
//! In: coordinates as SUMO writes them: degrees (`--fcd-output.geo`: x = longitude, y = latitude) or metres in
//! the network's own plane. Out: latitude and longitude in degrees, WGS 84.
//!
//! A trace does not say which of the two it holds, so the first records decide, see [`Plane::choose`].
//!
//! Metres are taken as east and north of the origin, the place of the trace's point 0,0. A network imported
//! with UTM has its y axis along the UTM grid, which leans against true north by up to 3 degrees (in Bologna
//! 1.6, or 50 m at the far end of a network 1.8 km wide). Every vehicle is turned alike, so that they still fit
//! each other; who needs them to fit a map lets SUMO itself write degrees.
//!
//! Source: SUMO, Simulation/Output/FCDOutput, `x` and `y`; J. P. Snyder, Map Projections: A Working Manual,
//! USGS 1987, equations 8-17 and 8-18 (inverse transverse Mercator), the leading terms, scale 1.

use std::collections::{HashMap, VecDeque};

use super::row::Row;

/// Half the equator's diameter, in metres. Source: WGS 84.
const EQUATOR_RADIUS_M: f64 = 6_378_137.0;
/// Squared eccentricity of the ellipsoid. Source: WGS 84.
const ECCENTRICITY_SQUARED: f64 = 0.006_694_379_990_14;
/// How far from its origin a plane is trusted, in metres along each axis.
pub(super) const FAR_MAX_M: f64 = 200_000.0;
/// Origins beyond have no plane: meridians converge too fast. UTM stops there as well.
const ORIGIN_LAT_MAX_DEG: f64 = 84.0;
/// A trace that stands still within so many degrees of its origin, read as degrees, is in degrees.
const NEAR_ORIGIN_DEG: f64 = 1.0;

/// So much must be driven before the movement of coordinates is judged, in metres.
const DRIVEN_MIN_M: f64 = 10.0;
/// Coordinates that move less for each metre driven are degrees. Half-way up to the poles a metre is 0.000 01
/// degrees; the rest is room for gaps and jumps in a recording.
const PACE_MAX_DEG_PER_M: f64 = 0.01;

/// What a trace's coordinates mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Frame {
    /// x is the longitude, y the latitude, in degrees.
    Geographic,
    /// x is metres east, y metres north of the origin.
    Local {
        /// Latitude of the point 0,0, in degrees, -84 to 84.
        origin_lat_deg: f64,
        /// Longitude of the point 0,0, in degrees, -180 to 180.
        origin_lon_deg: f64,
    },
}

/// Why coordinates have no place in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misplaced {
    /// Not a longitude and a latitude, and no origin is known.
    NotGeographic,
    /// Beyond [`FAR_MAX_M`].
    Far,
}

/// A frame, ready to place records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    frame: Frame,
}

impl Plane {
    /// Decides what the coordinates of a trace mean, from its first rows.
    ///
    /// Without an origin they are degrees. With one they are metres, unless the trace is clearly in degrees, so
    /// that a script may pass `--origin` for every trace: all lie within the range of degrees, and vehicles move
    /// by degrees while they drive metres. Where too little is driven to tell, they are degrees if all lie
    /// within 1 degree of the origin: as metres, these would put the whole traffic into a square of two metres.
    pub(super) fn choose(origin: Option<(f64, f64)>, first: &VecDeque<Row>) -> Self {
        let Some((lat, lon)) = origin else {
            return Self {
                frame: Frame::Geographic,
            };
        };
        let in_range = first
            .iter()
            .all(|row| row.x.abs() <= 180.0 && row.y.abs() <= 90.0);
        let in_degrees = in_range
            && match pace(first) {
                Some(pace) => pace < PACE_MAX_DEG_PER_M,
                None => {
                    !first.is_empty()
                        && first.iter().all(|row| {
                            (row.x - lon).abs() <= NEAR_ORIGIN_DEG && (row.y - lat).abs() <= NEAR_ORIGIN_DEG
                        })
                }
            };
        let frame = match in_degrees {
            true => Frame::Geographic,
            false => Frame::Local {
                origin_lat_deg: lat,
                origin_lon_deg: lon,
            },
        };
        Self { frame }
    }

    /// May `(latitude, longitude)`, in degrees, be the origin of a plane?
    pub(super) fn admits_origin((lat, lon): (f64, f64)) -> bool {
        lat.abs() <= ORIGIN_LAT_MAX_DEG && lon.abs() <= 180.0
    }

    pub(super) fn frame(&self) -> Frame {
        self.frame
    }

    /// Latitude and longitude, in degrees, of finite coordinates. In a local frame within 10 cm of the exact
    /// projection up to 40 km from the origin, and within 10 m at [`FAR_MAX_M`] (latitudes up to 60 degrees).
    pub(super) fn place(&self, x: f64, y: f64) -> Result<(f64, f64), Misplaced> {
        match self.frame {
            Frame::Geographic if x.abs() <= 180.0 && y.abs() <= 90.0 => Ok((y, x)),
            Frame::Geographic => Err(Misplaced::NotGeographic),
            Frame::Local { .. } if x.abs() > FAR_MAX_M || y.abs() > FAR_MAX_M => Err(Misplaced::Far),
            Frame::Local {
                origin_lat_deg,
                origin_lon_deg,
            } => Ok(unproject(origin_lat_deg, origin_lon_deg, x, y)),
        }
    }
}

/// How far coordinates move for each metre driven: about 1 in metres, 0.000 01 in degrees. `None` where less
/// than [`DRIVEN_MIN_M`] is driven.
fn pace(rows: &VecDeque<Row>) -> Option<f64> {
    let mut last: HashMap<&str, &Row> = HashMap::new();
    let (mut moved, mut driven_m) = (0.0, 0.0);
    for row in rows {
        if let Some(before) = last.insert(&row.vehicle, row) {
            let elapsed_s = (row.time_ms - before.time_ms) as f64 / 1000.0;
            driven_m += (before.speed_m_s + row.speed_m_s) / 2.0 * elapsed_s;
            moved += (row.x - before.x).hypot(row.y - before.y);
        }
    }
    (driven_m >= DRIVEN_MIN_M).then(|| moved / driven_m)
}

/// The place `x` metres east and `y` metres north of an origin: first up its meridian, then across.
fn unproject(origin_lat_deg: f64, origin_lon_deg: f64, x: f64, y: f64) -> (f64, f64) {
    let origin = origin_lat_deg.to_radians();
    // The meridian's curvature changes on the way: that of its middle serves for the whole.
    let middle = origin + y / meridian_radius(origin) / 2.0;
    let foot = origin + y / meridian_radius(middle);

    let across = x / transverse_radius(foot);
    let (tan, cos) = (foot.tan(), foot.cos());
    let (tan2, across2) = (tan * tan, across * across);
    let drop = transverse_radius(foot) * tan / meridian_radius(foot) * across2 / 2.0;
    let lat = foot - drop * (1.0 - across2 / 12.0 * (5.0 + 3.0 * tan2));
    let lon = across / cos * (1.0 - across2 / 6.0 * (1.0 + 2.0 * tan2));

    let lon_deg = origin_lon_deg + lon.to_degrees();
    (lat.to_degrees(), (lon_deg + 540.0).rem_euclid(360.0) - 180.0)
}

/// Radius of curvature along the meridian at a latitude in radians, in metres.
fn meridian_radius(lat: f64) -> f64 {
    let w2 = 1.0 - ECCENTRICITY_SQUARED * lat.sin().powi(2);
    EQUATOR_RADIUS_M * (1.0 - ECCENTRICITY_SQUARED) / (w2 * w2.sqrt())
}

/// Radius of curvature across the meridian at a latitude in radians, in metres.
fn transverse_radius(lat: f64) -> f64 {
    EQUATOR_RADIUS_M / (1.0 - ECCENTRICITY_SQUARED * lat.sin().powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Origin (latitude, longitude), x, y, then latitude and longitude as PROJ 9 computes them:
    /// `+proj=tmerc +lat_0=… +lon_0=… +k=1 +ellps=WGS84`.
    const PROJ: [(f64, f64, f64, f64, f64, f64); 12] = [
        (44.49, 11.33, 1000.0, 2000.0, 44.5079975, 11.3425757),
        (44.49, 11.33, -30000.0, 40000.0, 44.8493234, 10.9505088),
        (44.49, 11.33, 200000.0, -200000.0, 42.6639064, 13.7694395),
        (-33.9, 151.2, 1000.0, 2000.0, -33.8819686, 151.2108094),
        (-33.9, 151.2, -30000.0, 40000.0, -33.5389498, 150.8770064),
        (-33.9, 151.2, 200000.0, -200000.0, -35.6825494, 153.4091908),
        (0.0, 0.0, 1000.0, 2000.0, 0.0180874, 0.0089832),
        (0.0, 0.0, -30000.0, 40000.0, 0.3617437, -0.2694989),
        (0.0, 0.0, 200000.0, -200000.0, -1.8078378, 1.7972231),
        (60.0, 179.9, 1000.0, 2000.0, 60.0179501, 179.9179309),
        (60.0, 179.9, -30000.0, 40000.0, 60.3579070, 179.3564800),
        (60.0, 179.9, 200000.0, -200000.0, 58.1593599, -176.7017961),
    ];

    #[test]
    fn local_coordinates_land_where_a_full_projection_puts_them() {
        for (origin_lat_deg, origin_lon_deg, x, y, lat, lon) in PROJ {
            let plane = Plane {
                frame: Frame::Local {
                    origin_lat_deg,
                    origin_lon_deg,
                },
            };
            let placed = plane.place(x, y).unwrap();
            let north_m = (placed.0 - lat) * 111_320.0;
            let east_m = (placed.1 - lon) * 111_320.0 * lat.to_radians().cos();
            let error_max_m = if x.abs() < 50_000.0 { 0.1 } else { 10.0 };
            assert!(
                north_m.hypot(east_m) < error_max_m,
                "{x},{y} at {lat},{lon}: {north_m} {east_m}"
            );
        }
    }

    /// One vehicle, seen each second at these coordinates.
    fn drive(speed_m_s: f64, seen: &[(f64, f64)]) -> VecDeque<Row> {
        let row = |(second, &(x, y)): (usize, &(f64, f64))| Row {
            line: 1,
            time_ms: second as u64 * 1000,
            vehicle: "bus".into(),
            x,
            y,
            speed_m_s,
            heading_deg: None,
            lane: None,
            edge: None,
        };
        seen.iter().enumerate().map(row).collect()
    }

    #[test]
    fn an_origin_is_ignored_where_vehicles_move_in_degrees() {
        let origin = Some((48.0, 9.0));
        let local = Frame::Local {
            origin_lat_deg: 48.0,
            origin_lon_deg: 9.0,
        };
        let north = drive(11.0, &[(11.32, 44.5), (11.32, 44.5001), (11.32, 44.5002)]);
        assert_eq!(Plane::choose(origin, &north).frame(), Frame::Geographic);
        let metres = drive(11.0, &[(9.0, 44.5), (9.0, 55.5), (9.0, 66.5)]);
        assert_eq!(Plane::choose(origin, &metres).frame(), local);
        let far = drive(11.0, &[(1518.38, 105.5), (1518.38, 116.5)]);
        assert_eq!(Plane::choose(origin, &far).frame(), local);
        assert_eq!(Plane::choose(None, &far).frame(), Frame::Geographic);
    }

    #[test]
    fn an_origin_is_ignored_where_vehicles_stand_around_it_in_degrees() {
        let origin = Some((44.49, 11.33));
        let local = Frame::Local {
            origin_lat_deg: 44.49,
            origin_lon_deg: 11.33,
        };
        let near = drive(0.0, &[(11.32, 44.5), (11.32, 44.5)]);
        assert_eq!(Plane::choose(origin, &near).frame(), Frame::Geographic);
        assert_eq!(
            Plane::choose(origin, &drive(0.0, &[(11.32, 44.5), (25.3, 44.5)])).frame(),
            local
        );
        assert_eq!(Plane::choose(origin, &VecDeque::new()).frame(), local);
    }

    #[test]
    fn coordinates_out_of_their_frame_are_refused() {
        let plane = Plane::choose(None, &VecDeque::new());
        assert_eq!(plane.place(180.0, -90.0), Ok((-90.0, 180.0)));
        assert_eq!(plane.place(180.1, 0.0), Err(Misplaced::NotGeographic));
        assert_eq!(plane.place(0.0, 90.1), Err(Misplaced::NotGeographic));
        let plane = Plane::choose(Some((44.5, 9.0)), &VecDeque::new());
        assert_eq!(plane.place(0.0, 0.0), Ok((44.5, 9.0)));
        assert_eq!(plane.place(685_060.79, 4_928_983.06), Err(Misplaced::Far));
    }

    #[test]
    fn an_origin_that_is_no_place_is_refused() {
        for origin in [
            (f64::NAN, 0.0),
            (0.0, f64::NAN),
            (85.0, 0.0),
            (0.0, 181.0),
            (f64::INFINITY, 0.0),
        ] {
            assert!(!Plane::admits_origin(origin), "{origin:?}");
        }
        assert!(Plane::admits_origin((-84.0, 180.0)));
    }

    proptest! {
        #[test]
        fn every_admitted_plane_places_every_admitted_point_on_earth(
            lat in -84.0..=84.0, lon in -180.0..=180.0,
            x in -FAR_MAX_M..=FAR_MAX_M, y in -FAR_MAX_M..=FAR_MAX_M,
        ) {
            let plane = Plane { frame: Frame::Local { origin_lat_deg: lat, origin_lon_deg: lon } };
            let (lat, lon) = plane.place(x, y).unwrap();
            prop_assert!(lat.abs() <= 90.0 && lon.abs() <= 180.0, "{} {}", lat, lon);
        }
    }
}
