//! What did every vehicle of a SUMO recording do?
//!
//! In: SUMO's floating-car data, as XML or CSV, plain or gzipped, told apart by content. Out: [`Record`] after
//! [`Record`], in the order of the trace, with places in degrees. Memory is constant, whatever the size of the
//! trace: nothing is kept but the current piece, the first 1024 rows until they are handed out, and the names
//! of recent vehicles.
//!
//! What the world may do to a file becomes an [`FcdError`] that names the line, what was expected and what was
//! found. Records read before the error stand; after it the reader ends.
//!
//! Not covered: Parquet (SUMO 1.24 writes it, too), and what a record implies for the road.
//!
//! Source: SUMO, Simulation/Output/FCDOutput, as of version 1.28.

mod csv;
mod error;
mod frame;
mod input;
mod intern;
mod row;
#[cfg(test)]
mod tests;
mod xml;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::iter::FusedIterator;
use std::path::Path;
use std::sync::Arc;

use self::csv::CsvTrace;
use self::frame::{FAR_MAX_M, Misplaced, Plane};
use self::input::Input;
use self::row::Row;
use self::xml::XmlTrace;
use super::Place;

pub use self::error::FcdError;
pub use self::frame::Frame;

/// Rows read at once on opening, to tell what the coordinates mean before the first record leaves.
const LOOKAHEAD: usize = 1024;
/// Bytes looked at to tell text from binary data.
const PROBE_LEN: usize = 256;
/// How files begin that are likely to be taken for a trace.
const BINARY_KINDS: [(&[u8], &str); 7] = [
    (b"PAR1", "Parquet"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip inside gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"\xfd7zXZ", "xz data"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
];

/// One vehicle at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Time within the trace, in milliseconds; never less than that of the record before.
    pub time_ms: u64,
    /// The vehicle's name, at most 256 bytes; records of one vehicle share its memory.
    pub vehicle: Arc<str>,
    /// Latitude of the front bumper's centre, in degrees, WGS 84.
    pub lat_deg: f64,
    /// Longitude of the front bumper's centre, in degrees, WGS 84.
    pub lon_deg: f64,
    /// Speed over ground, in m/s, 0 to 163.81.
    pub speed_m_s: f64,
    /// Degrees clockwise from north, 0 up to but not including 360.
    pub heading_deg: Option<f64>,
    /// SUMO's lane, as `EDGE_INDEX`.
    pub lane: Option<Arc<str>>,
    /// The edge where the trace itself names it: the mesoscopic simulation does, and names no lane.
    pub named_edge: Option<Arc<str>>,
}

impl Record {
    /// The edge the vehicle is on: the trace's own word, or else the lane without its index. Inside a junction
    /// it begins with `:`.
    pub fn edge(&self) -> Option<&str> {
        if let Some(edge) = &self.named_edge {
            return Some(edge);
        }
        let (edge, index) = self.lane.as_deref()?.rsplit_once('_')?;
        let is_index = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        (is_index && !edge.is_empty()).then_some(edge)
    }
}

/// Reads a recording of SUMO's floating-car data, record by record.
///
/// # Examples
///
/// ```
/// # use milepost_obu::source::FcdReader;
/// let trace = r#"<fcd-export><timestep time="1.00">
///     <vehicle id="bus" x="11.33" y="44.49" angle="90.00" speed="8.50" lane="46_2"/>
/// </timestep></fcd-export>"#;
/// for record in FcdReader::new(trace.as_bytes(), "trace.xml", None)? {
///     let record = record?;
///     assert_eq!((record.time_ms, record.edge()), (1000, Some("46")));
/// }
/// # Ok::<(), milepost_obu::source::FcdError>(())
/// ```
pub struct FcdReader {
    file: Arc<str>,
    trace: Trace,
    plane: Plane,
    /// Rows read on opening, not handed out yet, and the error that came after them.
    ahead: VecDeque<Row>,
    failed: Option<FcdError>,
    ended: bool,
}

/// A trace in one of its two forms.
enum Trace {
    Xml(XmlTrace),
    Csv(CsvTrace),
}

impl Trace {
    fn open(mut input: Input, file: &Arc<str>) -> Result<Self, FcdError> {
        let whole = input.place(0);
        let head = input.head()?;
        let probe = &head[..head.len().min(PROBE_LEN)];
        let is_control = |&byte: &u8| byte < b' ' && !byte.is_ascii_whitespace();
        let binary = BINARY_KINDS
            .iter()
            .find(|(magic, _)| probe.starts_with(magic))
            .map(|&(_, kind)| kind);
        if binary.is_some() || probe.iter().any(is_control) {
            let found = binary.unwrap_or("binary data").to_owned();
            return Err(FcdError::NotText { at: whole, found });
        }
        match head.trim_ascii_start().first() {
            None => Err(FcdError::Empty { at: whole }),
            Some(b'<') => XmlTrace::open(input, Arc::clone(file)).map(Self::Xml),
            Some(_) => CsvTrace::open(input, Arc::clone(file)).map(Self::Csv),
        }
    }

    fn next_row(&mut self) -> Result<Option<Row>, FcdError> {
        match self {
            Self::Xml(trace) => trace.next_row(),
            Self::Csv(trace) => trace.next_row(),
        }
    }
}

impl FcdReader {
    /// Opens a trace. `origin` is the latitude and longitude of the point 0,0, in degrees, for a trace in local
    /// coordinates; a trace clearly in degrees ignores it, see [`FcdReader::frame`].
    ///
    /// # Errors
    ///
    /// Whatever shows within the header and the first 1024 records: no such file, no trace, or local
    /// coordinates without an origin. Any other error among them comes in its turn.
    pub fn open(path: impl AsRef<Path>, origin: Option<(f64, f64)>) -> Result<Self, FcdError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::new(file, &name, origin),
            Err(source) => Err(FcdError::CannotOpen {
                at: Place {
                    file: name.into(),
                    line: 0,
                },
                source,
            }),
        }
    }

    /// Reads a trace from any stream of bytes; errors call it `name`.
    ///
    /// # Errors
    ///
    /// As for [`FcdReader::open`].
    pub fn new(
        bytes: impl Read + Send + 'static,
        name: &str,
        origin: Option<(f64, f64)>,
    ) -> Result<Self, FcdError> {
        let file: Arc<str> = name.into();
        if let Some((lat_deg, lon_deg)) = origin.filter(|&origin| !Plane::admits_origin(origin)) {
            return Err(FcdError::BadOrigin {
                at: Place { file, line: 0 },
                lat_deg,
                lon_deg,
            });
        }
        let mut trace = Trace::open(Input::new(bytes, Arc::clone(&file))?, &file)?;
        let mut ahead = VecDeque::new();
        let mut failed = None;
        while ahead.len() < LOOKAHEAD && failed.is_none() {
            match trace.next_row() {
                Ok(Some(row)) => ahead.push_back(row),
                Ok(None) => break,
                Err(error) => failed = Some(error),
            }
        }
        let plane = Plane::choose(origin, &ahead);
        let reader = Self {
            file,
            trace,
            plane,
            ahead,
            failed,
            ended: false,
        };
        match reader.ahead.iter().find_map(|row| reader.place(row).err()) {
            Some(error) => Err(error),
            None => Ok(reader),
        }
    }

    /// What the coordinates of this trace are taken for.
    ///
    /// Without an origin that is degrees. With one it is metres, unless the first 1024 records are clearly in
    /// degrees, so that a script may pass an origin for every trace: they stay within the range of degrees, and
    /// move by less than 0.01 for each metre that their speeds say was driven. Where less than 10 m were driven,
    /// they are in degrees if all of them lie within 1 degree of the origin.
    pub fn frame(&self) -> Frame {
        self.plane.frame()
    }

    fn place(&self, row: &Row) -> Result<(f64, f64), FcdError> {
        let (x, y) = (row.x, row.y);
        self.plane.place(x, y).map_err(|misplaced| {
            let at = Place {
                file: Arc::clone(&self.file),
                line: row.line,
            };
            match misplaced {
                Misplaced::NotGeographic => FcdError::NotGeographic { at, x, y },
                Misplaced::Far => FcdError::FarFromOrigin {
                    at,
                    x,
                    y,
                    far_max: FAR_MAX_M,
                },
            }
        })
    }

    fn next_record(&mut self) -> Result<Option<Record>, FcdError> {
        let row = match (self.ahead.pop_front(), self.failed.take()) {
            (Some(row), failed) => {
                self.failed = failed;
                row
            }
            (None, Some(error)) => return Err(error),
            (None, None) => match self.trace.next_row()? {
                Some(row) => row,
                None => return Ok(None),
            },
        };
        let (lat_deg, lon_deg) = self.place(&row)?;
        Ok(Some(Record {
            time_ms: row.time_ms,
            vehicle: row.vehicle,
            lat_deg,
            lon_deg,
            speed_m_s: row.speed_m_s,
            heading_deg: row.heading_deg,
            lane: row.lane,
            named_edge: row.edge,
        }))
    }
}

impl Iterator for FcdReader {
    type Item = Result<Record, FcdError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_record();
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl FusedIterator for FcdReader {}

impl fmt::Debug for FcdReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FcdReader")
            .field("file", &self.file)
            .field("frame", &self.frame())
            .finish_non_exhaustive()
    }
}
