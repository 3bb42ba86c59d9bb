//! When does a vehicle see what a source says?
//!
//! In: a [`Source`]. Out: readings with the moment at which they are to happen. A recording happens again from its
//! first record on, which is now; what comes on standard input has its own time, or is now. Of a recording with many
//! vehicles one is chosen.
//!
//! A thread of its own reads ahead, up to a bound; it ends with the process.

use std::sync::Arc;

use milepost_wire::{Heading, Humidity, Measure, Place, Speed, Timestamp};
use tokio::sync::mpsc;

use crate::config::Segments;
use crate::source::{FcdError, FcdReader, JsonlError, JsonlReader, Record, SensedLine, Source};
use crate::vehicle::Sensed;

/// Readings read ahead.
const AHEAD_MAX: usize = 64;

/// When a reading is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As it is read.
    Now,
    /// At this moment; a past one is told as it was.
    At(Timestamp),
    /// So many milliseconds after the first.
    After(u64),
}

/// What was, or is to be, seen at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// When.
    pub when: When,
    /// Where.
    pub place: Place,
    /// Where to.
    pub heading: Heading,
    /// What: at least one.
    pub measures: Vec<Measure>,
    /// The recording's name for the piece of road.
    pub segment: Option<Arc<str>>,
}

impl Reading {
    /// The readings as the core takes them, made `at` this time.
    pub fn sensed(self, at: Timestamp) -> impl Iterator<Item = Sensed> {
        let Self {
            place,
            heading,
            measures,
            segment,
            ..
        } = self;
        measures.into_iter().map(move |measure| Sensed {
            at,
            place,
            heading,
            measure,
            segment: segment.clone(),
        })
    }
}

/// Why a source gives no more.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The recording cannot be read, or not further.
    #[error(transparent)]
    Fcd(#[from] FcdError),
    /// The lines cannot be read, or not further.
    #[error(transparent)]
    Jsonl(#[from] JsonlError),
    /// The chosen vehicle does not drive in it.
    #[error("{source_name}: expected records of vehicle {vehicle:?}, found none")]
    NoSuchVehicle {
        /// The source.
        source_name: String,
        /// The vehicle that was asked for.
        vehicle: String,
    },
}

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The source.
    pub source: Source,
    /// Where a recording's point 0,0 lies: latitude and longitude in degrees.
    pub origin: Option<(f64, f64)>,
    /// Which of a recording's vehicles; `None` is the first.
    pub vehicle: Option<String>,
    /// How its pieces of road are named.
    pub segments: Segments,
}

/// Opens the source, and reads it ahead from then on. The channel closes at its end.
///
/// # Errors
///
/// [`ReplayError`], where the source cannot even be opened.
pub fn open(choice: Choice) -> Result<mpsc::Receiver<Result<Reading, ReplayError>>, ReplayError> {
    let (sender, receiver) = mpsc::channel(AHEAD_MAX);
    // A receiver that is gone ends the thread.
    let send = move |reading| sender.blocking_send(reading).is_ok();
    match &choice.source {
        Source::Fcd(file) => {
            let records = FcdReader::open(file, choice.origin)?;
            std::thread::spawn(move || play_records(records, &choice, send));
        }
        Source::Jsonl(file) => {
            let lines = JsonlReader::open(file)?;
            std::thread::spawn(move || play_lines(lines, true, send));
        }
        Source::JsonlStdin => {
            std::thread::spawn(move || play_lines(JsonlReader::stdin(), false, send));
        }
    }
    Ok(receiver)
}

fn play_records(
    records: impl Iterator<Item = Result<Record, FcdError>>,
    choice: &Choice,
    mut send: impl FnMut(Result<Reading, ReplayError>) -> bool,
) {
    let mut vehicle: Option<Arc<str>> = choice.vehicle.as_deref().map(Arc::from);
    let mut first_ms = None;
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                send(Err(error.into()));
                return;
            }
        };
        if *vehicle.get_or_insert_with(|| Arc::clone(&record.vehicle)) != record.vehicle {
            continue;
        }
        let after_ms = record.time_ms - *first_ms.get_or_insert(record.time_ms);
        if let Some(reading) = driven(&record, after_ms, choice.segments)
            && !send(Ok(reading))
        {
            return;
        }
    }
    if first_ms.is_none()
        && let Some(vehicle) = &choice.vehicle
    {
        let (source_name, vehicle) = (choice.source.to_string(), vehicle.clone());
        send(Err(ReplayError::NoSuchVehicle { source_name, vehicle }));
    }
}

/// What a recorded vehicle saw: its own speed. `None` off the globe, where the reader lets nothing through.
fn driven(record: &Record, after_ms: u64, segments: Segments) -> Option<Reading> {
    Some(Reading {
        when: When::After(after_ms),
        place: Place::from_degrees(record.lat_deg, record.lon_deg)?,
        heading: record
            .heading_deg
            .map_or(Heading::UNAVAILABLE, Heading::from_degrees),
        measures: vec![Measure::Speed(Speed::from_m_per_s_clamped(record.speed_m_s))],
        segment: match segments {
            Segments::Cell => None,
            Segments::Edge => record.edge().map(Arc::from),
        },
    })
}

fn play_lines(
    lines: impl Iterator<Item = Result<SensedLine, JsonlError>>,
    recorded: bool,
    mut send: impl FnMut(Result<Reading, ReplayError>) -> bool,
) {
    let mut first_ms = None;
    for line in lines {
        let line = match line {
            Ok(line) => line,
            Err(error @ JsonlError::Unreadable { .. }) => {
                send(Err(error.into()));
                return;
            }
            // One line that does not fit is no reason to fall silent.
            Err(error) => {
                tracing::warn!("skipped: {error}");
                continue;
            }
        };
        let when = match line.time_ms {
            None => When::Now,
            Some(time_ms) if recorded => {
                When::After(time_ms.saturating_sub(*first_ms.get_or_insert(time_ms)))
            }
            Some(time_ms) => When::At(Timestamp::from_unix_millis(time_ms)),
        };
        let Some(place) = Place::from_degrees(line.lat_deg, line.lon_deg) else {
            continue;
        };
        let heading = line
            .heading_deg
            .map_or(Heading::UNAVAILABLE, Heading::from_degrees);
        let reading = Reading {
            when,
            place,
            heading,
            measures: measures(&line),
            segment: None,
        };
        if !send(Ok(reading)) {
            return;
        }
    }
}

fn measures(line: &SensedLine) -> Vec<Measure> {
    let speed = line
        .speed_m_s
        .map(|speed| Measure::Speed(Speed::from_m_per_s_clamped(speed)));
    let congestion = line.congestion.map(Measure::Congestion);
    let humidity = line
        .humidity
        .and_then(|humidity| Humidity::from_permille((humidity * 1000.0).round() as u16))
        .map(Measure::Humidity);
    let hazard = line.hazard.map(Measure::Hazard);
    let all = [speed, congestion, humidity, hazard];
    all.into_iter()
        .flatten()
        .filter(|measure| measure.is_valid())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TRACE: &str = r#"<fcd-export>
        <timestep time="7.00"><vehicle id="a" x="11.33" y="44.49" angle="90" speed="8.5" lane="46_2"/></timestep>
        <timestep time="8.00"><vehicle id="b" x="11.34" y="44.49" angle="90" speed="9" lane="46_2"/>
            <vehicle id="a" x="11.34" y="44.49" angle="90" speed="9.5" lane="46_2"/></timestep>
    </fcd-export>"#;

    fn play(
        text: &str,
        source: impl Fn(std::path::PathBuf) -> Source,
        vehicle: Option<&str>,
    ) -> Vec<Reading> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let vehicle = vehicle.map(str::to_owned);
        let source = source(file.path().to_owned());
        let choice = Choice {
            source,
            origin: None,
            vehicle,
            segments: Segments::Edge,
        };
        let mut readings = open(choice).unwrap();
        std::iter::from_fn(|| readings.blocking_recv())
            .map(|reading| reading.unwrap())
            .collect()
    }

    #[test]
    fn a_recordings_first_record_is_now() {
        let readings = play(TRACE, Source::Fcd, None);
        let when: Vec<_> = readings.iter().map(|reading| reading.when).collect();
        assert_eq!(when, [When::After(0), When::After(1000)], "vehicle a alone");
        assert_eq!(
            readings[1].measures,
            [Measure::Speed(Speed::from_cm_per_s(950).unwrap())]
        );
        assert_eq!(readings[0].segment.as_deref(), Some("46"));
        assert_eq!(play(TRACE, Source::Fcd, Some("b")).len(), 1);
    }

    #[test]
    fn a_vehicle_that_does_not_drive_is_told() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(TRACE.as_bytes()).unwrap();
        let source = Source::Fcd(file.path().to_owned());
        let choice = Choice {
            source,
            origin: None,
            vehicle: Some("z".into()),
            segments: Segments::Cell,
        };
        let mut readings = open(choice).unwrap();
        assert!(matches!(
            readings.blocking_recv(),
            Some(Err(ReplayError::NoSuchVehicle { .. }))
        ));
        assert!(readings.blocking_recv().is_none());
    }

    #[test]
    fn a_line_becomes_all_that_it_says() {
        let text = "{\"lat\": 44.5, \"lon\": 11.3, \"speed_kmh\": 36, \"humidity\": 0.8}\nnonsense\n\
                    {\"time\": 1763884800.5, \"lat\": 44.5, \"lon\": 11.3, \"hazard\": 6}\n";
        let readings = play(text, Source::Jsonl, None);
        assert_eq!(readings.len(), 2, "the bad line is skipped");
        assert_eq!(readings[0].when, When::Now);
        let speed = Measure::Speed(Speed::from_cm_per_s(1000).unwrap());
        assert_eq!(
            readings[0].measures,
            [speed, Measure::Humidity(Humidity::from_permille(800).unwrap())]
        );
        assert_eq!(
            (readings[1].when, &readings[1].measures[..]),
            (When::After(0), &[Measure::Hazard(6)][..])
        );
    }
}
