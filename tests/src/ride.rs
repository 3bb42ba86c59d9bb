//! Where does a test's vehicle go?
//!
//! Straight east, at a steady speed, telling once a second. Written out in the forms that `milepost-obu` reads.

use std::fmt::Write;

use milepost_wire::{Cell, Heading, Measure, Observation, Place, Speed};

/// What one sees who drives so through Bologna.
///
/// # Panics
///
/// Never: the place is on the globe.
pub fn observation() -> Observation {
    let place = Place::from_degrees(44.494, 11.343).expect("on the globe");
    let heading = Heading::from_degrees(90.0);
    Observation {
        cell: Cell::at(place, heading),
        place,
        heading,
        age_ms: 0,
        measure: Measure::Speed(Speed::from_m_per_s_clamped(13.9)),
    }
}

/// Metres in a degree of latitude.
const DEGREE_M: f64 = 111_320.0;

/// One vehicle's way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ride {
    /// Latitude, in degrees.
    pub lat: f64,
    /// Longitude at the beginning, in degrees.
    pub lon: f64,
    /// How fast, in m/s.
    pub speed_m_s: f64,
}

impl Ride {
    /// The `nth` of several vehicles that follow one another through Bologna, 10 m apart, at 50 km/h.
    pub fn in_line(nth: usize) -> Self {
        Self {
            lat: 44.494,
            lon: 11.343,
            speed_m_s: 13.9,
        }
        .behind(10.0 * nth as f64)
    }

    /// Six vehicles on two roads at two speeds, three on each: the fewest that can vouch for one another, and for whom the
    /// other road is news. Neither speed is what a road that nobody spoke of is taken to have: what is paid is news.
    pub fn two_roads() -> Vec<Self> {
        let fast = Self {
            speed_m_s: 20.0,
            ..Self::in_line(0)
        };
        let slow = Self {
            lat: fast.lat + 0.01,
            speed_m_s: 6.9,
            ..fast
        };
        [fast, slow]
            .into_iter()
            .flat_map(|road| (0..3).map(move |nth| road.behind(8.0 * f64::from(nth))))
            .collect()
    }

    /// The same road, so many metres further back.
    #[must_use]
    pub fn behind(self, metres: f64) -> Self {
        Self {
            lon: self.lon - metres / self.degree_m(),
            ..self
        }
    }

    /// Metres in a degree of longitude.
    fn degree_m(&self) -> f64 {
        DEGREE_M * self.lat.to_radians().cos()
    }

    /// The longitude after so many seconds.
    pub fn lon_at(&self, second: f64) -> f64 {
        self.lon + self.speed_m_s * second / self.degree_m()
    }

    /// As JSON lines.
    pub fn jsonl(&self, seconds: u32) -> String {
        self.jsonl_every(1.0, seconds)
    }

    /// As JSON lines, telling at another pace: vehicles at different paces come together and part again.
    pub fn jsonl_every(&self, period_s: f64, seconds: u32) -> String {
        let mut lines = String::new();
        let times = (0..).map(|nth| f64::from(nth) * period_s);
        for time in times.take_while(|time| *time < f64::from(seconds)) {
            let (lat, lon, speed) = (self.lat, self.lon_at(time), self.speed_m_s);
            writeln!(
                lines,
                r#"{{"time": {time:.3}, "lat": {lat:.7}, "lon": {lon:.7}, "heading": 90.0, "speed_m_s": {speed}}}"#
            )
            .expect("writing to a string does not fail");
        }
        lines
    }

    /// Several as SUMO's floating-car data; the vehicles are named `v0`, `v1`, …
    pub fn fcd(rides: &[Self], seconds: u32) -> String {
        let mut xml = String::from("<fcd-export>\n");
        for second in 0..seconds {
            xml += &format!("<timestep time=\"{second}.00\">\n");
            for (nth, ride) in rides.iter().enumerate() {
                let (lat, lon, speed) = (ride.lat, ride.lon_at(f64::from(second)), ride.speed_m_s);
                xml += &format!(
                    "<vehicle id=\"v{nth}\" x=\"{lon:.7}\" y=\"{lat:.7}\" angle=\"90\" speed=\"{speed}\" lane=\"road_0\"/>\n"
                );
            }
            xml += "</timestep>\n";
        }
        xml + "</fcd-export>\n"
    }
}
