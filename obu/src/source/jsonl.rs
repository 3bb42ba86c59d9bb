//! What does another program on board see?
//!
//! In: lines of JSON, one object each, from a file or standard input:
//!
//! ```json
//! {"time": 1763884800.5, "lat": 44.4946, "lon": 11.3277, "heading": 90.0, "speed_kmh": 48.5, "humidity": 0.8}
//! ```
//!
//! `lat` and `lon` are needed, and so is something seen: a speed (`speed_kmh` or `speed_m_s`, not both),
//! `humidity`, `hazard` or `congestion`. Without `time`, or with `"now"`, it was seen when it is read. Unknown
//! fields are refused: a misspelt one would be lost without a word. Out: a checked [`SensedLine`].
//!
//! A line that does not fit is an error of its own; the next one can be read all the same, and whoever reads
//! decides whether to go on. Blank lines are skipped.
//!
//! Not covered: the order of times. A sensor may deliver late.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::Place;
use super::place::{excerpt, message};

/// The longest line that is read, in bytes.
pub const LINE_LEN_MAX: usize = 1 << 16;
/// The fastest speed a report can carry, in m/s. Source: ETSI TS 102 894-2, `SpeedValue`.
const SPEED_MAX_M_S: f64 = 163.81;
/// The same in km/h.
const SPEED_MAX_KMH: f64 = 589.716;
/// The latest time, in seconds since 1970: the year 5138.
const TIME_MAX_S: f64 = 1e11;

/// What one line says was seen, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SensedLine {
    /// When, in milliseconds since 1970 (UTC); `None` is now.
    pub time_ms: Option<u64>,
    /// Latitude in degrees, WGS 84.
    pub lat_deg: f64,
    /// Longitude in degrees, WGS 84.
    pub lon_deg: f64,
    /// Degrees clockwise from north, 0 up to but not including 360.
    pub heading_deg: Option<f64>,
    /// Speed over ground, in m/s, 0 to 163.81.
    pub speed_m_s: Option<f64>,
    /// Wetness of the road surface, 0 (dry) to 1.
    pub humidity: Option<f64>,
    /// What is in the way. Source: ETSI TS 102 894-2, `CauseCodeType`.
    pub hazard: Option<u8>,
    /// Level of congestion, on the scale of the report's observation.
    pub congestion: Option<u8>,
}

/// Why a line cannot be taken, or no more be read. Each says where, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonlError {
    /// No such file, no permission, a directory.
    #[error("{at}: expected a readable file of JSON lines: {source}")]
    CannotOpen {
        /// The file.
        at: Place,
        /// What the operating system says.
        source: io::Error,
    },
    /// Reading failed on the way: nothing follows.
    #[error("{at}: expected another line, found a read error: {source}")]
    Unreadable {
        /// Line reached.
        at: Place,
        /// What the operating system says.
        source: io::Error,
    },
    /// Longer than [`LINE_LEN_MAX`]; it was skipped to its end.
    #[error("{at}: expected a line of at most {LINE_LEN_MAX} bytes, found a longer one")]
    TooLong {
        /// The line.
        at: Place,
    },
    /// No JSON object, or a field unknown, missing, given twice or of the wrong type.
    #[error("{at}: expected an object like {EXAMPLE}, found in column {column}: {found}")]
    Malformed {
        /// The line.
        at: Place,
        /// Where in the line, in bytes from 1.
        column: usize,
        /// What is wrong there.
        found: String,
    },
    /// A number beyond its range.
    #[error("{at}: expected `{field}` {expected}, found {found}")]
    OutOfRange {
        /// The line.
        at: Place,
        /// Name of the field.
        field: &'static str,
        /// Range and unit.
        expected: &'static str,
        /// The number as it was read.
        found: f64,
    },
    /// Two speeds in one line.
    #[error("{at}: expected one of `speed_kmh` and `speed_m_s`, found both")]
    TwoSpeeds {
        /// The line.
        at: Place,
    },
    /// A place, but nothing seen there.
    #[error(
        "{at}: expected at least one of `speed_kmh`, `speed_m_s`, `humidity`, `hazard`, `congestion`, found none"
    )]
    NothingSeen {
        /// The line.
        at: Place,
    },
}

/// A line as it should be, for errors.
const EXAMPLE: &str = r#"{"lat": 44.4946, "lon": 11.3277, "speed_kmh": 48.5}"#;

/// A line as it stands there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    time: Time,
    lat: f64,
    lon: f64,
    heading: Option<f64>,
    speed_kmh: Option<f64>,
    speed_m_s: Option<f64>,
    humidity: Option<f64>,
    hazard: Option<u8>,
    congestion: Option<u8>,
}

/// A time as it stands there: seconds since 1970, or now.
#[derive(Clone, Copy, Default)]
enum Time {
    #[default]
    Now,
    Seconds(f64),
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970 or \"now\"")
            }

            fn visit_f64<E>(self, seconds: f64) -> Result<Time, E> {
                Ok(Time::Seconds(seconds))
            }

            // Beyond 2^53 s the rounding does not matter: the range is checked later.
            fn visit_u64<E>(self, seconds: u64) -> Result<Time, E> {
                Ok(Time::Seconds(seconds as f64))
            }

            fn visit_i64<E>(self, seconds: i64) -> Result<Time, E> {
                Ok(Time::Seconds(seconds as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Time, E> {
                match text {
                    "now" => Ok(Time::Now),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Reads JSON lines, one observation each.
pub struct JsonlReader {
    file: Arc<str>,
    bytes: Box<dyn BufRead + Send>,
    line: u64,
    /// The current line, at most one byte longer than [`LINE_LEN_MAX`].
    text: Vec<u8>,
    ended: bool,
}

/// What was found where a line should begin.
enum Found {
    Line,
    TooLong,
    End,
}

impl JsonlReader {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`JsonlError::CannotOpen`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JsonlError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self::new(BufReader::new(file), &name)),
            Err(source) => Err(JsonlError::CannotOpen {
                at: Place {
                    file: name.into(),
                    line: 0,
                },
                source,
            }),
        }
    }

    /// Reads standard input; errors call it `stdin`. A line is handed out as soon as it is complete.
    pub fn stdin() -> Self {
        Self::new(BufReader::new(io::stdin()), "stdin")
    }

    /// Reads any buffered stream; errors call it `name`.
    pub fn new(bytes: impl BufRead + Send + 'static, name: &str) -> Self {
        Self {
            file: name.into(),
            bytes: Box::new(bytes),
            line: 0,
            text: Vec::new(),
            ended: false,
        }
    }

    /// Reads the next line into `text`, without its newline.
    fn read_line(&mut self) -> io::Result<Found> {
        self.text.clear();
        let (mut any, mut complete) = (false, false);
        while !complete {
            let available = match self.bytes.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            if available.is_empty() {
                break;
            }
            any = true;
            let newline = available.iter().position(|&byte| byte == b'\n');
            complete = newline.is_some();
            let part = &available[..newline.unwrap_or(available.len())];
            // Of a line too long only so much is kept that it shows.
            let room = LINE_LEN_MAX + 1 - self.text.len();
            self.text.extend_from_slice(&part[..part.len().min(room)]);
            let consumed = part.len() + usize::from(complete);
            self.bytes.consume(consumed);
        }
        Ok(match any {
            false => Found::End,
            true if self.text.len() > LINE_LEN_MAX => Found::TooLong,
            true => Found::Line,
        })
    }

    fn place(&self) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line: self.line,
        }
    }
}

impl Iterator for JsonlReader {
    type Item = Result<SensedLine, JsonlError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            self.line += 1;
            match self.read_line() {
                Ok(Found::Line) if self.text.trim_ascii().is_empty() => {}
                Ok(Found::Line) => return Some(sensed(&self.text, || self.place())),
                Ok(Found::TooLong) => return Some(Err(JsonlError::TooLong { at: self.place() })),
                Ok(Found::End) => self.ended = true,
                Err(source) => {
                    self.ended = true;
                    return Some(Err(JsonlError::Unreadable {
                        at: self.place(),
                        source,
                    }));
                }
            }
        }
        None
    }
}

impl fmt::Debug for JsonlReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonlReader")
            .field("file", &self.file)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// Decodes and checks one line.
fn sensed(text: &[u8], at: impl Fn() -> Place) -> Result<SensedLine, JsonlError> {
    // The decoder would take an array of the fields' values as well.
    if !text.trim_ascii_start().starts_with(b"{") {
        let found = excerpt(&String::from_utf8_lossy(text));
        return Err(JsonlError::Malformed {
            at: at(),
            column: 1,
            found,
        });
    }
    let line: Line = serde_json::from_slice(text).map_err(|error| {
        let column = error.column();
        let found = error.to_string();
        // It counts lines within this one: always the first.
        let found = found.split(" at line 1 column").next().unwrap_or(&found);
        JsonlError::Malformed {
            at: at(),
            column,
            found: message(found),
        }
    })?;
    let checked = |field, number: f64, max: f64, expected| match (0.0..=max).contains(&number) {
        // Adding zero turns -0 into 0.
        true => Ok(number + 0.0),
        false => Err(JsonlError::OutOfRange {
            at: at(),
            field,
            expected,
            found: number,
        }),
    };
    let within = |field, number: f64, max: f64, expected| match number.abs() <= max {
        true => Ok(number),
        false => Err(JsonlError::OutOfRange {
            at: at(),
            field,
            expected,
            found: number,
        }),
    };
    let time_ms = match line.time {
        Time::Now => None,
        Time::Seconds(seconds) => {
            let seconds = checked("time", seconds, TIME_MAX_S, "from 0 to 1e11 seconds since 1970")?;
            Some((seconds * 1000.0).round() as u64)
        }
    };
    let speed_m_s = match (line.speed_m_s, line.speed_kmh) {
        (Some(_), Some(_)) => return Err(JsonlError::TwoSpeeds { at: at() }),
        (Some(m_s), None) => Some(checked("speed_m_s", m_s, SPEED_MAX_M_S, "from 0 to 163.81")?),
        (None, Some(kmh)) => {
            let kmh = checked("speed_kmh", kmh, SPEED_MAX_KMH, "from 0 to 589.716")?;
            Some((kmh / 3.6).min(SPEED_MAX_M_S))
        }
        (None, None) => None,
    };
    let heading_deg = match line.heading {
        Some(heading) => Some(checked("heading", heading, 360.0, "from 0 to 360 degrees")? % 360.0),
        None => None,
    };
    let humidity = match line.humidity {
        Some(humidity) => Some(checked("humidity", humidity, 1.0, "from 0 to 1")?),
        None => None,
    };
    let sensed = SensedLine {
        time_ms,
        lat_deg: within("lat", line.lat, 90.0, "from -90 to 90 degrees")?,
        lon_deg: within("lon", line.lon, 180.0, "from -180 to 180 degrees")?,
        heading_deg,
        speed_m_s,
        humidity,
        hazard: line.hazard,
        congestion: line.congestion,
    };
    match sensed {
        SensedLine {
            speed_m_s: None,
            humidity: None,
            hazard: None,
            congestion: None,
            ..
        } => Err(JsonlError::NothingSeen { at: at() }),
        sensed => Ok(sensed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Cursor, Read, Write};

    fn read(text: impl AsRef<[u8]>) -> Vec<Result<SensedLine, JsonlError>> {
        JsonlReader::new(Cursor::new(text.as_ref().to_vec()), "t").collect()
    }

    /// The error of a single line, as it is printed.
    fn error(text: impl AsRef<[u8]>) -> String {
        let mut lines = read(text);
        assert_eq!(lines.len(), 1);
        lines.remove(0).unwrap_err().to_string()
    }

    /// A line at a place, with these fields as well.
    fn line(fields: &str) -> String {
        format!(r#"{{"lat": 44.5, "lon": 11.3, {fields}}}"#)
    }

    const SEEN: SensedLine = SensedLine {
        time_ms: None,
        lat_deg: 44.5,
        lon_deg: 11.3,
        heading_deg: None,
        speed_m_s: None,
        humidity: None,
        hazard: None,
        congestion: None,
    };

    #[test]
    fn a_line_says_what_its_fields_say() {
        let text = line(
            r#""time": 1763884800.5, "heading": 360, "speed_kmh": 36, "humidity": 1, "hazard": 9, "congestion": 2"#,
        );
        let full = SensedLine {
            time_ms: Some(1_763_884_800_500),
            heading_deg: Some(0.0),
            speed_m_s: Some(10.0),
            humidity: Some(1.0),
            hazard: Some(9),
            congestion: Some(2),
            ..SEEN
        };
        assert_eq!(read(text)[0].as_ref().unwrap(), &full);
        for (text, sensed) in [
            (
                r#""speed_m_s": 10"#,
                SensedLine {
                    speed_m_s: Some(10.0),
                    ..SEEN
                },
            ),
            (
                r#""speed_m_s": -0.0"#,
                SensedLine {
                    speed_m_s: Some(0.0),
                    ..SEEN
                },
            ),
            (
                r#""speed_kmh": 589.716"#,
                SensedLine {
                    speed_m_s: Some(SPEED_MAX_M_S),
                    ..SEEN
                },
            ),
            (
                r#""time": "now", "hazard": 91"#,
                SensedLine {
                    hazard: Some(91),
                    ..SEEN
                },
            ),
            (
                r#""time": 0, "humidity": 0"#,
                SensedLine {
                    time_ms: Some(0),
                    humidity: Some(0.0),
                    ..SEEN
                },
            ),
        ] {
            assert_eq!(read(line(text))[0].as_ref().unwrap(), &sensed, "{text}");
        }
    }

    #[test]
    fn a_line_that_does_not_fit_is_refused_and_the_next_one_read() {
        let good = line(r#""hazard": 9"#);
        let lines = read(format!(
            "{good}\n\n{{}}\r\n \n{}\n{good}",
            "x".repeat(2 * LINE_LEN_MAX)
        ));
        assert_eq!(lines.len(), 4);
        assert!(lines[0].is_ok() && lines[3].is_ok());
        let found = |at: usize| lines[at].as_ref().unwrap_err().to_string();
        assert!(
            found(1).starts_with("t:3: expected an object like {"),
            "{}",
            found(1)
        );
        assert_eq!(
            found(2),
            "t:5: expected a line of at most 65536 bytes, found a longer one"
        );
    }

    #[test]
    fn what_is_malformed_is_named_with_its_column() {
        for (text, found) in [
            ("hello", "found in column 1: \"hello\""),
            (
                r#"["now", 44.5, 11.3, null, null, null, null, 9, 9]"#,
                "found in column 1: ",
            ),
            (
                r#"{"lat": 44.5, "hazard": 9}"#,
                "found in column 26: missing field `lon`",
            ),
            (&line(r#""speed": 3"#), "unknown field `speed`"),
            (&line(r#""hazard": 9, "hazard": 9"#), "duplicate field `hazard`"),
            (
                &line(r#""hazard": 256"#),
                "invalid value: integer `256`, expected u8",
            ),
            (
                &line(r#""hazard": "ice""#),
                "invalid type: string \"ice\", expected u8",
            ),
            (
                &line(r#""time": "noon", "hazard": 9"#),
                "expected seconds since 1970 or \"now\"",
            ),
            (&line(r#""speed_m_s": 1e999"#), "number out of range"),
            (&line(r#""speed_m_s": NaN"#), "expected value"),
            (&line(r#""hazard": 9"#)[..20], "EOF while parsing"),
            (
                &format!("{} {}", line(r#""hazard": 9"#), 1),
                "trailing characters",
            ),
            (&"[".repeat(1000), "found in column 1: "),
        ] {
            assert!(error(text).contains(found), "{text}: {}", error(text));
        }
        assert!(error(b"{\"lat\": \"\xff\"}").starts_with("t:1: expected an object like"));
    }

    #[test]
    fn a_number_beyond_its_range_is_refused_with_its_bounds() {
        for (fields, expected) in [
            (
                r#""speed_kmh": -1"#,
                "t:1: expected `speed_kmh` from 0 to 589.716, found -1",
            ),
            (
                r#""speed_m_s": 163.82"#,
                "t:1: expected `speed_m_s` from 0 to 163.81, found 163.82",
            ),
            (
                r#""hazard": 9, "heading": 361"#,
                "t:1: expected `heading` from 0 to 360 degrees, found 361",
            ),
            (
                r#""humidity": 1.01"#,
                "t:1: expected `humidity` from 0 to 1, found 1.01",
            ),
            (
                r#""hazard": 9, "time": -1"#,
                "t:1: expected `time` from 0 to 1e11 seconds since 1970, found -1",
            ),
        ] {
            assert_eq!(error(line(fields)), expected);
        }
        let place = |lat, lon| error(format!(r#"{{"lat": {lat}, "lon": {lon}, "hazard": 9}}"#));
        assert_eq!(
            place(90.1, 0.0),
            "t:1: expected `lat` from -90 to 90 degrees, found 90.1"
        );
        assert_eq!(
            place(0.0, -180.1),
            "t:1: expected `lon` from -180 to 180 degrees, found -180.1"
        );
    }

    #[test]
    fn a_line_needs_something_seen_and_one_speed_at_most() {
        assert!(matches!(
            read(line(r#""heading": 1"#))[0],
            Err(JsonlError::NothingSeen { .. })
        ));
        let both = line(r#""speed_m_s": 1, "speed_kmh": 3.6"#);
        assert!(matches!(read(both)[0], Err(JsonlError::TwoSpeeds { .. })));
    }

    #[test]
    fn a_file_is_opened_or_named() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}", line(r#""hazard": 9"#)).unwrap();
        assert_eq!(
            JsonlReader::open(file.path())
                .unwrap()
                .filter_map(Result::ok)
                .count(),
            1
        );
        let error = JsonlReader::open("/nowhere/seen.jsonl").unwrap_err().to_string();
        assert!(
            error.starts_with("/nowhere/seen.jsonl: expected a readable file"),
            "{error}"
        );
        // A directory opens, and fails to be read: once.
        assert!(matches!(
            JsonlReader::open("/").unwrap().collect::<Vec<_>>()[..],
            [Err(JsonlError::Unreadable { .. })]
        ));
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let long = BufReader::new(io::repeat(b'x').take(100 << 20));
        let mut reader = JsonlReader::new(long, "t");
        assert!(matches!(reader.next(), Some(Err(JsonlError::TooLong { .. }))));
        assert!(reader.text.capacity() <= 4 * LINE_LEN_MAX);
        assert!(reader.next().is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in any::<String>()) {
            read(bytes);
            read(text);
        }

        #[test]
        fn what_is_written_is_read_back(
            time_ms in prop::option::of(0_u64..4_000_000_000_000),
            lat_deg in -90.0..=90.0, lon_deg in -180.0..=180.0,
            heading_deg in prop::option::of(0.0..360.0),
            speed_m_s in prop::option::of(0.0..=SPEED_MAX_M_S),
            humidity in prop::option::of(0.0..=1.0),
            hazard: Option<u8>, congestion: u8,
        ) {
            let sensed = SensedLine {
                time_ms, lat_deg, lon_deg, heading_deg, speed_m_s, humidity, hazard, congestion: Some(congestion),
            };
            let mut fields = serde_json::json!({
                "lat": lat_deg, "lon": lon_deg, "heading": heading_deg, "speed_m_s": speed_m_s,
                "humidity": humidity, "hazard": hazard, "congestion": congestion,
            });
            if let Some(time_ms) = time_ms {
                fields["time"] = (time_ms as f64 / 1000.0).into();
            }
            // The fast decoder of JSON may be off by the last bit.
            let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * b.abs(),
                (a, b) => a == b,
            };
            let read = *read(fields.to_string())[0].as_ref().unwrap();
            prop_assert!(near(Some(read.lat_deg), Some(lat_deg)) && near(Some(read.lon_deg), Some(lon_deg)));
            prop_assert!(near(read.heading_deg, heading_deg) && near(read.speed_m_s, speed_m_s));
            prop_assert!(near(read.humidity, humidity));
            let exact = SensedLine { lat_deg, lon_deg, heading_deg, speed_m_s, humidity, ..read };
            prop_assert_eq!(exact, sensed);
        }

        #[test]
        fn every_cut_through_a_line_is_refused(cut in 1_usize..60) {
            let whole = line(r#""time": 1763884800.5, "speed_kmh": 36, "hazard": 9"#);
            prop_assert!(read(&whole[..cut])[0].is_err());
        }
    }
}
