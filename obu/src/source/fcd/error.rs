//! Why can a trace not be read on?

use std::io;

use crate::source::Place;

/// Why a trace cannot be read, or not further. Each says where, what was expected and what was found.
///
/// An error is final: what the reader yielded before it stands, nothing follows it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FcdError {
    /// No such file, no permission, a directory.
    #[error("{at}: expected a readable trace: {source}")]
    CannotOpen {
        /// The file.
        at: Place,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file could be opened, but reading failed on the way.
    #[error("{at}: expected more of the trace, found a read error: {source}")]
    Unreadable {
        /// Line reached.
        at: Place,
        /// What the operating system says.
        source: io::Error,
    },
    /// Nothing, or white space alone; also after inflating.
    #[error("{at}: expected `<fcd-export>` or a CSV header, found an empty file")]
    Empty {
        /// The file.
        at: Place,
    },
    /// The gzip stream ends early, fails its checksum, or something else follows it.
    #[error("{at}: expected intact gzip data, found it cut short or damaged: {source}")]
    Gzip {
        /// Line reached in the inflated text.
        at: Place,
        /// What the inflater says.
        source: io::Error,
    },
    /// Binary data, Parquet for one.
    #[error("{at}: expected SUMO floating-car data as XML or CSV text, plain or gzipped, found {found}")]
    NotText {
        /// The file.
        at: Place,
        /// What it seems to be.
        found: String,
    },
    /// XML of another kind: a route file, a network.
    #[error("{at}: expected the root element `<fcd-export>`, found `<{found}>`")]
    WrongRoot {
        /// Line of the root element.
        at: Place,
        /// Name of the root element.
        found: String,
    },
    /// The document ends before all its elements are closed.
    #[error("{at}: expected `{expected}`, found the end of the file: the recording was cut short")]
    CutShort {
        /// Last line.
        at: Place,
        /// What would have come, in the end.
        expected: &'static str,
    },
    /// Not well-formed XML, not UTF-8, or an element where it may not stand.
    #[error("{at}: expected {expected}, found {found}")]
    Malformed {
        /// Line where the offending piece begins.
        at: Place,
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A needed attribute or column holds nothing.
    #[error("{at}: expected a value for `{name}`, found none")]
    Missing {
        /// Line of the record.
        at: Place,
        /// Name of the attribute or column, as in SUMO's XML.
        name: &'static str,
    },
    /// An attribute or column that stands there twice, so that nobody can say which one counts.
    #[error("{at}: expected `{name}` once, found it twice")]
    Twice {
        /// Line of the record or header.
        at: Place,
        /// Name of the attribute or column.
        name: String,
    },
    /// Not a number, not finite, or beyond its range.
    #[error("{at}: expected `{name}` as {expected}, found {found}")]
    BadValue {
        /// Line of the record.
        at: Place,
        /// Name of the attribute or column, as in SUMO's XML.
        name: &'static str,
        /// Form, unit and range.
        expected: &'static str,
        /// The value as it stands there.
        found: String,
    },
    /// A time earlier than the one before.
    #[error("{at}: expected a time of {before_ms} ms or later, found {found_ms} ms: time goes backwards")]
    TimeBackwards {
        /// Line of the later record or timestep.
        at: Place,
        /// Latest time so far, in milliseconds.
        before_ms: u64,
        /// Time found, in milliseconds.
        found_ms: u64,
    },
    /// A CSV header that lacks what a record needs.
    #[error("{at}: expected a CSV header with the columns {missing} as well, found {found}")]
    MissingColumns {
        /// Line of the header.
        at: Place,
        /// Names of the missing columns.
        missing: String,
        /// The header as it stands there.
        found: String,
    },
    /// A CSV row with more or fewer fields than the header. SUMO writes `speedVec` and `accelerationVec` with
    /// a comma inside and without quotes: such recordings need `;` between columns.
    #[error("{at}: expected {expected} columns as in the header, found {found}")]
    RowLength {
        /// Line of the row.
        at: Place,
        /// Columns of the header.
        expected: usize,
        /// Columns of the row.
        found: usize,
    },
    /// Longer than any honest trace has it, so that a hostile one cannot fill the memory.
    #[error("{at}: expected {what} of at most {len_max} bytes, found a longer one")]
    TooLong {
        /// Line where it begins.
        at: Place,
        /// What is too long.
        what: &'static str,
        /// The bound, in bytes.
        len_max: usize,
    },
    /// Local coordinates, and no word of where they lie.
    #[error(
        "{at}: expected x as a longitude (-180 to 180) and y as a latitude (-90 to 90), found x={x}, y={y}: \
         for local coordinates in metres pass --origin LAT,LON, the place of their point 0,0, or record with \
         SUMO's --fcd-output.geo"
    )]
    NotGeographic {
        /// Line of the record.
        at: Place,
        /// `x` as it stands there.
        x: f64,
        /// `y` as it stands there.
        y: f64,
    },
    /// Local coordinates so far out that a plane is no picture of the earth, such as UTM's own.
    #[error(
        "{at}: expected x and y within {far_max} m of the origin, found x={x}, y={y}: for a whole country, or \
         for UTM coordinates, record with SUMO's --fcd-output.geo"
    )]
    FarFromOrigin {
        /// Line of the record.
        at: Place,
        /// `x` as it stands there, in metres.
        x: f64,
        /// `y` as it stands there, in metres.
        y: f64,
        /// The bound, in metres.
        far_max: f64,
    },
    /// An origin that is no place, or too near a pole for a plane.
    #[error(
        "{at}: expected an origin LAT,LON with -84 <= LAT <= 84 and -180 <= LON <= 180, found {lat_deg},{lon_deg}"
    )]
    BadOrigin {
        /// The file it was meant for.
        at: Place,
        /// Latitude given, in degrees.
        lat_deg: f64,
        /// Longitude given, in degrees.
        lon_deg: f64,
    },
}
