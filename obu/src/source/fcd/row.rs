//! What does one record of a trace say, in numbers?
//!
//! In: the values of one vehicle at one time as text, from XML attributes or CSV columns alike. Out: a checked
//! [`Row`], still in the trace's own coordinates. Every number is finite and within its range, every name
//! shorter than [`NAME_LEN_MAX`].
//!
//! Source: SUMO, Simulation/Output/FCDOutput (units, angle) and Simulation/Output, `--human-readable-time`.

use std::sync::Arc;

use super::FcdError;
use super::intern::Interner;
use crate::source::Place;
use crate::source::place::excerpt;

/// The longest name of a vehicle, lane or edge, in bytes.
pub(super) const NAME_LEN_MAX: usize = 256;
/// The fastest speed a report can carry, in m/s. Source: ETSI TS 102 894-2, `SpeedValue`.
const SPEED_MAX_M_S: f64 = 163.81;
/// The latest time, in seconds: Unix time has room in it until the year 5138.
const TIME_MAX_S: f64 = 1e11;
/// Days and hours in a time of day stay below this.
const CLOCK_PART_MAX: u64 = 1_000_000;

/// A record's values as they stand in the trace; an empty text counts as none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) x: Option<&'a str>,
    pub(super) y: Option<&'a str>,
    pub(super) speed: Option<&'a str>,
    pub(super) angle: Option<&'a str>,
    pub(super) lane: Option<&'a str>,
    pub(super) edge: Option<&'a str>,
}

/// One vehicle at one time, checked, in the trace's own coordinates.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) time_ms: u64,
    pub(super) vehicle: Arc<str>,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) speed_m_s: f64,
    pub(super) heading_deg: Option<f64>,
    pub(super) lane: Option<Arc<str>>,
    pub(super) edge: Option<Arc<str>>,
}

/// Checks record after record of one trace: holds what they have in common.
pub(super) struct Rows {
    file: Arc<str>,
    names: Interner,
    time_ms: u64,
}

impl Rows {
    pub(super) fn new(file: Arc<str>) -> Self {
        Self {
            file,
            names: Interner::default(),
            time_ms: 0,
        }
    }

    /// The time moves on to `text`, for this and the following rows.
    ///
    /// # Errors
    ///
    /// Where it is no time, or earlier than the last.
    pub(super) fn advance(&mut self, line: u64, text: Option<&str>) -> Result<(), FcdError> {
        let text = self.filled(line, "time", text)?;
        let Some(found_ms) = time_ms(text) else {
            let expected = "seconds from 0 to 1e11, or [days:]hours:minutes:seconds";
            return Err(self.bad(line, "time", expected, text));
        };
        if found_ms < self.time_ms {
            return Err(FcdError::TimeBackwards {
                at: self.at(line),
                before_ms: self.time_ms,
                found_ms,
            });
        }
        self.time_ms = found_ms;
        Ok(())
    }

    /// One vehicle, now.
    pub(super) fn row(&mut self, line: u64, fields: &Fields<'_>) -> Result<Row, FcdError> {
        let vehicle = self.filled(line, "id", fields.id)?;
        let x = self.number(line, "x", fields.x, "a finite number", f64::is_finite)?;
        let y = self.number(line, "y", fields.y, "a finite number", f64::is_finite)?;
        let speed = self.number(line, "speed", fields.speed, "m/s from 0 to 163.81", |speed| {
            (0.0..=SPEED_MAX_M_S).contains(&speed)
        })?;
        let heading_deg = match fields.angle {
            None | Some("") => None,
            angle => {
                let expected = "degrees from -360 to 360";
                let angle = self.number(line, "angle", angle, expected, |angle| angle.abs() <= 360.0)?;
                Some(upright(angle))
            }
        };
        Ok(Row {
            line,
            time_ms: self.time_ms,
            vehicle: self.name(line, "id of at most 256 bytes", vehicle)?,
            x,
            y,
            // SUMO rounds to "-0.00", too: adding zero makes it 0.
            speed_m_s: speed + 0.0,
            heading_deg,
            lane: self.optional_name(line, "lane", fields.lane)?,
            edge: self.optional_name(line, "edge", fields.edge)?,
        })
    }

    pub(super) fn at(&self, line: u64) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line,
        }
    }

    pub(super) fn malformed(&self, line: u64, expected: &'static str, found: String) -> FcdError {
        FcdError::Malformed {
            at: self.at(line),
            expected,
            found,
        }
    }

    fn filled<'a>(&self, line: u64, name: &'static str, text: Option<&'a str>) -> Result<&'a str, FcdError> {
        match text {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(FcdError::Missing {
                at: self.at(line),
                name,
            }),
        }
    }

    fn number(
        &self,
        line: u64,
        name: &'static str,
        text: Option<&str>,
        expected: &'static str,
        admits: impl Fn(f64) -> bool,
    ) -> Result<f64, FcdError> {
        let text = self.filled(line, name, text)?;
        // A NaN is in no range, "inf" in none that is finite.
        match text.trim_ascii().parse() {
            Ok(number) if admits(number) => Ok(number),
            _ => Err(self.bad(line, name, expected, text)),
        }
    }

    fn optional_name(
        &mut self,
        line: u64,
        what: &'static str,
        text: Option<&str>,
    ) -> Result<Option<Arc<str>>, FcdError> {
        match text {
            None | Some("") => Ok(None),
            Some(text) => self.name(line, what, text).map(Some),
        }
    }

    fn name(&mut self, line: u64, what: &'static str, text: &str) -> Result<Arc<str>, FcdError> {
        if text.len() > NAME_LEN_MAX {
            return Err(FcdError::TooLong {
                at: self.at(line),
                what,
                len_max: NAME_LEN_MAX,
            });
        }
        Ok(self.names.share(text))
    }

    fn bad(&self, line: u64, name: &'static str, expected: &'static str, found: &str) -> FcdError {
        FcdError::BadValue {
            at: self.at(line),
            name,
            expected,
            found: excerpt(found),
        }
    }
}

/// An angle within one turn, from 0 up to but not including 360 degrees.
fn upright(angle_deg: f64) -> f64 {
    // Adding zero turns -0 into 0.
    let turned = if angle_deg < 0.0 {
        angle_deg + 360.0
    } else {
        angle_deg + 0.0
    };
    // A tiny negative angle rounds up to the whole turn.
    if turned < 360.0 { turned } else { 0.0 }
}

/// Milliseconds of a time, rounded to the nearest: `1800.50`, `00:30:00.50` or `1:00:00:00` (one day).
fn time_ms(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    let seconds = match text.rsplit_once(':') {
        None => text.parse().ok()?,
        Some((clock, seconds)) => {
            let mut parts = clock.rsplit(':');
            let minutes = clock_part(parts.next()?, 60)?;
            let hours = clock_part(parts.next()?, CLOCK_PART_MAX)?;
            let days = parts
                .next()
                .map_or(Some(0), |days| clock_part(days, CLOCK_PART_MAX))?;
            let seconds: f64 = seconds
                .parse()
                .ok()
                .filter(|seconds| (0.0..60.0).contains(seconds))?;
            if parts.next().is_some() {
                return None;
            }
            (((days * 24 + hours) * 60 + minutes) * 60) as f64 + seconds
        }
    };
    // Exact: the largest time in milliseconds is 1e14, below 2^53.
    (0.0..=TIME_MAX_S)
        .contains(&seconds)
        .then(|| (seconds * 1000.0).round() as u64)
}

/// A whole number below `end`.
fn clock_part(text: &str, end: u64) -> Option<u64> {
    text.parse().ok().filter(|&part| part < end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: Fields<'static> = Fields {
        id: Some("bus"),
        x: Some("11.3"),
        y: Some("44.5"),
        speed: Some("8.68"),
        angle: Some("353.90"),
        lane: Some("131_0"),
        edge: Some(""),
    };

    fn read(fields: Fields<'_>) -> Result<Row, FcdError> {
        Rows::new("t".into()).row(7, &fields)
    }

    #[test]
    fn a_record_says_what_its_fields_say() {
        let row = read(GOOD).unwrap();
        assert_eq!((row.x, row.y, row.speed_m_s), (11.3, 44.5, 8.68));
        assert_eq!((row.heading_deg, row.line), (Some(353.9), 7));
        assert_eq!(
            (&*row.vehicle, row.lane.as_deref(), row.edge),
            ("bus", Some("131_0"), None)
        );
    }

    #[test]
    fn only_id_x_y_and_speed_are_needed() {
        let row = read(Fields {
            angle: None,
            lane: None,
            edge: None,
            ..GOOD
        })
        .unwrap();
        assert_eq!((row.heading_deg, row.lane, row.edge), (None, None, None));
        for (fields, name) in [
            (Fields { id: None, ..GOOD }, "`id`"),
            (Fields { x: Some(""), ..GOOD }, "`x`"),
            (Fields { y: None, ..GOOD }, "`y`"),
            (Fields { speed: None, ..GOOD }, "`speed`"),
        ] {
            let error = read(fields).unwrap_err().to_string();
            assert_eq!(error, format!("t:7: expected a value for {name}, found none"));
        }
    }

    #[test]
    fn a_number_malformed_not_finite_or_out_of_range_is_refused_with_its_bounds() {
        for (text, expected) in [
            (
                "-0.01",
                r#"t:7: expected `speed` as m/s from 0 to 163.81, found "-0.01""#,
            ),
            (
                "163.82",
                r#"t:7: expected `speed` as m/s from 0 to 163.81, found "163.82""#,
            ),
            (
                "NaN",
                r#"t:7: expected `speed` as m/s from 0 to 163.81, found "NaN""#,
            ),
            (
                "13,9",
                r#"t:7: expected `speed` as m/s from 0 to 163.81, found "13,9""#,
            ),
        ] {
            assert_eq!(
                read(Fields {
                    speed: Some(text),
                    ..GOOD
                })
                .unwrap_err()
                .to_string(),
                expected
            );
        }
        for text in ["inf", "NaN", "1e999", "--1", "0x10", "1_000"] {
            assert!(matches!(
                read(Fields {
                    x: Some(text),
                    ..GOOD
                }),
                Err(FcdError::BadValue { name: "x", .. })
            ));
        }
        for text in ["361", "-361", "north", "nan"] {
            let error = read(Fields {
                angle: Some(text),
                ..GOOD
            })
            .unwrap_err();
            assert!(
                matches!(error, FcdError::BadValue { name: "angle", .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn minus_zero_is_standing_still() {
        let row = read(Fields {
            speed: Some("-0.00"),
            angle: Some("-0.00"),
            ..GOOD
        })
        .unwrap();
        assert!(row.speed_m_s.is_sign_positive() && row.heading_deg.unwrap().is_sign_positive());
    }

    #[test]
    fn an_id_of_257_bytes_is_refused() {
        assert!(
            read(Fields {
                id: Some(&"x".repeat(256)),
                ..GOOD
            })
            .is_ok()
        );
        for fields in [
            Fields {
                id: Some(&"x".repeat(257)),
                ..GOOD
            },
            Fields {
                lane: Some(&"x".repeat(257)),
                ..GOOD
            },
            Fields {
                edge: Some(&"x".repeat(257)),
                ..GOOD
            },
        ] {
            assert!(matches!(
                read(fields),
                Err(FcdError::TooLong { len_max: 256, .. })
            ));
        }
    }

    #[test]
    fn times_are_seconds_or_a_clock() {
        for (text, ms) in [
            ("0.00", 0),
            ("1800.50", 1_800_500),
            (" 12 ", 12_000),
            ("-0.00", 0),
            ("1e11", 100_000_000_000_000),
            ("00:30:00", 1_800_000),
            ("01:00:01.25", 3_601_250),
            ("1:00:00:00", 86_400_000),
        ] {
            assert_eq!(time_ms(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "-1",
            "NaN",
            "inf",
            "1.1e11",
            "10:00",
            "0:60:00",
            "0:00:60",
            "1:1:1:1:1",
            "a:0:0",
            "::",
        ] {
            assert_eq!(time_ms(text), None, "{text}");
        }
    }

    #[test]
    fn time_may_stand_still_but_not_go_backwards() {
        let mut rows = Rows::new("t".into());
        rows.advance(1, Some("5.00")).unwrap();
        rows.advance(2, Some("5.00")).unwrap();
        let error = rows.advance(3, Some("4.99")).unwrap_err().to_string();
        assert_eq!(
            error,
            "t:3: expected a time of 5000 ms or later, found 4990 ms: time goes backwards"
        );
        assert!(matches!(
            rows.advance(4, None),
            Err(FcdError::Missing { name: "time", .. })
        ));
        assert!(matches!(
            rows.advance(4, Some("now")),
            Err(FcdError::BadValue { name: "time", .. })
        ));
    }

    proptest! {
        #[test]
        fn every_admitted_angle_becomes_less_than_one_turn(angle in -360.0..=360.0) {
            prop_assert!((0.0..360.0).contains(&upright(angle)));
        }

        #[test]
        fn no_time_panics(text in any::<String>(), clock in "[0-9:.]{0,24}") {
            let _ = (time_ms(&text), time_ms(&clock));
        }
    }
}
